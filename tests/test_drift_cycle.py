"""Drift of streams with a daily cycle: each hour is compared with its own, quiet days open nothing, a real move is found."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from interlock.detectors.cycle import DAY, WEEK, explained
from interlock.detectors.drift import UNIT, Bins, Design
from interlock.errors import UserError
from interlock.policies.accepted import Accepted
from interlock.policies.load import load_policy
from interlock.streams.reference import Reference, from_bytes, to_bytes
from tests.drifting import POLICY, Traffic, controls, drifted, fitted, history, predictions, reference, verdicts
from tests.events import HOUR, START
from tests.test_laws import Cut, Run, run

CYCLE = Traffic(11, rows=4000, hours=48, swing=1.5)


@cache
def cyclic() -> Reference:
    """Return what nine days with a cycle look like."""
    return fitted(predictions(replace(CYCLE, seed=98, rows=12_000, hours=216, start=START - 240 * HOUR)))


def amount(known: Reference) -> Bins:
    return next(one.bins for one in known.drift if one.name == "features.amount")


def flattened(known: Reference) -> Reference:
    """Return the reference as if no stream had a cycle, without phi either."""
    return replace(known, drift=tuple(replace(one, bins=replace(one.bins, hours=None, phi=1.0)) for one in known.drift))


def judged(traffic: Traffic, known: Reference) -> Run:
    return run(history(predictions(traffic), 60), Cut(), POLICY % ("", ""), known)


def hourly(kind: str, hours: int) -> dict[int, float]:
    """Return what cycles explain of hours of 100 events in 4 bins."""
    rng, hour = np.random.default_rng(4), np.arange(hours)
    days = np.repeat(rng.standard_normal(hours // DAY + 1), DAY)[:hours]
    wave = {"none": 0 * hour, "day": np.sin(2 * np.pi * hour / DAY), "days": days, "week": hour % WEEK // DAY > 4}[kind]
    shares = np.exp(np.outer(wave, [-0.5, -0.2, 0.2, 0.5]))
    counts = np.stack([rng.multinomial(100, one / one.sum()) for one in shares])
    return explained(counts, hour, np.array([[-1.0, -0.3, 0.3, 1.0]]))


def test_only_what_comes_again_every_day_or_week_is_a_cycle() -> None:
    assert max(hourly("none", 2 * WEEK).values()) < 0.1
    assert max(hourly("days", 4 * WEEK).values()) < 0.1
    assert hourly("day", 2 * WEEK)[DAY] > 0.5
    assert hourly("day", 4 * WEEK)[WEEK] < 0.1
    assert hourly("week", 4 * WEEK)[WEEK] > 0.5
    assert max(hourly("day", 5 * DAY).values()) == 0


def test_fit_keeps_hours_of_the_stream_that_has_a_cycle_and_of_no_other() -> None:
    kept = {one.name: len(one.bins.hours.counts) for one in cyclic().drift if one.bins.hours}
    hours = amount(cyclic()).hours

    assert kept == {"features.amount": DAY}
    assert hours is not None
    assert hours.phi < 0.25 * amount(cyclic()).phi
    assert all(one.bins.hours is None for one in reference().drift)
    assert from_bytes(to_bytes(cyclic()), "x").drift == cyclic().drift


def test_hours_that_do_not_add_up_are_refused() -> None:
    stream = next(one for one in cyclic().drift if one.bins.hours)
    hours = stream.bins.hours
    assert hours is not None
    broken = replace(stream, bins=replace(stream.bins, hours=replace(hours, new=(0.1,))))

    with pytest.raises(UserError, match=r"hours of features\.amount do not fit"):
        from_bytes(to_bytes(replace(cyclic(), drift=(broken,))), "x")


def test_no_alternative_gains_in_its_own_hour() -> None:
    bins = amount(cyclic())
    design = Design.of(bins)

    for hour, own in enumerate(bins.each_hour()):
        p0 = own.shares
        factors = np.exp(design.at(hour)[: len(design.tried), : len(p0)] / UNIT)
        assert np.max(factors @ p0) <= 1
        assert np.array_equal(design.at(hour + 5 * DAY), design.at(hour))


def test_a_strong_cycle_opens_nothing_and_would_without_hours() -> None:
    assert judged(CYCLE, cyclic()).controls == b""
    assert "features.amount" in controls(judged(CYCLE, flattened(cyclic())).controls)[0].cause


def test_a_real_move_of_a_stream_with_a_cycle_is_found() -> None:
    found = judged(replace(CYCLE, shift=1.5, drift=(20, 48)), cyclic())
    moved, said = controls(found.controls), verdicts(found.verdicts)
    told = next(drifted(one)["features.amount"] for one in said if drifted(one))

    assert START + 20 * HOUR < moved[0].ts < START + 28 * HOUR
    assert told["cycle"] == "24h"
    assert {name for one in said for name in drifted(one)} == {"features.amount"}


def test_each_entry_of_accept_drift_ends_with_its_own_day() -> None:
    keys = (
        "accept_drift: [{stream: score, until: 2026-09-21, reason: r}, {feature: amount, until: 2026-09-23, reason: r}]"
    )
    entries = load_policy((POLICY % (keys, "")).encode(), "p").accept_drift
    accepted = Accepted(entries, ["features.amount", "score"])
    masks = [accepted.mask(START + day * 24 * HOUR, {0: ""}, (1, 2)).tolist() for day in (0, 1, 3)]

    assert masks == [[[True, True]], [[True, False]], [[False, False]]]
