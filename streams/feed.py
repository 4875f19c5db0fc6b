"""Tallies on their way into an SLO's panes, by what its machine counts by."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import astuple, dataclass, field
from itertools import pairwise
from typing import Any

import numpy as np

from interlock.policies.causes import Exemplar
from interlock.policies.machine import Machine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.measures_compare import CompareMeasure
from interlock.policies.plan import BINS_FROM, UNDECIDED
from interlock.streams.tally import CELL, COUNT, PANE, SERIES, SLICE, VERSION, Ints, exemplar


@dataclass(frozen=True, slots=True)
class Legend:
    """What version and slice codes stand for."""

    versions: Sequence[str]
    slices: Sequence[str]


@dataclass(frozen=True, slots=True)
class Rows:
    """Counts of whole ticks, int64[7, n], what their codes stand for, and causing events."""

    table: Ints
    legend: Legend
    exemplars: Sequence[Exemplar] = ()


Part = tuple[Ints, Legend]


@dataclass(slots=True)
class Feed:
    """Rows of some series, put into an SLO's panes."""

    places: tuple[int, ...]
    ratio: int
    parts: dict[int, list[Part]] = field(default_factory=dict)
    causes: dict[int, list[Exemplar]] = field(default_factory=dict)

    def put(self, rows: Rows) -> None:
        """Add rows; a pane may come in several parts."""
        mine = rows.table[:, np.isin(rows.table[SERIES], self.places)]
        pane = mine[PANE] // self.ratio
        order = np.argsort(pane, kind="stable")
        mine, pane = mine[:, order], pane[order]
        starts = np.flatnonzero(np.diff(pane, prepend=pane[:1] - 1)).tolist()
        for start, end in pairwise([*starts, len(pane)]):
            self.parts.setdefault(int(pane[start]), []).append((mine[:, start:end], rows.legend))
        for one in rows.exemplars:
            if one.series in self.places:
                self.causes.setdefault(one.pane // self.ratio, []).append(one)

    def next(self, pane: int) -> int | None:
        """Return the first pane from here on that has rows."""
        return min((p for p in self.parts if p >= pane), default=None)

    def take(self, pane: int) -> list[Part]:
        """Take out the rows of a pane."""
        return self.parts.pop(pane, [])

    def follow(self, later: "Feed") -> None:
        """Add what a later policy's feed of the same series holds."""
        for pane, parts in later.parts.items():
            self.parts.setdefault(pane, []).extend(parts)
        for pane, causes in later.causes.items():
            self.causes.setdefault(pane, []).extend(causes)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays; each legend once."""
        legends = list({id(legend): legend for parts in self.parts.values() for _, legend in parts}.values())
        places = {id(legend): place for place, legend in enumerate(legends)}
        parts = {pane: [(t.copy(), places[id(x)]) for t, x in kept] for pane, kept in self.parts.items()}
        causes = {pane: [astuple(one) for one in kept] for pane, kept in self.causes.items()}
        return {"legends": [astuple(legend) for legend in legends], "parts": parts, "causes": causes}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same series."""
        legends = [Legend(*fields) for fields in saved["legends"]]
        self.parts = {pane: [(table, legends[place]) for table, place in kept] for pane, kept in saved["parts"].items()}
        self.causes = {pane: [exemplar(one) for one in kept] for pane, kept in saved["causes"].items()}


def by_slice(parts: Sequence[Part], machine: Machine | P95Machine, places: Sequence[int] = ()) -> dict[str, Ints]:
    """Return the counts of each slice, int64[width]; where variants are compared, the other one's cells stand behind."""
    measure = machine.measure
    half = measure.half if isinstance(measure, CompareMeasure) else 0

    def columns(table: Ints) -> Ints:
        own: Ints = np.array([measure.column(cell) for cell in table[CELL].tolist()], np.int64)
        if half:
            own += half * (table[SERIES] != places[0])
        return own

    return _tabled(parts, measure.width, columns)


def by_bin(parts: Sequence[Part], width: int) -> dict[str, Ints]:
    """Return the counts of each slice, int64[width]: events, those that could not be decided, then bins of streams."""

    def columns(table: Ints) -> Ints:
        cells = table[CELL]
        places: Ints = np.where(cells < BINS_FROM, (cells == UNDECIDED).astype(np.int64), cells - BINS_FROM + 2)
        return places

    return _tabled(parts, width, columns)


def by_cell(parts: Sequence[Part], first: int, width: int) -> dict[str, Ints]:
    """Return the counts of each slice, int64[width], of cells that are numbered from `first` on."""
    return _tabled(parts, width, lambda table: table[CELL] - first)


def _tabled(parts: Sequence[Part], width: int, columns: Callable[[Ints], Ints]) -> dict[str, Ints]:
    found: dict[str, Ints] = {}
    for table, legend in parts:
        present = np.zeros(len(legend.slices), np.bool_)
        present[table[SLICE]] = True
        row = np.cumsum(present) - 1
        counts = np.zeros((int(row[-1]) + 1, width), np.int64)
        np.add.at(counts.reshape(-1), row[table[SLICE]] * width + columns(table), table[COUNT])
        for code, count in zip(np.flatnonzero(present).tolist(), counts, strict=True):
            name = legend.slices[code]
            found[name] = found[name] + count if name in found else count
    return {name: count for name, count in found.items() if count.any()}  # corrections may leave nothing


def by_version(parts: Sequence[Part], places: Sequence[int]) -> dict[str, Ints]:
    """Return the counts of each model version, int64[rules, 3], one rule per series of `places`."""
    found: dict[str, Ints] = {}
    for table, legend in parts:
        for series, code, cell, n in table[[SERIES, VERSION, CELL, COUNT]].T.tolist():
            counts = found.setdefault(legend.versions[code], np.zeros((len(places), 3), np.int64))
            counts[places.index(series), cell] += n
    return found
