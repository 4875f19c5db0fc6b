"""The judge of `make chaos` sees what it is there for: one event lost, doubled or told otherwise; and its streams are seeded."""

from collections import Counter
from itertools import islice
from pathlib import Path

import numpy as np
import pytest

from benchmarks.chaos.campaign import Report
from benchmarks.chaos.cluster import java_hash
from benchmarks.chaos.counts import Told, compared, true_counts
from benchmarks.chaos.driver import Schedule, parts
from benchmarks.chaos.faults import OF_STATE, OTHERS
from benchmarks.chaos.judging import Findings, _goes_back
from benchmarks.chaos.mutating import Mutator
from benchmarks.chaos.reloading import planned
from benchmarks.chaos.report import said
from benchmarks.chaos.stream import POLICY, Maker, Stream
from interlock.policies.changes import misplaced, refusals
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.streams import wire
from interlock.streams.batch import Message
from interlock.streams.live import Layout, Setup
from interlock.streams.live_shard import LiveShard
from interlock.streams.tally import Ints, TallyRecord

NOW = 1_790_000_000_000


def stream(seed: int) -> Stream:
    return Maker(seed, 400, 2, NOW).stream()


@pytest.fixture(scope="module")
def tallies() -> list[bytes]:
    """What two shards say of a stream."""
    setup, said = Setup(load_policy(POLICY.encode(), "policy"), None, Layout(2)), []
    shards = [LiveShard(number, setup) for number in range(2)]
    made = stream(3)
    for n, packet in enumerate((*made.packets, *made.flush)):
        sent = shards[packet.partition].read(packet.topic, [Message(packet.value, n, NOW, "application/x-ndjson")])
        said += [message.value or b"" for message in sent if message.topic == "tallies"]
    return said


def found(values: list[bytes]) -> tuple[int, int, int]:
    """Return what is lost, doubled and otherwise wrong."""
    made, plan = stream(3), make_plan(load_policy(POLICY.encode(), "policy"))
    told = Told().read(values)
    true = true_counts(made.packets, plan.tick, plan.policy.labels.orphan_ttl)
    return *compared(told.counts, true, made.end // plan.tick), told.differing + told.gaps


def test_counts_that_are_right_are_found_right_however_often_they_are_told(tallies: list[bytes]) -> None:
    again = len(tallies) // 2

    assert found(tallies) == (0, 0, 0)
    assert found([*tallies[:again], *tallies[again // 2 :]]) == (0, 0, 0)


def test_a_record_that_is_not_there_is_a_gap_and_its_events_are_lost(tallies: list[bytes]) -> None:
    counted = [n for n, value in enumerate(tallies) if _events(value)]
    lost, doubled, wrong = found([value for n, value in enumerate(tallies) if n != counted[5]])

    assert lost == _events(tallies[counted[5]])
    assert doubled == 0
    assert wrong == 1


def _events(value: bytes) -> int:
    return Told().read([value]).counts.total()


def test_an_event_counted_twice_is_doubled_and_a_pane_told_otherwise_is_wrong(tallies: list[bytes]) -> None:
    place = next(n for n, value in enumerate(tallies) if _events(value))
    record = wire.decode(tallies[place])
    assert isinstance(record, wire.Tallies)
    counts = record.record.counts.copy()
    counts[-1] += 1
    more = wire.encode(record._replace(record=_with(record, counts)))

    assert found([*tallies[:place], more, *tallies[place + 1 :]])[1] > 0
    assert found([*tallies, more])[2] > 0


def _with(record: wire.Tallies, counts: Ints) -> TallyRecord:
    one = record.record
    return TallyRecord(one.shard, one.chain, one.after, one.through, counts, one.versions, one.slices, one.exemplars)


@pytest.mark.parametrize(
    ("states", "is_wrong"),
    [
        (["engaged", "engaged", "released"], False),
        (["engaged", "released", "released"], False),
        (["engaged", "released", "engaged"], True),
    ],
)
def test_an_engagement_that_is_back_after_its_release_is_doubled(states: list[str], is_wrong: bool) -> None:
    assert _goes_back(states) == is_wrong


@pytest.mark.parametrize("name", ["unsent", "lost", "doubled", "wrong_counts", "wrong_verdicts", "missing_controls"])
def test_a_run_with_one_thing_wrong_has_not_held(name: str) -> None:
    run = Findings(repeats=9, events=9)
    had = run.held
    setattr(run, name, 1)

    assert had
    assert not run.held


def test_a_seed_makes_the_same_stream_and_another_seed_another() -> None:
    assert stream(1) == stream(1)
    assert stream(1) != stream(2)


def test_every_disturbance_is_in_a_stream_and_every_event_is_in_it_once() -> None:
    made = Maker(1, 3000, 4, NOW).stream()
    kinds = made.expected()
    ids = Counter(line.event_id for packet in made.packets for line in packet.lines if line.kind == "prediction")

    assert set(kinds) == {"prediction", "outcome", "orphan", "again", "poison", "ahead"}
    assert len(ids) == 3000
    assert max(ids.values()) == 1


def test_mutants_are_seeded_and_hold_no_second_line() -> None:
    made = list(Mutator(5).mutants(2000))

    assert made == list(Mutator(5).mutants(2000))
    assert all(b"\n" not in (one.value or b"") for one in made if not one.is_frame)
    assert sum(one.is_frame for one in made) == sum(one.is_frame for one in Mutator(5).good(2000))


def test_a_group_is_coordinated_where_java_would_say() -> None:
    assert java_hash("hello") == 99_162_322


@pytest.mark.parametrize("seed", [1, 2])
def test_every_event_of_a_policys_time_is_sent_after_the_round_in_which_it_is_published(
    seed: int, tmp_path: Path
) -> None:
    made = Maker(seed, 3000, 4, NOW).stream()
    rounds = parts(made, 10)
    reloads = list(planned(rounds, tmp_path, np.random.default_rng(seed)))
    first = load_policy(POLICY.encode(), "policy")
    known = [(first, 0)]
    for reload in reloads:
        new = load_policy(reload.policy.read_bytes(), reload.policy.name)
        sent = [line for some in rounds[: reload.number + 1] for packet in some for line in packet.lines]

        assert all(line.ts < reload.since for line in sent if line.kind != "ahead")
        assert reload.since < made.end
        assert refusals(first, new) == []
        assert misplaced(known, new, reload.since) is None
        known.append((new, reload.since))

    assert len({policy.digest for policy, _ in known}) == 3
    assert [reload.known for reload in reloads] == [1, 2]


def test_a_seed_deals_the_same_faults_and_leaves_none_out_of_a_pack() -> None:
    size = sum(fault.weight for fault in OTHERS)
    packs = [[fault.name for fault in islice(Schedule(10, seed).others(), 2 * size)] for seed in (1, 1, 2)]

    assert packs[0] == packs[1] != packs[2]
    assert Counter(packs[0][:size]) == Counter(packs[0][size:]) == {fault.name: fault.weight for fault in OTHERS}
    assert {fault.name for fault in islice(Schedule(10, 1, knows_state=False).others(), size)}.isdisjoint(OF_STATE)


def test_how_workers_ended_is_told_once_a_seed_without_the_folders_and_addresses_of_a_run() -> None:
    exits = Counter(
        {f"ended with 2: --state-dir /var/run{n}/worker{n}: no room at 127.0.0.1:900{n}": 2 for n in (1, 2)}
    )

    assert said([Report(7, Counter(), exits, Findings(), 1.0)]) == (
        "seed 7: a worker ended with 2: --state-dir …: no room at … (4 x)"
    )
