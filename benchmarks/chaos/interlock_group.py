"""Interlock under test: real workers in one group, and when they have come to rest and to the end."""

from itertools import count
from typing import Any

from benchmarks.chaos.children import Child, Nursery
from benchmarks.chaos.field import Field
from benchmarks.chaos.judging import INPUTS, Place

OPTIONS = (
    *("--session-timeout", "3", "--checkpoint-every", "0.3", "--idle-after", "3600"),
    *("--memory", "1", "--accept-unsigned-commands"),
)
"""Sources of a run are never idle: that would be an exception to law 3. With so little memory most of it goes to disk."""

GROUP = "interlock-m"


def worker(nursery: Nursery, place: Place, homes: dict[int, Child]) -> Child:
    """Return a worker that is not started yet, on the disk where one has ended; `homes` are those that have one."""
    home = next(n for n in count() if n not in homes or homes[n].has_ended)
    where = ("--bootstrap", place.bootstrap, "--prefix", place.prefix, "--listen", "127.0.0.1:0")
    state = ("--state-dir", str(nursery.disk.home(home)))
    homes[home] = Child(nursery, "interlock", ("worker", str(place.policy), *where, *state, *OPTIONS), place.folder)
    return homes[home]


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


def know(run: Field, policies: int) -> bool:
    """Return whether every member knows so many policies; those that are frozen cannot be asked."""
    members = run.group.members
    return len(run.group.awake()) == len(members) and all(
        len(member.status().get("policies", ())) >= policies for member in members
    )


def is_done(run: Field, end: int, ends: dict[str, list[int]]) -> bool:
    """Return whether all records are read, all is judged up to an event time, and nothing is held back."""
    shards, judges = states(run, "shards"), states(run, "judges")
    return (
        len(shards) == run.partitions
        and all(shards[str(n)]["positions"][topic] == ends[topic][n] for topic in INPUTS for n in range(run.partitions))
        and bool(judges)
        and all((judge["judged"] or 0) >= end and not judge["withheld"] for judge in judges.values())
    )
