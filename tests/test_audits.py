"""Audits from the due list to reviewers and back: the list follows from the events, the table comes back as outcomes."""

import json
from pathlib import Path

import msgspec
import pytest

from interlock.policies.load import load_policy
from interlock.streams.batch import Message
from interlock.streams.checkpoint import decode, encode
from interlock.streams.ids import select
from interlock.streams.live import Layout, Setup
from interlock.streams.live_shard import LiveShard
from tests.replaying import HOUR, START, Event, prediction, replay_lines
from tests.reviewing import EVENTS, POLICY, RATE, events, export, flagged, odd, replayed, reviewed, take


def due_of(folder: Path) -> list[Event]:
    return [json.loads(line) for line in (folder / "out" / "audits.jsonl").read_bytes().splitlines()]


def test_due_are_the_flagged_events_and_exactly_those_that_the_keyed_hash_chooses(tmp_path: Path) -> None:
    replayed(tmp_path)
    due = due_of(tmp_path)

    drawn = select([f"e{i}" for i in range(EVENTS)], b"", "audit/1")
    expected = {f"e{i}": "flagged" for i in range(EVENTS) if flagged(i)}
    expected |= {f"e{i}": "audit" for i in range(EVENTS) if not flagged(i) and int(drawn[i]) < RATE * 2**64}
    assert {one["event_id"]: one["why"] for one in due} == expected
    assert len(due) == len(expected) > 600
    assert [one["ts"] for one in due] == sorted(one["ts"] for one in due)


def test_a_record_names_the_event_and_what_is_asked_by_when_and_no_feature(tmp_path: Path) -> None:
    replayed(tmp_path)
    first = next(one for one in due_of(tmp_path) if one["event_id"] == "e10")

    assert first == {
        "event_id": "e10", "ts": START + 600_000, "model": "m", "model_version": "1", "slice": "tenant=acme",
        "why": "flagged", "level": 0, "probability": 1.0, "reason": "ood_score", "due": START + 600_000 + 3 * HOUR,
    }  # fmt: skip
    assert {one["probability"] for one in due_of(tmp_path) if one["why"] == "audit"} == {RATE}


def test_nothing_is_due_without_audits_and_only_what_the_slo_counts_with_a_filter(tmp_path: Path) -> None:
    made = [prediction(i, ood_score=0.95, segment={"tenant": "acme" if i % 2 else "zeta"}) for i in range(50)]
    replay_lines(tmp_path, made, None, POLICY.replace(f"audits: {{rate: {RATE}}}", ""))
    assert due_of(tmp_path) == []

    where = POLICY.replace("per: tenant}", "per: tenant, where: \"segment.tenant == 'acme'\"}")
    replay_lines(tmp_path, made, None, where)
    assert {one["slice"] for one in due_of(tmp_path)} == {"tenant=acme"}
    assert len(due_of(tmp_path)) == 25


def live(chunk: int, *, restart: bool = False) -> list[bytes]:
    """What a live shard sends to `audits` when it reads so many messages at a time, perhaps from a snapshot on."""
    policy = load_policy(POLICY.encode(), "policy.yaml")
    setup = Setup(policy, None, Layout(1), b"secret")
    shard, sent = LiveShard(0, setup), []
    messages = [Message(msgspec.json.encode(e), offset, e["ts"]) for offset, e in enumerate(events(600))]
    for at in range(0, len(messages), chunk):
        if restart and at >= 300:
            saved, restart = decode(encode(shard.snapshot())), False
            shard = LiveShard(0, setup)
            shard.restore(saved)
            messages_again = messages[:at]
            sent += shard.read("predictions", messages_again)  # what was read is not asked for again
        sent += shard.read("predictions", messages[at : at + chunk])
    assert all(one.key == json.loads(one.value or b"")["event_id"].encode() for one in sent if one.topic == "audits")
    return [one.value or b"" for one in sent if one.topic == "audits"]


def test_the_due_list_is_the_same_for_any_chunks_and_from_a_snapshot() -> None:
    whole = live(600)

    assert len(whole) > 150
    assert live(1) == whole
    assert live(7, restart=True) == whole


def test_a_live_shard_asks_for_what_a_replay_asks_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("INTERLOCK_AUDIT_SECRET", "secret")
    replay_lines(tmp_path, events(600), None, POLICY)

    assert (tmp_path / "out" / "audits.jsonl").read_bytes().splitlines() == live(100)


def last(folder: Path) -> Event:
    lines = (folder / "out" / "verdicts.jsonl").read_bytes().splitlines()
    found: Event = json.loads(lines[-1])
    return found


