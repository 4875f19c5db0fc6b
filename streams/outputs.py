"""Where a replay's outputs go: files of JSON lines and a ClickHouse directory, in one folder."""

import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from types import TracebackType
from typing import Self

import numpy as np

from interlock.errors import UserError
from interlock.policies.context import slice_text
from interlock.policies.plan import Plan
from interlock.records import Labels, TallyTable, control_line, dead_letter_line, verdict_line
from interlock.sinks.clickhouse import Batch, ClickHouseSink
from interlock.sinks.files import JsonLines
from interlock.streams.batch import DeadLetter
from interlock.streams.due import due_line
from interlock.streams.pipeline import Yield
from interlock.streams.tally import CELL, CHAINS, COHORT, COUNT, PANE, SERIES, SLICE, VERSION, TallyRecord

MARK = "interlock-replay"
"""A file that says that a ClickHouse directory was written by a replay, and may be replaced by the next."""

Split = tuple[str, Sequence[str]]
"""A series: its key, and the paths of the fields that it is split by."""

TALLY_ROWS = 100_000
"""Rows of tallies sent to ClickHouse at a time."""


class Outputs:
    """Writes what a pipeline yields; use it as a context manager. Files appear whole, when the run has ended."""

    def __init__(self, folder: Path, plan: Plan, *, clickhouse: bool) -> None:
        """Open the folder.

        Raises:
            UserError: it cannot be written, or holds a ClickHouse directory that no replay made.
        """
        self.folder, self._plan = folder, plan
        with ExitStack() as stack:
            self._sink = stack.enter_context(_clickhouse(folder / "clickhouse")) if clickhouse else None
            self._run, self.verdicts, self.controls, self.due, self.dead = (
                stack.enter_context(JsonLines(folder / name))
                for name in ("run.json", "verdicts.jsonl", "control.jsonl", "audits.jsonl", "dead-letters.jsonl")
            )
            self._stack = stack.pop_all()
        self._tallies: list[TallyRecord] = []
        self._held = self._batches = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            if kind is None:
                self._send_tallies()
        finally:
            self._stack.__exit__(kind, error, trace)

    def write(self, made: Yield) -> None:
        """Write verdicts, controls, what is due for review, and tallies."""
        for verdict in made.verdicts:
            self.verdicts.write(verdict_line(verdict))
        for control in made.controls:
            self.controls.write(control_line(control))
        for due in made.due:
            self.due.write(due_line(due) + b"\n")
        if self._sink is None:
            return
        self._sink.insert_verdicts(made.verdicts, self._batch())
        self._sink.insert_controls(made.controls, self._batch())
        self._tallies += [record for record in made.records if record.counts.shape[1]]
        self._held += sum(record.counts.shape[1] for record in made.records)
        if self._held >= TALLY_ROWS:
            self._send_tallies()

    def write_dead(self, letters: Sequence[DeadLetter], at: int) -> None:
        """Write events that could not be read."""
        for letter in letters:
            self.dead.write(dead_letter_line(letter))
        if self._sink is not None and letters:
            self._sink.insert_dead_letters(letters, at, self._batch())

    def write_run(self, facts: Mapping[str, object]) -> None:
        """Record what the run was a function of, and what deviated: `run.json`."""
        for line in json.dumps(facts, indent=2, sort_keys=True).splitlines():
            self._run.write(line.encode() + b"\n")

    def query(self, sql: str) -> list[dict[str, object]]:
        """Ask the ClickHouse directory."""
        return self._sink.query(sql) if self._sink is not None else []

    def _batch(self) -> Batch:
        self._batches += 1
        return Batch("replay", str(self._batches))

    def _send_tallies(self) -> None:
        if self._sink is not None and self._tallies:
            series = [(one.key, one.by) for one in self._plan.series]
            self._sink.insert_tallies(tally_table(self._tallies, self._plan.tick, series), self._batch())
        self._tallies, self._held = [], 0


@contextmanager
def _clickhouse(folder: Path) -> Iterator[ClickHouseSink]:
    """Fill a directory beside its name; it takes the place of an older replay's when it is complete."""
    mark = folder.with_name(f".{folder.name}.{MARK}")
    if folder.exists() and not mark.exists():
        raise UserError(f"{folder} exists and is not from a replay; choose another --out")
    partial = folder.with_name(f"{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    with ClickHouseSink.connect(directory=partial) as sink:
        yield sink
    mark.touch()
    shutil.rmtree(folder, ignore_errors=True)
    partial.replace(folder)


def tally_table(records: Sequence[TallyRecord], tick: int, series: Sequence[Split]) -> TallyTable:
    """Return tally records as rows for analysts: times in ms, names for codes.

    `tick` is the width of a pane in ms; `series` are what the policy counts, in order.
    """
    tables = np.concatenate([record.counts for record in records], axis=1)
    sizes = [record.counts.shape[1] for record in records]
    start = tables[PANE] * tick
    names = [_names(record, series) for record in records]
    return TallyTable(
        pane_start=start,
        pane_ms=np.full(len(start), tick, np.int64),
        cohort_start=np.where(tables[COHORT] < 0, start, tables[COHORT] * tick),
        chain=Labels(np.repeat([CHAINS.index(r.chain) for r in records], sizes).astype(np.int32), CHAINS),
        model=Labels.of(name for part in names for name in part[0]),
        model_version=Labels.of(name for part in names for name in part[1]),
        slice=Labels.of(name for part in names for name in part[2]),
        series=Labels(tables[SERIES].astype(np.int32), tuple(key for key, _ in series)),
        cell=tables[CELL],
        count=tables[COUNT],
    )


def _names(record: TallyRecord, series: Sequence[Split]) -> tuple[list[str], list[str], list[str]]:
    models = [record.versions[code] for code in record.counts[VERSION].tolist()]
    places = zip(record.counts[SLICE].tolist(), record.counts[SERIES].tolist(), strict=True)
    shown: dict[tuple[int, int], str] = {}
    slices = []
    for code, number in places:
        if (code, number) not in shown:
            name = record.slices[code]
            _, by = series[number]
            shown[code, number] = (
                "" if name == "[]" else slice_text(name, by) if record.chain != "abuse" or number else name
            )
        slices.append(shown[code, number])
    return [m for m, _ in models], [v for _, v in models], slices
