"""What `interlock worker` runs: the Faust app and its health page, until a signal, through a broker's absence."""

import asyncio
import gc
import logging
import os
import signal
import sys
from dataclasses import replace
from pathlib import Path

import typer
from aiokafka.errors import KafkaConnectionError
from kafka import KafkaConsumer

from interlock.commands.listen import host_and_port
from interlock.errors import FindingError, Unreachable, UserError
from interlock.reaching import consumer, settings_of
from interlock.streams.app import Group, run
from interlock.streams.budget import Budget
from interlock.streams.clients import Clients
from interlock.streams.commands import PolicyRecord
from interlock.streams.health import Health
from interlock.streams.lineage import Follower, Lineage, begin
from interlock.streams.live import Layout, Setup
from interlock.streams.preflight import check_rights
from interlock.streams.settings import Settings
from interlock.streams.spill import Spill
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


def layout_of(settings: Settings) -> Layout:
    """Verify the topics and the rights on them; return their partitions.

    Raises:
        Unreachable: no broker answers.
        FindingError: topics are missing, or are not what counting rests on, or a right is missing; a line each.
        UserError: the broker does not let us in.
    """
    connection, prefix = settings.connection, settings.prefix
    check_rights(connection, "worker", settings.group or "")
    seen = verify(connection, Topics(prefix))
    lines = [line for line in seen.differences if not (settings.allow_create_time and STAMPS in line)]
    if lines:
        raise FindingError(lines)
    for line in seen.unseen:
        typer.echo(f"warning: {line}", err=True)
    count = partitions_of(connection, prefix)
    return Layout(*(count[prefix + topic] for topic in ("predictions", "tallies", "control")))


def policies_of(started: Setup, file: Path, settings: Settings) -> tuple[Setup, Lineage]:
    """Return the setup of the group's policies, whichever of them a worker was started with.

    Raises:
        UserError: the group runs other policies, counts by another reference, or as another group does.
    """
    reference, group = "" if started.reference is None else started.reference.id, settings.group or ""
    record = PolicyRecord(group=group, policy=file.read_text("utf-8"), reference=reference)
    lineage = asyncio.run(begin(Clients(settings.connection), record, unsigned=started.takes_unsigned))
    if lineage.first is None or started.policy.digest not in lineage.digests():
        raise UserError(
            f"{file}: group {group} runs another policy; `interlock policy apply {file}` lets it follow, another --group runs "
            "it beside"
        )
    if reference != lineage.reference:
        raise UserError(f"{file}: group {group} counts by another reference; another --group runs it beside")
    return replace(started, policy=lineage.first, changes=tuple(lineage.changes)), lineage


def serve(setup: Setup, lineage: Lineage, settings: Settings) -> None:
    """Run until SIGTERM or SIGINT; UserError for what a person must mend."""
    listen = host_and_port(settings.listen)
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
    asyncio.run(_serve(setup, lineage, settings, listen))


async def _serve(setup: Setup, lineage: Lineage, settings: Settings, listen: tuple[str, int]) -> None:
    stop = asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    pace = Pace(
        settings.checkpoint_every, settings.idle_after, stall=settings.stall_after, size=settings.checkpoint_bytes
    )
    clients = Clients(settings.connection)
    memory = settings.memory << 20
    spill = None if settings.state_dir is None else Spill(Path(settings.state_dir), memory)
    budget = Budget() if spill is None else Budget(memory, spill.shelf)
    worker = Worker(setup, clients, pace, budget)
    worker.follower = Follower(clients, lineage)
    health, group = Health(worker), settings.group or ""
    await health.start(*listen)
    typer.echo(f"worker of {group}: http://{health.address}/health")
    try:
        await clients.reach()  # the consumer's thread would say in a trace that none answers
        await run(worker, Group(group, settings.session_timeout), stop, _watchdog(settings))
    except KafkaConnectionError as error:  # only at the start: later, a broker that is away is waited for
        raise Unreachable(f"no Kafka answers at {settings.bootstrap}: {error}") from error
    finally:
        await health.stop()
        if spill is not None:
            spill.close()


def _watchdog(settings: Settings) -> Watchdog:
    """Return what ends a worker that stands still."""
    given = {**settings_of(settings.connection), "isolation_level": settings.isolation_level}

    def connect() -> KafkaConsumer:
        return consumer(**given, group_id=None, enable_auto_commit=False)

    return Watchdog(connect, settings.prefix, settings.stall_after, _leave)


def _leave(said: str) -> None:
    """End at once: whatever hangs would keep an orderly end from coming."""
    sys.stderr.write(f"stalled: {said}; this worker is to be started anew (exit code {STALLED})\n")
    sys.stderr.flush()
    os._exit(STALLED)
