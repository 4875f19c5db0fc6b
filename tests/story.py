"""A small story for live tests: a day of one model with an excursion and a never-event, and what a replay says of it."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from kafka import KafkaConsumer, TopicPartition

from tests.living import Running, records, spread, until
from tests.replaying import START, Event, command, lines, outcome, prediction

POLICY = """
model: m
max_skew: 5m
lateness: 30s
labels: {join_ttl: 2h, orphan_ttl: 30m, maturity: 30m}
ood: {threshold: 0.9}
slices: [{by: [tenant], max: 3}]
slos:
- {name: ood_rate_1h, objective: o, target: "<= 0.10", window: 1h, action_on_breach: route_to_human_review, per: tenant}
- {name: decision_ece_2h, objective: o, target: "<= 0.08", window: 2h, min_events: 100, action_on_breach: notify}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""

MINUTE, HOUR = 60_000, 3_600_000
EVENTS, EVERY = 2400, 20_000
"""Predictions, and milliseconds between two of them: 13 hours and 20 minutes."""

QUICK = ("--session-timeout", "3", "--checkpoint-every", "0.2")


@dataclass(frozen=True)
class Story:
    """The policy's file, the events of each topic as JSON lines, and the folder of what a replay of them wrote."""

    policy: Path
    events: Mapping[str, Sequence[bytes]]
    replayed: Path

    def said(self, name: str) -> list[bytes]:
        """Return the lines of one output of the replay."""
        return (self.replayed / f"{name}.jsonl").read_bytes().splitlines()

    def part(self, start: float, end: float) -> dict[str, Sequence[bytes]]:
        """Return the events between two shares of every topic."""
        return {topic: some[int(len(some) * start) : int(len(some) * end)] for topic, some in self.events.items()}

    def end(self, partitions: int = 1) -> int:
        """Return the event time that a judge reaches by these events alone."""
        shards = [own for some in self.events.values() for own in spread(some, partitions)]
        ends = [max(int(msgspec.json.decode(line)["ts"]) for line in own) for own in shards if own]
        return (min(ends) - 30_000) // MINUTE * MINUTE


def day(events: int = EVENTS) -> dict[str, list[Event]]:
    """Return predictions and their outcomes: hours 3 to 5 are out of distribution, hour 8 has a never-event."""
    made, said = [], []
    for i in range(events):
        at = START + i * EVERY
        odd = 3 * HOUR <= at - START < 5 * HOUR and i % 2
        deny = i == 8 * HOUR // EVERY
        made.append(prediction(i, at, ood_score=0.95 if odd else 0.1, decision="deny" if deny else "pay"))
        said.append(outcome(i, at + 10 * MINUTE))
    return {"predictions": made, "outcomes": said}


def told(folder: Path, events: Mapping[str, Sequence[Event | bytes]], policy: str = POLICY) -> Story:
    """Replay events by a policy in a folder."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(policy, "utf-8")
    made = {
        topic: [e if isinstance(e, bytes) else msgspec.json.encode(e) for e in some] for topic, some in events.items()
    }
    given = [part for topic, some in made.items() for part in (f"--{topic}", lines(folder / f"{topic}.jsonl", some))]
    code, _, err = command("replay", folder / "policy.yaml", *given, "--out", folder / "out", "--no-clickhouse")
    assert code in (0, 1, 4), err
    return Story(folder / "policy.yaml", made, folder / "out")


def judged(workers: Sequence[Running]) -> int:
    """Return how far the judge has come, wherever it runs."""
    return max((int(state["judged"] or 0) for state in judges(workers)), default=0)


def judges(workers: Sequence[Running]) -> list[dict[str, Any]]:
    """Return what the judges say of themselves."""
    return [state for worker in workers for state in worker.status().get("judges", {}).values()]


def counted(workers: Sequence[Running], what: str, kind: str = "shards") -> int:
    """Return a counter of all shards, or judges."""
    states = [state for worker in workers for state in worker.status().get(kind, {}).values()]
    return sum(int(state["counted"].get(what, 0)) for state in states)


def lag(worker: Running) -> int | None:
    """Return how many records a worker has yet to read; None if it owns nothing, or does not answer."""
    lags = worker.status().get("lag")
    return sum(lags.values()) if lags else None


def until_judged(workers: Sequence[Running], end: int) -> int:
    """Wait until all up to an event time is judged, and no release is held back; return how far it came."""
    until(lambda: judged(workers) >= end, f"the judge to come to {end}")
    until(lambda: not any(state["withheld"] for state in judges(workers)), "no release to be held back")
    return judged(workers)


def assert_equal_to_replay(story: Story, bootstrap: str, prefix: str, end: int, controls: int = 3) -> None:
    """All that was judged live up to `end` was said by the replay, and the other way round, to the byte."""
    live = {record.value for record in records(bootstrap, prefix + "verdicts")}
    replayed = story.said("verdicts")
    assert live - set(replayed) == set()
    assert [line for line in replayed if json.loads(line)["ts"] <= end and line not in live] == []

    final = {(c["control_id"], c["state"]): _timeless(c) for c in published(bootstrap, prefix) if c["verdict_id"]}
    said = [json.loads(line) for line in story.said("control")]
    expected = {(c["control_id"], c["state"]): _timeless(c) for c in said if c["ts"] <= end}
    assert len(expected) >= controls
    assert final == expected


def published(bootstrap: str, prefix: str) -> list[dict[str, Any]]:
    """Return all controls on the topic, in order."""
    return _controls(records(bootstrap, prefix + "control"))


def until_published(
    bootstrap: str, prefix: str, enough: Callable[[list[dict[str, Any]]], bool]
) -> list[dict[str, Any]]:
    """Return all controls on the topic as soon as they are enough."""
    consumer = KafkaConsumer(bootstrap_servers=bootstrap, enable_auto_commit=False, auto_offset_reset="earliest")
    found: list[Any] = []

    def look() -> bool:
        for some in consumer.poll(timeout_ms=200).values():
            found.extend(some)
        return enough(_controls(found))

    try:
        consumer.assign([TopicPartition(prefix + "control", 0)])
        until(look, "controls")
    finally:
        consumer.close()
    return _controls(found)


def _controls(found: Sequence[Any]) -> list[dict[str, Any]]:
    return [msgspec.json.decode(r.value) for r in found if r.value and r.key and b'"control"' in r.key]


def _timeless(control: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in control.items() if name != "issued_at"}
