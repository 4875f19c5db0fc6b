"""Which rights each part of Interlock needs on a Kafka that checks them: one table for the docs, the commands and the checks.

Read and Write bring Describe with them, as Kafka has it. Light: the SDK names what it lacks by it.
"""

from collections.abc import Iterator, Mapping
from typing import Literal, NamedTuple, get_args

from interlock.protocol import INPUTS, TOPICS

Operation = Literal["Read", "Write", "Create", "Alter", "Describe", "DescribeConfigs"]
Kind = Literal["topic", "group", "transactional-id"]

SINK_GROUP = "interlock-sink-"
"""What the consumer group of a sink begins with, after the prefix."""


REFEED = "interlock-refeed"
"""What the transactional id of `interlock replay --dead-letters --send` is, after the prefix."""


class Right(NamedTuple):
    """An operation on topics, a consumer group or a transactional id; the names are whole."""

    operation: Operation
    kind: Kind
    names: tuple[str, ...]


READ: Mapping[str, tuple[str, ...]] = {
    "worker": (*INPUTS, "tallies", "control", "commands", "checkpoints"),
    "clickhouse": ("tallies", "verdicts", "control", "pages", "dead-letters"),
    "pagerduty": ("pages",),
    "evidence": ("predictions", "tallies", "control"),
    "guard": ("control",),
    "reviewer": ("audits", "outcomes"),
    "refeeder": (*INPUTS, "dead-letters"),
    "operator": ("commands", "tallies"),
    "grower": (*INPUTS, "commands", "checkpoints"),
}
WRITE: Mapping[str, tuple[str, ...]] = {
    "worker": ("tallies", "verdicts", "control", "audits", "pages", "checkpoints", "dead-letters", "commands"),
    "emitter": INPUTS,
    "reviewer": ("outcomes",),
    "refeeder": (*INPUTS, "dead-letters"),
    "operator": ("commands",),
    "grower": ("tallies", "checkpoints"),
}
MADE: Mapping[str, tuple[Operation, ...]] = {
    "worker": ("Describe", "DescribeConfigs"),
    "operator": ("Create", "Describe", "DescribeConfigs"),
    "grower": ("Describe",),
}
"""What is needed on every topic: by the worker to see that they are as they must be, by the operator to make them."""

ALTER: Mapping[str, tuple[str, ...]] = {"grower": (*INPUTS, "checkpoints")}

DENIALS: Mapping[str, Kind] = {"TopicAuthorizationFailedError": "topic", "GroupAuthorizationFailedError": "group"}
"""What clients of Kafka call it when a right is missing, and on what."""

PARTS: Mapping[str, str] = {
    "worker": "`interlock worker`",
    "clickhouse": "`interlock sink clickhouse`",
    "pagerduty": "`interlock sink pagerduty`",
    "evidence": "`interlock sink evidence`",
    "emitter": "`Emitter`, in serving systems and with labellers",
    "guard": "`Guard`, in serving systems",
    "operator": "`interlock topics` and `interlock policy`, and who releases controls",
    "reviewer": "`interlock audits export` and `import`",
    "refeeder": "`interlock replay --dead-letters --send`",
    "grower": "`interlock topics --grow`",
}
"""Who needs rights of its own."""


def rights(part: str, prefix: str, group: str) -> list[Right]:
    """Return the rights of a part; `group` is that of the workers."""
    groups = {
        "worker": group,
        "clickhouse": f"{prefix}{SINK_GROUP}clickhouse",
        "pagerduty": f"{prefix}{SINK_GROUP}pagerduty",
        "evidence": f"{prefix}{SINK_GROUP}evidence",
    }
    found = [Right("Read", "group", (groups[part],))] if part in groups else []
    if part == "grower":
        found.append(Right("Describe", "group", (group,)))
    if part == "refeeder":
        found.append(Right("Write", "transactional-id", (prefix + REFEED,)))
    topics = [
        ("Read", READ.get(part, ())),
        ("Write", WRITE.get(part, ())),
        ("Alter", ALTER.get(part, ())),
        *((one, TOPICS) for one in MADE.get(part, ())),
    ]
    return found + [_on_topics(operation, names, prefix) for operation, names in topics if names]


def _on_topics(operation: str, names: tuple[str, ...], prefix: str) -> Right:
    known: dict[str, Operation] = {one: one for one in get_args(Operation)}
    return Right(known[operation], "topic", tuple(prefix + name for name in names))


def commands(bootstrap: str, prefix: str, group: str) -> Iterator[str]:
    """Yield the commands of Kafka that grant all rights, to a principal for each part, with a line of comment before each part."""
    for part, who in PARTS.items():
        yield f"# {part}: {who.replace('`', '')}"
        for operation, kind, names in rights(part, prefix, group):
            where = " ".join(f"--{kind} {name}" for name in names)
            yield (
                f"kafka-acls.sh --bootstrap-server {bootstrap} --command-config admin.properties --add"
                f" --allow-principal User:interlock-{part} --operation {operation} {where}"
            )


def table(prefix: str = "", group: str = "interlock-MODEL") -> list[str]:
    """Return the rights as the rows of a table in Markdown, a row for each part."""
    rows = ["| part | reads | writes | and |", "| --- | --- | --- | --- |"]
    for part, who in PARTS.items():
        told = {operation: _shown(names) for operation, kind, names in rights(part, prefix, group) if kind == "topic"}
        rest = [f"{operation} on {on}" for operation, on in told.items() if operation not in {"Read", "Write"}]
        others = [
            f"{operation} on {kind} {_shown(names)}"
            for operation, kind, names in rights(part, prefix, group)
            if kind != "topic"
        ]
        rows.append(f"| {who} | {told.get('Read', '')} | {told.get('Write', '')} | {'; '.join([*others, *rest])} |")
    return rows


def _shown(names: tuple[str, ...]) -> str:
    return "every topic" if names == TOPICS else ", ".join(f"`{name}`" for name in names)


def lacks(operation: Operation, kind: Kind, name: str) -> str:
    """Return one line about a right that is missing."""
    return f"{name}: the user of this connection lacks {operation} on the {kind} {name}; `interlock topics POLICY --acls` prints how to grant it"


def why(error: Exception, operation: Operation) -> str:
    """Return an error of a client of Kafka in one line; one about rights names the right that `operation` needs."""
    name = type(error).__name__
    if name == "ClusterAuthorizationFailedError":  # a producer's number: given to whoever may write to any topic
        return f"the user of this connection lacks {operation} on every topic; `interlock topics POLICY --acls` prints how to grant it"
    if name not in DENIALS:
        return f"{name}: {' '.join(str(error).split())}"
    about = error.args[0] if error.args else ()
    names = (about,) if isinstance(about, str) else tuple(map(str, about))
    return "; ".join(lacks(operation, DENIALS[name], one) for one in sorted(names) or ("(unnamed)",))
