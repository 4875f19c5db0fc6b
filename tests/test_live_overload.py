"""More events than a worker can take: they wait in Kafka, not in memory; none is dropped, and never-events are acted on."""

import re
import threading
from pathlib import Path

import msgspec
import pytest

from interlock.commands.broker import Broker
from tests.living import Running, send, topics, until
from tests.replaying import START, prediction
from tests.story import counted, lag, until_published

pytestmark = pytest.mark.integration

EVENTS, FIRST, DENIED = 60_000, 1_000, 45_000
BULK = 1_500
"""Bytes of each event that nobody reads: what waits is 90 MB."""

POLICY = """
model: m
lateness: 30s
ood: {threshold: 0.9}
slos:
- {name: ood_rate_1h, objective: o, target: "<= 0.10", window: 1h, action_on_breach: notify}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""


def event(number: int) -> bytes:
    decision = "deny" if number == DENIED else "pay"
    features = {"note": "x" * BULK}
    return msgspec.json.encode(prediction(number, START + number * 1_000, decision=decision, features=features))


def most_memory(worker: Running) -> int:
    """Return the most memory that a worker has had at a time, in bytes."""
    assert worker.process is not None
    found = re.search(r"VmHWM:\s+(\d+) kB", Path(f"/proc/{worker.process.pid}/status").read_text())
    assert found is not None
    return int(found[1]) * 1024


def test_what_comes_faster_than_it_is_read_waits_in_kafka_and_all_of_it_is_counted(
    kafka: Broker, tmp_path: Path
) -> None:
    prefix, policy = "overload.", tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    topics(kafka.bootstrap, prefix)
    events = [event(number) for number in range(EVENTS)]
    with Running(policy, kafka.bootstrap, prefix, program=("tests.tight",)) as worker:
        send(kafka.bootstrap, prefix, {"predictions": events[:FIRST]})
        until(lambda: counted([worker], "predictions") == FIRST and lag(worker) == 0, "the first events")
        before, behind = most_memory(worker), list[int]()
        faster = threading.Thread(target=send, args=(kafka.bootstrap, prefix, {"predictions": events[FIRST:]}))
        faster.start()

        def is_done() -> bool:
            behind.append(lag(worker) or 0)
            return counted([worker], "predictions") == EVENTS

        until(is_done, "all to be counted", 240)
        faster.join()
        grown, dead = most_memory(worker) - before, counted([worker], "dead_letters")
        controls = until_published(kafka.bootstrap, prefix, lambda some: any(c["mode"] == "killed" for c in some))

    assert max(behind) > 100
    assert grown < EVENTS * BULK / 2
    assert dead == 0
    assert {c["slo"] for c in controls if c["mode"] == "killed"} == {"never_event_violations"}
