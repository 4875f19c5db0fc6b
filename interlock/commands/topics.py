"""`interlock topics`: create the topics of the live pipeline, and say how existing ones differ."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.inputs import read_policy
from interlock.errors import FindingError
from interlock.streams.topics import Layout

MOST = 10_000
"""Partitions that one may ask for."""


def topics(  # noqa: PLR0913, PLR0917 - the options of a command
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Annotated[str, typer.Option(metavar="HOST:PORT", help="A broker's address; several by commas.")],
    prefix: Annotated[str, typer.Option(help="What every topic's name begins with, such as `claims.`.")] = "",
    partitions: Annotated[
        int | None,
        typer.Option(
            min=1, max=MOST, metavar="N", help="Of each input and of checkpoints. [default: as found, else 1]"
        ),
    ] = None,
    tally_partitions: Annotated[
        int | None, typer.Option(min=1, max=MOST, metavar="N", help="Of tallies. [default: as found, else 1]")
    ] = None,
    replication: Annotated[int, typer.Option(min=1, max=9, metavar="N", help="Replicas of a topic that is made.")] = 1,
    check: Annotated[bool, typer.Option("--check", help="Create nothing: only verify.")] = False,
) -> None:
    """Create missing topics and verify the others.

    What exists is never altered. Exit code 1 if a topic is not what it must be, 3 if no broker answers.

    Example: interlock topics policy.yaml --bootstrap 127.0.0.1:9092
    """
    from interlock.streams import topics_admin  # noqa: PLC0415 - Kafka's client takes half a second to load

    model = read_policy(policy).model or policy.stem
    layout = Layout(prefix, partitions, tally_partitions, replication)
    if check:
        lines = topics_admin.verify(bootstrap, layout)
    else:
        outcome = topics_admin.create(bootstrap, layout)
        lines = list(outcome.differences)
        for topic in outcome.created:
            typer.echo(f"{topic}: created")
    if lines:
        raise FindingError(lines)
    typer.echo(f"{model}: all topics are as they must be")
