"""The small rooms of the core against their slow, obvious versions: clock, tables of counts, chains, state as bytes."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.causes import Exemplar
from interlock.streams import checkpoint
from interlock.streams.chains import ChainState
from interlock.streams.clock import BEGINNING, Clock
from interlock.streams.names import OVERFLOW, Names
from interlock.streams.tally import COHORT, COUNT, EXEMPLARS, PANE, OpenCounts, TallyRecord, fewest, tabulate
from tests.tallying import filled


@given(
    times=st.lists(st.integers(0, 10_000), min_size=1, max_size=60),
    lateness=st.integers(0, 500),
    cut=st.integers(0, 60),
)
def test_effective_time_is_decided_event_by_event(times: list[int], lateness: int, cut: int) -> None:
    ts = np.array(times, np.int64)
    appended = np.full(len(ts), 9_000, np.int64)
    clock = Clock(lateness)

    parts = [clock.read(ts[:cut], appended[:cut]), clock.read(ts[cut:], appended[cut:])]

    latest = None
    for place, t in enumerate(min(value, 9_000) for value in times):
        watermark = BEGINNING if latest is None else latest - lateness
        found, row = (parts[0], place) if place < cut else (parts[1], place - cut)
        assert found.watermark[row] == watermark
        assert found.effective[row] == max(t, watermark)
        assert found.late[row] == (t < watermark)
        latest = t if latest is None else max(latest, t)
    assert clock.watermark == (latest or 0) - lateness


@given(
    rows=st.lists(st.tuples(st.integers(-5, 5), st.integers(0, 3), st.integers(0, 1 << 40)), min_size=1, max_size=80),
    far=st.booleans(),
)
def test_tabulate_counts_and_sums_exactly(rows: list[tuple[int, int, int]], far: bool) -> None:
    """Also where the ranges of the keys multiply past 63 bits."""
    scale = 1 << 45 if far else 1
    keys = [np.array([a * scale for a, _, _ in rows], np.int64), np.array([b * scale for _, b, _ in rows], np.int64)]
    weight = np.array([w for _, _, w in rows], np.int64)

    found, (counts, sums) = tabulate(keys, [weight])

    expected: dict[tuple[int, int], list[int]] = {}
    for a, b, w in rows:
        entry = expected.setdefault((a * scale, b * scale), [0, 0])
        entry[0] += 1
        entry[1] += w
    got = {(int(a), int(b)): [int(n), int(s)] for a, b, n, s in zip(*found, counts, sums, strict=True)}
    assert got == expected


def exemplar(pane: int, key: int) -> Exemplar:
    return Exemplar(pane, 1, '["a"]', key, f"e{key}", "r", 0, ("m", "1"))


def test_of_many_exemplars_the_smallest_keys_stay_whatever_their_order() -> None:
    many = [exemplar(pane, key) for pane in (1, 2) for key in range(30)]
    rng = np.random.default_rng(1)
    for _ in range(5):
        shuffled = [many[place] for place in rng.permutation(len(many))]
        halves = fewest(shuffled[:30]) + fewest(shuffled[30:])

        kept = fewest(halves)

        assert [x.key for x in kept if x.pane == 1] == list(range(EXEMPLARS))
        assert [x.key for x in kept if x.pane == 2] == list(range(EXEMPLARS))


def test_closing_takes_out_what_is_closed_and_keeps_the_rest() -> None:
    opened = OpenCounts()
    for pane in (3, 1, 2, 3):
        opened.add((np.array([pane]), -1, 0, np.array([0]), np.array([7]), 4), np.array([10]))

    closed, _ = opened.close(2)
    rest, _ = opened.close(9)

    assert closed[[0, 6]].tolist() == [[1, 2], [10, 10]]
    assert rest[[0, 6]].tolist() == [[3], [20]]


@given(st.data())
def test_a_chain_loses_no_count_and_adds_none(data: st.DataObject) -> None:
    """Law: against adding up by hand; whatever is put, taken and declared idle, in whatever order."""
    chain, made, taken = ChainState(), filled(np.random.default_rng(1), 60)[0], list[TallyRecord]()
    ends = [-1, -1]
    for _ in range(data.draw(st.integers(1, 12))):
        shard = data.draw(st.integers(0, 1))
        through = ends[shard] + data.draw(st.integers(0, 20))
        if through > ends[shard]:
            after = None if ends[shard] < 0 else ends[shard]
            chain.put(made.record(shard, "predictions", after, through))
            ends[shard] = through
        chain.idle |= data.draw(st.sets(st.integers(0, 1)))
        done = chain.complete(2)
        taken += chain.take(max(chain.furthest() if done is None else done, chain.merged))
    found, put = (
        np.concatenate([np.zeros((7, 0), np.int64), *(r.counts for r in records)], axis=1)
        for records in (
            [*taken, *chain.waiting],
            [made.record(shard, "predictions", None, end) for shard, end in enumerate(ends)],
        )
    )
    own = np.where(found[COHORT] < 0, found[PANE], found[COHORT])

    assert found[COUNT].sum() == put[COUNT].sum()
    assert sorted(own.tolist()) == sorted(put[PANE].tolist())
    assert all((r.counts[PANE] > chain.merged).all() for r in chain.waiting)


def test_names_past_the_limit_share_one_code_and_are_counted() -> None:
    names = Names(3)

    codes = [names.code(name) for name in ("a", "b", "c", "d", "a")]

    assert codes == [1, 2, 0, 0, 1]
    assert names.values[0] == OVERFLOW
    assert names.overflowed == 2


@pytest.mark.parametrize("place", [0, 20, 60, -1])
def test_a_damaged_state_is_refused(place: int) -> None:
    data = bytearray(checkpoint.encode({"a": np.arange(9), "b": [1, "x", None], "c": {3: 1.5}}))
    assert checkpoint.decode(bytes(data))["c"] == {3: 1.5}
    data[place] ^= 1

    with pytest.raises(checkpoint.DamagedStateError):
        checkpoint.decode(bytes(data))
    with pytest.raises(checkpoint.DamagedStateError):
        checkpoint.decode(bytes(data[: len(data) // 2]))
