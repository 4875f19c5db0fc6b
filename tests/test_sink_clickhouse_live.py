"""From a real broker into a real ClickHouse server: nothing lost and nothing twice, whatever is killed or away."""

import random
from collections.abc import Iterator
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from interlock.commands.broker import Broker
from interlock.sinks.clickhouse import ClickHouseSink
from tests.paging import page
from tests.servers import ClickHouse
from tests.sinking import Sink, Topics, running, wait_until
from tests.tabling import LEASE, PLAN, SUMS, control, keyed, letters, record, tallies, verdicts

pytestmark = pytest.mark.integration

NUMBERS = count()
VERDICTS = 40_000


@pytest.fixture
def topics(kafka: Broker) -> Iterator[Topics]:
    with Topics(kafka.bootstrap, f"ch{next(NUMBERS)}.", partitions=2) as made:
        yield made


def arguments(topics: Topics, url: str) -> tuple[object, ...]:
    return ("clickhouse", "--bootstrap", topics.bootstrap, "--prefix", topics.prefix, "--url", url)


def ask(url: str, sql: str) -> list[tuple[Any, ...]]:
    """Rows of a query."""
    with ClickHouseSink.connect(url=url) as sink:
        return [tuple(row.values()) for row in sink.query(sql)]


def publish(topics: Topics, times: int = 1) -> dict[str, tuple[int, int]]:
    """Publish on every topic; return how many rows there must be in each table, and their sum."""
    counts = 0
    for shard in range(2):
        for first in range(0, 100, 10):
            made = record(PLAN, shard, (1000 + first, 1009 + first))
            topics.send("tallies", tallies(PLAN, made, 4000) * times, partition=shard)
            counts += made.counts.shape[1]
    for _ in range(times):
        topics.send("verdicts", verdicts(range(VERDICTS)))
        for i in range(50):
            key, value = keyed(control(i))
            topics.send("control", [value], key)
            topics.send("control", [LEASE[1]], LEASE[0])
        topics.send("pages", [page(i).model_dump_json().encode() for i in range(50)])
    topics.send("dead-letters", [letters([2 * i, 2 * i + 1]) for i in range(50)])
    return {
        "controls": (50, sum(range(1, 51))),
        "dead_letters": (100, sum(range(100))),
        "pages": (50, sum(page(i).ts for i in range(50))),
        "tallies": (counts, 7 * counts),
        "verdicts": (VERDICTS, sum(range(VERDICTS))),
    }


def found(url: str) -> dict[str, tuple[int, int]]:
    """Rows and a sum of every table."""
    return {name: (int(n), int(total)) for name, n, total in ask(url, SUMS)}


def stored(url: str) -> int:
    """Rows of all parts, also of those that merges have replaced: it only grows while anything is written."""
    return int(ask(url, "SELECT sum(rows) AS n FROM system.parts WHERE database = 'interlock'")[0][0])


def more_than(url: str, rows: int) -> None:
    """Wait until more rows are stored."""
    wait_until(lambda: stored(url) > rows, f"more than {rows} rows")


def has_tried(sink: Sink, times: int) -> bool:
    """Whether a sink has said so many times that its second attempt failed."""
    return sink.said.count("(attempt 2;") >= times


def is_back(sink: Sink, times: int) -> bool:
    """Whether a sink has said so many times that its attempts have come to an end."""
    return sink.said.count("back after") >= times


def has_all(topics: Topics, expected: dict[str, tuple[int, int]], url: str, log: Path) -> None:
    """Wait until ClickHouse holds what was published and the sink has committed it; sums must then be exact."""
    ends = topics.ends(["tallies", "verdicts", "control", "pages", "dead-letters"])
    wait_until(lambda: topics.offsets("interlock-sink-clickhouse", ends) == ends, "everything committed", 120)

    assert found(url) == expected, log.read_text()


