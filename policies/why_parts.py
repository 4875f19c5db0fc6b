"""Who contributes to a verdict: slices, model versions and score ranges, ranked by what they have beyond the target."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS, GROUPS, in_groups
from interlock.detectors.fixed import SCALE
from interlock.policies.measures import Measure, RecallMeasure
from interlock.policies.measures_abuse import PER, AbuseMeasure
from interlock.policies.measures_compare import CompareMeasure
from interlock.policies.measures_ece import EceMeasure
from interlock.policies.measures_river import RiverMeasure
from interlock.policies.plan import UNDECIDED
from interlock.policies.scalars import Target
from interlock.policies.why_case import Case, Key
from interlock.records import Count

MOST = 50
"""Parts that are told of one ranking."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Part:
    """One part: its events, its value, what it has beyond the target in events, and its share of all that is beyond.

    Of a score range the value is how much more came true than was stated, and `beyond` counts all of that, whatever its
    sign. `own`: the verdict is about it.
    """

    name: str
    n: int
    value: float | None
    beyond: float
    share: float
    own: bool


@dataclass(frozen=True, slots=True)
class Ranking:
    """Parts of what was counted from `start` to `end` (ms), most beyond the target first; `left_off` are not listed."""

    by: str
    series: str
    start: int
    end: int
    parts: list[Part] = field(default_factory=list)
    left_off: int = 0


Group = Callable[[Count], str | None]
"""Which part a count belongs to; None: to none."""


def rankings(case: Case) -> tuple[list[Ranking], list[str]]:
    """Return the rankings, and what could not be ranked and why."""
    note = _unreadable(case)
    if note is not None:
        return [], [note]
    own = case.key
    if own is None or case.measure is None:
        return [], []
    made = [_slices(case, own, case.measure), _versions(case, own, case.measure)]
    if isinstance(case.measure, EceMeasure):
        made.append(_ranges(case, own, case.measure))
    found = [one for one in made if one is not None]
    return found, _rest(case, own, found)


def _unreadable(case: Case) -> str | None:
    """Return why nothing can be ranked; None if something can."""
    if case.slo is None:
        return f"what {case.verdict.slo} measures is not stored: give --policy"
    if case.measure is None or isinstance(case.measure, CompareMeasure):
        return _unranked(case.measure)
    if case.window is None:
        return "contributions need the tallies, which are kept in ClickHouse only: this replay wrote none"
    if case.key is None:
        several = len({one.series for one in case.window}) > 1
        why = "several series fit: give --policy" if several and not case.policy else "no tallies of this SLO are kept"
        return f"no contributions: {why}"
    if not all(_readable(case.measure, one.cell) for one in case.window if one.series == case.key.text):
        return "no contributions: more is counted than the verdict tells of (audits at several rates?): give --policy"
    return None


def _unranked(measure: Measure | None) -> str:
    if measure is None:
        return "the rules are ranked above; they are counted for a model version as a whole, not by slice"
    return "no contributions: a difference has two sides; each variant's counts are in the evidence"


def _readable(measure: Measure, cell: int) -> bool:
    """Return whether a measure knows a cell; the last column of a recall is what could not be decided."""
    try:
        column = measure.column(cell)
    except KeyError:
        return False
    return column < measure.width - (isinstance(measure, RecallMeasure) and cell < UNDECIDED)


def _rest(case: Case, own: Key, found: Sequence[Ranking]) -> list[str]:
    """Return what must be said of the rankings."""
    told = []
    if case.scope.get("slice", "").startswith("("):
        told.append(f"{case.scope['slice']} is all slices that have no verdict of their own")
    if not any(one.by == "slice" for one in found):
        told.append(f"no slices: `{own.text}` is counted for the model as a whole (`per:` in an SLO splits it)")
    rows = _rows(case, own, lambda _: "all", case.window or ())
    if case.measure is None or not rows:
        return told
    counted = int(case.measure.estimate(np.stack([rows["all"]])).n[0])
    if counted != case.verdict.n and not own.by:
        told.append(
            f"the tallies hold {counted:,} where the verdict rests on {case.verdict.n:,}: some came after judging"
        )
    return told


def _slices(case: Case, own: Key, measure: Measure) -> Ranking | None:
    key = own if own.by else case.key_beside()
    if key is None:
        return None
    mine = case.scope.get("slice")
    rows = _rows(case, key, lambda one: one.slice, _over(case))
    return _ranked("slice", key, case, (rows, measure), lambda name: name == mine)


def _versions(case: Case, own: Key, measure: Measure) -> Ranking | None:
    """Rank model versions, if the window has several: the stretch may have one."""

    def mine(one: Count) -> str | None:
        return one.version if _within(case, own, one) else None

    several = len(_rows(case, own, mine, case.window or ())) > 1
    rows = _rows(case, own, mine, _over(case))
    return _ranked("version", own, case, (rows, measure), lambda _: False) if several else None