def test_reviews_that_come_back_turn_recall_from_unidentified_to_its_value(tmp_path: Path) -> None:
    replayed(tmp_path)
    assert last(tmp_path)["state"] == "unidentified"

    code, said, err = export(tmp_path)
    assert (code, err) == (0, "")
    due = len(due_of(tmp_path))
    assert f"{due} to review: {sum(map(flagged, range(EVENTS)))} flagged" in said
    code, said, err = take(tmp_path, reviewed(tmp_path / "todo.csv"))
    assert (code, err) == (0, "")
    assert f"{due} published, 0 known already, 0 not filled in" in said

    replayed(tmp_path, tmp_path / "out" / "reviews" / "outcomes.jsonl")
    verdict = last(tmp_path)
    assert verdict["state"] == "met"
    assert verdict["evidence"]["reviewed"] == verdict["evidence"]["flagged"]
    truth = sum(map(flagged, range(EVENTS))) / sum(map(odd, range(EVENTS)))
    assert verdict["value"] == pytest.approx(truth, abs=0.08)


def test_what_was_imported_is_not_exported_again_nor_published_twice(tmp_path: Path) -> None:
    replayed(tmp_path)
    export(tmp_path)
    table = reviewed(tmp_path / "todo.csv")
    take(tmp_path, table)
    written = (tmp_path / "out" / "reviews" / "outcomes.jsonl").read_bytes()

    code, said, _ = take(tmp_path, table)
    assert (code, said) == (0, f"0 published, {len(due_of(tmp_path))} known already, 0 not filled in\n")
    assert (tmp_path / "out" / "reviews" / "outcomes.jsonl").read_bytes() == written
    assert "todo2.csv: 0 to review" in export(tmp_path, "todo2.csv")[1]
    assert len((tmp_path / "todo2.csv").read_text().splitlines()) == 1


def test_a_correction_with_a_higher_revision_is_published(tmp_path: Path) -> None:
    replayed(tmp_path)
    one = tmp_path / "one.jsonl"
    one.write_text('{"event_id": "e10", "confirmed_ood": true}\n')
    take(tmp_path, one)
    one.write_text('{"event_id": "e10", "confirmed_ood": false, "revision": 1, "label": "spam"}\n')

    assert take(tmp_path, one)[1].startswith("1 published")
    sent = [json.loads(line) for line in (tmp_path / "out/reviews/outcomes.jsonl").read_bytes().splitlines()]
    assert [(x["confirmed_ood"], x.get("revision")) for x in sent] == [(True, None), (False, 1)]
    assert (sent[1]["label"], sent[1]["source"]) == ("spam", "desk")


BAD = {
    "e10,maybe,,,": "confirmed_ood: found 'maybe'; expected true or false",
    "e20,,1,,": "event_id e20: a label without confirmed_ood; expected true or false there too",
    "e30,yes,,-1,": "revision: found '-1'; expected a whole number from 0",
    "e40,yes,,,yesterday": "found 'yesterday'; expected a time such as 2026-03-01T12:00:00Z, or ms since 1970",
    "e40,yes,,,2026-03-01T12:00:00": "found '2026-03-01T12:00:00'; expected a time",
    "nobody,no,,,": "event_id 'nobody': not on the due list",
    "e50,yes,,,,,": "7 cells; expected 5",
}


def test_bad_rows_are_refused_by_line_and_the_good_ones_beside_them_are_taken(tmp_path: Path) -> None:
    replayed(tmp_path)
    rows = ["e70,yes,,,", *BAD, "e70,no,,,", "e80,,,,"]
    table = tmp_path / "t.csv"
    table.write_text("\n".join(["event_id,confirmed_ood,label,revision,reviewed_at", *rows]) + "\n", "utf-8")

    code, said, err = take(tmp_path, table)
    assert code == 1
    assert said == "1 published, 0 known already, 1 not filled in\n"
    reasons = [*BAD.values(), "event_id e70: line 2 has this revision already"]
    refused = err.splitlines()
    assert len(refused) == len(reasons)
    for line, (got, why) in enumerate(zip(refused, reasons, strict=True), start=3):
        assert got.startswith(f"{table}:{line}: {why}")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("[1]", "a list; expected an object"),
        ("{", "no JSON"),
        ('{"event_id": "e10", "confirmed_ood": true, "label": NaN}', "label: found a float; expected text, a finite"),
        ('{"event_id": ["e10"], "confirmed_ood": true}', "event_id ['e10']: not on the due list"),
    ],
)
def test_bad_json_lines_are_refused_by_line(tmp_path: Path, text: str, why: str) -> None:
    replay_lines(tmp_path, events(40), None, POLICY)
    (tmp_path / "t.jsonl").write_text(f"\n{text}\n")

    code, _, err = take(tmp_path, tmp_path / "t.jsonl")
    assert code == 1
    assert err.startswith(f"{tmp_path}/t.jsonl:2: {why}")