def test_everything_that_is_published_is_in_clickhouse_once(
    topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    expected = publish(topics, times=2)
    with running(tmp_path / "log", *arguments(topics, own_clickhouse.url)) as sink:
        has_all(topics, expected, own_clickhouse.url, sink.log)

    assert "0 messages unreadable" in sink.said


def test_a_sink_killed_in_mid_write_again_and_again_leaves_the_same_sums(
    topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """Law: at least once from Kafka, once in the tables, also when batches are cut elsewhere after a crash."""
    ClickHouseSink.connect(url=own_clickhouse.url).close()
    expected = publish(topics)
    chance = random.Random(7)
    for _ in range(5):
        before = stored(own_clickhouse.url)
        with Sink(tmp_path / "log", *arguments(topics, own_clickhouse.url)) as sink:
            more_than(own_clickhouse.url, before + chance.randrange(3000))
            sink.kill()
    with running(tmp_path / "log", *arguments(topics, own_clickhouse.url)):
        has_all(topics, expected, own_clickhouse.url, tmp_path / "log")


def test_a_server_killed_in_mid_write_and_away_for_a_while_lacks_nothing_when_it_is_back(
    topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    expected = publish(topics)
    with running(tmp_path / "log", *arguments(topics, own_clickhouse.url)) as sink:
        for kill in range(1, 4):
            more_than(own_clickhouse.url, 6000 * kill)
            wait_until(partial(is_back, sink, kill - 1), f"attempts to begin anew after kill {kill - 1}")
            own_clickhouse.kill()
            topics.send("verdicts", verdicts(range(VERDICTS)))  # again, in case that all had been written
            wait_until(partial(has_tried, sink, kill), f"kill {kill} noticed")
            own_clickhouse.start()
        has_all(topics, expected, own_clickhouse.url, sink.log)

    assert "back after" in sink.said


def test_partitions_that_change_hands_while_clickhouse_is_away_lack_nothing(
    topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    """Two sinks share the work; one leaves while both wait."""
    own_clickhouse.stop()
    expected = publish(topics)
    group = "interlock-sink-clickhouse"
    with running(tmp_path / "log", *arguments(topics, own_clickhouse.url)) as stays:
        wait_until(lambda: "attempt 2" in stays.said, "the first waits")
        with running(tmp_path / "other", *arguments(topics, own_clickhouse.url)) as leaves:
            wait_until(lambda: topics.members(group) == 2 and "attempt 2" in leaves.said, "two that wait")
        wait_until(lambda: topics.members(group) == 1, "one again")
        own_clickhouse.start()
        has_all(topics, expected, own_clickhouse.url, stays.log)


def test_clickhouse_away_at_the_start_is_waited_for(topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path) -> None:
    own_clickhouse.stop()
    topics.send("verdicts", verdicts(range(100)))
    with running(tmp_path / "log", *arguments(topics, own_clickhouse.url)) as sink:
        wait_until(lambda: "attempt 4" in sink.said, "four attempts")
        own_clickhouse.start()
        wait_until(lambda: topics.committed("interlock-sink-clickhouse", "verdicts") == 100, "committed")

    assert found(own_clickhouse.url)["verdicts"] == (100, sum(range(100)))
    assert "cannot reach ClickHouse at http://127.0.0.1:" in sink.said


def test_a_stopped_sink_has_delivered_and_committed_what_it_had_in_hand(topics: Topics, tmp_path: Path) -> None:
    """On chdb in a directory, which the sink lets go of when it ends."""
    topics.send("verdicts", verdicts(range(3000)))
    folder = tmp_path / "clickhouse"
    given = ("clickhouse", "--bootstrap", topics.bootstrap, "--prefix", topics.prefix, "--directory", folder)
    with running(tmp_path / "log", *given):
        wait_until(lambda: topics.committed("interlock-sink-clickhouse", "verdicts") > 0, "a first commit")
    committed = topics.committed("interlock-sink-clickhouse", "verdicts")
    with ClickHouseSink.connect(folder) as sink:
        (row,) = sink.query("SELECT count() AS n FROM interlock.verdicts FINAL")

    assert row["n"] == committed


def test_a_password_is_taken_from_the_environment_and_never_said(topics: Topics, tmp_path: Path) -> None:
    given = ("clickhouse", "--bootstrap", topics.bootstrap, "--prefix", topics.prefix)
    topics.send("verdicts", verdicts(range(1)))
    url = "http://ada:secret@127.0.0.1:1"
    with Sink(tmp_path / "log", *given, INTERLOCK_CLICKHOUSE_URL=url) as sink:
        wait_until(lambda: "cannot reach ClickHouse at http://127.0.0.1:1: " in sink.said, "an attempt")
        code = sink.stop()

    assert code == 0
    assert "secret" not in sink.said


def test_a_user_whom_clickhouse_does_not_know_is_one_line_and_exit_code_2(
    topics: Topics, own_clickhouse: ClickHouse, tmp_path: Path
) -> None:
    topics.send("verdicts", verdicts(range(1)))
    url = own_clickhouse.url.replace("default:", "ada:secret")
    with Sink(tmp_path / "log", *arguments(topics, url)) as sink:
        code = sink.ended()

    assert code == 2
    assert sink.said.splitlines()[-1].startswith("ClickHouse at http://127.0.0.1:")
    assert sink.said.splitlines()[-1].endswith(" does not know the user or the password")
    assert "secret" not in sink.said


@pytest.mark.parametrize(
    ("more", "said"),
    [
        ((), "where is ClickHouse? Give --url or --directory, or set INTERLOCK_CLICKHOUSE_URL"),
        (("--url", "http://h:1", "--directory", "d"), "give --url or --directory, not both"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    with Sink(tmp_path / "log", "clickhouse", "--bootstrap", "h:1", *more) as sink:
        code = sink.ended()

    assert (code, sink.said) == (2, said + "\n")
