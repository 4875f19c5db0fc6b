"""`interlock policy apply | show`: the policies of a group of workers, one after the other."""

import asyncio
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Told, settings_for
from interlock.commands.inputs import read_policy, read_time
from interlock.commands.worker import group_name
from interlock.errors import FindingError
from interlock.policies.changes import grid, when
from interlock.streams.replay import load_reference
from interlock.streams.settings import Settings

if TYPE_CHECKING:
    from interlock.streams.clients import Clients

T = TypeVar("T")

policy = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The policies of running workers.\n\nExample: interlock policy apply policy.yaml --bootstrap localhost:9092",
)

MARGIN, LEAST = 120_000, 60_000
"""Wall-clock time (ms) by which a policy is published before its time: by itself, and at least where people name it."""

Group = Annotated[str | None, typer.Option(help="Consumer group of the workers; default interlock-MODEL.")]


@policy.command()
def apply(  # noqa: PLR0913, PLR0917 - the options of a command
    file: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    group: Group = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Event time from which it counts. [default: in minutes]"),
    ] = None,
    settings: File = None,
    sets: Sets = None,
) -> None:
    """Let a policy follow the one that workers run, without a restart.

    Each event counts by the policy of its time. Evidence of SLOs that ask what they asked goes on; what is engaged stays so. Workers take it up that were started with --accept-unsigned-commands. Exit code 1 if it cannot follow.

    Example: interlock policy apply policy.yaml --bootstrap localhost:9092
    """
    from interlock.streams.commands import PolicyRecord  # noqa: PLC0415 - Kafka's client is an extra
    from interlock.streams.lineage import furthest, publish, read_lineage  # noqa: PLC0415

    new = read_policy(file)
    reference = load_reference(new, file.parent)
    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix, "group": group}, sets, settings))
    name, judges = told.group or group_name(new), _judges(told)
    lineage = _run(told, lambda clients: read_lineage(clients, name))
    last, known = lineage.last, "" if reference is None else reference.id
    if last is not None and last.digest == new.digest:
        raise FindingError([f"{file}: group {name} runs it already"])
    come = _run(told, lambda clients: furthest(clients, judges))
    at = _soonest(come, 1 if last is None else grid(last, new)) if since is None else read_time(since, "--from")
    lines = lineage.why_not(new, at, known)
    if not lines and since is not None and come is not None and at <= come:
        lines = [f"--from {when(at)}: counts have come to {when(come)}; it must be later"]
    if lines:
        raise FindingError([f"{file}: {line}" for line in lines])
    record = PolicyRecord(group=name, policy=file.read_text("utf-8"), reference=known, since=at)
    _run(told, lambda clients: publish(clients, record))
    typer.echo(f"{file}: follows in group {name} from {when(at)} on, {new.digest}")
    if at < _now() + LEAST:
        typer.echo("warning: events of that time must not come before all workers have taken it up", err=True)


@policy.command()
def show(
    bootstrap: Bootstrap = None, prefix: Prefix = None, group: Group = None, settings: File = None, sets: Sets = None
) -> None:
    """Print the policies of a group, one after the other.

    Example: interlock policy show --group interlock-claims --bootstrap localhost:9092
    """
    from interlock.streams.lineage import read_lineage  # noqa: PLC0415 - Kafka's client is an extra

    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix, "group": group}, sets, settings))
    name = told.group or "interlock-all"
    _judges(told)
    lineage = _run(told, lambda clients: read_lineage(clients, name))
    if lineage.first is None:
        raise FindingError([f"group {name} has no policy yet"])
    typer.echo(f"{'from the beginning':<28}{lineage.first.digest}")
    for change in lineage.changes:
        typer.echo(f"{when(change.since):<28}{change.policy.digest}")


def _judges(told: Settings) -> int:
    """Return the partitions of `tallies`, once a broker answers and has our topics."""
    from interlock.streams.topics_admin import partitions_of  # noqa: PLC0415 - Kafka's client takes half a second to load

    found = partitions_of(told.connection, told.prefix)
    for topic in ("commands", "tallies"):
        if told.prefix + topic not in found:
            raise FindingError([f"{told.prefix}{topic}: found no such topic; `interlock topics` creates it"])
    return found[told.prefix + "tallies"]


def _run(told: Settings, asked: Callable[["Clients"], Coroutine[Any, Any, T]]) -> T:
    """Run what speaks to Kafka."""
    from interlock.streams.clients import Clients  # noqa: PLC0415 - aiokafka is an extra

    async def run() -> T:
        return await asked(Clients(told.connection))

    return asyncio.run(run())


def _soonest(come: int | None, step: int) -> int:
    """Return the first time that panes allow, some minutes ahead of the clock and of all that is counted."""
    ahead = max(_now(), come or 0) + MARGIN
    return -(-ahead // step) * step


def _now() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - a driver: a policy is published ahead of its time
