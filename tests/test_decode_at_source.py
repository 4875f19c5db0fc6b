"""What an outcome may carry of its prediction, in every format, and how it ends if that cannot be read."""

import json
from typing import Any

import msgspec
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.protocol import ARROW
from interlock.streams.batch import Frame, Lines, Message, Outcomes
from interlock.streams.dead_letters import Fate, Repair, read_letter, refusals
from interlock.streams.decode import outcome_decoder
from tests.decoding import DECODE, KEY, WANTED, event, plain

MINUTE = 60_000
OUTCOMES = outcome_decoder(KEY, embedded=WANTED)


def carrying(made: Any, **fields: Any) -> dict[str, Any]:
    """An outcome that carries a prediction."""
    return {"event_id": "e", "ts": 1_700_000_060_000, "label": True, "prediction": made} | fields


def own(**fields: Any) -> dict[str, Any]:
    """A prediction without id, as outcomes carry it."""
    return event(event_id=..., **fields)


RICH: list[dict[str, Any]] = [
    own(score=0.25, model_version="3", segment={"tenant": "acme"}, features={"amount": 5.5, "age": 7, "code": "a"}),
    own(decision="pay", probabilities={"yes": 0.75, "no": 0.25}, features={"code": "never seen"}),
    own(),
]


def embedded(batch: Outcomes) -> list[dict[str, Any]]:
    assert batch.embedded is not None
    return plain(batch.embedded.batch)


def test_what_an_outcome_carries_is_read_as_the_prediction_itself() -> None:
    ids = [f"e{i}" for i in range(len(RICH))]
    whole = [one | {"event_id": name} for one, name in zip(RICH, ids, strict=True)]
    outcomes = [carrying(one, event_id=name) for one, name in zip(RICH, ids, strict=True)]

    batch, dead = OUTCOMES(Lines([json.dumps(one).encode() for one in outcomes], 0, 5))
    expected, _ = DECODE(Lines([json.dumps(one).encode() for one in whole], 0, 5))

    assert dead == []
    assert batch.embedded is not None
    assert batch.embedded.present.all()
    assert embedded(batch) == plain(expected)


@pytest.mark.parametrize("dotted", [False, True])
def test_arrow_says_what_json_says(dotted: bool) -> None:
    rows = [carrying(one) for one in RICH]
    text, _ = OUTCOMES(Lines([json.dumps(one).encode() for one in rows], 0, 5))
    if dotted:
        rows = [
            {name: x for name, x in one.items() if name != "prediction"}
            | {f"prediction.{name}": x for name, x in one["prediction"].items()}
            for one in rows
        ]
    names = list(dict.fromkeys(name for one in rows for name in one))
    batch, dead = OUTCOMES(
        Frame(pa.Table.from_pylist([{n: r.get(n) for n in names} for r in rows]).to_batches()[0], 0, 5)
    )

    assert dead == []
    strict = [{name: x for name, x in one.items() if name != "columns"} for one in embedded(batch)]
    assert strict == [{name: x for name, x in one.items() if name != "columns"} for one in embedded(text)]


def test_an_outcome_without_a_prediction_carries_none_in_any_format() -> None:
    rows = [carrying(own()), {"event_id": "f", "ts": 1_700_000_060_000, "label": False}, carrying(None, event_id="g")]
    text, dead = OUTCOMES(Lines([json.dumps(one).encode() for one in rows], 0, 5))
    table, dead_rows = OUTCOMES(Frame(pa.RecordBatch.from_pylist(rows), 0, 5))

    assert dead == dead_rows == []
    for batch in (text, table):
        assert batch.embedded is not None
        assert batch.embedded.present.tolist() == [True, False, False]
        assert batch.embedded.batch.rows() == 1


BAD: dict[str, tuple[Any, str, str]] = {
    "no object": (5, "wrong_type", "$.prediction"),
    "a list": ([own()], "wrong_type", "$.prediction"),
    "nothing in it": ({}, "missing_field", "$.prediction.ts"),
    "no model": (own(model=...), "missing_field", "$.prediction.model"),
    "an empty model": (own(model=""), "missing_field", "$.prediction.model"),
    "no time": (own(ts="yesterday"), "bad_ts", "$.prediction.ts"),
    "seconds for milliseconds": (own(ts=1_700_000_000), "ancient_ts", "$.prediction.ts"),
    "a time to come": (own(ts=1_800_000_000_000), "future_ts", "$.prediction.ts"),
    "a score of text": (own(score="0.5"), "wrong_type", "$.prediction.score"),
    "a score above 1": (own(score=1.5), "out_of_range", "$.prediction.score"),
    "a probability above 1": (own(probabilities={"no": 1.5}), "out_of_range", "$.prediction.probabilities.no"),
    "a feature that is an object": (own(features={"age": {}}), "wrong_type", "$.prediction.features.age"),
}


