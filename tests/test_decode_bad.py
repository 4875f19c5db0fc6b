"""Bad input: each event ends as a row or as one dead letter with its reason; none is lost."""

import hashlib
import json
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.streams.batch import Message, Wanted
from interlock.streams.decode import REASONS, abuse_decoder, outcome_decoder
from tests.decoding import DECODE, KEY, decode_lines, decode_rows, event, line

ARROW = "application/vnd.apache.arrow.stream"
OUTCOMES = outcome_decoder(KEY)
ABUSE = abuse_decoder(Wanted(paths=frozenset({"segment.tenant"})), KEY)

BAD = {
    "not JSON": (b"hello", "not_json", "$"),
    "an empty message": (b"", "not_json", "$"),
    "JSON cut short": (line()[:-5], "not_json", "$"),
    "NaN": (line()[:-1] + b', "score": NaN}', "not_json", "$"),
    "nested without end": (line()[:-1] + b', "score": ' + b"[" * 100_000, "not_json", "$"),
    "no object": (b"[1]", "wrong_type", "$"),
    "text that is not UTF-8": (line().replace(b'"e"', b'"\xff"'), "not_utf8", "$"),
    "id of the wrong type": (line(event_id=5), "wrong_type", "$.event_id"),
    "model of the wrong type": (line(model=True), "wrong_type", "$.model"),
    "score of the wrong type": (line(score="0.5"), "wrong_type", "$.score"),
    "features of the wrong type": (line(features=[1]), "wrong_type", "$.features"),
    "a feature of the wrong type": (line(features={"age": {}}), "wrong_type", "$.features.age"),
    "a probability of the wrong type": (line(probabilities={"no": None}), "wrong_type", "$.probabilities.no"),
    "no id": (line(event_id=...), "missing_field", "$.event_id"),
    "no ts": (line(ts=...), "missing_field", "$.ts"),
    "ts null": (line(ts=None), "missing_field", "$.ts"),
    "no model": (line(model=...), "missing_field", "$.model"),
    "an empty model": (line(model=""), "missing_field", "$.model"),
    "ts with a fraction": (line(ts=1.5), "bad_ts", "$.ts"),
    "ts a boolean": (line(ts=True), "bad_ts", "$.ts"),
    "ts beyond 64 bits": (line(ts=2**63), "bad_ts", "$.ts"),
    "ts without zone": (line(ts="2024-01-01T00:00:00"), "bad_ts", "$.ts"),
    "ts no time": (line(ts="yesterday"), "bad_ts", "$.ts"),
    "score above 1": (line(score=1.01), "out_of_range", "$.score"),
    "score below 0": (line(score=-0.01), "out_of_range", "$.score"),
    "a probability above 1": (line(probabilities={"no": 1.5}), "out_of_range", "$.probabilities.no"),
    "a number beyond a double": (line()[:-1] + b', "ood_score": 1e999}', "out_of_range", "$.ood_score"),
    "2 MiB": (line(comment="x" * (2 << 20)), "too_large", "$"),
    "an empty id": (line(event_id=""), "empty_id", "$.event_id"),
    "an id of 600 bytes": (line(event_id="x" * 600), "empty_id", "$.event_id"),
}


@pytest.mark.parametrize(("text", "reason", "path"), BAD.values(), ids=BAD)
def test_a_bad_event_ends_as_a_dead_letter_that_says_why_and_spares_its_neighbours(
    text: Any, reason: Any, path: Any
) -> None:
    batch, dead = DECODE([Message(line(), 6, 0), Message(text, 7, 0), Message(line(event_id="f"), 8, 0)])

    assert [batch.ids.text(row) for row in range(batch.rows())] == ["e", "f"]
    assert batch.offset.tolist() == [6, 8]
    (letter,) = dead
    assert (letter.topic, letter.offset, letter.index, letter.reason) == ("predictions", 7, 0, reason)
    assert letter.detail.startswith(path + ":")
    assert "\n" not in letter.detail
    assert (letter.raw, letter.size) == (text[:4096], len(text))
    assert letter.digest == hashlib.sha256(text).hexdigest()


