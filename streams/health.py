"""`/health` and `/metrics` of a worker: where it is, read from its state when somebody asks."""

import time
from collections.abc import Iterator
from typing import Any

from aiohttp import web
from msgspec import json as msgspec_json
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.process_collector import ProcessCollector

from interlock.errors import UserError
from interlock.streams.clock import BEGINNING
from interlock.streams.held import now_ms
from interlock.streams.live import Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from interlock.streams.signs import SOURCES
from interlock.streams.worker import Worker

EXCEPTIONS = ("late", "evicted", "slice_overflow", "version_overflow", "behind", "idle", "unconfirmed")
"""Counters whose being zero is what law 3 rests on: with one of them, live may differ from a replay."""

COUNTED = ("predictions", "outcomes", "abuse", "joined", "duplicate", "late", "orphan", "evicted", "dead_letters")
"""Counters of a shard that are told even while they are 0, so that an alert on them has something to look at."""


class Health:
    """Two pages about a worker."""

    def __init__(self, worker: Worker) -> None:
        """Prepare; `start` listens."""
        self._worker = worker
        self._registry = CollectorRegistry()
        self._registry.register(self)
        ProcessCollector(registry=self._registry)
        self._runner: web.AppRunner | None = None
        self.address = ""

    async def start(self, host: str, port: int) -> None:
        """Listen; port 0 means any free one, which `address` names then.

        Raises:
            UserError: the address is taken.
        """
        app = web.Application()
        app.add_routes([web.get("/health", self._health), web.get("/metrics", self._metrics)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        site = web.TCPSite(self._runner, host, port)
        try:
            await site.start()
        except OSError as error:
            raise UserError(
                f"--listen {host}:{port}: {error.strerror or error}; another worker? port 0 takes any"
            ) from error
        self.address = "{}:{}".format(*self._runner.addresses[0][:2])

    async def stop(self) -> None:
        """Listen no more."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _health(self, _: web.Request) -> web.Response:
        status = self.status()
        code = 200 if status["status"] == "ok" else 503
        return web.Response(body=msgspec_json.encode(status), status=code, content_type="application/json")

    async def _metrics(self, _: web.Request) -> web.Response:
        kind, _sep, charset = CONTENT_TYPE_LATEST.partition("; charset=")
        return web.Response(body=generate_latest(self._registry), content_type=kind, charset=charset)

    def status(self) -> dict[str, Any]:
        """Return where the worker is: `ok`, or `failing` while Kafka keeps it from going on."""
        worker = self._worker
        failing = worker.failing
        shards = {number: held.it for (_, number), held in worker.held.items() if isinstance(held.it, LiveShard)}
        judges = {number: held.it for (_, number), held in worker.held.items() if isinstance(held.it, LiveJudge)}
        return {
            "status": "failing" if failing else "ok",
            "failing": failing,
            "policy": worker.setup.policy.digest,
            "policies": _policies(worker.setup),
            "run": worker.setup.run,
            "generation": worker.generation,
            "shards": {str(number): _shard(shard) for number, shard in shards.items()},
            "restoring": [number for (_, number), held in worker.held.items() if held.missing],
            "judges": {str(number): _judge(judge) for number, judge in judges.items()},
            "lag": {f"{topic}/{number}": lag for (topic, number), lag in worker.lags().items()},
            "checkpoint_age": _ages(worker),
            "exceptions": sorted(name for name in EXCEPTIONS if self._counted(name)),
        }

    def _counted(self, name: str) -> int:
        return sum(_counters(held.it).get(name, 0) for held in self._worker.held.values())

    def collect(self) -> Iterator[Metric]:
        """Yield the metrics, as Prometheus asks for them."""
        yield from self._lags()
        yield from self._shards()
        yield from self._judges()
        yield from self._states()
        yield from self._sending()

    def _lags(self) -> Iterator[Metric]:
        lag = GaugeMetricFamily("interlock_lag_records", "Records yet to be read.", labels=["topic", "partition"])
        for (topic, number), n in self._worker.lags().items():
            lag.add_metric([topic, str(number)], n)
        yield lag

    def _sending(self) -> Iterator[Metric]:
        worker = self._worker
        failing = worker.failing
        failures = worker.outbox.failures + worker.archive.failures
        yield GaugeMetricFamily(
            "interlock_failing",
            "Whether Kafka takes no messages or gives no policies, or --state-dir takes nothing more.",
            failing is not None,
        )
        yield CounterMetricFamily("interlock_sent", "Messages acknowledged by Kafka.", worker.outbox.sent)
        yield CounterMetricFamily("interlock_send_failures", "Batches sent again.", failures)
        yield CounterMetricFamily(
            "interlock_store_spill_failures", "Writes that --state-dir refused.", worker.budget.failures
        )
        yield CounterMetricFamily("interlock_checkpoints", "Checkpoints made durable.", worker.checkpoints)
        exceptions = CounterMetricFamily(
            "interlock_exceptions", "What may make live results differ from a replay's.", labels=["what"]
        )
        for what in EXCEPTIONS:
            exceptions.add_metric([what], self._counted(what))
        yield exceptions

    def _states(self) -> Iterator[Metric]:
        labels = ["kind", "number"]
        restoring = GaugeMetricFamily(
            "interlock_restoring", "Whether memory is being read back: nothing is counted yet.", labels=labels
        )
        events = CounterMetricFamily("interlock_events", "Events by what became of them.", labels=[*labels, "what"])
        mark = GaugeMetricFamily("interlock_watermark_seconds", "Event time reached.", labels=[*labels, "topic"])
        age = GaugeMetricFamily("interlock_checkpoint_age_seconds", "Since the last checkpoint.", labels=labels)
        for (kind, number), held in self._worker.held.items():
            zeros = dict.fromkeys(COUNTED, 0) if isinstance(held.it, LiveShard) else {}
            for what, n in (zeros | _counters(held.it)).items():
                events.add_metric([kind, str(number), what], n)
            restoring.add_metric([kind, str(number)], held.missing is not None)
            if held.saved_at:
                age.add_metric([kind, str(number)], time.monotonic() - held.saved_at)
            for topic, ms in _marks(held.it).items():
                mark.add_metric([kind, str(number), topic], ms / 1000)
        yield from (events, mark, age, restoring)

    def _shards(self) -> Iterator[Metric]:
        pending = GaugeMetricFamily(
            "interlock_pending_joins", "Events remembered until they are joined.", labels=["number", "what"]
        )
        keys = CounterMetricFamily(
            "interlock_keys", "Event ids looked at, by where they sit.", labels=["number", "topic", "where"]
        )
        for (_, number), held in self._worker.held.items():
            if isinstance(held.it, LiveShard):
                for what, n in _pending(held.it).items():
                    pending.add_metric([str(number), what], n)
                for topic in SOURCES:
                    placed = held.it.placing.of(topic)
                    keys.add_metric([str(number), topic, "murmur2"], placed.right)
                    keys.add_metric([str(number), topic, "elsewhere"], placed.looked - placed.right)
        yield from (pending, keys)

    def _judges(self) -> Iterator[Metric]:
        last = GaugeMetricFamily(
            "interlock_last_seconds", "Event time of the last of its kind.", labels=["number", "what"]
        )
        fresh = GaugeMetricFamily("interlock_fresh", "Whether leases are renewed.", labels=["number"])
        withheld = GaugeMetricFamily(
            "interlock_withheld", "Releases held back until counts are fresh.", labels=["number"]
        )
        for (_, number), held in self._worker.held.items():
            if isinstance(held.it, LiveJudge):
                for what, ms in (("verdict", held.it.last_verdict), ("control", held.it.last_control)):
                    if ms:
                        last.add_metric([str(number), what], ms / 1000)
                fresh.add_metric([str(number)], held.it.fresh(now_ms()))
                withheld.add_metric([str(number)], held.it.withheld)
        yield from (last, fresh, withheld)


def _counters(it: LiveShard | LiveJudge) -> dict[str, int]:
    if isinstance(it, LiveJudge):
        return dict(it.counters + it.judge.counters)
    return dict(it.shard.counters) | {"slice_overflow": it.shard.names.overflowed}


def _marks(it: LiveShard | LiveJudge) -> dict[str, int]:
    if isinstance(it, LiveJudge):
        marks = {"judged": it.judge.judged()}
    else:
        marks = {topic: clock.watermark for topic, clock in it.shard.clocks.items()}
    return {topic: ms for topic, ms in marks.items() if ms != BEGINNING}


def _policies(setup: Setup) -> list[dict[str, Any]]:
    """Return the policies of the group in order, each with the event time (ms) from which it counts."""
    later = [{"from": one.since, "policy": one.policy.digest} for one in setup.changes]
    return [{"from": None, "policy": setup.policy.digest}, *later]


def _shard(shard: LiveShard) -> dict[str, Any]:
    keys = {topic: shard.placing.of(topic).share for topic in SOURCES}
    state: dict[str, Any] = {"positions": shard.positions, "watermarks": _marks(shard), "counted": _counters(shard)}
    return state | {"pending": _pending(shard), "keys": keys}


def _pending(shard: LiveShard) -> dict[str, int]:
    """Return the predictions and outcomes that are remembered, and the outcomes whose prediction has not come."""
    join = shard.shard.join
    return {**join.sizes(), "waiting": join.waiting()}


def _judge(judge: LiveJudge) -> dict[str, Any]:
    state = {"position": judge.position, "judged": _marks(judge).get("judged"), "fresh": judge.fresh(now_ms())}
    state["withheld"] = judge.withheld
    last = {"last_verdict": judge.last_verdict or None, "last_control": judge.last_control or None}
    return state | last | {"counted": _counters(judge)}


def _ages(worker: Worker) -> dict[str, float]:
    """Return the seconds since the last checkpoint of each shard and judge that has one."""
    now = time.monotonic()
    return {
        f"{kind}/{number}": round(now - held.saved_at, 1)
        for (kind, number), held in worker.held.items()
        if held.saved_at
    }
