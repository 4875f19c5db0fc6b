"""Messages of Kafka as rows of ClickHouse: each once, whatever is sent twice or cut otherwise; on a real chdb."""

import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from benchmarks.court import make_policy, promise
from interlock.policies.planning import make_plan
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.streams.sink_tables import TableTarget
from tests.paging import page
from tests.tabling import (
    HOUR,
    LEASE,
    PLAN,
    START,
    SUMS,
    control,
    keyed,
    letters,
    messages,
    record,
    tallies,
    verdict,
    verdicts,
)

pytestmark = pytest.mark.integration


class Bench:
    """A target on a chdb directory."""

    def __init__(self, folder: Path) -> None:
        self.sink = ClickHouseSink.connect(folder)
        self.target = TableTarget(lambda: self.sink, "p.")

    def take(self, topic: str, values: Sequence[bytes | None], first: int = 0, key: bytes | None = None) -> None:
        self.target.take(messages(f"p.{topic}", values, first, key))

    def rows(self, sql: str) -> list[tuple[Any, ...]]:
        """The rows of a query, as tuples."""
        return [tuple(row.values()) for row in self.sink.query(sql)]


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    made = Bench(tmp_path / "clickhouse")
    yield made
    made.sink.close()


def sums(bench: Bench) -> list[tuple[Any, ...]]:
    """Rows and sums of every table, through FINAL."""
    return bench.rows(SUMS)


def test_every_topic_fills_its_table(bench: Bench) -> None:
    bench.take("tallies", tallies(PLAN, record(PLAN, 2, (1000, 1003))))
    bench.take("verdicts", verdicts(range(3)))
    bench.take("control", [keyed(control(0))[1], keyed(control(1))[1]])
    bench.take("pages", [page(1).model_dump_json().encode()])
    bench.take("dead-letters", [letters([5, 6]), letters([7])])

    assert [row[:2] for row in sums(bench)] == [
        ("controls", 2), ("dead_letters", 3), ("pages", 1), ("tallies", 4 * len(PLAN.series) * 4), ("verdicts", 3),
    ]  # fmt: skip
    assert bench.rows("SELECT DISTINCT source, slice FROM interlock.tallies WHERE series LIKE 'ood%' ORDER BY slice") == [
        ("shard 2", "tenant=a"), ("shard 2", "tenant=b"),
    ]  # fmt: skip
    assert bench.rows("SELECT source, topic, offset, raw FROM interlock.dead_letters ORDER BY offset LIMIT 1") == [
        ("shard 3", "predictions", 5, "\\xff{")
    ]
    assert bench.rows(
        "SELECT DISTINCT toUnixTimestamp64Milli(issued_at) - toUnixTimestamp64Milli(ts) AS d FROM interlock.controls"
    ) == [(5,)]


