"""Labels that do not come, or come late: how they count, what is shown of them, and what a delay curve corrects."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from benchmarks.court import Court, delayed, make_policy, promise, rows, spread
from interlock.columns import BOOL
from interlock.policies.arrivals import RIGHT_POSITIVE, STEPS, Delays, curves
from interlock.policies.context import Learned
from interlock.policies.lint import warnings
from interlock.policies.load import load_policy
from interlock.policies.plan import DUE, FOUND, HIT, N
from interlock.streams.classes import Classes
from interlock.streams.fit import learn
from interlock.streams.fit_delays import learn_delays
from interlock.streams.fit_logits import LogitRows
from interlock.streams.fit_rows import FeatureRows, Rows
from interlock.streams.fit_vectors import Embeddings
from interlock.streams.ids import select
from interlock.streams.reference import from_bytes, to_bytes
from tests.labelling import final, policy, replayed
from tests.replaying import HOUR, START, Event, Ran

MINUTE = 60_000


def told(ran: Ran, name: str = "accuracy") -> Event:
    found: Event = final(ran, name)["evidence"]
    return found


def half(i: int) -> tuple[Event, Event | None]:
    """Every prediction is right, and every second one is labelled."""
    return {"prediction": True}, {"label": True} if i % 2 else None


def test_without_a_word_unlabelled_predictions_are_left_out_and_both_bounds_are_shown(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("accuracy"), half)
    verdict = final(ran, "accuracy")

    assert (verdict["state"], verdict["value"]) == ("insufficient", 1.0)
    evidence = told(ran)
    assert evidence["unlabelled"] == evidence["due"] - evidence["found"] > 100
    assert evidence["if_right"] == 1.0
    assert evidence["if_wrong"] == pytest.approx(evidence["found"] / evidence["due"])


@pytest.mark.parametrize(("asked", "value", "states"), [("hit", 1.0, {"met"}), ("miss", 0.5, {"at_risk", "breached"})])
def test_unlabelled_predictions_count_as_right_or_as_wrong_if_the_policy_says_so(
    tmp_path: Path, asked: str, value: float, states: set[str]
) -> None:
    ran = replayed(tmp_path, policy("accuracy", labels=f", on_unlabelled: {asked}"), half)
    verdict = final(ran, "accuracy")

    assert verdict["value"] == pytest.approx(value, abs=0.01)
    assert verdict["state"] in states
    assert verdict["label_coverage"] == pytest.approx(0.5, abs=0.01)
    assert told(ran)["unlabelled"] > 100


def test_of_a_rate_that_must_stay_low_a_miss_is_a_hit_of_the_rate(tmp_path: Path) -> None:
    def event(i: int) -> tuple[Event, Event | None]:
        return {"prediction": i % 4 == 0}, {"label": i % 4 == 0} if i % 2 else {"label": True} if i % 4 == 0 else None

    missed = replayed(tmp_path / "a", policy("false_positive_rate", labels=", on_unlabelled: miss"), event)
    right = replayed(tmp_path / "b", policy("false_positive_rate", labels=", on_unlabelled: hit"), event)

    assert final(right, "false_positive_rate")["value"] == 0.0
    assert final(missed, "false_positive_rate")["value"] == pytest.approx(1 / 3, abs=0.02)


def test_calibration_shows_both_bounds_and_leaves_unlabelled_out(tmp_path: Path) -> None:
    slo = '- {name: decision_ece_6h, objective: o, target: "<= 0.3", window: 6h, action_on_breach: notify}\n'
    ran = replayed(tmp_path, policy("accuracy") + slo, half)
    evidence = final(ran, "decision_ece")["evidence"]

    assert evidence["unlabelled"] == pytest.approx(evidence["labels"], abs=2)
    assert evidence["if_right"] == 0.0
    assert evidence["if_wrong"] == pytest.approx(evidence["plugin"] / 2 + 0.5, abs=0.02)


def test_judged_on_arrival_a_late_label_is_bet_on_where_it_comes_and_by_prediction_it_only_moves_the_value(
    tmp_path: Path,
) -> None:
    def event(i: int) -> tuple[Event, Event]:
        return {"prediction": True}, {"label": i < 600, "at": START + i * MINUTE + 4 * HOUR}

    late = replayed(tmp_path / "a", policy("accuracy"), event)
    arrived = replayed(tmp_path / "b", policy("accuracy", labels=", judge_on: arrival"), event)

    assert final(late, "accuracy")["value"] == 0.0
    assert "breached" not in {verdict["state"] for verdict in late.lines("verdicts")}
    assert late.lines("control") == []
    breached = [v for v in arrived.lines("verdicts") if v["state"] == "breached"]
    assert breached
    assert START + 14 * HOUR < breached[0]["ts"] < START + 15 * HOUR


def test_a_sample_of_labels_is_due_by_keyed_hash_and_no_other_counts(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("accuracy", "label_coverage", labels=", sample: 0.25"), lambda i: half(2 * i + 1))
    drawn = select([f"e{i}" for i in range(1200)], b"", "sample/1") < np.uint64(2**62)

    said = ran.lines("verdicts")
    last = [v for v in said if v["slo"] == "accuracy_6h"][-1]
    first, end = ((last[name] - START) // MINUTE for name in ("window_start", "window_end"))
    expected = int(drawn[max(0, first) : end].sum())
    assert 50 < expected < 130
    assert last["evidence"]["due"] == last["evidence"]["found"] == expected
    assert final(ran, "label_coverage")["value"] == 1.0


def history(n: int = 20_000, *, slow: float = 4.0, quick: float = 1.0, seed: int = 3) -> Rows:
    """A week of decisions at .8, right in 80 %; wrong ones surface after Exp(quick) days, right ones after Exp(slow)."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.8
    ts = np.sort(rng.integers(0, 60 * 24 * HOUR, n)) + START
    age = (rng.exponential(np.where(right, slow, quick)) * 24 * HOUR).astype(np.int64)
    zero = np.zeros(n, np.int64)
    feature = FeatureRows(np.full(n, BOOL, np.uint8), rng.integers(0, 2, n).astype(np.float64), ())
    p = np.full(n, int(0.8 * 2**32))
    here = ts + age <= ts[-1]  # what had come when the history was taken
    age, y = np.where(here, age, -1), np.where(here, right, -1)
    key, nobody = np.arange(n).astype(np.uint64), Classes(np.full(n, -1, np.int8), np.zeros(n, np.uint64))
    vectors = Embeddings(np.zeros(0, np.uint64), np.zeros((0, 0), np.int64))
    return Rows(
        key, ts, p, zero, zero, ["m"], {"x": feature}, y.astype(np.int8), age,
        np.zeros(n, np.bool_), nobody, nobody, vectors, feature, np.ones(n, np.bool_), LogitRows.none(n),
    )  # fmt: skip


