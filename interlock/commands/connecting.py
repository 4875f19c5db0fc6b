"""What all commands that speak to Kafka have in common: their options, and the settings that come of them."""

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated

import typer

from interlock.streams.settings import Settings
from interlock.streams.settings_read import FILE, Source, read_settings

BOOTSTRAP = "INTERLOCK_BOOTSTRAP"

Bootstrap = Annotated[
    str | None, typer.Option(metavar="HOST:PORT", help="Kafka brokers, comma-separated; or set INTERLOCK_BOOTSTRAP.")
]
Prefix = Annotated[
    str | None, typer.Option(metavar="TEXT", help="Prefix of all topics, such as `claims.`; or set INTERLOCK_PREFIX.")
]
File = Annotated[
    Path | None, typer.Option("--settings", metavar="FILE", help="YAML with settings; or set INTERLOCK_SETTINGS.")
]
Sets = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="NAME=VALUE", help="A setting, such as security_protocol=SASL_SSL; no secrets."),
]
Show = Annotated[bool, typer.Option("--show-settings", help="Print every setting and where it is from, and end.")]


@dataclass(frozen=True, slots=True)
class Told:
    """What a command was told of its settings: flags by the setting's name, `--set` and `--settings`."""

    flags: Mapping[str, object]
    sets: Sequence[str] | None = field(default=None)
    file: Path | None = None


def is_told(asked: Told) -> bool:
    """Return whether anything says where Kafka is, for a command that can do without: a flag, a variable or a file."""
    said = any(one.partition("=")[0] == "bootstrap" for one in asked.sets or ())
    variables = (FILE, BOOTSTRAP)
    return said or bool(asked.flags.get("bootstrap") or asked.file or any(os.environ.get(one) for one in variables))


def settings_for(asked: Told, *, show: bool = False) -> Settings:
    """Return the settings of a command; with `show` they are printed, without secrets, and the command ends.

    Raises:
        UserError: something is wrong with them, a line each.
    """
    resolved = read_settings(Source(asked.flags, asked.sets or (), asked.file, os.environ))
    if show:
        typer.echo("\n".join(resolved.lines()))
        raise typer.Exit
    return resolved.settings
