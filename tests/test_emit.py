"""The emitter: what it refuses at once, what it packs together, and what waits where."""

import json
import threading
import time
from collections import defaultdict
from functools import partial
from math import inf
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.partitioner.default import murmur2 as their_murmur2

from interlock.commands.broker import free_port
from interlock.emit import CHUNK, MOST_BYTES, EmitError, Emitter
from interlock.events import schemas
from interlock.outbox import Outbox
from interlock.packing import Event, Limits, Packed, Packer
from interlock.partitions import murmur2
from interlock.protocol import INPUTS
from tests.emitting import PREDICTION
from tests.processes import PATIENCE, ROOT, eventually, interlock


def written(folder: Path, topic: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / f"{topic}.jsonl").read_text("utf-8").splitlines()]


# What is accepted, and as what.


def test_what_is_emitted_is_what_the_schemas_say(tmp_path: Path) -> None:
    with Emitter.to_file(tmp_path) as emit:
        emit.prediction(**PREDICTION)
        emit.outcome(event_id="e1", label=True, revision=1)
        emit.abuse(event_id="a1", model="claims", category="harassment", segment={"tenant": "acme"})

    assert written(tmp_path, "predictions") == [PREDICTION]
    for topic, kind in zip(INPUTS, ("prediction", "outcome", "abuse"), strict=True):
        (event,) = written(tmp_path, topic)
        jsonschema.validate(event, schemas()[kind])


def test_a_time_that_is_left_out_is_now_and_none_leaves_a_field_out(tmp_path: Path) -> None:
    before = time.time_ns() // 1_000_000
    with Emitter.to_file(tmp_path, instance="pod-7") as emit:
        emit.prediction(event_id="e1", model="claims", variant=None)
        emit.prediction(event_id="e2", model="claims", instance="pod-8", ts="2026-01-01T00:00:00Z")
    first, second = written(tmp_path, "predictions")

    assert before <= first.pop("ts") <= time.time_ns() // 1_000_000
    assert first == {"event_id": "e1", "model": "claims", "instance": "pod-7"}
    assert second == {"event_id": "e2", "model": "claims", "instance": "pod-8", "ts": "2026-01-01T00:00:00Z"}


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    with Emitter.to_file(tmp_path) as emit:
        emit.prediction(
            event_id="e1",
            model="claims",
            score=np.float32(0.5),
            embedding=np.arange(3.0),
            features={"n": np.int64(7), "missing": np.nan},
        )
    (event,) = written(tmp_path, "predictions")

    assert event["score"] == 0.5
    assert event["embedding"] == [0.0, 1.0, 2.0]
    assert event["features"] == {"n": 7, "missing": None}


@pytest.mark.parametrize(
    ("fields", "kind", "said"),
    [
        ({"scroe": 0.5}, TypeError, "predictions have no field 'scroe'; expected some of .*score"),
        ({"event_id": ""}, ValueError, "event_id: found ''; expected text"),
        ({"event_id": None}, ValueError, "event_id: found None; expected text"),
        ({"event_id": 7}, TypeError, "event_id: found 7; expected text"),
        ({"event_id": "é" * 257}, ValueError, "its id of 514; expected at most .* 512"),
        ({"event_id": "\ud800"}, ValueError, "surrogates not allowed"),
        ({"model": ""}, ValueError, "model: found ''; expected text"),
        ({"features": {"x": object()}}, TypeError, "found a object; expected text, numbers"),
        ({"features": {"x": "y" * MOST_BYTES}}, ValueError, "event of 10.* bytes"),
    ],
)
def test_a_mistake_is_an_error_in_the_caller_at_once(
    fields: dict[str, Any], kind: type[Exception], said: str, tmp_path: Path
) -> None:
    with Emitter.to_file(tmp_path) as emit:
        with pytest.raises(kind, match=said):
            emit.prediction(**(PREDICTION | fields))
        with pytest.raises(kind, match="event 1: .*" + said):
            emit.send_many("predictions", [PREDICTION, PREDICTION | fields])

        assert emit.sent == 0


