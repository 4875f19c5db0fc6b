"""The topics of the live pipeline: how each is made, and what an existing one must have. Pure.

Times of records come from the broker (LogAppendTime): a serving system's wrong clock would stamp both the event and its
record, and nothing could tell.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from interlock.protocol import INPUTS, TOPICS

DAY = 86_400_000
RETENTION = dict.fromkeys((*INPUTS, "tallies"), 7 * DAY)
RETENTION |= dict.fromkeys(("verdicts", "acks", "audits", "pages", "dead-letters"), 30 * DAY)
RETENTION |= {"commands": -1}
"""Milliseconds; -1 is without end. Whoever resumes the judge reads `commands` from its beginning."""

COMPACTED = {
    "control": {
        "max.compaction.lag.ms": "3600000",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.bytes": "16777216",
    },
    "checkpoints": {
        "max.compaction.lag.ms": "60000",
        "min.cleanable.dirty.ratio": "0.01",
        "segment.bytes": "67108864",
    },
}
"""Kafka's own settings would keep every lease and every checkpoint for a week: a segment is compacted once it is full."""

SHARDED = (*INPUTS, "checkpoints")
"""Topics with one partition per shard."""

ORDERED = ("verdicts", "commands")
"""Topics whose order matters across all records: always one partition."""

POLICY, STAMPS = "cleanup.policy", "message.timestamp.type"
UNLIMITED = ("retention.ms", "retention.bytes")


@dataclass(frozen=True, slots=True)
class Layout:
    """What the topics are called and how many partitions they have; None takes over what is there, else 1."""

    prefix: str = ""
    partitions: int | None = None
    tally_partitions: int | None = None
    replication: int = 1


@dataclass(frozen=True, slots=True)
class Spec:
    """A topic: `settings` make it; an existing one must have `required` of them, and as many `partitions`, or more if not `is_exact`."""

    topic: str
    partitions: int
    is_exact: bool
    settings: Mapping[str, str]
    required: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Found:
    """A topic as it is on the broker; `is_seen` says whether we may see its settings."""

    partitions: int
    settings: Mapping[str, str] = field(default_factory=dict)
    is_seen: bool = True


def specs(layout: Layout, found: Mapping[str, int]) -> dict[str, Spec]:
    """Return the specification of every topic by its full name; `found` has the partitions of those that exist."""
    by_name = {name: layout.prefix + name for name in TOPICS}
    there = [max(found.get(by_name[name], 0) for name in some) for some in (INPUTS, ("checkpoints",))]
    shards = layout.partitions or there[0] or there[1] or 1
    tallies = layout.tally_partitions or found.get(by_name["tallies"], 1)
    partitions = dict.fromkeys(SHARDED, shards) | {"tallies": tallies}
    return {topic: _spec(name, topic, partitions) for name, topic in by_name.items()}


def _spec(name: str, topic: str, partitions: Mapping[str, int]) -> Spec:
    settings, required = {STAMPS: "LogAppendTime"}, [POLICY, STAMPS]
    if name in COMPACTED:
        settings |= {POLICY: "compact", **COMPACTED[name]}
    else:
        settings |= {POLICY: "delete", "retention.ms": str(RETENTION[name])}
    if name == "commands":
        settings["retention.bytes"] = "-1"
        required += UNLIMITED
    is_exact = name in ORDERED or (name in partitions and name != "checkpoints")  # which grow ahead of the inputs
    return Spec(topic, partitions.get(name, 1), is_exact, settings, tuple(required))


def differences(spec: Spec, found: Found | None, bootstrap: str) -> list[str]:
    """Return how a topic differs from its specification, a line each, with how to mend it."""
    if found is None:
        return [f"{spec.topic}: found no such topic, expected one; how to mend it: `interlock topics` creates it"]
    lines = []
    if found.partitions != spec.partitions and (spec.is_exact or found.partitions < spec.partitions):
        lines.append(
            f"{spec.topic}: found {_count(found.partitions)}, expected {_count(spec.partitions)};"
            f" how to mend it: {_more_partitions(spec, found, bootstrap)}"
        )
    for name in spec.required if found.is_seen else ():
        got, expected = found.settings.get(name, "nothing"), spec.settings[name]
        if got != expected:
            lines.append(
                f"{spec.topic}: found {name}={got}, expected {expected}; how to mend it: kafka-configs.sh"
                f" --bootstrap-server {bootstrap} --alter --entity-type topics --entity-name {spec.topic}"
                f" --add-config {name}={expected}"
            )
    return lines


def creation(spec: Spec, bootstrap: str, replication: int) -> str:
    """Return the command of Kafka that makes a topic, for whoever may."""
    configs = "".join(f" --config {name}={value}" for name, value in spec.settings.items())
    return (
        f"kafka-topics.sh --bootstrap-server {bootstrap} --create --topic {spec.topic} --partitions {spec.partitions}"
        f" --replication-factor {replication}{configs}"
    )


def _count(partitions: int) -> str:
    return f"{partitions} partition" + "s" * (partitions != 1)


def _more_partitions(spec: Spec, found: Found, bootstrap: str) -> str:
    """Return what leads to the right number of partitions. Their keys move: what they hold has to be read first."""
    if found.partitions > spec.partitions:
        return "Kafka never removes partitions: give all of them as many, or delete the topic and create it anew"
    if spec.partitions % found.partitions:
        return f"partitions grow by whole multiples only: ask for {found.partitions} or {2 * found.partitions}"
    name = next((name for name in SHARDED if spec.topic.endswith(name)), None)
    if name is None:
        return f"its partitions do not grow: ask for {found.partitions}, or make all topics anew under another --prefix"
    prefix = f" --prefix {spec.topic.removesuffix(name)}" if spec.topic != name else ""
    return (
        "stop producers, let workers read everything, stop them too; then"
        f" interlock topics POLICY --bootstrap {bootstrap}{prefix} --grow {spec.partitions}"
    )
