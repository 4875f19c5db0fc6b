"""A correction restates: counts less what it corrects, whatever was read first; value and interval move, evidence has bet."""

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.streams.batch import Wanted
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.pipeline import Pipeline
from interlock.streams.tally import CELL, COHORT, COUNT, SERIES, SLICE, VERSION
from tests.events import HOUR, History, history
from tests.replaying import START, Event, Ran, replay_lines
from tests.test_laws import POLICY, SECRET, Cut, Run, chunks, run, same

Said = dict[str, Any]


@cache
def events() -> History:
    """Return a history that breaks recall and calibration."""
    return history(seed=11, hours=18, per_hour=90)


def told(make: Callable[[int, Said], Sequence[Said]]) -> History:
    """Return the history with other outcomes in place of each, in the order of their times."""
    found = [one for i, line in enumerate(events().outcomes) for one in make(i, msgspec.json.decode(line))]
    found.sort(key=lambda one: int(one["ts"]))
    return History(events().predictions, [msgspec.json.encode(one) for one in found], events().end)


def contrary(said: Said, later: int, revision: int, *, right: bool) -> Said:
    """Return an outcome of a revision, so much later; wrong ones say the contrary of all."""
    facts = {name: said[name] is right for name in ("label", "confirmed_ood") if name in said}
    return said | facts | {"ts": said["ts"] + later, "revision": revision}