def test_what_an_event_must_have_cannot_be_left_out(tmp_path: Path) -> None:
    emit: Any = Emitter.to_file(tmp_path)

    for call in (emit.outcome, partial(emit.prediction, event_id="e"), partial(emit.abuse, event_id="e", model="m")):
        with pytest.raises(TypeError, match="missing"):
            call()
    for topic in INPUTS:
        with pytest.raises(ValueError, match="event 0: event_id: found None"):
            emit.send_many(topic, [{"ts": 1}])
    with pytest.raises(ValueError, match="topic 'verdicts'; expected one of predictions, outcomes, abuse"):
        emit.send_many("verdicts", [])


def test_whole_rows_go_in_their_order(tmp_path: Path) -> None:
    rows = [PREDICTION | {"event_id": str(i)} for i in range(2 * CHUNK + 1)]
    with Emitter.to_file(tmp_path) as emit:
        count = emit.send_many("predictions", iter(rows))

    assert count == emit.sent == emit.acknowledged == len(rows)
    assert written(tmp_path, "predictions") == rows


def test_two_emitters_append_to_one_file_and_a_closed_one_refuses(tmp_path: Path) -> None:
    first, second = Emitter.to_file(tmp_path), Emitter.to_file(tmp_path)
    for emit in (first, second, first):
        emit.outcome(event_id="e", label=1)
    first.close()

    assert len(written(tmp_path, "outcomes")) == 3
    with pytest.raises(EmitError, match="closed"):
        first.outcome(event_id="e", label=1)
    second.close()


@pytest.mark.parametrize(
    ("limits", "kind", "said"),
    [
        ({"max_evnets": 5}, TypeError, "max_evnets"),
        ({"max_events": 0}, ValueError, "max_events is 0; expected at least 1"),
    ],
)
def test_a_limit_that_cannot_be_is_refused(limits: dict[str, Any], kind: type[Exception], said: str) -> None:
    with pytest.raises(kind, match=said):
        Emitter("127.0.0.1:1", **limits)


@pytest.mark.integration
def test_a_replay_reads_what_was_written_to_files(tmp_path: Path) -> None:
    with Emitter.to_file(tmp_path) as emit:
        for i in range(50):
            emit.prediction(**(PREDICTION | {"event_id": str(i), "model": "claims-triage"}))
            emit.outcome(event_id=str(i), ts=1_700_000_001_000, label="pay")
    policy = ROOT / "examples" / "safety-slos.yaml"
    files = [f"--{topic}={tmp_path / topic}.jsonl" for topic in ("predictions", "outcomes")]
    done = interlock("replay", policy, *files, "--out", tmp_path / "out", "--no-clickhouse")
    run = json.loads((tmp_path / "out" / "run.json").read_text("utf-8"))

    assert done.returncode in {0, 1, 4}, done.stderr
    assert (tmp_path / "out" / "dead-letters.jsonl").read_text("utf-8") == ""
    assert "50" in json.dumps(run), run


# What is packed together.


@given(st.binary(max_size=80))
def test_keys_live_where_a_plain_producer_puts_them(key: bytes) -> None:
    assert murmur2(key) == their_murmur2(key)


def event(topic: str, number: int, size: int) -> Event:
    return Event(topic, str(number).encode(), b"x" * size, size + 10)


@given(
    st.lists(st.tuples(st.sampled_from(["p", "o"]), st.integers(0, 2), st.integers(1, 40), st.integers(0, 3))),
    st.integers(1, 4),
    st.integers(1, 60),
)
def test_every_event_is_packed_once_in_order_and_within_the_limits(
    arrivals: list[tuple[str, int, int, int]], most_events: int, most_bytes: int
) -> None:
    packer = Packer(Limits(max_events=most_events, max_bytes=most_bytes))
    packed: list[Packed] = []
    given_: dict[tuple[str, int], list[Event]] = defaultdict(list)
    now = 0.0
    for number, (topic, partition, size, passed) in enumerate(arrivals):
        now += passed
        packed += packer.due(now)
        one = event(topic, number, size)
        given_[topic, partition].append(one)
        full = packer.add(one, partition, now + 2)
        packed += [] if full is None else [full]
        assert packer.next_due is None or packer.next_due <= now + 2
    packed += packer.due(inf)
    found: dict[tuple[str, int], list[Event]] = defaultdict(list)
    for message in packed:
        found[message.topic, message.partition] += message.events

    assert found == given_
    assert packer.next_due is None
    for message in packed:
        assert len(message.events) <= most_events
        assert len(message.value) <= most_bytes or len(message.events) == 1
        assert message.key == message.events[0].key


