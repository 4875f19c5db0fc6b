"""ClickHouse keeps every batch once, whatever is sent twice or killed; on a real chdb in a directory."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.detectors.fixed import SCALE
from interlock.errors import Unreachable, UserError
from interlock.records import Control, Labels, TallyTable, Verdict
from interlock.sinks.clickhouse import Batch, ClickHouseSink

pytestmark = pytest.mark.integration

HOUR = 3_600_000
DAY = 24 * HOUR
START = 1_704_067_200_000  # 2024-01-01 UTC
TABLES = ("tallies", "verdicts", "controls", "dead_letters")
VIEWS = ("v_slo_now", "v_incidents", "v_daily", "v_calibration")


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[ClickHouseSink]:
    with ClickHouseSink.connect(tmp_path / "clickhouse") as opened:
        yield opened


def rows_of(sink: ClickHouseSink, name: str) -> list[dict[str, Any]]:
    """Return the rows as stored, without FINAL: what merges would hide must not be there in the first place."""
    return sorted(sink.query(f"SELECT * FROM interlock.{name}"), key=repr)


def tallies(*rows: tuple[int, str, str, int, int]) -> TallyTable:
    """Return hourly counts from rows of (pane, chain, series, cell, count)."""
    pane, chain, series, cell, count = zip(*rows, strict=True)
    return TallyTable(
        pane_start=np.array(pane, np.int64),
        pane_ms=np.full(len(rows), HOUR, np.int64),
        cohort_start=np.array(pane, np.int64),
        chain=Labels.of(chain),
        model=Labels.constant("claims", len(rows)),
        model_version=Labels.constant("2.3", len(rows)),
        slice=Labels.constant('["acme"]', len(rows)),
        series=Labels.of(series),
        cell=np.array(cell, np.int64),
        count=np.array(count, np.int64),
    )


def verdict(ts: int, state: str = "met", value: float | None = 0.01, scope: dict[str, str] | None = None) -> Verdict:
    fields = {
        "verdict_id": f"v{ts}{state}{scope}",
        "model": "claims",
        "slo": "ood_rate_24h",
        "scope": scope or {},
        "ts": ts,
        "window_start": ts - DAY,
        "window_end": ts,
        "state": state,
        "value": value,
        "lower": None,
        "upper": None,
        "n": 10,
        "label_coverage": None,
        "target": "<= 0.05",
        "evidence": {"new_codes": ["Ü1"]},
        "policy_digest": "sha256:00",
    }
    return Verdict.model_validate(fields)


def control(ts: int, state: str, epoch: int = 1, mode: str = "human_review") -> Control:
    fields = {
        "control_id": f"c{epoch}",
        "epoch": epoch,
        "model": "claims",
        "scope": {"slice": '["acme"]'},
        "action": "route_to_human_review",
        "mode": mode,
        "state": state,
        "parameters": {},
        "slo": "ood_rate_24h",
        "verdict_id": f"v{ts}",
        "cause": f"{state} at {ts}",
        "evidence": {},
        "policy_digest": "sha256:00",
        "ts": ts,
        "issued_at": ts + 5,
    }
    return Control.model_validate(fields)


@dataclass(frozen=True)
class Letter:
    """A refused event, as decoding yields it."""

    topic: str
    offset: int
    index: int
    reason: str
    detail: str
    raw: bytes
    size: int
    digest: str


def letter(offset: int) -> Letter:
    return Letter("predictions", offset, 0, "not_json", "expected an object", b"\xff{", 2, "00")


COUNTS = tallies(
    (START, "predictions", "events", 0, 100),
    (START, "predictions", "events", 1, 2),
    (START, "predictions", "ood", 0, 100),
    (START, "predictions", "ood", 1, 7),
    (START, "predictions", "ood where x > 1", 1, 5),
    (START + HOUR, "predictions", "events", 0, 50),
    (START + DAY, "joined", "events", 10, 40),
    (START + DAY, "joined", "ece", 3 * 51, 10),
    (START + DAY, "joined", "ece", 3 * 51 + 1, 8 * SCALE),
    (START + DAY, "joined", "ece", 3 * 51 + 2, 6),
)


def send_all(sink: ClickHouseSink, covers: str) -> None:
    """Send one batch to every table."""
    batch = Batch("replay", covers)
    sink.insert_tallies(COUNTS, batch)
    sink.insert_verdicts([verdict(START), verdict(START + HOUR, "breached", 0.2)], batch)
    sink.insert_controls([control(START + HOUR, "engaged"), control(START + DAY, "released")], batch)
    sink.insert_dead_letters([letter(1), letter(2)], START, batch)


def test_the_schema_applies_twice_and_keeps_what_is_there(sink: ClickHouseSink) -> None:
    send_all(sink, "1")
    before = {name: rows_of(sink, name) for name in TABLES + VIEWS}
    again = ClickHouseSink(sink.client)

    assert all(before.values())
    assert {name: rows_of(again, name) for name in TABLES + VIEWS} == before


def test_every_insert_sent_twice_counts_once_views_included(sink: ClickHouseSink) -> None:
    send_all(sink, "1")
    before = {name: rows_of(sink, name) for name in TABLES + VIEWS}
    send_all(sink, "1")

    assert {name: rows_of(sink, name) for name in TABLES + VIEWS} == before


def test_a_batch_is_known_again_by_its_identity_not_by_its_bytes(sink: ClickHouseSink) -> None:
    """A caller that resumes sends the same batch in another order, and issues controls at a later wall-clock time."""
    send_all(sink, "1")
    before = {name: rows_of(sink, name) for name in TABLES}
    batch = Batch("replay", "1")
    sink.insert_tallies(COUNTS.take(np.arange(len(COUNTS))[::-1]), batch)
    later = [control(START + HOUR, "engaged"), control(START + DAY, "released")]
    sink.insert_controls([record.model_copy(update={"issued_at": START + 40 * DAY}) for record in later], batch)

    assert {name: rows_of(sink, name) for name in TABLES} == before


def test_the_same_rows_in_another_batch_are_seen_once_in_every_view(sink: ClickHouseSink) -> None:
    send_all(sink, "1")
    before = {name: rows_of(sink, name) for name in VIEWS}
    send_all(sink, "1 again, its token forgotten")

    assert {name: rows_of(sink, name) for name in VIEWS} == before


def test_counts_of_two_shards_add_up(sink: ClickHouseSink) -> None:
    for shard in ("predictions-0", "predictions-1"):
        sink.insert_tallies(tallies((START, "predictions", "events", 0, 100)), Batch(shard, "0-99"))

    assert [row["events"] for row in rows_of(sink, "v_daily")] == [200]


def test_a_batch_over_three_months_is_three_inserts_of_one_part_each(sink: ClickHouseSink) -> None:
    months = [START, START + 31 * DAY, START + 31 * DAY + HOUR, START + 60 * DAY]
    for _ in range(2):
        sink.insert_tallies(tallies(*((t, "predictions", "events", 0, 1) for t in months)), Batch("replay", "1"))
        sink.insert_verdicts([verdict(t) for t in months], Batch("replay", "1"))
    parts = sink.query(
        "SELECT table, partition, sum(rows) AS rows, count() AS parts FROM system.parts"
        " WHERE database = 'interlock' AND active GROUP BY ALL ORDER BY table, partition"
    )

    expected = [("202401", 1, 1), ("202402", 2, 1), ("202403", 1, 1)]
    for table in ("tallies", "verdicts"):
        found = [(row["partition"], row["rows"], row["parts"]) for row in parts if row["table"] == table]
        assert found == expected


def test_times_are_utc_to_the_millisecond(sink: ClickHouseSink) -> None:
    sink.insert_verdicts([verdict(START + 123)], Batch("replay", "1"))
    (row,) = sink.query("SELECT toString(ts) AS ts, toString(window_start) AS start FROM interlock.verdicts")

    assert row == {"ts": "2024-01-01 00:00:00.123", "start": "2023-12-31 00:00:00.123"}


def test_the_latest_verdict_of_each_scope_is_how_an_slo_stands(sink: ClickHouseSink) -> None:
    acme = {"slice": '["acme"]'}
    old, new = verdict(START, "breached", 0.123456789123), verdict(START + 40 * DAY, "no_data", None)
    sink.insert_verdicts([new, old, verdict(START, "at_risk", 1 / 3, acme)], Batch("replay", "1"))
    now = sink.query("SELECT scope, state, value FROM interlock.v_slo_now ORDER BY scope")

    assert now == [
        {"scope": '{"slice":"[\\"acme\\"]"}', "state": "at_risk", "value": 0.333333333},
        {"scope": "{}", "state": "no_data", "value": None},
    ]


def test_an_incident_lasts_from_engaged_to_released(sink: ClickHouseSink) -> None:
    first = [control(START, "engaged"), control(START + HOUR, "engaged", mode="safe_mode")]
    released = control(START + 40 * DAY, "released")
    sink.insert_controls([*first, released, control(START + 41 * DAY, "engaged", 2)], Batch("replay", "1"))
    incidents = sink.query(
        "SELECT epoch, mode, toString(engaged_at) AS since, seconds, cause FROM interlock.v_incidents ORDER BY epoch"
    )

    past = {"epoch": 1, "mode": "human_review", "since": "2024-01-01 00:00:00.000", "seconds": 40 * 86_400}
    present = {"epoch": 2, "mode": "human_review", "since": "2024-02-11 00:00:00.000", "seconds": None}
    assert incidents == [
        past | {"cause": f"engaged at {START}"},
        present | {"cause": f"engaged at {START + 41 * DAY}"},
    ]


def test_a_day_shows_its_events_flags_and_labels(sink: ClickHouseSink) -> None:
    sink.insert_tallies(COUNTS, Batch("replay", "1"))
    days = sink.query("SELECT toString(day) AS day, events, late, scored, flagged, labels FROM interlock.v_daily")

    assert sorted(days, key=lambda row: str(row["day"])) == [
        {"day": "2024-01-01", "events": 150, "late": 2, "scored": 100, "flagged": 7, "labels": 0},
        {"day": "2024-01-02", "events": 0, "late": 0, "scored": 0, "flagged": 0, "labels": 40},
    ]


def test_reliability_is_shown_per_micro_bin(sink: ClickHouseSink) -> None:
    sink.insert_tallies(COUNTS, Batch("replay", "1"))
    (row,) = sink.query("SELECT bin, n, mean_score, observed, round(gap, 9) AS gap FROM interlock.v_calibration")

    assert row == {"bin": 51, "n": 10, "mean_score": 0.8, "observed": 0.6, "gap": -0.2}


def test_a_dead_letter_is_readable_whatever_its_bytes(sink: ClickHouseSink) -> None:
    sink.insert_dead_letters([letter(1)], START, Batch("predictions", "1"))
    (row,) = sink.query("SELECT topic, offset, reason, raw, size FROM interlock.dead_letters")

    assert row == {"topic": "predictions", "offset": 1, "reason": "not_json", "raw": "\\xff{", "size": 2}


def test_empty_batches_are_no_inserts(sink: ClickHouseSink) -> None:
    sink.insert_tallies(COUNTS.take(COUNTS.count < 0), Batch("replay", "1"))
    sink.insert_verdicts([], Batch("replay", "1"))
    sink.insert_controls([], Batch("replay", "1"))
    sink.insert_dead_letters([], START, Batch("replay", "1"))

    assert [rows_of(sink, name) for name in TABLES] == [[], [], [], []]


class LosesAnswers:
    """A connection that stores what it is given and loses the next answers."""

    def __init__(self, client: Any, lost: int) -> None:
        self.client = client
        self.lost = lost

    def insert_arrow(self, *args: Any, **options: Any) -> None:
        from clickhouse_connect.driver.exceptions import OperationalError  # noqa: PLC0415 - optional dependency

        self.client.insert_arrow(*args, **options)
        if self.lost:
            self.lost -= 1
            raise OperationalError("the connection was closed")

    def command(self, sql: str) -> None:
        self.client.command(sql)


def test_an_insert_whose_answer_is_lost_counts_once(sink: ClickHouseSink) -> None:
    ClickHouseSink(LosesAnswers(sink.client, 2)).insert_verdicts([verdict(START)], Batch("replay", "1"))

    assert len(rows_of(sink, "verdicts")) == 1


def test_a_server_that_never_answers_is_given_up_with_one_line(sink: ClickHouseSink) -> None:
    mute = ClickHouseSink(LosesAnswers(sink.client, 99))
    with pytest.raises(Unreachable, match="does not take rows of verdicts: the connection was closed"):
        mute.insert_verdicts([verdict(START)], Batch("replay", "1"))
    sink.insert_verdicts([verdict(START)], Batch("replay", "1"))

    assert len(rows_of(sink, "verdicts")) == 1


def test_a_server_that_is_not_there_is_one_line_without_the_password() -> None:
    with pytest.raises(Unreachable, match=r"cannot reach ClickHouse at http://127\.0\.0\.1:1: ") as caught:
        ClickHouseSink.connect(url="http://ada:secret@127.0.0.1:1")

    assert "secret" not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_reopening_finds_everything(tmp_path: Path) -> None:
    with ClickHouseSink.connect(tmp_path / "clickhouse") as first:
        send_all(first, "1")
        before = {name: rows_of(first, name) for name in TABLES + VIEWS}
    with ClickHouseSink.connect(tmp_path / "clickhouse") as second:
        send_all(second, "1")
        after = {name: rows_of(second, name) for name in TABLES + VIEWS}

    assert after == before


OPEN = """
import sys
from pathlib import Path
from interlock.errors import UserError
from interlock.sinks.clickhouse import ClickHouseSink
try:
    ClickHouseSink.connect(Path(sys.argv[1]))
