"""What a campaign found, as tables of Markdown."""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

from benchmarks.chaos.campaign import Report
from benchmarks.chaos.mutated import Compared

KILLS = ("kill worker", "kill leader", "kill coordinator")

PLACE = re.compile(r"(?:/[\w.-]+){2,}|127\.0\.0\.1:\d+")
"""Folders and addresses of one run, which say nothing."""

COLUMNS = (
    "seed", "kills", "events", "lost", "doubled", "wrong counts", "verdicts", "wrong", "controls", "wrong", "missing",
    "doubled", "repeats", "seconds",
)  # fmt: skip


def table(reports: Sequence[Report]) -> str:
    """Return a row for each run, and their sum."""
    rows = [_cells(report) for report in reports]
    total = ["all", *(str(sum(int(row[at]) for row in rows)) for at in range(1, len(COLUMNS)))]
    return "\n".join(lines(COLUMNS, [*rows, total])) + "\n"


def _cells(report: Report) -> list[str]:
    found = report.findings
    numbers = (
        report.seed, report.kills, found.events, found.lost + found.unsent, found.doubled, found.wrong_counts,
        found.verdicts, found.wrong_verdicts, found.controls, found.wrong_controls, found.missing_controls,
        found.doubled_controls, found.repeats, round(report.seconds),
    )  # fmt: skip
    return [str(number) for number in numbers]


def faults(reports: Sequence[Report]) -> str:
    """Return how often each fault was done, kills first."""
    done: Counter[str] = Counter()
    for report in reports:
        done.update(report.done)
    order = sorted(done, key=lambda name: (name not in KILLS, name))
    rows = [[name, *(str(report.done[name]) for report in reports), str(done[name])] for name in order if done[name]]
    return "\n".join(lines(["fault", *(f"seed {report.seed}" for report in reports), "all"], rows)) + "\n"


def lines(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a table."""
    yield f"| {' | '.join(head)} |"
    yield f"|{' --- |' * len(head)}"
    for row in rows:
        yield f"| {' | '.join(row)} |"


def said(reports: Sequence[Report]) -> str:
    """Return in words what was wrong, and how workers ended that nobody had told to."""
    made = [f"seed {report.seed}: {line}" for report in reports for line in report.findings.said]
    ends: Counter[str] = Counter()
    for one in reports:
        for how, count in one.exits.items():
            ends[f"seed {one.seed}: a worker {PLACE.sub('…', how)}"] += count
    return "\n".join([*made, *(f"{how} ({count} x)" for how, count in ends.items())])


def short_table(reports: Sequence[Report]) -> str:
    """Return what was lost and doubled of what only counts."""
    found = [(one, one.findings) for one in reports]
    rows = [[one.seed, one.kills, f.events, f.lost, f.doubled, round(one.seconds)] for one, f in found]
    head = ("seed", "kills", "events", "lost", "doubled", "seconds")
    return "\n".join(lines(head, [[*map(str, row)] for row in rows])) + "\n"


def compared(seed: int, found: Compared) -> str:
    """Return what became of mutated messages, and of what they were before."""
    head = ("seed", "messages", "events", "counted", "dead letters", "unaccounted", "exit code", "CPU µs a message")
    rows = []
    for name, one in ((f"{seed}, as they were", found.good), (f"{seed}, mutated", found.mutated)):
        dead = one.counters["dead_letters"]
        cost = f"{1e6 * one.processor / one.messages:.0f}"
        numbers = (one.messages, one.events, one.events - dead, dead, one.unaccounted, one.exit_code, cost)
        rows.append([name, *map(str, numbers)])
    reasons = ", ".join(f"{name} {count}" for name, count in found.mutated.letters.most_common())
    ratio = f"Speed on mutated messages beside that on those they were: {found.ratio:.2f} (a fifth is asked for)."
    return "\n".join([*lines(head, rows), "", ratio, f"Dead letters: {reasons}."]) + "\n"
