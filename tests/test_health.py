"""What workers and sinks tell of themselves: every metric has a meaning that docs/metrics.md repeats, and a value when asked."""

import asyncio
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import msgspec
import pytest
from prometheus_client import generate_latest
from prometheus_client.metrics_core import Metric
from prometheus_client.parser import text_string_to_metric_families

from interlock.connection import plain
from interlock.partitions import partition_of
from interlock.policies.load import load_policy
from interlock.streams.batch import Message
from interlock.streams.checkpoints import Owner, Writer
from interlock.streams.clients import Clients
from interlock.streams.health import COUNTED, EXCEPTIONS, Health
from interlock.streams.held import Held, Key
from interlock.streams.live import Layout, Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from interlock.streams.patience import Patience
from interlock.streams.sink_health import SinkHealth
from interlock.streams.sink_pages import PageTarget
from interlock.streams.sink_progress import Progress
from interlock.streams.worker import Worker
from tests.processes import ROOT
from tests.replaying import START, outcome, prediction
from tests.story import POLICY

SHARDS = 4


class Told(NamedTuple):
    """What is said of a metric, by the product or by the page."""

    kind: str
    labels: str
    meaning: str


def exposed(metric: Metric) -> str:
    """Return the name under which Prometheus has a metric."""
    return metric.name + ("_total" if metric.type == "counter" else "")


def page() -> Iterator[tuple[str, Told]]:
    """Yield the metrics of docs/metrics.md."""
    for line in (ROOT / "docs" / "metrics.md").read_text("utf-8").splitlines():
        if found := re.match(r"\| `(interlock_\w+)` \| (\w+) \|([^|]*)\|([^|]+)\|", line):
            yield found[1], Told(found[2], found[3].strip(), found[4].strip())


def watched(then: Callable[[Health, Mapping[str, Any]], None], number: int = 0) -> None:
    """Run a test with the health of a worker that holds a shard and a judge."""

    async def run() -> None:
        setup = Setup(load_policy(POLICY.encode(), "story"), None, Layout(SHARDS))
        worker = Worker(setup, Clients(plain("127.0.0.1:9")))
        held: dict[str, Any] = {"shard": LiveShard(number, setup), "judge": LiveJudge(0, setup)}
        for kind, it in held.items():
            worker.held[Key(kind, it.number)] = Held(it, Writer(Owner(setup.run, kind, it.number), 1, it.number, []))
        then(Health(worker), held)

    asyncio.run(run())


def sink_health() -> SinkHealth:
    """Return the health of a sink that has done nothing yet."""
    nowhere: Any = None
    log = logging.getLogger("interlock.sink")
    return SinkHealth(PageTarget(nowhere), Progress({"pagerduty": Patience(log), "kafka": Patience(log)}))


def metrics(health: Health) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what is served: values by labels, by name."""
    text = generate_latest(health._registry).decode()
    return {
        sample.name: {tuple(s.labels.values()): s.value for s in family.samples if s.name == sample.name}
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_every_metric_has_a_meaning_and_stands_in_the_page_and_no_other_does() -> None:
    told: dict[str, Told] = {}

    def then(health: Health, _: object) -> None:
        families: list[Any] = [*health.collect(), *sink_health().collect()]
        for metric in families:
            told[exposed(metric)] = Told(metric.type, ", ".join(metric._labelnames), metric.documentation)

    watched(then)

    assert all(one.meaning.endswith(".") for one in told.values())
    assert dict(page()) == told


def test_a_worker_tells_all_that_issue_and_page_name_even_before_anything_has_come() -> None:
    def then(health: Health, _: object) -> None:
        found, status = metrics(health), health.status()

        assert {what for _, _, what in found["interlock_events_total"]} >= set(COUNTED)
        assert found["interlock_exceptions_total"] == {(what,): 0 for what in EXCEPTIONS}
        assert {what for _, what in found["interlock_pending_joins"]} == {"predictions", "outcomes", "waiting"}
        assert found["interlock_fresh"] == {("0",): 0}
        assert "interlock_last_seconds" not in found
        assert status["judges"]["0"]["last_verdict"] is None
        assert status["shards"]["0"]["keys"] == {"predictions": None, "outcomes": None}

    watched(then)


@pytest.mark.parametrize("number", range(SHARDS))
def test_the_share_of_ids_that_sit_where_murmur2_puts_them_is_told_per_topic(number: int) -> None:
    ids = [n for n in range(400) if partition_of(f"e{n}".encode(), SHARDS) == number]

    def then(health: Health, held: Mapping[str, Any]) -> None:
        right = [prediction(n, START) for n in ids]
        anywhere = [outcome(n, START) for n in range(400)]
        for topic, events in (("predictions", right), ("outcomes", anywhere)):
            held["shard"].read(topic, [Message(msgspec.json.encode(e), n, START) for n, e in enumerate(events)])
        keys = {labels[1:]: n for labels, n in metrics(health)["interlock_keys_total"].items()}
        share = health.status()["shards"][str(number)]["keys"]

        assert keys["predictions", "murmur2"] > 0
        assert keys["predictions", "elsewhere"] == 0
        assert keys["outcomes", "elsewhere"] > 0
        assert share["predictions"] == 1
        assert share["outcomes"] < 1

    watched(then, number)


def test_an_exception_to_law_3_that_has_occurred_is_counted_and_named() -> None:
    def then(health: Health, held: Mapping[str, Any]) -> None:
        held["shard"].shard.counters["late"] += 2
        held["judge"].counters["idle"] += 1
        found = metrics(health)["interlock_exceptions_total"]

        assert {what for (what,), n in found.items() if n} == {"late", "idle"}
        assert health.status()["exceptions"] == ["idle", "late"]

    watched(then)