def _ranges(case: Case, own: Key, measure: EceMeasure) -> Ranking | None:
    """Rank score ranges by n |stated - true|: divided by all labels they add up to the plain ECE."""
    rows = _rows(case, own, lambda one: "all" if _within(case, own, one) else None, _over(case))
    if not rows:
        return None
    cells = [part[0] for part in measure.bins(rows["all"][None])]
    n, p, y = (in_groups(cell, measure.groups) for cell in cells)
    more = y - p / SCALE
    gaps = np.abs(more)
    names = range_names(measure.groups)
    total = float(gaps.sum())
    parts = [
        Part(
            names[g], int(n[g]), float(more[g] / n[g]), float(gaps[g]), float(gaps[g] / total) if total else 0.0, False
        )
        for g in np.flatnonzero(n).tolist()
    ]
    return _sorted("score", own, case, parts)


def range_names(groups: Ints) -> dict[int, str]:
    """Return the score range of each group of micro-bins int64[64] that has any."""
    edges = {g: np.flatnonzero(groups == g) for g in range(GROUPS)}
    return {g: f"{own[0] / BINS:.3g} to {(own[-1] + 1) / BINS:.3g}" for g, own in edges.items() if len(own)}


def _over(case: Case) -> Sequence[Count]:
    """Return the counts of the stretch that speaks most for a breach, else of the window."""
    return case.stretch if case.stretch is not None else case.window or ()


def _start(case: Case) -> int:
    return int(case.stretched["from"]) if case.stretch is not None else case.verdict.window_start


def _within(case: Case, own: Key, one: Count) -> bool:
    """Return whether a count is of the verdict's own slice; a pool's slices are not known apart."""
    mine = case.scope.get("slice")
    return not own.by or mine is None or mine.startswith("(") or one.slice == mine


def _rows(case: Case, key: Key, group: Group, counts: Sequence[Count]) -> dict[str, Ints]:
    """Return the cells of each part of a series, int64[width], as the measure reads them."""
    found: dict[str, Ints] = {}
    measure = case.measure
    for one in counts:
        name = group(one) if one.series == key.text else None
        if name is None or measure is None:
            continue
        row = found.setdefault(name, np.zeros(measure.width, np.int64))
        row[measure.column(one.cell)] += one.total
    return found


def own_row(case: Case, counts: Sequence[Count]) -> Ints | None:
    """Return the cells of what the verdict is about, int64[width]; None if there are none."""
    key = case.key
    if key is None or _unreadable(case) is not None:
        return None
    return _rows(case, key, lambda one: "all" if _within(case, key, one) else None, counts).get("all")


def _ranked(
    by: str, key: Key, case: Case, counted: tuple[dict[str, Ints], Measure], mine: Callable[[str], bool]
) -> Ranking | None:
    rows, measure = counted
    if not rows or case.slo is None:
        return None
    table = np.stack(list(rows.values()))
    estimate = measure.estimate(table)
    over = beyond(measure, table, case.slo.target)
    total = sum(max(one, 0.0) for one in over)
    parts = [
        Part(name, n, None if np.isnan(value) else value, one, max(one, 0.0) / total if total else 0.0, mine(name))
        for name, n, value, one in zip(rows, estimate.n.tolist(), estimate.value.tolist(), over, strict=True)
        if n
    ]
    return _sorted(by, key, case, parts)


def beyond(measure: Measure, table: Ints, target: Target) -> list[float]:
    """Return what each row int64[S, width] has beyond the target, in events: n (value - target); below it is negative.

    For a rate that is hits - target n; for a recall the weighted misses that are too many; for the ECE the labels' worth.
    """
    estimate = measure.estimate(table)
    value = np.nan_to_num(estimate.value, nan=target.value)
    weight = estimate.n.astype(np.float64)
    if isinstance(measure, RecallMeasure):
        hits = np.array([float(str(measure.details(row)["hits"])) for row in table])
        weight = np.where(value > 0, hits / np.where(value > 0, value, 1), weight)
    if isinstance(measure, RiverMeasure):  # its value is a count already
        weight = np.ones(len(table))
    if isinstance(measure, AbuseMeasure):
        weight = weight / PER
    sign = -1.0 if target.op == ">=" else 1.0
    return [float(one) for one in sign * weight * (value - target.value)]


def _sorted(by: str, key: Key, case: Case, parts: list[Part]) -> Ranking | None:
    if not parts:
        return None
    ordered = sorted(parts, key=lambda part: (-part.beyond, part.name))
    kept = [part for place, part in enumerate(ordered) if place < MOST or part.own]
    return Ranking(by, key.text, _start(case), case.verdict.window_end, kept, len(ordered) - len(kept))
