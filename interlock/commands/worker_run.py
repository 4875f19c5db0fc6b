"""What `interlock worker` runs: the Faust app and its health page, until a signal, through a broker's absence."""

import asyncio
import gc
import logging
import os
import signal
import sys
from dataclasses import dataclass

import typer
from aiokafka.errors import KafkaConnectionError
from kafka import KafkaConsumer

from interlock.commands.listen import host_and_port
from interlock.errors import FindingError, Unreachable
from interlock.reaching import consumer
from interlock.streams.app import Group, run
from interlock.streams.health import Health
from interlock.streams.live import Layout, Setup
from interlock.streams.topics import STAMPS
from interlock.streams.topics import Layout as Topics
from interlock.streams.topics_admin import partitions_of, verify
from interlock.streams.watchdog import Watchdog
from interlock.streams.worker import Pace, Worker

STALLED = 75
"""Exit code of a worker that stood still: a failure that a start mends."""

GARBAGE = 50_000, 20, 20
"""When to collect cycles: a fetched chunk makes ten thousand objects that are in none, which Python's own setting would
search 15 times (measured: a fifth of a worker's time)."""

log = logging.getLogger("interlock.worker")


@dataclass(frozen=True, slots=True)
class Options:
    """How a worker was started; times in seconds."""

    bootstrap: str
    prefix: str
    group: str
    listen: str
    pace: Pace
    session: float


def layout_of(options: Options, *, allow_create_time: bool) -> Layout:
    """Verify the topics; return their partitions.

    Raises:
        Unreachable: no broker answers.
        FindingError: topics are missing, or are not what counting rests on; a line each.
    """
    lines = verify(options.bootstrap, Topics(options.prefix))
    if allow_create_time:
        lines = [line for line in lines if STAMPS not in line]
    if lines:
        raise FindingError(lines)
    count = partitions_of(options.bootstrap, options.prefix)
    return Layout(*(count[options.prefix + topic] for topic in ("predictions", "tallies", "control")))


def serve(setup: Setup, options: Options) -> None:
    """Run until SIGTERM or SIGINT; UserError for what a person must mend."""
    listen = host_and_port(options.listen)
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    logging.getLogger("interlock").setLevel(logging.INFO)
    for noisy in (
        "aiokafka",
        "faust",
        "kafka",
        "mode",
        "interlock.streams",
    ):  # what matters of theirs is in our metrics, or stops us
        logging.getLogger(noisy).setLevel(logging.CRITICAL)
    for decode in setup.decoders.values():
        decode([])  # loads what is loaded on first use while nothing waits for it
    gc.freeze()  # what is loaded stays
    gc.set_threshold(*GARBAGE)
    asyncio.run(_serve(setup, options, listen))


async def _serve(setup: Setup, options: Options, listen: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    servers = options.bootstrap.split(",")
    worker = Worker(setup, {"bootstrap_servers": servers}, options.prefix, options.pace)
    health = Health(worker)
    await health.start(*listen)
    typer.echo(f"worker of {options.group}: http://{health.address}/health")
    try:
        await run(worker, Group(options.group, servers, options.prefix, options.session), stop, _watchdog(options))
    except KafkaConnectionError as error:  # only at the start: later, a broker that is away is waited for
        raise Unreachable(f"no Kafka answers at {options.bootstrap}: {error}") from error
    finally:
        await health.stop()


def _watchdog(options: Options) -> Watchdog:
    """Return what ends a worker that stands still."""

    def connect() -> KafkaConsumer:
        servers = options.bootstrap.split(",")
        return consumer(
            bootstrap_servers=servers, group_id=None, enable_auto_commit=False, isolation_level="read_committed"
        )

    return Watchdog(connect, options.prefix, options.pace.stall, _leave)


def _leave(said: str) -> None:
    """End at once: whatever hangs would keep an orderly end from coming."""
    sys.stderr.write(f"stalled: {said}; this worker is to be started anew (exit code {STALLED})\n")
    sys.stderr.flush()
    os._exit(STALLED)
