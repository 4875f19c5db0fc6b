"""`interlock topics`: create the topics of the live pipeline, and say how existing ones differ."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Told, settings_for
from interlock.commands.inputs import read_policy
from interlock.commands.worker import group_name
from interlock.errors import FindingError
from interlock.rights import commands
from interlock.streams.topics import Layout

MOST = 10_000
"""Partitions that one may ask for."""

UNDECIDED = 4


def topics(  # noqa: PLR0913, PLR0917 - the options of a command
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
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
    more: Annotated[
        int | None,
        typer.Option(
            "--grow", min=1, max=MOST, metavar="N", help="Grow the inputs to N partitions; workers are stopped."
        ),
    ] = None,
    group: Annotated[
        list[str] | None, typer.Option(help="With --grow: each group of workers that goes on; default interlock-MODEL.")
    ] = None,
    check: Annotated[bool, typer.Option("--check", help="Create nothing: only verify.")] = False,
    acls: Annotated[
        bool, typer.Option("--acls", help="Ask no broker: print the commands that grant each part its rights.")
    ] = False,
    settings: File = None,
    sets: Sets = None,
) -> None:
    """Create missing topics and verify the others.

    What exists is never altered, but by --grow: once producers are stopped, workers have read everything and are stopped too, it grows the inputs so that all counts go on. Exit code 1 if a topic is not what it must be, 2 if settings are wrong or the broker refuses us, 3 if no broker answers, 4 if the user may not see the topics' settings.

    Example: interlock topics policy.yaml --bootstrap 127.0.0.1:9092
    """
    told = settings_for(Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings))
    loaded = read_policy(policy)
    if acls:
        return typer.echo("\n".join(commands(told.bootstrap, told.prefix, told.group or group_name(loaded))))
    if more is not None:
        from interlock.commands.growing import grow  # noqa: PLC0415 - Kafka's client is an extra

        groups = group or [told.group or group_name(loaded)]
        return typer.echo(grow(told, groups, more, named=bool(group or told.group)))
    from interlock.streams import topics_admin  # noqa: PLC0415 - Kafka's client takes half a second to load

    layout = Layout(told.prefix, partitions, tally_partitions, replication)
    outcome = (topics_admin.verify if check else topics_admin.create)(told.connection, layout)
    for topic in outcome.created:
        typer.echo(f"{topic}: created")
    for line in outcome.unseen:
        typer.echo(line, err=True)
    if outcome.differences:
        raise FindingError(outcome.differences)
    if outcome.unseen:
        raise typer.Exit(UNDECIDED)
    return typer.echo(f"{loaded.model or policy.stem}: all topics are as they must be")
