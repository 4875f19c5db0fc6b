"""Laws of what caused hits: exact counts by reason, the same however events were spread and cut."""

import json
from itertools import pairwise
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.tables import START, fitted, frame, read
from interlock.policies.causes import SHOWN, Causes, Exemplar
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.policies.planning import make_plan
from interlock.streams.exemplars import reason_key
from interlock.streams.pipeline import Pipeline
from interlock.streams.reasons import Ranges, range_numbers
from interlock.streams.reference import Reference
from interlock.streams.scoring import Scorer
from interlock.streams.tally import REASONS, fewest

HEAD = (
    "{version: 1, model: m, human_goal: g, proxies: [{name: p, over_optimised: o}], owners: {model: a, on_call: b, "
    "risk: c}, runbook_url: 'https://r.example', false_pages_per_year: 1, slos: ["
)
SLO = "{name: %s_2h, objective: kept, target: '<= 0.05', window: 2h, action_on_breach: notify}"


def counted(reason: str, n: int = 1, pane: int = 0) -> Exemplar:
    return Exemplar(pane, 1, "[]", reason_key(reason), "", reason, 0, ("m", "1"), n)


def learnt(rows: int = 4000) -> Reference:
    rng = np.random.default_rng(1)
    hours = rng.normal(40, 10, rows).round()
    return fitted({"hours": hours, "pay": hours * 20 + rng.normal(0, 10, rows), "code": rng.choice(list("abc"), rows)})


REFERENCE = learnt()


def policy(*names: str) -> Policy:
    return load_policy((HEAD + ", ".join(SLO % name for name in names) + "]}").encode(), "policy")


def traffic(rows: int = 3000) -> dict[str, Any]:
    """From row 2000 on, every third event has a code that nobody saw, most of them the same, or impossible hours."""
    rng = np.random.default_rng(2)
    hours = rng.normal(40, 10, rows).round()
    pay, code = hours * 20 + rng.normal(0, 10, rows), rng.choice(list("abc"), rows).astype(object)
    odd = np.arange(2000, rows, 3)
    code[odd] = ["ZX-9" if row % 2 else f"N-{row}" for row in odd.tolist()]
    hours[odd[::5]] = 167.0
    return {"hours": hours, "pay": pay, "code": code.tolist()}


def verdicts(cuts: list[int], shards: int, names: tuple[str, ...] = ("ood_rate", "unseen_rate")) -> list[str]:
    events, edges = frame(traffic(), spacing=2000), [0, *sorted(cuts), 3000]
    pipeline = Pipeline(make_plan(policy(*names)), REFERENCE, b"secret", shards)
    batch = read(REFERENCE, events)
    told = [pipeline.read(batch.take(np.arange(a, b))) for a, b in pairwise(edges) if b > a]
    told += [pipeline.end("predictions"), pipeline.end("outcomes"), pipeline.finish()]
    return [verdict.model_dump_json() for one in told for verdict in one.verdicts]


WHOLE = verdicts([], 1)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=300), parts=st.integers(1, 4), seed=st.integers(0, 99))
def test_counts_by_reason_do_not_depend_on_who_counted_what(sizes: list[int], parts: int, seed: int) -> None:
    random = Random(seed)
    events = [counted(f"r{place}") for place, size in enumerate(sizes) for _ in range(size)]
    random.shuffle(events)
    spread: list[list[Exemplar]] = [[] for _ in range(parts)]
    for one in events:
        random.choice(spread).append(one)
    merged = fewest([x for part in spread for x in fewest(part)])

    assert merged == fewest(events)
    assert len(merged) == min(len(sizes), REASONS)
    assert all(one.n == sizes[int(one.reason[1:])] for one in merged)


@pytest.mark.parametrize(("cuts", "shards"), [([700, 2100, 2101], 1), (list(range(50, 3000, 50)), 1), ([1500], 3)])
def test_verdicts_tell_the_same_causes_for_any_cut_and_any_number_of_shards(cuts: list[int], shards: int) -> None:
    assert verdicts(cuts, shards) == WHOLE


