"""Dead letters on their way back: what they stand for, what becomes of them, and the same by files alone."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pytest

from interlock.protocol import ARROW, JSON, JSON_LINES
from interlock.records import dead_letter_line
from interlock.streams.batch import Message, Wanted
from interlock.streams.dead_letters import REFED, Fate, Letter, Repair, read_letter, refusals
from interlock.streams.decode import prediction_decoder
from interlock.streams.decode_events import event_of
from interlock.streams.mapping import load
from tests.replaying import POLICY, START, Event, command, lines, outcome, prediction, replay_lines, replayed
from tests.test_live_bad_input import frame
from tests.test_replay_bad_input import BAD, flat

NOW = START + 1_000_000_000
REPAIR = Repair(NOW, refusals())
RENAMED = load("model: m\n", "map.yaml")


@dataclass(frozen=True)
class Record:
    value: bytes | None
    key: bytes | None = b"its key"
    timestamp: int = NOW
    headers: tuple[tuple[str, bytes], ...] = ()


def renamed(i: int, **fields: Any) -> Event:
    """A prediction whose model stands under another name."""
    event = prediction(i, **fields)
    return event | {"m": event.pop("model")}


def letters_of(message: Message) -> list[Letter]:
    _, dead = prediction_decoder(Wanted(), b"").timely(300_000)([message])
    return [read_letter(dead_letter_line(one, 0)) for one in dead]


def test_every_dead_letter_leads_to_its_event_in_messages_of_every_shape() -> None:
    bad = [event if isinstance(event, bytes) else msgspec.json.encode(event) for event, _ in BAD.values()]
    shapes = [
        Message(b"\n".join(line for line in bad if b"\n" not in line), 7, NOW, JSON_LINES),
        Message(b'{\n"event_id": 1\n}', 7, NOW, JSON),
        Message(b'{\n"event_id": 1\n}', 7, NOW),
        Message(b"x", 7, NOW, "text/plain"),
        Message(
            frame(flat(i, START) | {"score": score} for i, score in enumerate([0.5, 2.0, 0.1, -1.0])), 7, NOW, ARROW
        ),
    ]
    for message in shapes:
        found = letters_of(message)
        events = [event_of(message, one.index) for one in found]

        assert found
        assert all(event is not None for event in events)
        told = [REPAIR(one, Record(message.value, headers=_kind(message))) for one in found]
        assert {one.fate for one in told} <= {Fate.REFUSED, Fate.READY}


def _kind(message: Message) -> tuple[tuple[str, bytes], ...]:
    return () if message.content_type is None else (("content-type", message.content_type.encode()),)


def test_an_event_of_a_frame_is_sent_again_to_the_byte_of_its_columns() -> None:
    message = Message(frame(flat(i, START + NOW * (i == 1)) for i in range(3)), 7, NOW, ARROW)
    (letter,) = letters_of(message)
    fed = Repair(START + NOW, refusals())(letter, Record(message.value, headers=_kind(message)))
    again, dead = prediction_decoder(Wanted(), b"").timely(300_000)([Message(fed.value, 0, START + NOW, ARROW)])

    assert (letter.reason, fed.fate, fed.key, dead) == ("future_ts", Fate.READY, b"its key", [])
    assert [again.ids.text(row) for row in range(again.rows())] == ["e1"]
    assert dict(fed.headers) == {"content-type": ARROW.encode(), REFED: b"predictions/0/7/1"}


def test_names_are_mended_only_where_an_event_cannot_be_read_as_it_is() -> None:
    value = msgspec.json.encode(renamed(1))
    (letter,) = letters_of(Message(value, 7, NOW))
    mending = Repair(NOW, refusals(), RENAMED)

    assert REPAIR(letter, Record(value)).fate is Fate.REFUSED
    assert REPAIR(letter, Record(value)).why.startswith("missing_field: $.model")
    mended = mending(letter, Record(value))
    assert (mended.fate, msgspec.json.decode(mended.value)) == (Fate.READY, prediction(1))
    good = msgspec.json.encode(prediction(2, at=NOW + 10**6))
    (early,) = letters_of(Message(good, 7, NOW))
    assert Repair(NOW + 10**6, refusals(), RENAMED)(early, Record(good)).value == good
    assert Repair(NOW, refusals(), anyway=True)(letter, Record(value)).value == value


@pytest.mark.parametrize("record", [None, Record(b"another event")])
def test_a_long_event_that_is_not_kept_is_gone_and_a_short_one_is_in_its_letter(record: Record | None) -> None:
    long, short = (msgspec.json.encode(renamed(1, comment="é" * n)) for n in (5000, 5))
    (of_long,), (of_short,) = letters_of(Message(long, 7, NOW)), letters_of(Message(short, 7, NOW))
    mending = Repair(NOW, refusals(), RENAMED)

    gone, fed = mending(of_long, record), mending(of_short, record)
    assert gone.fate is Fate.GONE
    assert f"of {len(long)} bytes" in gone.why
    assert fed.fate is Fate.READY
    assert fed.key == (b"e1" if record is None else record.key)
    assert mending(of_long, Record(long)).fate is Fate.READY


def test_a_replay_with_its_dead_letters_says_what_a_replay_says_that_never_had_them(tmp_path: Path) -> None:
    made, said = [prediction(i, ood_score=0.95 if i % 3 else 0.1) for i in range(900)], [outcome(i) for i in range(900)]
    bad = {i: msgspec.json.encode(renamed(i, ood_score=made[i]["ood_score"])) for i in range(100, 200, 7)}
    whole, part = tmp_path / "whole", tmp_path / "part"
    for folder in (whole, part):
        folder.mkdir()
    expected = replay_lines(whole, made, said, options=("--sort",))
    dead = [letter for value in bad.values() for letter in letters_of(Message(value, 7, NOW))]
    lines(part / "dead.jsonl", [dead_letter_line(_at(i, one), 0).rstrip() for i, one in enumerate(dead)])
    (part / "map.yaml").write_text("model: m\n", "utf-8")
    files = {
        "predictions": [lines(part / "p.jsonl", [e | {"m": "m"} for i, e in enumerate(made) if i not in bad])],
        "outcomes": [lines(part / "o.jsonl", said)],
    }
    options = ("--no-clickhouse", "--sort", "--dead-letters", part / "dead.jsonl", "--map", part / "map.yaml")
    found = replayed(part, files, options=options)

    assert found.code == expected.code, found.err
    assert found.said() == expected.said()
    assert f"missing_field  {len(bad)}" in " ".join(found.out.split()).replace("missing_field ", "missing_field  ")
    assert set(found.run()["refed"]) == {"predictions"}


@dataclass(frozen=True)
class _Shown:
    topic: str
    offset: int
    index: int
    reason: str
    detail: str
    raw: bytes
    size: int
    digest: str


def _at(index: int, one: Letter) -> _Shown:
    return _Shown(one.topic, one.offset, index, one.reason, one.detail, one.raw.encode(), one.size, one.digest)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("replay",), "what is to be replayed? Give POLICY"),
        (("replay", "--dead-letters"), "feeds a live pipeline: give --bootstrap"),
        (("replay", "--dead-letters", "no.jsonl", "--bootstrap", "127.0.0.1:1"), "no.jsonl: cannot be read"),
        (("replay", "--dead-letters", "--bootstrap", "x"), "expected host:port"),
        (("replay", "p.yaml", "--send", "--dead-letters"), "where no POLICY is given"),
    ],
)
def test_wrong_use_is_one_line(arguments: tuple[str, ...], said: str) -> None:
    code, _, err = command(*arguments)

    assert code == 2
    assert said in err
    assert err.count("\n") == 1


@pytest.mark.parametrize(
    "who", [("--set", "bootstrap=x"), ("--settings",), ("INTERLOCK_SETTINGS",), ("INTERLOCK_BOOTSTRAP",)]
)
@pytest.mark.parametrize("policy", [(), ("policy.yaml", "--no-clickhouse")])
def test_where_kafka_is_may_be_said_as_to_all_commands(
    policy: tuple[str, ...], who: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("policy.yaml").write_text(POLICY, "utf-8")
    Path("settings.yaml").write_text("bootstrap: x\n", "utf-8")
    flags = {"--settings": ("--settings", "settings.yaml"), "--set": who}.get(who[0], ())
    if not flags:
        monkeypatch.setenv(who[0], "settings.yaml" if who[0] == "INTERLOCK_SETTINGS" else "x")
    code, _, err = command("replay", *policy, "--dead-letters", *flags)

    assert code == 2
    assert "bootstrap: found 'x'; expected host:port" in err
    assert err.count("\n") == 1


def test_a_bad_event_of_a_frame_that_is_no_json_is_a_dead_letter_all_the_same() -> None:
    twice = pa.StructArray.from_arrays([pa.array([1.0, 2.0])] * 2, names=["amount", "amount"])
    texts: dict[str, Any] = {name: pa.array(["a", "b"]) for name in ("event_id", "model", "model_version")}
    columns = texts | {"ts": pa.array([START] * 2), "score": pa.array([7.0, 0.5]), "features": twice}
    batch, sink = pa.RecordBatch.from_arrays(list(columns.values()), list(columns)), pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    (letter,) = letters_of(Message(bytes(sink.getvalue().to_pybytes()), 7, NOW, ARROW))

    assert letter.reason == "out_of_range"
    assert "duplicate field names" in letter.raw