def test_every_reason_of_an_event_is_documented() -> None:
    assert {reason for _, reason, _ in BAD.values()} <= set(REASONS)


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"score": 1.5}, "out_of_range"),
        ({"score": float("nan")}, "out_of_range"),
        ({"ood_score": float("inf")}, "out_of_range"),
        ({"event_id": None}, "missing_field"),
        ({"event_id": ""}, "empty_id"),
        ({"ts": None}, "missing_field"),
        ({"model": None}, "missing_field"),
        ({"probabilities": {"no": 2.0}}, "out_of_range"),
        ({"segment": {"tenant": "x" * (2 << 20)}}, "too_large"),
    ],
)
def test_a_bad_arrow_row_ends_as_a_dead_letter_with_the_row_as_json(fields: Any, reason: Any) -> None:
    rows = [event(event_id="a") | dict.fromkeys(fields), event(**fields), event(event_id="c")]
    if rows[0].get("event_id") is None or fields.keys() & {"ts", "model"}:
        rows[0] = event(event_id="a")
    batch, dead = decode_rows(rows, schema=pa.RecordBatch.from_pylist([rows[2] | rows[1], rows[0], rows[2]]).schema)

    assert [batch.ids.text(row) for row in range(batch.rows())] == ["a", "c"]
    assert [letter.reason for letter in dead] == [reason]
    assert json.loads(dead[0].raw)["ts"] == rows[1]["ts"] if reason != "too_large" else dead[0].size > 1 << 20


@pytest.mark.parametrize("name", ["event_id", "ts", "model"])
def test_arrow_messages_without_a_needed_column_are_dead_row_by_row(name: Any) -> None:
    batch, dead = decode_rows([event(**{name: ...}), event(**{name: ...})])

    assert batch.rows() == 0
    assert [(letter.reason, letter.index, letter.offset) for letter in dead] == [
        ("missing_field", 0, 0),
        ("missing_field", 0, 1),
    ]


def test_columns_of_the_wrong_type_are_dead_row_by_row() -> None:
    for fields in ({"event_id": 5}, {"model": 1.5}, {"ts": [1]}, {"score": "x"}, {"features": 3}, {"decision": [1]}):
        batch, dead = decode_rows([event(**fields)])

        assert batch.rows() == 0
        assert [letter.reason for letter in dead] == ["bad_ts" if "ts" in fields else "wrong_type"]


def stream(*groups: Any) -> Any:
    """An Arrow IPC stream of one record batch per group of rows."""
    sink = pa.BufferOutputStream()
    batches = [pa.RecordBatch.from_pylist(group) for group in groups]
    with pa.ipc.new_stream(sink, batches[0].schema) as writer:
        for batch in batches:
            writer.write_batch(batch)
    return sink.getvalue().to_pybytes()


def test_a_frame_cut_short_gives_its_whole_batches_and_one_dead_letter() -> None:
    whole = stream([event(event_id="a")], [event(event_id="b")])
    for end in range(len(stream([event(event_id="a")])), len(whole) - 8 - 64, 40):
        batch, dead = DECODE([Message(whole[:end], 3, 0), Message(line(), 4, 0)])

        assert [batch.ids.text(row) for row in range(batch.rows())] == ["a", "e"]
        assert [(letter.reason, letter.offset, letter.index) for letter in dead] in ([("truncated_frame", 3, 1)], [])


def test_arrow_text_that_is_not_utf8_is_refused_before_anything_reads_it() -> None:
    bad = stream([event(event_id="abcdefgh")]).replace(b"abcdefgh", b"abc\xff\xfefgh")
    batch, dead = DECODE([Message(bad, 3, 0)])

    assert (batch.rows(), [letter.reason for letter in dead]) == (0, ["not_utf8"])


def test_an_arrow_column_whose_name_is_not_utf8_is_refused_whatever_stands_before_it() -> None:
    for fields in ({"abcdefgh": 1}, {"segment": {"abcdefgh": "x"}}):
        good = stream([event(**fields)])
        bad = good.replace(b"abcdefgh", b"abc\xff\xfefgh")
        for before in ([], [Message(good, 1, 0)], [Message(good, 1, 0), Message(bad, 2, 0)]):
            batch, dead = DECODE([*before, Message(bad, 3, 0)])
            reasons = ["not_utf8"] * (1 + len(before[1:]))

            assert (batch.rows(), [letter.reason for letter in dead]) == (len(before[:1]), reasons)