def test_causes_count_every_hit_of_the_stretch_that_broke_the_target() -> None:
    broken = [one for one in map(json.loads, WHOLE) if one["state"] == "breached" and one["slo"] == "unseen_rate_2h"]
    last = broken[-1]["evidence"]
    odd = np.arange(2000, 3000, 3)
    inside = START + 2000 * odd >= last["stretch"]["from"]
    common = int((inside & (odd % 2 == 1)).sum())
    causes = {one["reason"]: one["n"] for one in last["causes"]}

    assert last["stretch"]["hits"] == inside.sum() > 300
    assert last["causes"][0] == {"reason": "code=ZX-9", "n": common}
    assert len(causes) == SHOWN


def test_an_unseen_value_is_named_even_if_another_feature_is_odder() -> None:
    scorer = Scorer(policy("unseen_rate"), REFERENCE, b"secret")
    batch = read(REFERENCE, frame({"hours": [5000.0], "pay": [-9e9], "code": ["ZX-9"]}))
    rows = np.array([0])

    assert scorer.unfamiliar(batch, rows)[1].texts == ["code=ZX-9"]
    assert scorer.reasons(batch, rows).texts != ["code=ZX-9"]


def test_an_event_counts_under_its_reason_and_under_each_new_value_once() -> None:
    rng = np.random.default_rng(3)
    columns = {name: rng.choice(list("abc"), 2000).tolist() for name in ("code", "vendor", "area")}
    reference, shard_policy = fitted(columns), policy("ood_rate", "unseen_rate")
    events = frame({"code": ["ZX-9"] * 40, "vendor": ["N-1"] * 40, "area": ["a"] * 40})
    pipeline = Pipeline(make_plan(shard_policy), reference, b"secret")
    told = [pipeline.read(read(reference, events)), pipeline.end("predictions"), pipeline.finish()]
    counts = [x for one in told for record in one.records for x in record.exemplars if x.n]

    assert {(x.series, x.reason) for x in counts} == {(s, r) for s in (1, 2) for r in ("code=ZX-9", "vendor=N-1")}
    assert {sum(x.n for x in counts if x.series == s and x.reason == "code=ZX-9") for s in (1, 2)} == {40}


def test_numbers_are_named_by_the_range_that_they_lie_in() -> None:
    scorer = Scorer(policy("ood_rate"), REFERENCE, b"secret")
    batch = read(REFERENCE, frame({"hours": [97.0, 1e9, -3.0, None], "pay": [800.0] * 4, "code": ["a"] * 4}))
    texts = [scorer.reasons(batch, np.array([row])).texts[0] for row in range(4)]

    assert texts == ["hours 95 to 100", "hours from 125", "hours -5 to 0", "hours missing"]


@given(mean=st.floats(-1e9, 1e9), sd=st.floats(1e-6, 1e6), z=st.floats(-20, 20))
def test_a_range_holds_its_numbers_and_is_at_most_half_a_deviation_wide(mean: float, sd: float, z: float) -> None:
    ranges, value = Ranges.around(mean, sd), mean + z * sd
    bounds = (np.array([one]) for one in (ranges.width, ranges.first, ranges.last))
    place = float(range_numbers(np.array([value]), *bounds)[0])

    assert 0.2 * sd < ranges.width * 1.0000001
    assert ranges.width <= sd / 2
    assert ranges.first - 1 <= place <= ranges.last + 1
    if ranges.first <= place <= ranges.last:
        assert place * ranges.width <= value + 1e-6 * abs(value)
        assert value <= (place + 1) * ranges.width + 1e-6 * abs(value)


def test_causes_outside_the_window_are_forgotten_and_a_snapshot_keeps_the_rest() -> None:
    causes = Causes(10)
    for pane in range(40):
        causes.take(pane, [counted("a", 3, pane), counted("b", 1, pane)], lambda _: 0)
    again = Causes(10)
    again.restore(causes.snapshot())

    assert len(causes.counts[0]) == 10
    assert again.told(0, 0) == causes.told(0, 0) == {"causes": [{"reason": "a", "n": 30}, {"reason": "b", "n": 10}]}
    assert causes.told(0, 38)["causes"] == [{"reason": "a", "n": 6}, {"reason": "b", "n": 2}]