@pytest.mark.parametrize("cut", [1, 7, 20])
def test_sent_again_with_other_borders_every_sum_is_the_same(bench: Bench, cut: int) -> None:
    """Law: a sink that was killed before its commit begins anew at an older offset, and cuts its batches elsewhere."""
    published = {
        "tallies": [m for shard in range(4) for m in tallies(PLAN, record(PLAN, shard, (1000, 1009)), 2000)],
        "verdicts": verdicts(range(40)),
        "control": [keyed(control(i))[1] for i in range(40)],
        "pages": [page(i).model_dump_json().encode() for i in range(40)],
        "dead-letters": [letters([i, 100 + i]) for i in range(40)],
    }
    for topic, values in published.items():
        bench.take(topic, values)
    before = sums(bench)
    for topic, values in published.items():
        for first in range(3, len(values), cut):
            bench.take(topic, values[first : first + cut], first)
            bench.take(topic, values[first : first + cut], first)

    assert sums(bench) == before
    assert [row[1] for row in before] == [40, 80, 40, 40 * 4 * len(PLAN.series) * 4 // 4, 40]


def test_a_batch_sent_twice_is_stored_once(bench: Bench) -> None:
    for _ in range(3):
        bench.take("verdicts", verdicts(range(10)))

    assert bench.rows("SELECT count() AS n FROM interlock.verdicts") == [(10,)]


def test_a_broker_that_starts_anew_and_counts_the_same_offsets_again_is_not_taken_for_the_old_one(bench: Bench) -> None:
    bench.take("verdicts", verdicts(range(10)))
    bench.take("verdicts", verdicts(range(10, 20)))

    assert bench.rows("SELECT count() AS n FROM interlock.verdicts") == [(20,)]


def test_counts_that_a_shard_publishes_again_replace_themselves_and_those_of_two_shards_add_up(bench: Bench) -> None:
    for first, panes in enumerate([(1000, 1004), (1000, 1009), (1005, 1009)]):
        bench.take("tallies", tallies(PLAN, record(PLAN, 0, panes)), 10 * first)
    bench.take("tallies", tallies(PLAN, record(PLAN, 1, (1000, 1009))), 40)

    assert bench.rows("SELECT sum(count) AS n FROM interlock.tallies FINAL") == [(2 * 10 * len(PLAN.series) * 4 * 7,)]


def test_counts_of_two_policies_in_one_batch_keep_their_names(bench: Bench) -> None:
    other = make_plan(make_policy(promise("ood_rate_7d", "<= 0.05", "7d", where="decision == 'pay'"), slices=20))
    both = [*tallies(PLAN, record(PLAN, 0, (1000, 1000))), *tallies(other, record(other, 0, (50, 50)))]
    bench.take("tallies", both)
    found = bench.rows("SELECT DISTINCT series, pane_ms FROM interlock.tallies ORDER BY pane_ms, series")

    expected = [(one.key, plan.tick) for plan in (PLAN, other) for one in sorted(plan.series, key=lambda x: x.key)]
    assert sorted(found) == sorted(expected)


def test_leases_tombstones_and_other_records_of_tallies_are_no_rows_and_no_junk(bench: Bench) -> None:
    from interlock.streams import wire  # noqa: PLC0415

    bench.take("control", [LEASE[1]], key=LEASE[0])
    bench.take("control", [None], 1)
    bench.take("tallies", [wire.encode(wire.Topology("run", 4)), wire.encode(wire.Beat("run", 0, 1, START))])

    assert [row[1] for row in sums(bench)] == [0, 0, 0, 0, 0]
    assert bench.target._junk.count == 0


FAR = 10**15
HUGE = 1 << 70


@pytest.mark.parametrize(
    ("topic", "junk"),
    [
        ("verdicts", b"\xff"),
        ("verdicts", None),
        ("verdicts", verdicts([1])[0].replace(b'"n":1', b'"n":%d' % HUGE)),
        ("verdicts", verdicts([1])[0].replace(b'"window_start":', b'"window_start":-')),
        ("control", b'{"control_id": "c"}'),
        ("control", keyed(control(1))[1].replace(b'"epoch":2', b'"epoch":%d' % (1 << 33))),
        ("pages", page(1, ts=FAR).model_dump_json().encode()),
        ("dead-letters", letters([1]) + b"{}\n"),
        ("dead-letters", letters([1]).replace(b'"size":2', b'"size":%d' % HUGE)),
        ("tallies", b"interlock/tally/1\nnonsense"),
        ("tallies", tallies(PLAN, record(PLAN, 0, (1, 1), 1 << 40))[0][:200]),
        ("tallies", tallies(PLAN, record(PLAN, 0, (FAR, FAR)))[0]),
    ],
)
def test_what_no_table_can_hold_is_skipped_and_its_neighbours_are_kept(
    bench: Bench, caplog: pytest.LogCaptureFixture, topic: str, junk: bytes | None
) -> None:
    good = {
        "verdicts": verdicts([7])[0],
        "control": keyed(control(7))[1],
        "pages": page(7).model_dump_json().encode(),
        "dead-letters": letters([7]),
        "tallies": tallies(PLAN, record(PLAN, 0, (1000, 1000)))[0],
    }[topic]
    with caplog.at_level(logging.WARNING, "interlock.sink"):
        bench.take(topic, [junk, good, junk], 70)
    kept = {name: n for name, n, _ in sums(bench) if n}

    assert list(kept) == [{"control": "controls", "dead-letters": "dead_letters"}.get(topic, topic)]
    assert bench.target._junk.count == 2
    assert caplog.messages[0].startswith(f"skipped p.{topic}-0 at offset 70: ")
    assert "\n" not in caplog.messages[0]


def test_an_incident_is_one_row_from_its_first_page_to_its_last(bench: Bench) -> None:
    hours = [
        page(i, action, ts=START + i * HOUR) for i, action in enumerate(["trigger", "update", "update", "resolve"])
    ]
    again = hours[0].model_copy(update={"issued_at": START + 40 * HOUR})
    other = page(9, incident="b", ts=START)
    bench.take("pages", [one.model_dump_json().encode() for one in [*hours, again, other]])

    assert bench.rows(
        "SELECT incident, severity, seconds, updates, summary FROM interlock.v_pages ORDER BY incident"
    ) == [
        ("interlock/v1/a", "error", 3 * 3600, 2, "page 0"),
        ("interlock/v1/b", "error", None, 0, "page 9"),
    ]


def test_a_verdict_keeps_what_it_said(bench: Bench) -> None:
    told = verdict(1, value=0.123456789123, evidence={"é": [1, None]}, scope={"slice": "tenant=a"})
    bench.take("verdicts", [told.model_dump_json().encode()])

    assert bench.rows("SELECT value, evidence, scope, lower FROM interlock.verdicts") == [
        (0.123456789, '{"é":[1,null]}', '{"slice":"tenant=a"}', None)
    ]
