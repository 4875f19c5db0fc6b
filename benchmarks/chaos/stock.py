"""What is protected from: a stock Faust app that counts events by key in a Table, under the same driver.

The settings are Faust's own (at least once) but for the session, which is a worker's; topics are made before.
"""

import asyncio
import signal
import tempfile
from collections import Counter
from collections.abc import Sequence
from typing import Any

GROUP = "stock"
TOPIC, CHANGELOG = "events", "counts-changelog"
SESSION = 3.0


def main(arguments: Sequence[str]) -> None:
    """Run the app until SIGTERM; `arguments` are brokers and the topics' prefix."""
    bootstrap, prefix = arguments
    asyncio.run(_run(bootstrap, prefix))


async def _run(bootstrap: str, prefix: str) -> None:
    stop = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stop.set)
    app = build(bootstrap, prefix)
    app.finalize()
    await app.start()
    print("stock", flush=True)
    waits = asyncio.create_task(stop.wait())
    while not (stop.is_set() or app.crashed or app.should_stop):
        await asyncio.wait({waits}, timeout=0.1)
    crashed = app.crashed
    await app.stop()
    raise SystemExit(int(crashed))


def build(bootstrap: str, prefix: str) -> Any:
    """Return the app."""
    import faust  # noqa: PLC0415 - who only judges needs no Faust

    app = faust.App(
        prefix + GROUP,
        broker=[f"kafka://{one}" for one in bootstrap.split(",")],
        datadir=tempfile.mkdtemp(prefix="stock-"),
        key_serializer="raw",
        value_serializer="raw",
        web_enabled=False,
        topic_allow_declare=False,
        topic_disable_leader=True,
        broker_session_timeout=SESSION,
        broker_heartbeat_interval=SESSION / 5,
    )
    counts = app.Table(
        "counts",
        default=int,
        key_type=str,
        value_type=int,
        partitions=4,
        changelog_topic=app.topic(
            prefix + CHANGELOG,
            key_type=str,
            value_type=int,
            key_serializer="json",
            value_serializer="json",
            partitions=4,
        ),
    )

    async def count(stream: Any) -> None:
        async for event in stream.events():
            counts[event.value.decode()] += 1

    app.agent(app.topic(prefix + TOPIC, value_type=bytes, key_type=bytes))(count)
    return app


def compared(sent: Counter[tuple[int, str]], told: Counter[tuple[int, str]]) -> tuple[int, int]:
    """Return how many events are missing, and how many too many, by partition and key."""
    keys = sent | told
    return sum(max(0, sent[key] - told[key]) for key in keys), sum(max(0, told[key] - sent[key]) for key in keys)
