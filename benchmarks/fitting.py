"""How long `interlock fit` takes, and how much memory, in a process of its own."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks import workload


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was read; seconds, and the largest resident memory in megabytes."""

    what: str
    seconds: float
    megabytes: float


def fits(events: int, folder: Path) -> Iterator[Fitted]:
    """Yield fits of predictions of 20 features with their outcomes: from Arrow files, and from JSON lines."""
    outcomes = workload.write_arrow(folder / "outcomes.arrow", workload.outcomes(events))
    arrow = workload.write_arrow(folder / "fit.arrow", workload.predictions(events))
    yield _fit("fit, Arrow", arrow, outcomes)
    lines = workload.write_json(folder / "fit.jsonl", workload.predictions(events))
    yield _fit("fit, JSON", lines, outcomes)


def _fit(what: str, predictions: Path, outcomes: Path) -> Fitted:
    command = [sys.executable, "-m", "interlock", "fit", "--predictions", str(predictions), "--outcomes", str(outcomes)]
    start = time.perf_counter()
    child = subprocess.Popen([*command, "-o", str(predictions.with_suffix(".ref"))], stdout=subprocess.DEVNULL)
    _, status, used = os.wait4(child.pid, 0)
    seconds = time.perf_counter() - start
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise RuntimeError(f"{what} ended with {child.returncode}")
    return Fitted(what, seconds, used.ru_maxrss / 1000)
