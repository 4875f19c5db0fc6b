"""Bad input through the topics: nothing stops a worker, and every event is counted, a repeat or a dead letter, once."""

import asyncio
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.ipc
import pytest
from aiokafka import AIOKafkaProducer
from kafka import KafkaProducer

from interlock.commands.broker import Broker
from interlock.protocol import ARROW, CONTENT_TYPE, JSON, JSON_LINES, lease_key
from interlock.streams import wire
from interlock.streams.checkpoint import pack
from tests.living import PATIENCE, Running, interleaved, records, topics, until
from tests.replaying import ENDS, START, Event, prediction
from tests.story import (
    EVENTS,
    EVERY,
    HOUR,
    QUICK,
    assert_equal_to_replay,
    counted,
    day,
    judges,
    lag,
    published,
    told,
    until_judged,
    until_published,
)
from tests.test_replay_bad_input import BAD, BAD_OUTCOMES, flat

pytestmark = pytest.mark.integration

HALF = EVENTS // 2

LIMIT = 1_000_000
"""Bytes of the largest messages: a little below the broker's max.message.bytes."""

CODECS = (None, "gzip", "snappy", "lz4", "zstd")

Headers = list[tuple[str, bytes | None]]


@dataclass(frozen=True)
class Message:
    """A message of an input topic: the reasons of the dead letters that it makes, and the events in it that count."""

    value: bytes | None
    reasons: Sequence[str] = ()
    headers: Sequence[tuple[str, bytes | None]] = ()
    key: bytes = b"k"
    good: int = 0


class NotText(str):
    """The name of a header whose bytes are no UTF-8."""

    __slots__ = ()

    def encode(self, *_: object) -> bytes:
        return b"\xff\xfe"


def of_type(kind: str | bytes | None) -> Headers:
    return [(CONTENT_TYPE, kind.encode() if isinstance(kind, str) else kind)]


def text(event: Event | bytes) -> bytes:
    return event if isinstance(event, bytes) else msgspec.json.encode(event)


def frame(rows: Iterable[dict[str, Any]]) -> bytes:
    table, sink = pa.Table.from_pylist(list(rows)), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as stream:
        stream.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


def singles(bad: Iterable[tuple[Event | bytes, str]]) -> list[Message]:
    """The core's list, a message each, in every way in which JSON may be sent."""
    kinds: list[Headers] = [[], of_type(JSON), of_type(JSON_LINES)]
    fitting = [(text(event), reason) for event, reason in bad if len(text(event)) < LIMIT]
    return [Message(value, [reason], kinds[i % 3]) for i, (value, reason) in enumerate(fitting)]


def packed(bad: Iterable[tuple[Event | bytes, str]], good: Sequence[bytes]) -> Message:
    """The core's list in one message of lines, with good events between."""
    fitting = [(text(event), reason) for event, reason in bad if len(text(event)) < LIMIT]
    lines = [line for i, (value, _) in enumerate(fitting) for line in (value, good[i % len(good)])]
    return Message(b"\n".join(lines), [reason for _, reason in fitting], of_type(JSON_LINES), good=len(fitting))