def test_a_message_goes_when_it_is_due_and_not_before() -> None:
    packer = Packer(Limits())
    packer.add(event("p", 1, 5), 0, 5.0)
    packer.add(event("p", 2, 5), 0, 6.0)

    assert list(packer.due(4.9)) == []
    assert [len(message.events) for message in packer.due(5.0)] == [2]


# What waits.


def test_a_full_buffer_makes_the_caller_wait_and_then_refuses_without_accepting_anything() -> None:
    outbox = Outbox(Limits(buffer_bytes=100, max_block_ms=20), lambda: None)
    outbox.put([event("p", 1, 50)], 60)

    with pytest.raises(EmitError, match="no room for 2 more events: 1 wait in"):
        outbox.put([event("p", 2, 20), event("p", 3, 20)], 60)
    assert (outbox.sent, outbox.pending) == (1, 1)


def test_a_caller_who_waits_goes_on_as_soon_as_there_is_room() -> None:
    outbox = Outbox(Limits(buffer_bytes=100, max_block_ms=1000 * PATIENCE), lambda: None)
    first = event("p", 1, 50)
    outbox.put([first], first.size)
    packed = Packed("p", 0, [first])
    number = outbox.depart(packed)
    waiting = threading.Thread(target=outbox.put, args=([event("p", 2, 50)], 60))
    waiting.start()
    outbox.arrive(number, packed)
    waiting.join(PATIENCE)

    assert not waiting.is_alive()
    assert (outbox.sent, outbox.acknowledged, outbox.pending) == (2, 1, 1)


def test_an_acknowledgement_that_is_repeated_counts_once_and_a_message_cut_in_two_arrives_with_both() -> None:
    outbox = Outbox(Limits(), lambda: None)
    events = [event("p", number, 5) for number in range(3)]
    outbox.put(events, 45)
    packed = Packed("p", 0, events)
    number = outbox.depart(packed)
    first, second = outbox.split(number, packed)
    counted = []
    for part in (packed, first, first, second, second):
        outbox.arrive(number, part)
        counted.append(outbox.acknowledged)

    assert counted == [0, 1, 1, 3, 3]


@pytest.mark.integration
def test_without_a_broker_the_buffer_fills_and_the_error_says_why() -> None:
    emit = Emitter(f"127.0.0.1:{free_port()}", buffer_bytes=2000, max_block_ms=50)
    emit.outcome(event_id="first", label=1)

    def refused() -> str:
        try:
            emit.outcome(event_id="more", label=1)
        except EmitError as error:
            return str(error)
        return ""

    assert eventually(lambda: "the last error: KafkaConnectionError" in refused())
    accepted = emit.sent
    with pytest.raises(EmitError, match=f"{accepted} events not acknowledged within 0.1 s; the last error"):
        emit.flush(0.1)
    with pytest.raises(EmitError, match="not acknowledged"):
        emit.close(0.1)
    assert emit.sent == accepted


@pytest.mark.integration
def test_attempts_to_reach_a_broker_leave_no_threads_behind() -> None:
    before = threading.active_count()
    emit = Emitter(f"127.0.0.1:{free_port()}")
    emit.outcome(event_id="e", label=1)
    for _ in range(3):
        with pytest.raises(EmitError):
            emit.flush(0.2)
    with pytest.raises(EmitError):
        emit.close(0)

    assert eventually(lambda: threading.active_count() == before)


def test_an_emitter_that_sent_nothing_closes_without_a_broker() -> None:
    with Emitter("127.0.0.1:1") as emit:
        emit.flush(0)

    assert emit.sent == 0
    emit.close()
