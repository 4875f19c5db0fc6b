"""Interlock under test: real workers in one group, and when they have come to rest and to the end."""

from typing import Any

from benchmarks.chaos.children import Child, Nursery
from benchmarks.chaos.field import Field
from benchmarks.chaos.judging import INPUTS, Place

OPTIONS = ("--session-timeout", "3", "--checkpoint-every", "0.3", "--idle-after", "3600")
"""Sources of a run are never idle: that would be an exception to law 3."""

GROUP = "interlock-m"


def worker(nursery: Nursery, place: Place) -> Child:
    """Return a worker that is not started yet."""
    where = ("--bootstrap", place.bootstrap, "--prefix", place.prefix, "--listen", "127.0.0.1:0")
    return Child(nursery, "interlock", ("worker", str(place.policy), *where, *OPTIONS), place.folder)


def states(run: Field, kind: str) -> dict[str, dict[str, Any]]:
    """Return what owners say of their shards or judges: of several, the one of the latest generation."""
    found: dict[str, tuple[int, dict[str, Any]]] = {}
    for member in run.group.awake():
        status = member.status()
        for number, state in status.get(kind, {}).items():
            if number not in found or found[number][0] < status["generation"]:
                lag = sum(n for name, n in status["lag"].items() if name.endswith(f"/{number}"))
                found[number] = status["generation"], state | {"lag": lag}
    return {number: state for number, (_, state) in found.items()}


def rests(run: Field) -> bool:
    """Return whether every shard has an owner who has read all."""
    shards = states(run, "shards")
    return len(shards) == run.partitions and not any(shard["lag"] for shard in shards.values())


def is_done(run: Field, end: int, ends: dict[str, list[int]]) -> bool:
    """Return whether all records are read, all is judged up to an event time, and nothing is held back."""
    shards, judges = states(run, "shards"), states(run, "judges")
    return (
        len(shards) == run.partitions
        and all(shards[str(n)]["positions"][topic] == ends[topic][n] for topic in INPUTS for n in range(run.partitions))
        and bool(judges)
        and all((judge["judged"] or 0) >= end and not judge["withheld"] for judge in judges.values())
    )
