"""More partitions: what the shards that come begin with, by what stands on `checkpoints` (STREAM.md §5). No clock, no broker.

All keys of a shard that comes were its parent's before, `number mod P`. So it begins with its parent's memory of events and with
its watermarks. Open counts stay with the parent alone, or they would count twice; so do orphans: of an outcome that waits in
both memories the parent counts it, and the child takes that back when it meets the prediction (`join.py`).
"""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from interlock.errors import FindingError
from interlock.protocol import INPUTS
from interlock.streams.blocks import Name, digest_of
from interlock.streams.checkpoints import TOPIC, Found, Owner, Place, Saved, block_key, pieces
from interlock.streams.join import FACTS
from interlock.streams.live import Outgoing
from interlock.streams.store import end_of
from interlock.streams.tally import CHAINS, OpenCounts

SEED = Place(0, 0)
"""Where the states stand that nobody wrote who owns them: groups count their epochs from 1."""


class Growth(NamedTuple):
    """Partitions of each input, before and after."""

    before: int
    after: int

    def children(self, parent: int) -> range:
        """Return the shards that come of one."""
        return range(parent + self.before, self.after, self.before)


def standing(run: str, found: Found, growth: Growth) -> dict[int, Saved]:
    """Return the states of all shards of a run.

    Raises:
        FindingError: some have left none.
    """
    saved = {number: found.furthest(Owner(run, "shard", number)) for number in range(growth.before)}
    if missing := [str(number) for number, one in saved.items() if one is None]:
        raise FindingError([f"no state of partition {', '.join(missing)}: start the workers, and stop them by SIGTERM"])
    return {number: one for number, one in saved.items() if one is not None}


def seed(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state with which a shard begins that comes of another one, given that one's."""
    join = parent["shard"]["join"]
    stores = dict(zip(FACTS, ("labels", "reviews"), strict=True))
    shard = dict(parent["shard"]) | {
        "join": dict(join) | {"inherited": [end_of(join[stores[fact]]) for fact in FACTS]},
        "open": {chain: OpenCounts().snapshot() for chain in CHAINS},
        "counters": {},
        "rivers": 0,
    }
    nothing = {"positions": dict.fromkeys(INPUTS, 0), "appended": dict.fromkeys(INPUTS, 0)}
    return dict(parent) | nothing | {"shard": shard}


def copies(run: str, growth: Growth, parent: int, block: bytes) -> Iterator[Outgoing]:
    """Yield a block of a parent as messages, one for each shard that comes of it."""
    name = Name(SEED.epoch, digest_of(block))
    for number in growth.children(parent):
        yield Outgoing(TOPIC, block, block_key(Owner(run, "shard", number), name), number)


def seeds(run: str, growth: Growth, parent: int, saved: Saved) -> Iterator[Outgoing]:
    """Yield the states of the shards that come of a parent, as messages; their blocks are copies of its own."""
    state = seed(saved.state)
    for number in growth.children(parent):
        owner = Owner(run, "shard", number)
        yield from pieces(owner, SEED, state, number, lambda block: Name(SEED.epoch, _digest(block.name)))


def _digest(name: Name | None) -> bytes:
    if name is None:
        raise RuntimeError("a block of a state that was read has no name")
    return name.digest


def moved(run: str, found: Found, growth: Growth) -> Iterator[Outgoing]:
    """Yield the states of judges whose partition of `checkpoints` is another one afterwards."""
    for owner in found.owners():
        home = owner.number % growth.after
        if (owner.run, owner.kind) == (run, "judge") and home != owner.number % growth.before:
            saved = found.furthest(owner)
            if saved is not None:
                yield from pieces(owner, SEED, saved.state, home)


def reached(growth: Growth, states: Mapping[int, Saved]) -> list[tuple[int, str, int]]:
    """Return the shard, chain and last closed pane of each shard that comes: its parent's."""
    return [
        (number, chain, through)
        for parent, saved in states.items()
        for number in growth.children(parent)
        for chain, through in sorted(saved.state["shard"]["through"].items())
    ]


def unread(group: str, prefix: str, places: Iterable[tuple[str, int]]) -> list[str]:
    """Return a line for each topic with partitions that hold records which a group has not read."""
    by_topic: dict[str, list[str]] = {}
    for topic, partition in sorted(places):
        by_topic.setdefault(topic, []).append(str(partition))
    return [
        f"{prefix}{topic}: group {group} has not read all of partition {', '.join(some)}: stop producers, let workers read, "
        "and stop them by SIGTERM"
        for topic, some in by_topic.items()
    ]
