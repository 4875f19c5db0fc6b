"""Records of `tallies` survive the wire, however they are split, repeated or torn."""

from contextlib import suppress
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.causes import Exemplar
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.streams import wire
from interlock.streams.shard import Trigger
from interlock.streams.tally import COUNT, PANE, SLICE, VERSION, TallyRecord

PLAN = make_plan(
    load_policy(
        b"slos: [{name: ood_rate_24h, objective: o, target: '<= 0.05', window: 24h, action_on_breach: notify}]", "p"
    )
)
RUN = "run"


def record(cells: int, seed: int = 0, shard: int = 3) -> TallyRecord:
    rng = np.random.default_rng(seed)
    counts = np.stack([rng.integers(0, 50, cells) for _ in range(7)]).astype(np.int64)
    counts[PANE] += 2_000_000_000
    counts[VERSION], counts[SLICE] = rng.integers(0, 3, cells), rng.integers(0, 5, cells)
    counts[COUNT] = rng.integers(-(2**40), 2**40, cells)
    versions = (("m", "1"), ("m", "2"), ("other", ""))
    told = tuple(
        Exemplar(2_000_000_001, 0, f"s{n}", n, f"e{n}", "CIT", 1, versions[n % 3], at=(n, n % 2))
        for n in range(int(rng.integers(0, 6)))
    )
    return TallyRecord(
        shard, "predictions", 5, 2_000_000_060, counts, versions, tuple(f"slice {n}" for n in range(5)), told
    )


def meaning(one: TallyRecord) -> tuple[object, ...]:
    """Return what a record says, whatever its codes are."""
    rows = sorted(
        (
            one.versions[col[VERSION]],
            one.slices[col[SLICE]],
            *(int(x) for i, x in enumerate(col) if i not in (VERSION, SLICE)),
        )
        for col in one.counts.T
    )
    return one.shard, one.chain, one.after, one.through, rows, sorted(one.exemplars)


def assembled(messages: list[bytes], into: wire.Assembler) -> list[TallyRecord]:
    found = []
    for message in messages:
        part = wire.decode(message)
        assert isinstance(part, wire.Tallies)
        whole = into.put(part)
        found += [] if whole is None else [whole]
    return found


@given(st.integers(0, 200), st.integers(0, 9), st.sampled_from([200, 1_000, 1 << 20]))
def test_a_record_means_the_same_after_any_splitting(cells: int, seed: int, most: int) -> None:
    original = record(cells, seed)
    messages = list(wire.tallies(RUN, original, PLAN, most))
    [found] = assembled(messages, wire.Assembler())

    assert meaning(found) == meaning(original)
    assert len(messages) == 1 or all(len(message) < most + 1_500 for message in messages)


@given(st.lists(st.integers(0, 1_000), max_size=40), st.data())
def test_repeats_and_restarts_of_a_split_record_yield_it_and_nothing_else(cuts: list[int], data: st.DataObject) -> None:
    original, other = record(120, 1), replace(record(90, 2), after=7)
    mine, theirs = list(wire.tallies(RUN, original, PLAN, 600)), list(wire.tallies(RUN, other, PLAN, 600))
    torn = [m for cut in cuts for m in (mine if cut % 2 else theirs)[: cut % 7]]
    into = wire.Assembler()
    before = assembled(torn, into)
    saved = into.snapshot()
    again = wire.Assembler()
    again.restore(saved)
    [found] = assembled(mine, again if data.draw(st.booleans()) else into)

    assert meaning(found) == meaning(original)
    assert all(meaning(one) in (meaning(original), meaning(other)) for one in before)


def test_parts_of_two_cuts_never_make_one_record() -> None:
    mine, theirs = (
        list(wire.tallies(RUN, record(120, 1), PLAN, 600)),
        list(wire.tallies(RUN, record(120, 2), PLAN, 600)),
    )

    assert assembled([theirs[0], *mine[1:]], wire.Assembler()) == []


def test_a_part_without_its_beginning_is_no_record() -> None:
    messages = list(wire.tallies(RUN, record(120), PLAN, 600))
    into = wire.Assembler()

    assert assembled(messages[1:], into) == []
    assert into.waiting == {}


@pytest.mark.parametrize(
    "one",
    [
        wire.Topology(RUN, 8),
        wire.Triggered(RUN, Trigger("rule", "m", "1", 17, "e1", 2, (40, 3))),
        wire.Idle(RUN, 1, "outcomes", 4),
        wire.Tick(RUN, 1_790_000_000_000),
        wire.Beat(RUN, 1, 2, 3),
        wire.Command(RUN, 0, 9, b"{}"),
    ],
)
def test_every_kind_of_record_comes_back_as_it_was(one: wire.Record) -> None:
    assert wire.decode(wire.encode(one)) == one


@given(st.binary(max_size=80), st.integers(0, 400), st.integers(0, 255))
def test_junk_is_refused_with_our_own_error(junk: bytes, place: int, byte: int) -> None:
    good = bytearray(next(iter(wire.tallies(RUN, record(4), PLAN))))
    good[place % len(good)] = byte
    for data in (junk, wire.MAGIC + junk, bytes(good)):
        with suppress(wire.UnreadableTallyError):
            wire.decode(data)


def test_a_record_split_by_judge_keeps_every_count_once() -> None:
    original = record(150, 4)
    parts = [wire.of_versions(original, codes) for codes in ({0, 1}, {2}, set())]

    assert sum(part.counts[COUNT].sum() for part in parts) == original.counts[COUNT].sum()
    assert parts[2].counts.shape == (7, 0)
    assert {(part.after, part.through) for part in parts} == {(original.after, original.through)}
    assert sorted(x for part in parts for x in part.exemplars) == sorted(original.exemplars)


@pytest.mark.parametrize("most", [200, 1 << 20])
def test_a_message_has_the_same_bytes_whether_a_shard_or_a_checkpoint_packs_it(most: int) -> None:
    messages = list(wire.tallies(RUN, record(60, 3), PLAN, most))

    assert messages == [wire.encode(wire.decode(message)) for message in messages]
