"""Memory of a replay of JSON lines, in a process of its own: `python -m benchmarks.memory EVENTS FILE…`."""

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from benchmarks import replaying, workload

MARKS = 4
"""At every quarter of the events."""


@dataclass(frozen=True, slots=True)
class Memory:
    """What ran; resident megabytes at every quarter of the events."""

    what: str
    resident: tuple[float, ...]


def resident() -> float:
    """Return the resident memory of this process in megabytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1000


def memories(events: int, folder: Path) -> Iterator[Memory]:
    """Yield the memory of a replay without outcomes, and of one with outcomes whose predictions wait for two days."""
    lines = workload.write_json(folder / "memory.jsonl", workload.predictions(events))
    yield _measured("JSON", events, [lines])
    outcomes = workload.write_json(folder / "memory-outcomes.jsonl", workload.outcomes(events))
    yield _measured("JSON, with outcomes and decision_ece", 2 * events, [lines, outcomes])


def _measured(what: str, events: int, files: list[Path]) -> Memory:
    command = [sys.executable, "-m", "benchmarks.memory", str(events), *map(str, files)]
    done = subprocess.run(command, capture_output=True, check=True, text=True)
    return Memory(what, tuple(json.loads(done.stdout)))


def main(events: int, *files: str) -> None:
    """Replay files, and print the resident memory at every quarter of so many events."""
    marks = iter([*(events * quarter // MARKS for quarter in range(1, MARKS)), events])
    found: list[float] = []
    mark = next(marks)

    def progress(seen: int) -> None:
        nonlocal mark
        while seen >= mark:
            found.append(resident())
            mark = next(marks, sys.maxsize)

    topics = dict(zip(("predictions", "outcomes"), map(Path, files), strict=False))
    with TemporaryDirectory() as out:
        policy = workload.policy(labels="outcomes" in topics)
        replaying.run(policy, workload.reference(), topics, Path(out), progress)
    if "chdb" in sys.modules:
        raise RuntimeError("chdb is loaded: its memory is not ours")
    print(json.dumps(found))


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:])