def shapes(before: int) -> list[Message]:
    """What only messages can be; `before` is the number of an event that was counted before."""
    again = text(prediction(before, START + before * EVERY))
    odd = frame(flat(before, START + before * EVERY) | {"score": score} for score in (0.5, float("nan"), 2.0))
    whole = frame(flat(before, START) for _ in range(50))
    deep = b'{"event_id":"deep","ts":%d,"model":"m","features":{"a":%s}}' % (START, b"[" * 50_000 + b"]" * 50_000)
    return [
        Message(None, ["not_json"]),
        Message(b"", ["not_json"]),
        Message(b" \n\n ", ["not_json"]),
        Message(None, ["truncated_frame"], of_type(ARROW)),
        Message(again, ["bad_content_type"], of_type("text/plain")),
        Message(again, ["bad_content_type"], of_type(b"\xff\xfe")),
        Message(again, ["truncated_frame"], of_type(ARROW)),
        Message(whole, ["not_utf8"], of_type(JSON)),
        Message(whole[: len(whole) // 2], ["truncated_frame"]),
        Message(odd, ["out_of_range", "out_of_range"], good=1),
        Message(deep, ["not_json"]),
        Message(b"x" * LIMIT, ["not_json"]),
        Message(again[:-1] + b',"comment":"%s"}' % (b"y" * (LIMIT - 500)), good=1),
        Message(b"z", ["not_json"], key=b"\xff" * 10_000),
        Message(b"z", ["not_json"], [(f"h{i}", b"\xff" * 100) for i in range(500)]),
        Message(b"z", ["not_json"], [(CONTENT_TYPE, None), (CONTENT_TYPE, b"text/plain")]),
        Message(b"z", ["not_json"], [("", b"")]),
        Message(again, headers=[(NotText("name"), b"1")], good=1),
    ]


def junk(run: str) -> dict[str, list[tuple[bytes | None, bytes | None]]]:
    """Return (key, value) for the topics that only workers and people write."""
    values = [None, b"", b"junk", b"\xff\xfe\x00", b"[" * 100_000, b'{"a":' * 100_000, b'{"control_id":"\xff"}', b"{}"]
    foreign: list[wire.Record] = [
        wire.Topology("f" * 16, 99),
        wire.Tick("f" * 16, 2**50),
        wire.Beat("f" * 16, 0, 99, 2**50),
        wire.Idle("f" * 16, 0, "predictions", 2**40),
        wire.Command("f" * 16, 0, 2**40, b"{}"),
    ]
    wrong = [pack((kind, fields)) for kind in range(9) for fields in ([], [run], [run, "x", None, b"y"], "x", 7)]
    tallies = [wire.encode(record) for record in foreign] + [wire.MAGIC + value for value in wrong] + [wire.MAGIC]
    names = [
        pack((run, "shard", 0, 99, 0, 0)),
        pack((run, "judge", 0, 99, 1, 0)),
        pack((run, "shard", "x", None, 0, 0)),
    ]
    states = [None, b"junk", pack(("d", 1, b"x")), pack(("d", 2**50, b"x")), pack(("d", "x", 7))]
    return {
        "tallies": [(b"k", value) for value in [*values, *tallies]],
        "control": [(key, value) for key in (b"k", lease_key("m")) for value in values],
        "commands": [(b"k", value) for value in values],
        "checkpoints": [(key, value) for key in (b"k", *names) for value in [*values, *states]],
    }


@contextmanager
def producing(broker: Broker, **settings: Any) -> Iterator[KafkaProducer]:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all", linger_ms=5, **settings)
    try:
        yield producer
        producer.flush()
    finally:
        producer.close()


def write(broker: Broker, topic: str, messages: Sequence[Message], **settings: Any) -> None:
    """Send messages to partition 0 of a topic: by aiokafka where a header's value is missing, else by kafka-python."""
    with producing(broker, **settings) as producer:
        for message in messages:
            odd = [(name, value) for name, value in message.headers if value is None]
            if odd:
                producer.flush()
                asyncio.run(_by_aiokafka(broker, topic, message))
            else:
                producer.send(topic, message.value, message.key, list(message.headers), partition=0)


async def _by_aiokafka(broker: Broker, topic: str, message: Message) -> None:
    async with AIOKafkaProducer(bootstrap_servers=broker.bootstrap, acks="all") as producer:
        await producer.send_and_wait(topic, message.value, message.key, 0, headers=list(message.headers))


def test_nothing_stops_a_worker_and_every_event_is_accounted_for(kafka: Broker, tmp_path: Path) -> None:
    prefix = "bad."
    story = told(tmp_path / "story", day())
    made, said = story.events["predictions"], story.events["outcomes"]
    reports = [{"event_id": f"a{i}", "ts": START, "model": "m", "category": "spam"} for i in range(3)]
    sent = {
        "predictions": [*singles(BAD.values()), packed(BAD.values(), made[HALF - 20 : HALF]), *shapes(HALF - 1)],
        "outcomes": [
            *singles(BAD_OUTCOMES.values()),
            packed(BAD_OUTCOMES.values(), said[HALF - 20 : HALF]),
            Message(None, ["not_json"]),
        ],
        "abuse": [Message(b"x", ["not_json"]), Message(text(reports[0]), good=1), Message(text({}), ["missing_field"])],
    }
    topics(kafka.bootstrap, prefix)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        _send(kafka, prefix, story.part(0, 0.5))
        until_judged([worker], START + 5 * HOUR)
        run = worker.status()["run"]
        for topic, messages in sent.items():
            write(kafka, prefix + topic, messages)
        _litter(kafka, prefix, run)
        until(lambda: lag(worker) == 0, "all bad input to be read")
        worker.end()
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:  # which reads junk on every topic
        _send(kafka, prefix, story.part(0.5, 1))
        end = until_judged([worker], story.end())
        until(lambda: lag(worker) == 0, "the end")
        ends = {name: counted([worker], name) for name in ENDS}
        unreadable = counted([worker], "unreadable", "judges"), counted([worker], "foreign", "judges")
        refused, exceptions = counted([worker], "unsigned_commands", "judges"), worker.status()["exceptions"]

    letters = {r.key: json.loads(r.value) for r in records(kafka.bootstrap, prefix + "dead-letters")}
    found = Counter(letter["reason"] for letter in letters.values())
    expected = Counter(reason for messages in sent.values() for message in messages for reason in message.reasons)
    good = sum(message.good for messages in sent.values() for message in messages)
    commands = len(junk(run)["commands"])
    assert found == expected + Counter(unsigned=commands)
    assert sum(ends.values()) == len(made) + len(said) + good + sum(expected.values())
    assert ends["dead_letters"] == sum(expected.values())
    assert (ends["predictions"], ends["outcomes"], ends["abuse"]) == (len(made), len(said), 1)
    assert ends["duplicate"] == good - 1
    assert unreadable == (len(junk(run)["tallies"]) - 5, 5)
    assert (refused, exceptions) == (commands, [])
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


def _send(kafka: Broker, prefix: str, events: Mapping[str, Sequence[bytes]]) -> None:
    """Send good events in packs, a stretch in each of the ways in which Kafka compresses."""
    packs, header = list(interleaved(events, 1, 25)), [(CONTENT_TYPE, JSON_LINES.encode())]

    async def send() -> None:
        for n, kind in enumerate(CODECS):
            async with AIOKafkaProducer(bootstrap_servers=kafka.bootstrap, compression_type=kind) as producer:
                for topic, place, lines in packs[n * len(packs) // len(CODECS) : (n + 1) * len(packs) // len(CODECS)]:
                    await producer.send(prefix + topic, b"\n".join(lines), None, place, headers=header)

    asyncio.run(send())


def _litter(kafka: Broker, prefix: str, run: str) -> None:
    """Write junk to the topics that are not for events."""
    with producing(kafka) as producer:
        for topic, found in junk(run).items():
            for key, value in found:
                producer.send(prefix + topic, value, key, partition=0)


# -- commands ----------------------------------------------------------------------------------------------------------


def release(control: Mapping[str, Any], **other: Any) -> bytes:
    """Return the command that ends an engagement, or one that names another by what `other` says."""
    named = {name: control[name] for name in ("model", "slo", "scope", "control_id", "epoch")}
    return msgspec.json.encode({"command": "release", "by": "risk officer", "reason": "mended"} | named | other)


def command(kafka: Broker, prefix: str, *orders: bytes) -> list[int]:
    """Send commands and return their offsets; a worker's own policy stands before them."""
    with producing(kafka) as producer:
        sent = [producer.send(prefix + "commands", order, partition=0) for order in orders]
    return [one.get(PATIENCE).offset for one in sent]


def states(kafka: Broker, prefix: str) -> dict[str, list[str]]:
    """Return of every control, by its SLO, the states that were published, repeats left out."""
    found: dict[str, list[str]] = {}
    for control in published(kafka.bootstrap, prefix):
        told = found.setdefault(control["slo"], [])
        told += [control["state"]] if told[-1:] != [control["state"]] else []
    return found


def test_an_unsigned_release_ends_nothing_unless_a_flag_says_so_and_then_what_it_names_alone(
    kafka: Broker, tmp_path: Path
) -> None:
    """Outcomes are silent: what a release ends does not wait for them."""
    prefix = "orders."
    story = told(tmp_path / "story", day())
    both = {"never_event_violations": ["engaged"], "ood_rate_1h": ["engaged"]}
    ended = both | {"never_event_violations": ["engaged", "released"]}
    topics(kafka.bootstrap, prefix)
    _send(kafka, prefix, {"predictions": story.events["predictions"][: 8 * HOUR // EVERY + 90]})
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        until(lambda: lag(worker) == 0 and counted([worker], "predictions"), "all to be read")
        controls = until_published(kafka.bootstrap, prefix, lambda found: len({x["slo"] for x in found}) == len(both))
        last = {control["slo"]: control for control in controls}
        kill, review = last["never_event_violations"], last["ood_rate_1h"]
        offsets = command(kafka, prefix, release(kill))
        until(lambda: counted([worker], "unsigned_commands", "judges") == 1, "the refusal")
        letters = [json.loads(r.value) for r in records(kafka.bootstrap, prefix + "dead-letters")]
    refused = states(kafka, prefix)

    with Running(story.policy, kafka.bootstrap, prefix, [*QUICK, "--accept-unsigned-commands"]) as worker:
        others = [
            {"epoch": 2},
            {"control_id": review["control_id"]},
            {"scope": {}},
            {"slo": "ood_rate_1h"},
            {"model": "x"},
        ]
        command(kafka, prefix, *(release(kill, **other) for other in others), b"{}")
        until(lambda: counted([worker], "void_commands", "judges") == len(others), "what names another to be void")
        void = states(kafka, prefix)
        command(kafka, prefix, release(kill), release(kill))
        until(lambda: counted([worker], "obeyed_commands", "judges") == 1, "the release")
        until(lambda: not judges([worker])[0]["withheld"], "it not to be held back")
        until(lambda: counted([worker], "void_commands", "judges") == len(others) + 1, "its repeat to be void")
    with Running(story.policy, kafka.bootstrap, prefix, [*QUICK, "--accept-unsigned-commands"]) as worker:
        until(lambda: lag(worker) == 0, "a restart, which reads all commands again")
        again = {what: counted([worker], what, "judges") for what in ("obeyed_commands", "unsigned_commands")}

    ends = published(kafka.bootstrap, prefix)[-1]
    assert [(x["topic"], x["offset"], x["reason"]) for x in letters] == [("commands", *offsets, "unsigned")]
    assert refused == void == both
    assert states(kafka, prefix) == ended
    assert (ends["control_id"], ends["epoch"]) == (kill["control_id"], 1)
    assert kill["ts"] < ends["ts"] < START + 9 * HOUR
    assert ends["cause"] == "released by risk officer: mended"
    assert again == {"obeyed_commands": 1, "unsigned_commands": 1}
    assert counted_letters(kafka, prefix) == {"unsigned": 1, "unreadable": 1}


def counted_letters(kafka: Broker, prefix: str) -> dict[str, int]:
    return Counter(json.loads(r.value)["reason"] for r in records(kafka.bootstrap, prefix + "dead-letters"))