def test_delay_curves_are_learned_per_outcome_and_from_mature_predictions_alone() -> None:
    rows_ = history()
    delays = learn_delays(rows_)
    assert delays is not None

    right, wrong = delays.share((0,), 3 * 24 * HOUR), delays.share((3,), 3 * 24 * HOUR)
    assert right == pytest.approx(1 - np.exp(-3 / 4), abs=0.02)
    assert wrong == pytest.approx(1 - np.exp(-3), abs=0.02)
    assert delays.counts.sum() < len(rows_.ts)
    assert delays.share((1,), HOUR) is None
    assert delays.shares("recall", 3 * 24 * HOUR) is None
    assert delays.shares("accuracy", 3 * 24 * HOUR) == (right, wrong)
    assert delays.shares("precision", 3 * 24 * HOUR) == (right, wrong)
    assert delays.shares("precision", 0) is None


def test_delays_are_kept_in_the_reference_and_a_history_without_labels_has_none() -> None:
    made = learn(history(), 0.01)
    again = from_bytes(to_bytes(made), "x.ref")
    assert made.delays is not None
    assert again.delays is not None
    assert np.array_equal(again.delays.table(), made.delays.table())
    assert again.id == made.id

    bare = history(2000)
    none = np.full(2000, -1, np.int64)
    unlabelled = replace(bare, y=none.astype(np.int8), age=none)
    assert learn(unlabelled, 0.01).delays is None


