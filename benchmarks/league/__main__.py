"""`python -m benchmarks.league`: Interlock's detectors beside others', on the same streams; into docs/detectors.md.

`--quick` only shows that every row is there, and writes nothing; `--here` leaves out what needs a venv of its own.
"""

import os
import sys
from collections.abc import Collection
from pathlib import Path

from benchmarks.__main__ import machine
from benchmarks.league import ours, table, tasks, venvs
from benchmarks.league.playing import Player, detectors, scorers
from benchmarks.league.speed import SLICES, speeds

PAGE = Path(__file__).resolve().parents[2] / "docs" / "detectors.md"
SPLITS, EVENTS = (3, 100), 100_000
"""Seeds of each set, and its splits at most; events that are timed."""
QUICK_SPLITS, QUICK_EVENTS, QUICK_SLICES = (1, 1), 50, 100

INTRODUCTION = """# Detectors, side by side

Interlock's detectors and those of other libraries on the same streams and sets, in one run. `make bench-detectors` writes this page.

{machine}; {versions}; load {load:.1f}

A detector of change learns from a stream's history, then sees events that do not change (what it detects there is false), then the
change. Delays are events until the first detection after the change: median / 95th percentile of the streams; – where that one missed it within
the events that followed (at most 10,000). All see the same events one by one, Interlock {pane} at a time. Settings are those of the libraries unless it
says otherwise. Thresholds are not comparable, so false alarms stand beside delays. KSWIN, frouros and whylogs watch fewer of the {streams}
streams, down to one, since they take longer, and KSWIN only the end of the history (it remembers 100 values) and 5,000 events of the rest. Where
there are several features, each has a detector and any of them alarms; for Interlock the mean of their evidence does. Cost is CPU time of one
thread, of 20 detectors, one for each feature, in a loop as the library has it; Interlock's with {costed} events a pane.

NannyML is not here: it did not install within a minute. PyOD, frouros and whylogs are installed apart, at pinned versions, if an index answers.
"""


def main(options: Collection[str]) -> str:
    """Print the league and return it; written to docs/detectors.md unless it is quick."""
    quick, venv = "--quick" in options, "--here" not in options
    size, events = (tasks.QUICK, QUICK_EVENTS) if quick else (tasks.FULL, EVENTS)
    changed = [_told(player) for player in detectors(size, events, venv=venv)]
    odd = [_told(player) for player in scorers(QUICK_SPLITS if quick else SPLITS, events, venv=venv)]
    text = page(size, changed, odd, speed(events, QUICK_SLICES if quick else SLICES))
    print(text)
    if not quick:
        PAGE.write_text(text, "utf-8")
    return text


def _told(player: Player) -> Player:
    print(f"{player.name}: {player.absent or 'played'}", file=sys.stderr, flush=True)
    return player


def page(size: tasks.Size, changed: list[Player], odd: list[Player], fast: str) -> str:
    """Return the whole page."""
    intro = INTRODUCTION.format(
        machine=machine(),
        versions=", ".join((venvs.versions("river", "scikit-learn"), *venvs.pinned())),
        load=os.getloadavg()[0],
        streams=size.streams,
        pane=ours.PANE,
        costed=ours.COSTED,
    )
    parts = [intro, *(f"## Change: {task}\n\n{table.changes(changed, task)}\n" for task in changed[0].found)]
    parts.append(f"## Oddness: a class that the reference never had\n\n{table.oddness(odd)}\n")
    parts.append(f"## Speed\n\n{fast}\n")
    losses = "\n".join(f"- {line}" for line in table.losses(changed, odd))
    return "\n".join([*parts, f"## Where Interlock loses\n\n{losses}\n"])


def speed(events: int, slices: int) -> str:
    """Return the table of ratios."""
    return table.markdown(
        ["what", "measured", "target"], [[one.what, one.figure, one.target] for one in speeds(events, slices)]
    )


if __name__ == "__main__":
    main(sys.argv[1:])