def corrected(i: int, said: Said) -> list[Said]:
    """Of five outcomes: as it was; wrong, mended soon; wrong, mended when it was judged; two corrections; one that comes too late."""
    wrong, right = contrary(said, 0, 0, right=False), contrary(said, 0, 0, right=True)
    return [
        [said],
        [wrong, contrary(said, HOUR // 2, 3, right=True)],
        [wrong, contrary(said, 5 * HOUR, 1, right=True)],
        [right, contrary(said, HOUR, 1, right=False), contrary(said, 6 * HOUR, 2, right=True)],
        [right | {"revision": 2}, contrary(said, HOUR // 3, 1, right=False), contrary(said, HOUR, 2, right=False)],
    ][i % 5]


@cache
def revised() -> History:
    return told(corrected)


@cache
def straight() -> Run:
    return run(revised(), Cut())


def test_corrections_of_a_known_history_are_counted_and_engage() -> None:
    """Otherwise equality would say little."""
    n = len([1 for i, _ in enumerate(events().outcomes) if i % 5 in (1, 2)])
    two = len([1 for i, _ in enumerate(events().outcomes) if i % 5 == 3])

    assert straight().counters["revised"] == n + 2 * two
    assert straight().counters["revision_ignored"] == 2 * len(
        [1 for i, _ in enumerate(events().outcomes) if i % 5 == 4]
    )
    assert b'"ood_recall_12h"' in straight().controls or b'"decision_ece_6h"' in straight().controls


@given(
    sizes=st.lists(st.integers(30, 1500), min_size=1, max_size=4),
    shards=st.sampled_from([1, 3, 16]),
    order=st.lists(st.booleans(), max_size=40),
    resume=st.lists(st.integers(1, 30), max_size=3, unique=True),
)
@settings(max_examples=3)
def test_any_cutting_spreading_interleaving_and_resuming_says_the_same(
    sizes: list[int], shards: int, order: list[bool], resume: list[int]
) -> None:
    same(run(revised(), Cut(sizes, shards, order, resume)), straight())


@pytest.mark.parametrize("first", [0, 1])
def test_one_topic_wholly_before_the_other_says_the_same(first: int) -> None:
    same(run(revised(), Cut((997,), 3, [bool(first)] * 1000)), straight())


def test_any_correction_delivered_twice_counts_once() -> None:
    doubled = told(lambda i, said: [one for one in corrected(i, said) for _ in range(2)])

    same(run(doubled, Cut((503,), 2)), run(doubled, Cut()))
    assert run(doubled, Cut()).counters["revised"] == straight().counters["revised"]


def ledger(found: History) -> Counter[tuple[object, ...]]:
    """Return all counts of labels by cohort, series, version, slice and cell, whenever they arrived."""
    plan = make_plan(load_policy(POLICY.encode(), "laws.yaml"))
    decoders: dict[str, Any] = {
        "predictions": prediction_decoder(Wanted(paths=plan.paths), SECRET),
        "outcomes": outcome_decoder(SECRET),
    }
    pipeline, total = Pipeline(plan, None, SECRET), Counter[tuple[object, ...]]()
    made = []
    for topic, lines in (("predictions", found.predictions), ("outcomes", found.outcomes)):
        made += [pipeline.read(decoders[topic](one)[0]) for one in chunks(lines, (997,), found.end)]
        made.append(pipeline.end(topic))
    for record in [one for some in [*made, pipeline.finish()] for one in some.records if one.chain == "joined"]:
        for cohort, series, version, piece, cell, n in record.counts[
            [COHORT, SERIES, VERSION, SLICE, CELL, COUNT]
        ].T.tolist():
            total[cohort, series, record.versions[version], record.slices[piece], cell] += n
    return Counter({key: n for key, n in total.items() if n})


def test_the_counts_of_a_corrected_history_add_up_to_those_of_its_last_word() -> None:
    last = told(lambda i, said: [max(corrected(i, said), key=lambda one: (one.get("revision", 0), -one["ts"]))])

    assert ledger(revised()) == ledger(last)
    assert ledger(revised()) != ledger(told(lambda i, said: corrected(i, said)[:1]))


ACCURACY = """
model: m
lateness: 1m
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 1h, predicted: "decision == 'pay'"%s}
slos:
- {name: accuracy_6h, objective: o, target: ">= 0.90", window: 6h, action_on_breach: route_to_human_review}
"""
MANY = 300


def judged(folder: Path, first: bool, then: bool, labels: str = "") -> Ran:
    """Replay 300 predictions `pay` whose labels say `first`, and three hours later, when all are judged, `then`."""
    made: list[Event] = [
        {"event_id": f"e{i}", "ts": START + i * 30_000, "model": "m", "decision": "pay"} for i in range(MANY)
    ]
    said: list[Event] = [{"event_id": f"e{i}", "ts": START + i * 30_000 + 60_000, "label": first} for i in range(MANY)]
    later = START + MANY * 30_000 + 2 * HOUR
    said += [{"event_id": f"e{i}", "ts": later + i, "label": then, "revision": 1} for i in range(MANY)]
    tail: list[Event] = [{"event_id": "z", "ts": later + HOUR, "model": "m", "decision": "pay"}]
    return replay_lines(folder, made + tail, said, ACCURACY % labels)


def test_corrections_of_what_was_judged_move_the_value_and_bet_nothing(tmp_path: Path) -> None:
    ran = judged(tmp_path, first=True, then=False)
    verdicts = ran.lines("verdicts")

    assert {"met", "at_risk"} <= {one["state"] for one in verdicts}
    assert "breached" not in {one["state"] for one in verdicts}
    assert (verdicts[-1]["value"], verdicts[-1]["n"]) == (0.0, MANY)
    assert (ran.counted("revised"), ran.lines("control")) == (MANY, [])


def test_a_breach_that_corrections_take_back_stands_until_it_is_released_by_proof(tmp_path: Path) -> None:
    ran = judged(tmp_path, first=False, then=True)
    last = ran.lines("verdicts")[-1]

    assert (last["state"], last["value"]) == ("breached", 1.0)
    assert [one["state"] for one in ran.lines("control")] == ["engaged"]


def test_judged_by_arrival_the_first_label_stands(tmp_path: Path) -> None:
    ran = judged(tmp_path, first=True, then=False, labels=", judge_on: arrival")

    assert (ran.counted("revised"), ran.counted("revision_ignored")) == (0, MANY)
    assert ran.lines("verdicts")[-1]["value"] == 1.0
