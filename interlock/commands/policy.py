"""`interlock policy apply | show`: the policies of a group of workers, one after the other."""

import asyncio
from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.inputs import read_policy
from interlock.commands.worker import group_name
from interlock.streams.replay import load_reference

policy = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="The policies of running workers.\n\nExample: interlock policy apply policy.yaml --bootstrap localhost:9092",
)

MARGIN, LEAST = 120_000, 60_000
"""Wall-clock time (ms) by which a policy is published before its time: by itself, and at least where people name it."""

Bootstrap = Annotated[
    str, typer.Option(metavar="HOST:PORT", envvar="INTERLOCK_BOOTSTRAP", help="Kafka brokers, comma-separated.")
]
Prefix = Annotated[str, typer.Option(envvar="INTERLOCK_PREFIX", help="Prefix of all topics.")]
Group = Annotated[str | None, typer.Option(help="Consumer group of the workers; default interlock-MODEL.")]


@policy.command()
def apply(
    file: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Bootstrap,
    prefix: Prefix = "",
    group: Group = None,
    since: Annotated[
        str | None,
        typer.Option("--from", metavar="TIME", help="Event time from which it counts. [default: in minutes]"),
    ] = None,
) -> None:
    """Let a policy follow the one that workers run, without a restart.

    Each event counts by the policy of its time. Evidence of SLOs that ask what they asked goes on; what is engaged stays so. Workers take it up that were started with --accept-unsigned-commands. Exit code 1 if it cannot follow.

    Example: interlock policy apply policy.yaml --bootstrap localhost:9092
    """
    from interlock.streams.lineage import read_lineage  # noqa: PLC0415 - Kafka's client is an extra

    new = read_policy(file)
    reference = load_reference(new, file.parent)
    reference_id = "" if reference is None else reference.id
    name, connect = group or group_name(new), _reach(bootstrap, prefix)
    lineage = asyncio.run(read_lineage(connect, prefix, name))