@given(st.data())
def test_whatever_bytes_arrive_every_event_is_a_row_or_a_dead_letter(data: Any) -> None:
    texts = data.draw(st.lists(st.sampled_from([line(), line(score=0.5), line(features={"age": "x"})]), max_size=8))
    mutated = []
    for text in texts:
        at = data.draw(st.integers(0, len(text)))
        piece = data.draw(st.binary(max_size=4).filter(lambda piece: b"\n" not in piece))
        mutated.append(text[:at] + piece + text[at + data.draw(st.integers(0, 3)) :])
    batch, dead = decode_lines(mutated)

    assert batch.rows() + len(dead) == len(mutated)
    assert sorted([*batch.offset.tolist(), *(letter.offset for letter in dead)]) == list(range(len(mutated)))
    assert {letter.reason for letter in dead} <= set(REASONS)


@given(st.data())
def test_mutated_arrow_frames_never_crash_and_never_vanish(data: Any) -> None:
    whole = bytearray(
        stream([event(event_id="a", features={"code": "a"})], [event(event_id="b", features={"code": "b"})])
    )
    for _ in range(data.draw(st.integers(1, 4))):
        whole[data.draw(st.integers(0, len(whole) - 1))] = data.draw(st.integers(0, 255))
    end = data.draw(st.integers(0, len(whole)))
    batch, dead = DECODE([Message(bytes(whole[:end]), 0, 0, ARROW)])

    # A stream may end between batches, even before the first: the schema alone is a whole frame of no events.
    assert batch.rows() + len(dead) >= 0
    assert all(letter.reason in REASONS for letter in dead)


def test_an_unknown_content_type_is_a_dead_letter_and_known_ones_need_no_exact_case() -> None:
    batch, dead = DECODE(
        [
            Message(b"<x/>", 1, 0, "application/xml"),
            Message(line(), 2, 0, "Application/JSON; charset=utf-8"),
            Message(line(), 3, 0, "application/octet-stream"),
        ]
    )

    assert batch.offset.tolist() == [2, 3]
    assert [(letter.reason, letter.offset) for letter in dead] == [("bad_content_type", 1)]


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({}, "missing_field"),
        ({"label": None}, "missing_field"),
        ({"label": [1]}, "wrong_type"),
        ({"label": 1, "confirmed_ood": "yes"}, "wrong_type"),
        ({"label": 1, "revision": -1}, "out_of_range"),
        ({"label": 1, "revision": 1.5}, "wrong_type"),
        ({"label": 1, "ts": "x"}, "bad_ts"),
        ({"label": 1, "event_id": ""}, "empty_id"),
    ],
)
def test_bad_outcomes_are_dead_in_json_and_in_arrow(fields: Any, reason: Any) -> None:
    row = {"event_id": "e", "ts": 1} | fields
    from_json = decode_lines([json.dumps(row).encode()], OUTCOMES)
    from_arrow = decode_rows([row], decode=OUTCOMES)

    assert [letter.reason for letter in from_json[1]] == [reason]
    assert [letter.reason for letter in from_arrow[1]] == [reason]


def test_good_outcomes_read_alike_from_json_and_arrow() -> None:
    rows = [
        {"event_id": "a", "ts": 1, "label": "yes", "confirmed_ood": None, "revision": 2},
        {"event_id": "b", "ts": 2, "label": None, "confirmed_ood": True, "revision": None},
    ]
    for batch, dead in (
        decode_lines([json.dumps(row).encode() for row in rows], OUTCOMES),
        decode_rows(rows, decode=OUTCOMES),
    ):
        assert dead == []
        assert [batch.label.value(0), batch.label.value(1)] == ["yes", None]
        assert batch.confirmed_ood.tolist() == [-1, 1]
        assert batch.revision.tolist() == [2, 0]
        assert batch.take(np.array([1])).ids.text(0) == "b"


def test_abuse_reports_need_a_model_and_a_category() -> None:
    rows = [
        {"event_id": "a", "ts": 1, "model": "m", "category": "fraud", "segment": {"tenant": "t"}},
        {"event_id": "b", "ts": 1, "model": "m", "category": "", "segment": {"tenant": "t"}},
    ]
    for batch, dead in (
        decode_lines([json.dumps(row).encode() for row in rows], ABUSE),
        decode_rows(rows, decode=ABUSE),
    ):
        assert [(letter.reason, letter.detail.partition(":")[0]) for letter in dead] == [
            ("missing_field", "$.category")
        ]
        assert (batch.category.text(0), batch.columns["segment.tenant"].value(0)) == ("fraud", "t")
