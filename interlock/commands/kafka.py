"""`interlock kafka start | stop`: a real Kafka on this machine, for trying things out."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.broker import Broker
from interlock.errors import UserError

kafka = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Run a real Apache Kafka on this machine.\n\nOne node, on loopback only, without docker or a Java of your own."
    "\n\nExample: interlock kafka start --dir /tmp/kafka",
)

Folder = Annotated[Path, typer.Option("--dir", metavar="DIR", help="Where its data, log and pid file are.")]


@kafka.command()
def start(
    folder: Folder,
    port: Annotated[int | None, typer.Option(min=1, max=65535, help="Its port; a free one if not given.")] = None,
) -> None:
    """Start it in the background.

    It works on what is in DIR. Prints `bootstrap HOST:PORT` when it answers. Apache Kafka is downloaded the first time.

    Example: interlock kafka start --dir /tmp/kafka --port 9092
    """
    with _alone(folder):
        running = Broker.find(folder)
        if running is not None and port not in {None, running.port}:
            raise UserError(
                f"kafka: it already runs at {running.bootstrap} (pid {running.pid}); to move it,"
                f" `interlock kafka stop --dir {folder}` first"
            )
        broker = running or Broker.start(folder, port, detached=True)
    typer.echo(f"bootstrap {broker.bootstrap}")
    typer.echo(f"kafka: {'already runs' if running else 'runs'} in {folder} (pid {broker.pid})", err=True)


@kafka.command()
def stop(folder: Folder) -> None:
    """Stop the one that runs in DIR; its data stay.

    Example: interlock kafka stop --dir /tmp/kafka
    """
    running = Broker.find(folder)
    if running is None:
        typer.echo(f"kafka: none runs in {folder}", err=True)
        return
    running.stop()
    typer.echo(f"kafka: stopped (pid {running.pid})", err=True)


@contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """Let one process at a time start a broker in a folder."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("w")
    except OSError as error:
        raise UserError(f"kafka: {folder}: cannot be written: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
