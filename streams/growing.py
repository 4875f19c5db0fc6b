"""More partitions: what the shards that come begin with, from what stands on `checkpoints` (STREAM.md §5). No clock, no broker.

All keys of a child partition were its parent's before, `child mod P`. So the child begins with the parent's memory of events,
and with its watermarks; counts that are open stay with the parent alone, or they would count twice.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from interlock.errors import FindingError
from interlock.protocol import INPUTS
from interlock.streams.checkpoints import Found, Owner, Writer
from interlock.streams.live import Outgoing
from interlock.streams.tally import CHAINS, OpenCounts

Ends = Mapping[tuple[str, int], int]
"""The end offset of each input topic's partitions."""

SEED = 0
"""The owner's epoch of what is written for a shard that nobody has owned."""


def seed(parent: Mapping[str, Any]) -> dict[str, Any]:
    """Return the state of a child shard, given its parent's."""
    shard = dict(parent["shard"]) | {
        "open": {chain: OpenCounts().snapshot() for chain in CHAINS},
        "counters": {},
        "rivers": 0,
    }
    nothing = {"positions": dict.fromkeys(INPUTS, 0), "appended": dict.fromkeys(INPUTS, 0)}
    return dict(parent) | nothing | {"shard": shard}


def drained(run: str, found: Found, before: int, ends: Ends) -> dict[int, Mapping[str, Any]]:
    """Return the states of all shards, which have read all there is.

    Raises:
        FindingError: one has not, or has left no state.
    """
    states, lines = {}, []
    for number in range(before):
        saved = found.furthest(Owner(run, "shard", number))
        if saved is None:
            lines.append(f"shard {number}: no state of this group; start its workers first")
            continue
        states[number] = saved.state
        for topic in INPUTS:
            unread = ends[topic, number] - saved.state["positions"][topic]
            if unread:
                lines.append(f"{topic}, partition {number}: {unread} records are not read: stop its producers, let workers run")
    if lines:
        raise FindingError(lines)
    return states


def children(run: str, states: Mapping[int, Mapping[str, Any]], after: int) -> Iterator[Outgoing]:
    """Yield the states of the shards that come, as messages."""
    for number in range(len(states), after):
        writer = Writer(Owner(run, "shard", number), SEED, number, [])
        yield from writer.write(seed(states[number % len(states)]))


def moved(run: str, found: Found, before: int, after: int) -> Iterator[Outgoing]:
    """Yield the states of judges whose partition of `checkpoints` is another one then."""
    for owner in found.owners():
        home = owner.number % after
        if owner.run == run and owner.kind == "judge" and home != owner.number % before:
            saved = found.furthest(owner)
            if saved is not None:
                yield from Writer(owner, saved.place.epoch, home, []).write(saved.state)


def reached(states: Mapping[int, Mapping[str, Any]], after: int) -> list[tuple[int, str, int]]:
    """Return the shard, chain and last closed pane of each shard that comes: its parent's."""
    return [
        (number, chain, through)
        for number in range(len(states), after)
        for chain, through in sorted(states[number % len(states)]["shard"]["through"].items())
    ]
