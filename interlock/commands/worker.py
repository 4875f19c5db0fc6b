"""`interlock worker`: the live pipeline, shards and judges, on Kafka."""

from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Show, Told, settings_for
from interlock.commands.inputs import read_mapping, read_policy
from interlock.commands.replay import warn_of_no_secret
from interlock.policies.model import Policy
from interlock.streams.live import Setup
from interlock.streams.replay import load_reference


def worker(  # noqa: PLR0913, PLR0917 - the options of a command
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    group: Annotated[str | None, typer.Option(help="Consumer group; default interlock-MODEL.")] = None,
    field_map: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="YAML: our field names to yours.")
    ] = None,
    listen: Annotated[
        str | None, typer.Option(metavar="HOST:PORT", help="Where /health and /metrics are; port 0: any free one.")
    ] = None,
    checkpoint_every: Annotated[float | None, typer.Option(metavar="SECONDS", help="Between checkpoints.")] = None,
    checkpoint_bytes: Annotated[
        int | None, typer.Option(metavar="BYTES", help="New events after which a checkpoint is due before its time.")
    ] = None,
    state_dir: Annotated[
        str | None,
        typer.Option(metavar="DIR", help="Where pending events go that --memory has no room for; a worker's own."),
    ] = None,
    memory: Annotated[
        int | None, typer.Option(metavar="MIB", help="Pending events in memory, with --state-dir; indexes on top.")
    ] = None,
    idle_after: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Silence that makes a source idle.")
    ] = None,
    session_timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", help="Silence after which others take a worker's place.")
    ] = None,
    stall_after: Annotated[
        float | None,
        typer.Option(metavar="SECONDS", min=0, help="Standing still that ends it with exit code 75; 0: never."),
    ] = None,
    allow_create_time: Annotated[
        bool | None, typer.Option("--allow-create-time", help="Take input topics whose producers set the append time.")
    ] = None,
    accept_unsigned_commands: Annotated[
        bool | None, typer.Option("--accept-unsigned-commands", help="Obey whoever can write to the topic `commands`.")
    ] = None,
    settings: File = None,
    sets: Sets = None,
    show_settings: Show = False,
) -> None:
    """Run the live pipeline.

    It counts and judges what comes on Kafka until it is told to stop; several workers of one group share the partitions. Settings come from flags, INTERLOCK_… variables and a YAML file, in this order. Exit codes: 1 topics, rights or policy are not as they must be, 2 wrong settings, 3 no broker answers, 75 it stood still, or its disk is full: start it anew.

    Example: interlock worker policy.yaml --bootstrap localhost:9092
    """
    from interlock.commands.worker_run import layout_of, policies_of, serve  # noqa: PLC0415 - Faust is an extra

    flags = {
        "bootstrap": bootstrap, "prefix": prefix, "group": group, "listen": listen, "idle_after": idle_after,
        "checkpoint_every": checkpoint_every, "session_timeout": session_timeout, "stall_after": stall_after,
        "checkpoint_bytes": checkpoint_bytes, "state_dir": state_dir, "memory": memory,
        "allow_create_time": allow_create_time, "accept_unsigned_commands": accept_unsigned_commands,
    }  # fmt: skip
    told = settings_for(Told(flags, sets, settings), show=show_settings)
    loaded = read_policy(policy)
    reference, mapping = load_reference(loaded, policy.parent), read_mapping(field_map)
    told = told.model_copy(update={"group": told.group or group_name(loaded)})
    secret = told.secret("audit_secret")
    warn_of_no_secret(loaded, secret)
    layout = layout_of(told)
    started = Setup(loaded, reference, layout, secret, mapping, takes_unsigned=told.accept_unsigned_commands)
    serve(*policies_of(started, policy, told), told)


def group_name(policy: Policy) -> str:
    """Return the consumer group of a policy's workers."""
    return f"interlock-{policy.model or 'all'}"
