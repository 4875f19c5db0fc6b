"""Law 3 on a real broker: whatever is killed and however input is spread, verdicts and controls equal a replay's."""

import json
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from shutil import copyfile
from typing import Any

import msgspec
import pytest

from interlock.commands.broker import Broker
from interlock.sinks.clickhouse import ClickHouseSink
from tests.living import Running, census, records, send, spread, topics, until
from tests.replaying import command, lines
from tests.servers import ClickHouse
from tests.sinking import Sink

pytestmark = pytest.mark.integration

SPANS = ((20.3, 20.6), (26.2, 27.6))
"""A never-event, and an office with codes that nobody has seen, whose review engages and ends."""


@dataclass(frozen=True)
class Slice:
    """The events, the policy beside its reference, and what a replay of them said."""

    policy: Path
    events: Mapping[str, list[bytes]]
    replayed: Path

    def said(self, name: str) -> list[dict[str, Any]]:
        """Return the records of one output of the replay."""
        return [json.loads(line) for line in (self.replayed / f"{name}.jsonl").read_bytes().splitlines()]

    def lines(self, name: str) -> list[bytes]:
        return (self.replayed / f"{name}.jsonl").read_bytes().splitlines()

    def horizon(self, partitions: int) -> int:
        """Return the event time that every partition's predictions have reached."""
        ends = [
            max(msgspec.json.decode(line)["ts"] for line in own)
            for own in spread(self.events["predictions"], partitions)
        ]
        return int(min(ends)) - 30_000