except UserError as error:
    print(error)
"""


def test_a_directory_that_another_process_holds_is_one_clear_line(sink: ClickHouseSink, tmp_path: Path) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path / "clickhouse")]
    child = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)

    assert child.stdout.startswith(f"cannot open {tmp_path / 'clickhouse'}: another process holds it")
    assert child.stdout.count("\n") == 1


def test_a_second_directory_in_one_process_is_one_clear_line(sink: ClickHouseSink, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="another ClickHouse directory open"):
        ClickHouseSink.connect(tmp_path / "other")


def insert_until_killed(directory: Path) -> None:
    """Insert numbered batches of 50 rows, and print each number once it is acknowledged."""
    sink = ClickHouseSink.connect(directory)
    for number in range(100_000):
        panes = ((START + number * 1000 + row, "predictions", "events", 0, 1) for row in range(50))
        sink.insert_tallies(tallies(*panes), Batch("child", str(number)))
        sys.stdout.write(f"{number}\n")
        sys.stdout.flush()


@pytest.mark.parametrize("acknowledged", [1, 7])
def test_kill_9_in_mid_insert_loses_no_acknowledged_batch(tmp_path: Path, acknowledged: int) -> None:
    command = [sys.executable, "-m", "tests.test_sinks_clickhouse", str(tmp_path / "clickhouse")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=Path(__file__).parents[1]) as child:
        assert child.stdout is not None
        seen = [next(child.stdout) for _ in range(acknowledged)]
        child.send_signal(signal.SIGKILL)
        seen += child.stdout.readlines()
    with ClickHouseSink.connect(tmp_path / "clickhouse") as sink:
        batches = sink.query(
            f"SELECT intDiv(toUnixTimestamp64Milli(pane_start) - {START}, 1000) AS number, count() AS rows"
            " FROM interlock.tallies GROUP BY number ORDER BY number"
        )

    numbers = [row["number"] for row in batches]
    assert numbers[: len(seen)] == [int(line) for line in seen if line.endswith("\n")]
    assert len(numbers) <= len(seen) + 1
    assert all(row["rows"] == 50 for row in batches)


if __name__ == "__main__":
    insert_until_killed(Path(sys.argv[1]))
