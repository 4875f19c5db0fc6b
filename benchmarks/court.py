"""Streams of simulated counts, put before the real judge: what the guarantee tests and the acceptance tests share.

Counts are given per pane, from pane 0 on; the judge gets them as tally records that start on a day in 2024.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import poisson

from interlock.detectors.fixed import SCALE
from interlock.policies.context import Context, Learned
from interlock.policies.load import load_policy
from interlock.policies.measures_ece import BINS_FROM
from interlock.policies.model import Policy
from interlock.policies.panes import Thresholds, thresholds
from interlock.policies.plan import (
    AUDITABLE,
    CONFIRMED,
    DECISIONS,
    FLAGGED,
    HIT,
    MISSED,
    REVIEWED,
    SELECTED,
    SETTLED,
    N,
    audit_cell,
)
from interlock.policies.planning import make_plan
from interlock.policies.scalars import DAY
from interlock.records import Control, State, Verdict
from interlock.streams.clock import BEGINNING
from interlock.streams.judge import Judge
from interlock.streams.tally import COHORT, COUNT, NO_COHORT, PANE, SERIES, TallyRecord

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

FIRST_DAY = 19_800
HOUR, WEEK, QUARTER = 1, 168, 2160
"""Panes of a 7-day window."""


def promise(name: str, target: str, window: str, **more: object) -> dict[str, object]:
    """One SLO as a policy file writes it."""
    basis = {"name": name, "objective": "a test", "target": target, "window": window}
    return {**basis, "action_on_breach": "route_to_human_review", **more}


def make_policy(slo: Mapping[str, object], slices: int = 0, **more: object) -> Policy:
    """A policy of one SLO, judged per tenant if there are slices; it passes the checks that a file must pass."""
    parts: dict[str, object] = {"model": "m", "slos": [dict(slo)], **more}
    if slices:
        parts["slices"] = [{"by": ["tenant"], "max": slices}]
        parts["slos"] = [{**slo, "per": "slice"}]
    return load_policy(json.dumps(parts).encode(), "test.yaml")


def make_context(slo: dict[str, object], slices: int = 0, **more: object) -> Context:
    """A context of one SLO."""
    policy = make_policy(slo, slices, **more)
    return Context(policy, policy.slos[0], "m", Learned({}, scores_ood=True))


def tenants(count: int, stem: str = "t") -> tuple[str, ...]:
    """Names of slices as they are counted."""
    return tuple(json.dumps([f"{stem}{i}"]) for i in range(count))


def rows(
    pane: ArrayLike, piece: ArrayLike, cell: ArrayLike, count: ArrayLike, *, cohort: ArrayLike = NO_COHORT
) -> Ints:
    """Rows of a table of counts; everything broadcasts against `count`."""
    keys = np.broadcast_arrays(np.asarray(pane), cohort, 0, 0, piece, cell, np.asarray(count))
    table = np.stack([np.ravel(key) for key in keys]).astype(np.int64)
    return np.asarray(table[:, table[COUNT] > 0])


def _grid(counts: Ints) -> tuple[Ints, Ints]:
    """Pane and slice of counts int64[T, S]."""
    return np.arange(len(counts))[:, None], np.arange(counts.shape[1])[None]


def rates(n: Ints, hits: Ints) -> Ints:
    """Predictions of a rate SLO: `hits` of `n`, int64[T, S] each."""
    pane, piece = _grid(n)
    return np.concatenate([rows(pane, piece, N, n), rows(pane, piece, HIT, hits)], axis=1)


@dataclass(frozen=True)
class Flags:
    """OOD events of a stream, int64[T, S]: flagged ones (all reviewed), unflagged, audited, audited and missed."""

    hits: Ints
    unflagged: Ints
    selected: Ints
    missed: Ints

    def made(self) -> Ints:
        """Predictions."""
        pane, piece = _grid(self.hits)
        parts = (
            (FLAGGED, self.hits),
            (audit_cell(0, AUDITABLE), self.unflagged),
            (audit_cell(0, SELECTED), self.selected),
        )
        return np.concatenate([rows(pane, piece, cell, count) for cell, count in parts], axis=1)

    def joined(self, reviewed: Sequence[Ints], settled: Sequence[Ints], missed: Sequence[Ints]) -> Ints:
        """Labels by how many panes late they come: reviewed hits, settled audits, misses among them."""
        parts = []
        for cells, late in (
            ((REVIEWED, CONFIRMED), reviewed),
            ((audit_cell(0, SETTLED),), settled),
            ((audit_cell(0, MISSED),), missed),
        ):
            parts += [delayed(cell, late) for cell in cells]
        return np.concatenate(parts, axis=1)


def delayed(cell: int, late: Sequence[Ints]) -> Ints:
    """Labels of a cell that come d panes after their cohort: `late[d]` int64[T, S]."""
    return np.concatenate(
        [rows(_grid(x)[0] + d, _grid(x)[1], cell, x, cohort=_grid(x)[0]) for d, x in enumerate(late)], axis=1
    )


def spread(rng: np.random.Generator, counts: Ints, shares: Floats) -> list[Ints]:
    """Spread counts int64[T, S] over delays with these shares; what the shares lack of 1 never comes."""
    left, rest, parts = counts, 1.0, []
    for share in shares:
        parts.append(rng.binomial(left, min(1.0, share / rest) if rest > 0 else 0.0))
        left, rest = left - parts[-1], rest - share
    return parts


def labelled(seen: int, labels: int, error: float) -> Ints:
    """Counts of an ECE slot at probability .75: predictions, and labels that are too few positives by `error`."""
    row = np.zeros(BINS_FROM + 3 * 64, np.int64)
    row[0] = seen
    row[BINS_FROM + 144 : BINS_FROM + 147] = labels, labels * SCALE * 3 // 4, round(labels * (0.75 - error))
    return row


SCORES = (np.arange(34, 59) + 0.5) / 64
"""Probabilities that simulated decisions have: the middles of micro-bins, .54 to .91."""


@dataclass(frozen=True)
class Decisions:
    """Labelled decisions: n and positives by probability, int64[T, S, 25]."""

    n: Ints
    y: Ints

    def made(self) -> Ints:
        """Predictions."""
        total = self.n.sum(axis=2)
        return rows(*_grid(total), DECISIONS, total)

    def joined(self, delay: int) -> Ints:
        """Labels that come `delay` panes later."""
        pane, piece = (axis[..., None] for axis in _grid(self.n[..., 0]))
        cell = 3 * (SCORES * 64).astype(np.int64)
        sums = (self.n, self.n * np.rint(SCORES * SCALE).astype(np.int64), self.y)
        return np.concatenate([rows(pane + delay, piece, cell + j, x, cohort=pane) for j, x in enumerate(sums)], axis=1)


def decisions(rng: np.random.Generator, rate: ArrayLike, error: ArrayLike, shape: tuple[int, int]) -> Decisions:
    """Poisson decisions at `rate` a pane, confidences too high by `error`; both broadcast against (T, S)."""
    mean = np.broadcast_to(np.asarray(rate, np.float64), shape)[..., None] / len(SCORES)
    n = rng.poisson(np.broadcast_to(mean, (*shape, len(SCORES))))
    error = np.broadcast_to(np.asarray(error, np.float64), shape)
    return Decisions(n, rng.binomial(n, SCORES - error[..., None]))


def column(values: ArrayLike) -> Floats:
    """A value per pane, for all slices."""
    return np.asarray(values, np.float64)[:, None]


def during(panes: int, start: int, end: int, inside: float, outside: float) -> Floats:
    """One value inside a stretch of panes and another outside, for all slices."""
    pane = np.arange(panes)
    return column(np.where((pane >= start) & (pane < end), inside, outside))


@dataclass(frozen=True)
class Judged:
    """What the judge said; panes count from 0, and a transition has the pane whose counts brought it."""

    verdicts: list[Verdict]
    controls: list[Control]
    pane_ms: int

    def pane(self, said: Verdict | Control) -> int:
        """The pane that brought a verdict or control."""
        return said.ts // self.pane_ms - FIRST_DAY * DAY // self.pane_ms - 1

    @cached_property
    def transitions(self) -> list[Control]:
        """Controls without updates of an epoch that is engaged already, as when a person is asked after max_hold."""
        seen: set[tuple[str, str]] = set()
        found = []
        for control in sorted(self.controls, key=lambda c: c.ts):
            key = (control.control_id, control.state)
            found += [control] if key not in seen else []
            seen.add(key)
        return found

    def engaged(self) -> list[int]:
        """Panes of engagements."""
        return [self.pane(c) for c in self.transitions if c.state == "engaged"]

    def released(self) -> list[int]:
        """Panes of releases."""
        return [self.pane(c) for c in self.transitions if c.state == "released"]

    @cached_property
    def pages(self) -> list[tuple[str, int]]:
        """Scope and pane of engagements that page: those within 24 h of a release update the incident instead."""
        last: dict[str, int] = {}
        found = []
        for control in self.transitions:
            scope = ",".join(control.scope.values())
            if control.state == "released":
                last[scope] = control.ts
            elif control.ts - last.get(scope, -2 * DAY) > DAY:
                found.append((scope, self.pane(control)))
        return found

    def first(self, scopes: Sequence[str]) -> Floats:
        """Pane of each scope's first page; inf without one."""
        found = dict(reversed(self.pages))
        return np.array([found.get(scope, np.inf) for scope in scopes])

    def states(self, since: int = 0, until: int | None = None) -> set[State]:
        """States of the verdicts of panes [since, until)."""
        last = until if until is not None else 1 << 60
        return {v.state for v in self.verdicts if since <= self.pane(v) < last}


