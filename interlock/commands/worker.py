"""`interlock worker`: the live pipeline, shards and judges, on Kafka."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.inputs import read_mapping, read_policy
from interlock.commands.replay import audit_secret
from interlock.policies.model import Policy
from interlock.streams.live import Setup
from interlock.streams.replay import load_reference


def worker(  # noqa: PLR0913, PLR0917 - the options of a command
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Annotated[
        str, typer.Option(metavar="HOST:PORT", envvar="INTERLOCK_BOOTSTRAP", help="Kafka brokers, comma-separated.")
    ],
    prefix: Annotated[str, typer.Option(envvar="INTERLOCK_PREFIX", help="Prefix of all topics.")] = "",
    group: Annotated[str | None, typer.Option(help="Consumer group; default interlock-MODEL.")] = None,
    field_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="YAML: our field names to yours.")
    ] = None,
    listen: Annotated[
        str, typer.Option(metavar="HOST:PORT", help="Where /health and /metrics are served; port 0: any free one.")
    ] = "127.0.0.1:6066",
    checkpoint: Annotated[
        float, typer.Option("--checkpoint-every", metavar="SECONDS", help="Between checkpoints.")
    ] = 1.0,
    idle: Annotated[
        float, typer.Option("--idle-after", metavar="SECONDS", help="Silence that makes a source idle.")
    ] = 60.0,
    session: Annotated[
        float,
        typer.Option("--session-timeout", metavar="SECONDS", help="Silence after which others take a worker's place."),
    ] = 10.0,
    stall: Annotated[
        float,
        typer.Option(
            "--stall-after", metavar="SECONDS", min=0, help="Standing still that ends it with exit code 75; 0: never."
        ),
    ] = 60.0,
    create_time: Annotated[
        bool, typer.Option("--allow-create-time", help="Take input topics whose producers set the append time.")
    ] = False,
    unsigned: Annotated[
        bool, typer.Option("--accept-unsigned-commands", help="Obey whoever can write to the topic `commands`.")
    ] = False,
) -> None:
    """Run the live pipeline.

    It counts and judges what comes on Kafka until it is told to stop; several workers of one group share the partitions. Exit code 3 if no broker answers, 75 if it stood still: start it anew.

    Example: interlock worker policy.yaml --bootstrap localhost:9092
    """
    from interlock.commands.worker_run import Options, layout_of, serve  # noqa: PLC0415 - Faust is an extra
    from interlock.streams.worker import Pace  # noqa: PLC0415 - aiokafka is, too

    loaded = read_policy(policy)
    options = Options(
        bootstrap, prefix, group or group_name(loaded), listen, Pace(checkpoint, idle, stall=stall), session
    )
    layout = layout_of(options, allow_create_time=create_time)
    reference, mapping = load_reference(loaded, policy.parent), read_mapping(field_map)
    serve(Setup(loaded, reference, layout, audit_secret(loaded), mapping, takes_unsigned=unsigned), options)


def group_name(policy: Policy) -> str:
    """Return the consumer group of a policy's workers."""
    return f"interlock-{policy.model or 'all'}"