def test_a_curve_of_few_labels_says_nothing() -> None:
    few = curves(np.arange(99), np.full(99, RIGHT_POSITIVE))

    assert few.ages.shape == (4, STEPS + 1)
    assert (few.ages == -1).all()


PANES = 14 * 24
SLO = promise("precision_7d", ">= 0.9", "7d", min_events=100)


def judged(asked: str, truth: float, *, runs: int = 6, delays: Delays | None = None) -> list[str]:
    """States at the end of two weeks, of streams at 60 an hour whose wrong labels come sooner than right ones."""
    policy_ = make_policy(SLO, slices=runs, labels={"maturity": "2d", "coverage": 0.01, "on_unlabelled": asked})
    learned = Learned({}, delays=delays)
    court = Court(policy_, tuple(f'["t{i}"]' for i in range(runs)), learned)
    rng = np.random.default_rng(4)
    n = rng.poisson(60, (PANES, runs))
    right = rng.binomial(n, truth)
    days = np.arange(0, 10, 0.5)
    late = {mean: np.zeros(len(days) * 12) for mean in (1.0, 4.0)}
    for mean, shares in late.items():  # labels come twice a day
        shares[::12] = np.diff(np.append(0.0, 1 - np.exp(-(days + 0.5) / mean)))
    hits, misses = spread(rng, right, late[4.0]), spread(rng, n - right, late[1.0])
    pane, piece = np.arange(PANES)[:, None], np.arange(runs)[None]
    joined = np.concatenate(
        [delayed(cell, some) for some, cells in ((hits, (N, HIT, FOUND)), (misses, (N, FOUND))) for cell in cells],
        axis=1,
    )
    said = court.judge(PANES, rows(pane, piece, DUE, n), joined)
    last = {verdict.scope["slice"]: verdict.state for verdict in said.verdicts if verdict.scope["slice"] != "(other)"}
    paged = {scope for scope, _ in said.pages}
    return ["paged" if scope in paged else state for scope, state in last.items()]


def known() -> Delays:
    delays = learn_delays(history(60_000))
    assert delays is not None
    return delays


@pytest.mark.statistical
def test_a_delay_that_hangs_on_the_outcome_pages_a_good_stream_unless_it_is_weighted() -> None:
    assert judged("exclude", 0.93).count("paged") >= 5
    weighted = judged("ipw", 0.93, delays=known())
    assert weighted.count("paged") == 0
    assert judged("ipw", 0.80, delays=known()).count("paged") >= 5


def test_without_delay_curves_a_weighted_ratio_is_unidentified() -> None:
    assert set(judged("ipw", 0.95, runs=2)) == {"unidentified"}


@pytest.mark.parametrize(
    ("labels", "name", "text"),
    [
        ("on_unlabelled: ipw", "accuracy", "no reference, so no reporting delays"),
        ("on_unlabelled: miss", "decision_ece", "decision_ece leaves out predictions without a label all the same"),
        ("on_unlabelled: hit, judge_on: arrival", "accuracy", "labels are judged as they arrive"),
    ],
)
def test_what_a_choice_cannot_do_is_a_warning(labels: str, name: str, text: str) -> None:
    slo = {**promise(f"{name}_24h", "<= 0.1" if name == "decision_ece" else ">= 0.9", "24h")}
    loaded = load_policy(json.dumps({"slos": [slo]}).encode()[:-1] + f', "labels": {{{labels}}}}}'.encode(), "p.yaml")

    assert loaded.not_in_force() == ()
    assert any(text in finding.message for finding in warnings(loaded))
