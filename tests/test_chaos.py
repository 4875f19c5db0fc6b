"""A cut of `make chaos`: real workers on a Kafka of three nodes are killed and worse, and every event counts once."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks.chaos import mutated
from interlock.commands.broker import Broker
from interlock.commands.broker_jars import jars, java
from tests.processes import ROOT, environment
from tests.servers import needed

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS, SEED, MESSAGES = 10, 13, 20_000
FAULTS = ("kill worker", "freeze worker", "disk full", "reload policy", "a damaged state", "a damaged block")


def test_whatever_is_killed_every_event_counts_once_and_what_is_said_is_the_replays() -> None:
    needed(java)
    needed(jars)
    asked = ("--only", "faults", "--seed", SEED, "--kills", KILLS, "--runs", 1)
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks.chaos", *map(str, asked)],
        cwd=ROOT, env=environment(), capture_output=True, text=True, check=False,
    )  # fmt: skip
    print(ended.stdout)
    (row,) = set(re.findall(rf"^\| {SEED} \| (.*) \|$", ended.stdout, re.MULTILINE))
    kills, events, lost, doubled, counts, verdicts, wrong, controls, *others = map(int, row.split(" | "))

    done = dict(re.findall(r"^\| ([a-z ]+) \| (\d+) \| \d+ \|$", ended.stdout, re.MULTILINE))

    assert ended.returncode == 0, ended.stderr
    assert kills >= KILLS
    assert events > 150_000
    assert [name for name in FAULTS if name not in done] == []
    assert (lost, doubled, counts, wrong, others[:3]) == (0, 0, 0, 0, [0, 0, 0])
    assert verdicts > 400
    assert controls >= 4


def test_mutated_messages_stop_no_worker_and_each_is_counted_or_a_dead_letter(kafka: Broker, tmp_path: Path) -> None:
    found = mutated.compare(kafka.bootstrap, tmp_path / "mutated", SEED, MESSAGES)
    print(f"speed on mutated messages: {found.ratio:.2f} of that on good ones")

    assert (found.good.exit_code, found.mutated.exit_code) == (0, 0)
    assert (found.good.unaccounted, found.mutated.unaccounted) == (0, 0)
    assert found.good.counters["dead_letters"] == 0
    assert found.mutated.counters["dead_letters"] > MESSAGES / 2