@dataclass(frozen=True)
class Court:
    """A policy of one SLO with what its reference says, and the slices that will be counted."""

    policy: Policy
    names: tuple[str, ...] = ("[]",)
    learned: Learned = field(default_factory=lambda: Learned({}, scores_ood=True))

    @property
    def thresholds(self) -> Thresholds:
        """Thresholds of the SLO."""
        return thresholds(self.policy, self.policy.slos[0])

    @property
    def scopes(self) -> list[str]:
        """The slices as controls name them."""
        return ["tenant=" + json.loads(name)[0] for name in self.names]

    def judge(self, panes: int, made: Ints, joined: Ints | None = None) -> Judged:
        """Judge predictions and labels of panes [0, panes)."""
        plan = make_plan(self.policy)
        judge = Judge(plan, self.learned, 1)
        chains = (("predictions", made), ("joined", np.zeros((7, 0), np.int64) if joined is None else joined))
        records = [self._record(chain, table, panes, plan.of_slo[0]) for chain, table in chains]
        said = judge.apply(records)
        return Judged([v for s in said for v in s.verdicts], [c for s in said for c in s.controls], plan.tick)

    def _record(self, chain: str, table: Ints, panes: int, series: Sequence[int]) -> TallyRecord:
        start = FIRST_DAY * DAY // self.thresholds.pane_ms
        moved = table[:, table[PANE] < panes].copy()
        moved[PANE] += start
        moved[COHORT, moved[COHORT] != NO_COHORT] += start
        moved[SERIES] = np.array(series)[moved[SERIES]]
        return TallyRecord(0, chain, BEGINNING, start + panes - 1, moved, (("m", "1"),), self.names)

    def most_pages(self, starts: int) -> int:
        """The pages that the bound E[N] <= starts / C lets happen, but for one run of the test in ten thousand."""
        return int(poisson.ppf(0.9999, starts / self.thresholds.page))