def test_what_is_overdue_is_counted_and_said_of_each_row(tmp_path: Path) -> None:
    replayed(tmp_path)
    _, said, _ = export(tmp_path, "todo.jsonl", "--now", str(START + 13 * HOUR))
    rows = [json.loads(line) for line in (tmp_path / "todo.jsonl").read_bytes().splitlines()]

    expected = sum(one["due"] < START + 13 * HOUR for one in due_of(tmp_path))
    assert 100 < expected < len(rows)
    assert f"overdue: {expected}; reviewed already: 0" in said
    assert sum(row["overdue"] for row in rows) == expected
    assert [row["due"] for row in rows] == sorted(row["due"] for row in rows)


def test_an_id_that_a_spreadsheet_would_run_as_a_formula_comes_back_as_it_was(tmp_path: Path) -> None:
    event_id = "=HYPERLINK(1)"
    replay_lines(tmp_path, [prediction(0, event_id=event_id, ood_score=0.95)], None, POLICY)
    export(tmp_path)
    text = (tmp_path / "todo.csv").read_text()
    assert "\n'=HYPERLINK(1)," in text

    (tmp_path / "todo.csv").write_text(text.rstrip("\n")[: -len(",,,")] + "yes,,,\n")
    assert take(tmp_path, tmp_path / "todo.csv")[1].startswith("1 published")
    sent = json.loads((tmp_path / "out" / "reviews" / "outcomes.jsonl").read_bytes())
    assert sent["event_id"] == event_id


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (("export", "-o", "t.csv"), "bootstrap: found nothing"),
        (("export", "-o", "t.xls", "--replay", "."), "audits.jsonl: cannot be read"),
        (("import", "t.csv", "--source", " ", "--replay", "."), "--source: found nothing"),
        (("import", "t.csv", "--source", "a", "--bootstrap", "b", "--outcomes", "x"), "--outcomes is for --replay"),
        (("export", "-o", "t.csv", "--bootstrap", "127.0.0.1:1"), "127.0.0.1:1"),
    ],
)
def test_a_wrong_use_is_one_line(arguments: tuple[str, ...], line: str) -> None:
    from tests.replaying import command  # noqa: PLC0415 - beside its only use

    code, _, err = command("audits", *arguments)
    assert code in (2, 3)
    assert line in err
    assert len(err.splitlines()) == 1


def test_labels_in_a_csv_are_numbers_and_truths_where_they_spell_them(tmp_path: Path) -> None:
    replayed(tmp_path)
    given = {"10": "0012", "20": "1", "30": "true", "40": "0.5", "50": "spam", "60": "nan", "70": "1e400"}
    rows = [f"e{i},yes,{label}" for i, label in given.items()]
    (tmp_path / "t.csv").write_text("event_id;confirmed_ood;label\n" + "\n".join(r.replace(",", ";") for r in rows))

    take(tmp_path, tmp_path / "t.csv")
    sent = [json.loads(line) for line in (tmp_path / "out/reviews/outcomes.jsonl").read_bytes().splitlines()]
    assert [one["label"] for one in sent] == ["0012", 1.0, True, 0.5, "spam", "nan", "1e400"]


def test_half_a_review_is_unidentified_says_what_to_do_and_shows_both_bounds(tmp_path: Path) -> None:
    replayed(tmp_path)
    export(tmp_path)
    table = reviewed(tmp_path / "todo.csv")
    rows = table.read_text("utf-8").splitlines(keepends=True)
    table.write_text("".join(rows[:1] + rows[1::2]), "utf-8")
    take(tmp_path, table)
    replayed(tmp_path, tmp_path / "out" / "reviews" / "outcomes.jsonl")
    verdict = last(tmp_path)

    assert verdict["state"] == "unidentified"
    assert (
        "audits are reviewed, of which 95% each are needed: `interlock audits export`" in verdict["evidence"]["reason"]
    )
    assert verdict["evidence"]["if_wrong"] < 0.7 < verdict["evidence"]["if_right"] <= 1
