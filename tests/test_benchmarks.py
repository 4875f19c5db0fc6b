"""The benchmarks run, and their tables are complete; how fast they are is for a quiet machine to say."""

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks import decode, live, live_more, live_pending
from interlock.commands.broker_jars import jars, java
from interlock.streams.batch import Lines
from interlock.streams.decode import prediction_decoder
from tests.servers import needed

ROOT = Path(__file__).resolve().parent.parent
NAME = 45
"""Columns of a row's name."""

OVERLOADED = 65
"""The same, where more comes than a worker can take."""

ROWS = (
    "JSON, bare decoding",
    "JSON ",
    "Arrow ",
    "Arrow, dictionary-encoded",
    "JSON, with audits",
    "Arrow, with audits",
    "JSON, with outcomes and decision_ece",
    "Arrow, with outcomes and decision_ece",
    "OOD score of 20 numbers, with reasons",
    "IsolationForest, 100 trees",
    "fit, Arrow",
    "fit, JSON",
    "judging 1 days of 200 slices",
)
LIVE = (live.BARE, live.JSON, live.FRAMES, live.SPARSE, live.STOCK, live.STOCK_DECODE)
DELAYS = (live.GUARDED, live.HOPPED)


def printed(half: str) -> list[str]:
    """Return the lines of one half of the benchmarks, made small."""
    command = [sys.executable, "-m", "benchmarks", "--quick", half]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, text=True)
    return done.stdout.splitlines()


def figures(lines: list[str], name: str) -> list[float]:
    """Return the figures of a row."""
    [row] = [line for line in lines if line[:NAME].strip() == name]
    return [float(figure.replace(",", "")) for figure in row[NAME:].split()]


@pytest.mark.integration
def test_the_benchmarks_print_a_complete_table() -> None:
    lines = printed("--files")

    assert "cores" in lines[0]
    assert not [row for row in ROWS if not any(line.startswith(row) for line in lines)]
    assert [len(line.split()) - len(line[:NAME].split()) for line in lines[-2:]] == [4, 4]


@pytest.mark.integration
def test_the_live_benchmarks_print_a_complete_table() -> None:
    needed(java)
    needed(jars)
    lines = printed("--live")
    rates = {name: figures(lines, name) for name in LIVE}
    delays = {name: figures(lines, name) for name in DELAYS}

    assert all(min(found) > 0 for found in rates.values())
    assert [rates[live.BARE][2], len(rates[live.FRAMES])] == [1.0, 2]
    assert all(0 < p50 <= p99 and count == 10 for p50, p99, count in delays.values())
    assert all(len(figures(lines, row)) == 2 for row in ("workers: 1", "workers: 2", "kill 1"))
    assert len(figures(lines, "frames")) == live_more.MARKS


def test_the_bare_decoder_yields_the_columns_that_ours_yields() -> None:
    lines = decode.lines_of(decode.events(300))
    ids, ts, scores, numbers, codes, keys = decode.Bare()(lines)
    ours, dead = prediction_decoder(decode.WANTED, b"key")(Lines(lines, 0, 0))
    tenant, decision = (ours.columns[path] for path in ("segment.tenant", "decision"))

    assert not dead
    assert list(ids) == ours.ids.texts.to_pylist()
    for bare, own in ((ts, ours.ts), (scores, ours.score), (numbers, ours.numbers), (codes, ours.categories)):
        assert np.array_equal(bare, own)
    for bare, own in zip(keys, (ours.model.codes, ours.version.codes, tenant.text, decision.text), strict=True):
        assert np.array_equal(bare, own)


@pytest.mark.integration
def test_the_benchmark_of_overload_tells_all_of_it() -> None:
    lines = printed("--overload")
    rows = {line[:OVERLOADED].strip(): line[OVERLOADED:].split() for line in lines[3:]}

    assert list(rows) == [
        "taken by a worker alone", "offered", "taken meanwhile", "offered, of what it takes alone", "most lag told",
        "waiting when all was sent", "memory at a tenth", "memory at most", "to drain", "never-events acted on",
    ]  # fmt: skip
    assert rows["never-events acted on"] == ["10", "of", "10"]


@pytest.mark.integration
def test_every_label_of_the_benchmark_of_pending_predictions_finds_its_own() -> None:
    lines = printed("--waiting")
    rows = [line[:OVERLOADED].strip() for line in lines[3:]]

    assert rows[-6:] == [
        "on disk", "killed; the next one has its partitions after", "and acts on a never-event after",
        "and has all that is pending after", "labels of any age", "resident afterwards",
    ]  # fmt: skip
    assert len(rows) == 2 * live_pending.MARKS + 6
