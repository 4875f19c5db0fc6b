"""States on the compacted topic: read whole or not at all, the furthest one; a zombie's stands beside it."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.streams.checkpoints import PIECE, Found, Owner, Place, Writer, key, pieces
from interlock.streams.live import Outgoing

OWNER = Owner("run", "shard", 3)
OTHER = Owner("run", "judge", 3)


def state(reach: int, size: int = 100) -> dict[str, object]:
    return {"positions": {"predictions": reach, "outcomes": 1}, "data": noise(size)}


def noise(size: int) -> np.ndarray[Any, np.dtype[np.int64]]:
    """Return numbers that compression makes no smaller."""
    return np.random.default_rng(0).integers(0, 1 << 63, size)


def found(messages: Sequence[Outgoing]) -> Found:
    read = Found()
    for message in messages:
        read.put(message.key or b"", message.value)
    return read


def reach(read: Found, owner: Owner = OWNER) -> int | None:
    saved = read.furthest(owner)
    return None if saved is None else saved.state["positions"]["predictions"]


def compacted(messages: Sequence[Outgoing], rng: np.random.Generator) -> list[Outgoing]:
    """Return what a cleaner leaves: the last record of every key, and any of the earlier ones."""
    last = {message.key: place for place, message in enumerate(messages)}
    return [m for place, m in enumerate(messages) if last[m.key] == place or rng.random() < 0.5]


@given(st.integers(1, 400_000), st.integers(0, 5))
def test_a_state_comes_back_as_it_was_however_many_pieces_it_has(size: int, seed: int) -> None:
    sent = Writer(OWNER, 7, 3, []).write(state(41, size))
    read = found(compacted(sent, np.random.default_rng(seed))).furthest(OWNER)

    assert read is not None
    assert (read.state["data"] == noise(size)).all()
    assert len(sent) == -(-(8 * size + 200) // PIECE) or size < PIECE // 8 + 100
    assert {message.partition for message in sent} == {3}


@given(
    st.lists(st.tuples(st.integers(1, 3), st.integers(0, 90), st.integers(1, 150_000)), min_size=1, max_size=8),
    st.data(),
)
def test_the_furthest_whole_state_is_read_whatever_is_torn(
    writes: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    writers = {epoch: Writer(OWNER, epoch, 0, []) for epoch in (1, 2, 3)}
    sent: list[Outgoing] = []
    whole: dict[tuple[int, int], int] = {}
    for number, (epoch, at, size) in enumerate(writes):
        made = writers[epoch].write(state(at, size) | {"write": number})
        cut = data.draw(st.integers(0, len(made)))
        sent += made[:cut]
        slot = writers[epoch]._slot
        whole.pop((epoch, slot), None) if cut else None
        if cut >= sum(message.value is not None for message in made):  # what follows takes old pieces away
            whole[epoch, slot] = at
    best = max(whole.values(), default=None)

    assert reach(found(sent)) == best


def test_a_zombies_late_state_stands_beside_the_newer_one_also_after_compaction() -> None:
    zombie, owner = Writer(OWNER, 4, 0, []), Writer(OWNER, 5, 0, [])
    sent = [*zombie.write(state(100)), *owner.write(state(180)), *owner.write(state(200)), *zombie.write(state(150))]
    left = compacted(sent, np.random.default_rng(0))

    assert reach(found(left)) == 200


def test_one_key_for_all_owners_would_lose_it() -> None:
    one = [*pieces(OWNER, Place(0, 0), state(200), 0), *pieces(OWNER, Place(0, 0), state(150), 0)]

    assert reach(found(compacted(one, np.random.default_rng(0)))) == 150


def test_an_owner_deletes_only_what_its_own_durable_state_supersedes() -> None:
    old = Writer(OWNER, 4, 0, [])
    stands = old.write(state(100, 200_000))
    read = found(stands)
    owner = Writer(OWNER, 5, 0, read.older(OWNER, 5))
    durable = owner.write(state(120))
    after = found([*stands, *durable, *owner.superseded()])

    assert reach(after) == 120
    assert after.older(OWNER, 5) == []
    assert owner.superseded() == []


def test_a_shrunken_state_takes_its_old_pieces_away() -> None:
    owner = Writer(OWNER, 1, 0, [])
    large, other = owner.write(state(1, 300_000)), owner.write(state(2))
    small = owner.write(state(3))
    keys = {key(OWNER, Place(1, 1), piece) for piece in range(len(large))}

    assert len(large) > 1
    assert {message.key for message in small} == keys
    assert [message.value for message in small[1:]] == [None] * (len(large) - 1)
    assert reach(found([*large, *other, *small])) == 3


@pytest.mark.parametrize("junk", [(b"", b""), (b"\xc1", b"x"), (b"text", None), (b"\x93abc", b"\x90")])
def test_junk_on_the_topic_is_passed_over(junk: tuple[bytes, bytes | None]) -> None:
    read = found(Writer(OWNER, 1, 0, []).write(state(9)))
    read.put(*junk)

    assert reach(read) == 9


def test_a_damaged_state_is_not_taken() -> None:
    owner = Writer(OWNER, 1, 0, [])
    first, second = owner.write(state(5)), owner.write(state(9))
    value = bytearray(second[0].value or b"")
    value[-3] ^= 1

    assert reach(found([*first, second[0]._replace(value=bytes(value))])) == 5


def test_states_of_others_are_theirs() -> None:
    read = found(Writer(OTHER, 1, 0, []).write(state(9)))

    assert reach(read) is None
    assert reach(read, OTHER) == 9
    assert read.runs("judge", 3) == {"run"}
