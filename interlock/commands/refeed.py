"""`interlock replay --dead-letters`: events that could not be read, fed again after a fix."""

import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import typer

from interlock.commands.connecting import Told, is_told, settings_for
from interlock.commands.inputs import read_mapping
from interlock.connection import Connection
from interlock.errors import FindingError, UserError
from interlock.policies.model import Policy
from interlock.policies.planning import make_plan
from interlock.protocol import ARROW, INPUTS
from interlock.sinks.console import console, table
from interlock.streams.dead_letters import Fate, Fed, Repair, counted, refusals

TOPIC = Path("-")
"""What stands for the topic of dead letters in the place of a file."""

SHOWN = 5
"""Letters that cannot be fed that are told one by one."""


@dataclass(frozen=True, slots=True)
class Asked:
    """Where dead letters are, and what is to be done with them."""

    source: Path
    kafka: Told
    field_map: Path | None
    send: bool
    anyway: bool
    is_live: bool

    @property
    def is_topic(self) -> bool:
        """Whether letters come from their topic."""
        return self.source == TOPIC


def feed_again(asked: Asked | None) -> None:
    """Say what becomes of dead letters, and with `send` bring their events back to their topics.

    Raises:
        FindingError: some could not be fed.
    """
    from interlock.streams.refeed import Feeder  # noqa: PLC0415 - Kafka's client takes half a second to load

    if asked is None:
        raise UserError("what is to be replayed? Give POLICY and --predictions, or --dead-letters")
    place = _place(asked)
    if place is None:
        raise UserError(
            "--dead-letters without POLICY feeds a live pipeline: give --bootstrap, or set INTERLOCK_BOOTSTRAP"
        )
    with ExitStack() as stack:
        feeder = stack.enter_context(Feeder(place)) if asked.send else None  # it ends all others before we look
        fed, junk = _fates(asked, _repair(asked, None))
        _show(fed, junk)
        ready = [one for one in fed if one.fate is Fate.READY]
        if feeder is not None:
            typer.echo(f"{feeder.send(ready):,} sent")
        elif ready:
            typer.echo(f"nothing was sent: --send sends {len(ready):,}")
    left = _left(fed)
    if left:
        raise FindingError(left)


def write_events(asked: Asked, policy: Policy, out: Path) -> dict[str, list[Path]]:
    """Write the events of dead letters into files beside a replay's outputs, by topic, and say which could not be."""
    fed, junk = _fates(asked, _repair(asked, policy))
    _show(fed, junk)
    for line in _left(fed):
        typer.echo(line, err=True)
    ready = [one for one in fed if one.fate is Fate.READY]
    folder = out / "refed"
    written: dict[str, list[Path]] = {}
    for topic in INPUTS:
        mine = [one for one in ready if one.letter.topic == topic]
        for kind, name in ((False, f"{topic}.jsonl"), (True, f"{topic}.arrow")):
            values = [one.value for one in mine if _is_arrow(one) is kind]
            if values:
                folder.mkdir(parents=True, exist_ok=True)
                written.setdefault(topic, []).extend(_written(folder / name, values, arrow=kind))
    return written


def _written(path: Path, values: Sequence[bytes], *, arrow: bool) -> Iterator[Path]:
    """Write events: JSON as one line each, every Arrow event as a file of its own, since their columns may differ."""
    if not arrow:
        path.write_bytes(b"".join(b" ".join(value.splitlines()) + b"\n" for value in values))
        yield path
        return
    for number, value in enumerate(values):
        one = path.with_suffix(f".{number}.arrow")
        one.write_bytes(value)
        yield one


def _is_arrow(fed: Fed) -> bool:
    return any(text == ARROW.encode() for _, text in fed.headers)


def _repair(asked: Asked, policy: Policy | None) -> Repair:
    now = int(time.time() * 1000)  # noqa: TID251 - a driver: when events would be appended
    refused = refusals()
    if policy is not None:
        refused = refusals(make_plan(policy).paths, policy.max_skew, embedded=policy.labels.joined_at_source)
    return Repair(now, refused, read_mapping(asked.field_map), asked.anyway)


def _fates(asked: Asked, repair: Repair) -> tuple[list[Fed], int]:
    """Return what becomes of each letter, and how many lines are none."""
    from interlock.streams.originals import Originals  # noqa: PLC0415 - as above
    from interlock.streams.refeed import Letters, read_file, read_topic  # noqa: PLC0415 - as above

    place, letters = _place(asked), Letters()
    if not asked.is_topic:
        read_file(asked.source, letters)
    elif place is None:
        raise UserError("--dead-letters without FILE reads their topic: give --bootstrap, or set INTERLOCK_BOOTSTRAP")
    if place is None:
        return list(letters.fates(repair, None)), letters.junk
    read_topic(place, letters, only_marks=not asked.is_topic)
    with Originals(place) as originals:
        if not asked.is_live:  # what was fed again is in Kafka; whether these files have it too, event ids tell
            letters.done.clear()
        return list(letters.fates(repair, originals)), letters.junk


def _place(asked: Asked) -> Connection | None:
    """Return how Kafka is reached; None if nobody says where it is."""
    return settings_for(asked.kafka).connection if is_told(asked.kafka) else None


def _show(fed: list[Fed], junk: int) -> None:
    """Print how many letters of each reason have which fate."""
    if not fed:
        typer.echo("no dead letters")
    else:
        shown = table("Dead letters", ["reason", *Fate], list(Fate))
        for reason, row in counted(fed).items():
            shown.add_row(reason, *(f"{row[fate]:,}" if row[fate] else "-" for fate in Fate))
        console().print(shown)
    if junk:
        typer.echo(f"{junk:,} lines are no dead letters: passed over")


def _left(fed: list[Fed]) -> list[str]:
    """Return a line for each letter that cannot be fed; of many, the first."""
    left = [one for one in fed if one.fate in (Fate.REFUSED, Fate.GONE)]
    lines = [f"{one.letter.identity}: {one.fate}: {one.why}" for one in left[:SHOWN]]
    return [*lines, f"and {len(left) - SHOWN:,} more"] if len(left) > SHOWN else lines
