"""The benchmarks run, and their table is complete; how fast they are is for a quiet machine to say."""

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent

ROWS = (
    "JSON, bare decoding",
    "JSON ",
    "Arrow ",
    "Arrow, dictionary-encoded",
    "JSON, with audits",
    "Arrow, with audits",
    "JSON, with outcomes and decision_ece",
    "Arrow, with outcomes and decision_ece",
    "judging 1 days of 200 slices",
)


@pytest.mark.integration
def test_the_benchmarks_print_a_complete_table() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--quick"], cwd=ROOT, capture_output=True, check=True, text=True
    )
    lines = done.stdout.splitlines()

    assert "cores" in lines[0]
    assert not [row for row in ROWS if not any(line.startswith(row) for line in lines)]
    assert [len(line.split()) - len(line[:45].split()) for line in lines[-2:]] == [4, 4]