@pytest.mark.parametrize(("made", "reason", "path"), BAD.values(), ids=BAD)
def test_a_bad_prediction_makes_its_outcome_a_dead_letter_and_spares_the_neighbours(
    made: Any, reason: str, path: str
) -> None:
    rows = [carrying(own(), event_id="a"), carrying(made, event_id="b"), carrying(own(score=0.5), event_id="c")]
    rows = [carrying(None, event_id="none"), *rows]
    lines = [json.dumps(one).encode() for one in rows]
    batch, dead = OUTCOMES.timely(MINUTE)(Lines(lines, 0, 1_700_000_100_000))

    assert [(one.index, one.offset, one.reason, one.detail.partition(":")[0]) for one in dead] == [(0, 2, reason, path)]
    assert dead[0].raw == lines[2]
    assert [batch.ids.text(row) for row in range(batch.rows())] == ["none", "a", "c"]
    assert [one["id"][0] for one in embedded(batch)] == ["a", "c"]
    assert [one["scores"][0] for one in embedded(batch)] == [None, 0.5]


def test_a_bad_prediction_in_arrow_makes_its_outcome_a_dead_letter() -> None:
    rows = [carrying(own(score=0.5), event_id="a"), carrying(own(score=1.5), event_id="b")]
    batch, dead = OUTCOMES(Frame(pa.RecordBatch.from_pylist(rows), 0, 5))
    _, scalar = OUTCOMES(Frame(pa.RecordBatch.from_pylist([carrying(True)]), 0, 5))

    assert [(one.offset, one.reason) for one in dead] == [(1, "out_of_range")]
    assert [one["id"][0] for one in embedded(batch)] == ["a"]
    assert [(one.reason, one.detail.partition(":")[0]) for one in scalar] == [("wrong_type", "$.prediction")]


def test_without_the_policy_what_an_outcome_carries_is_not_even_read() -> None:
    lines = [json.dumps(carrying(made)).encode() for made, _, _ in BAD.values()]
    batch, dead = outcome_decoder(KEY)(Lines(lines, 0, 1_700_000_100_000))

    assert (batch.rows(), dead, batch.embedded) == (len(lines), [], None)


@given(sizes=st.lists(st.integers(1, 9), min_size=1, max_size=4), seed=st.integers(0, 99))
@settings(max_examples=20, deadline=None)
def test_any_packing_of_any_formats_reads_the_same(sizes: list[int], seed: int) -> None:
    rows = [carrying(RICH[0] | {"ts": 1_700_000_000_000 + i}, event_id=f"e{i}") for i in range(24)]
    rows = [
        one if i % 5 else {"event_id": f"e{i}", "ts": 1_700_000_060_000, "label": True} for i, one in enumerate(rows)
    ]
    messages: list[Message] = []
    at = 0
    while at < len(rows):
        some = rows[at : at + sizes[len(messages) % len(sizes)]]
        as_arrow = (seed >> len(messages) % 7) & 1
        value = arrow(some) if as_arrow else b"\n".join(json.dumps(one).encode() for one in some)
        messages.append(Message(value, len(messages), 5, ARROW if as_arrow else None))
        at += len(some)
    batch, dead = OUTCOMES(messages)

    assert dead == []
    assert batch.embedded is not None
    assert batch.embedded.present.tolist() == [i % 5 != 0 for i in range(24)]
    assert [(one["id"][0], one["ts"], one["texts"]) for one in embedded(batch)] == [
        (f"e{i}", 1_700_000_000_000 + i, ["a", "7"]) for i in range(24) if i % 5
    ]


def arrow(rows: list[dict[str, Any]]) -> bytes:
    names = dict.fromkeys(name for one in rows for name in one)
    batch = pa.RecordBatch.from_pylist([{name: one.get(name) for name in names} for one in rows])
    sink: Any = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())


def test_a_dead_letter_of_a_bad_prediction_is_refused_until_it_can_be_read() -> None:
    _, (dead,) = OUTCOMES([Message(json.dumps(carrying(own(score=2))).encode(), 0, 5)])
    letter = read_letter(
        msgspec.json.encode(
            {"topic": "outcomes", "offset": 0, "index": 0, "reason": dead.reason, "detail": dead.detail}
            | {"raw": dead.raw.decode(), "size": dead.size, "digest": dead.digest}
        )
    )

    assert Repair(1_700_000_100_000, refusals())(letter, None).fate is Fate.REFUSED
    assert Repair(1_700_000_100_000, refusals(embedded=False))(letter, None).fate is Fate.READY