@pytest.fixture(scope="module")
def census_slice(tmp_path_factory: pytest.TempPathFactory) -> Slice:
    folder = tmp_path_factory.mktemp("census")
    events = census(folder, SPANS)
    policy = folder / "policy.yaml"
    copyfile("examples/census/policy.yaml", policy)
    past = folder / "events"
    code, _, err = command(
        "fit", "--predictions", past / "reference-predictions.parquet", "--outcomes", past / "reference-outcomes.parquet",
        "-o", folder / "census.ref",
    )  # fmt: skip
    assert code == 0, err
    files = [lines(folder / f"{topic}.jsonl", some) for topic, some in events.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_AUDIT_SECRET", "interlock-demo")
        code, _, err = command(
            "replay",
            policy,
            "--predictions",
            files[0],
            "--outcomes",
            files[1],
            "--out",
            folder / "out",
        )
    assert code == 1, err
    return Slice(policy, events, folder / "out")


def judged(workers: list[Running]) -> int:
    """Return how far the judge has come, wherever it runs; nothing while releases wait for its counts to be fresh."""
    states = [state for worker in workers for state in worker.status().get("judges", {}).values()]
    return max((state["judged"] or 0 for state in states if not state["withheld"]), default=0)


def owned(workers: list[Running]) -> bool:
    return any(worker.status().get("lag") for worker in workers)


def assert_equal_to_replay(one: Slice, bootstrap: str, prefix: str, end: int) -> None:
    """All that was judged live up to `end` was said by the replay, and the other way round, to the byte."""
    live = {record.value for record in records(bootstrap, prefix + "verdicts")}
    replayed = one.lines("verdicts")
    assert live <= set(replayed)
    assert [line for line in replayed if json.loads(line)["ts"] <= end and line not in live] == []

    controls = [msgspec.json.decode(r.value) for r in records(bootstrap, prefix + "control") if b'"lease"' not in r.key]
    final = {(c["control_id"], c["state"]): c for c in controls if c["verdict_id"] or "policy_changed" in c["evidence"]}
    expected = {(c["control_id"], c["state"]): c for c in one.said("control") if c["ts"] <= end}
    assert len(expected) >= 3
    assert {key: _timeless(c) for key, c in final.items()} == {key: _timeless(c) for key, c in expected.items()}


def _timeless(control: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in control.items() if name != "issued_at"}


@pytest.mark.parametrize("partitions", [1, 4])
def test_a_worker_says_what_a_replay_says(census_slice: Slice, kafka: Broker, partitions: int) -> None:
    prefix = f"plain{partitions}."
    topics(kafka.bootstrap, prefix, partitions)
    send(kafka.bootstrap, prefix, census_slice.events, partitions)
    horizon = census_slice.horizon(partitions)
    with Running(census_slice.policy, kafka.bootstrap, prefix) as worker:
        until(lambda: judged([worker]) >= horizon // 600_000 * 600_000, "the judge to come to the end")
        end = judged([worker])
        exceptions = worker.status()["exceptions"]

    assert exceptions == []
    assert_equal_to_replay(census_slice, kafka.bootstrap, prefix, end)


SUMS = """SELECT chain, series, slice, model_version, pane_start, cohort_start, cell, sum(count) AS n
FROM interlock.tallies FINAL WHERE pane_start < fromUnixTimestamp64Milli({end}, 'UTC') AND chain != 'abuse'
GROUP BY ALL ORDER BY ALL"""
KEPT = """SELECT verdict_id, state, value, n, evidence FROM interlock.verdicts FINAL
WHERE ts <= fromUnixTimestamp64Milli({end}, 'UTC') ORDER BY verdict_id"""


def answer(sink: ClickHouseSink, sql: str, end: int) -> list[dict[str, Any]]:
    return sink.query(sql.format(end=end))


def assert_same_rows(one: Slice, url: str, end: int) -> None:
    """ClickHouse holds, for all that was judged, the sums and the verdicts of the replay's directory."""
    with ClickHouseSink.connect(directory=one.replayed / "clickhouse") as store:
        sums, kept = answer(store, SUMS, end), answer(store, KEPT, end)
    with ClickHouseSink.connect(url=url) as server:
        until(lambda: len(answer(server, KEPT, end)) >= len(kept), "the sink to have written all")
        until(lambda: len(answer(server, SUMS, end)) >= len(sums), "the sink to have written all")

        assert len(sums) > 1000
        assert answer(server, SUMS, end) == sums
        assert answer(server, KEPT, end) == kept


@pytest.mark.parametrize(("partitions", "workers"), [(1, 1), (4, 3)])
def test_workers_and_sink_killed_in_mid_stream_lose_and_double_nothing(
    census_slice: Slice, kafka: Broker, own_clickhouse: ClickHouse, tmp_path: Path, partitions: int, workers: int
) -> None:
    prefix = f"kills{partitions}."
    topics(kafka.bootstrap, prefix, partitions)
    horizon = census_slice.horizon(partitions)
    halves = [
        {t: some[len(some) * n // 3 : len(some) * (n + 1) // 3] for t, some in census_slice.events.items()}
        for n in range(3)
    ]
    options = ("--session-timeout", "2", "--checkpoint-every", "0.3")
    with ExitStack() as stack:
        running = [
            stack.enter_context(Running(census_slice.policy, kafka.bootstrap, prefix, options)) for _ in range(workers)
        ]
        target = ("clickhouse", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--url", own_clickhouse.url)
        first = stack.enter_context(Sink(tmp_path / "sink.log", *target))
        for part in halves:
            send(kafka.bootstrap, prefix, part, partitions)
            if part is not halves[-1]:
                until(partial(owned, running), "a worker to own something")
                running[0].end()
                running = [
                    *running[1:],
                    stack.enter_context(Running(census_slice.policy, kafka.bootstrap, prefix, options)),
                ]
        with ClickHouseSink.connect(url=own_clickhouse.url) as server:
            until(lambda: server.query("SELECT 1 FROM interlock.tallies LIMIT 1"), "the sink to have written something")
        first.kill()
        stack.enter_context(Sink(tmp_path / "sink.log", *target))
        until(lambda: judged(running) >= horizon // 600_000 * 600_000, "the judge to come to the end")
        end = judged(running)
        assert_same_rows(census_slice, own_clickhouse.url, end)

    assert_equal_to_replay(census_slice, kafka.bootstrap, prefix, end)
