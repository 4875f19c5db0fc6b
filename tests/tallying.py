"""Histories of tally records for tests of the judge: made from a seed, as steps that can be cut and resumed anywhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.fixed import SCALE
from interlock.policies.causes import Exemplar
from interlock.policies.context import Learned
from interlock.policies.load import load_policy
from interlock.policies.plan import DECIDED, DECISIONS, HIT, LABELS, UNDECIDABLE, VIOLATION, N, Plan
from interlock.policies.planning import make_plan
from interlock.policies.said import Said
from interlock.records import Control, control_line, verdict_line
from interlock.streams import checkpoint
from interlock.streams.clock import BEGINNING
from interlock.streams.judge import Judge
from interlock.streams.tally import NO_COHORT, PANE, TallyRecord

Ints = NDArray[np.int64]

POLICY = """
model: m
lateness: 1m
false_pages_per_year: 200
labels: {maturity: 20m}
ood: {threshold: 0.9}
slices: [{by: [tenant], max: 2}]
release: {hold: 5m, wrong_per_year: 4000}
on_unknown:
  no_data: {for: 15m, action: route_to_human_review}
  insufficient: {for: 40m, action: notify}
  unidentified: {for: 10m, action: notify}
never_events:
- {name: large_denial, when: "decision == 'deny' && features.amount > 900", undecided: 0.5}
slos:
- {name: ood_rate_1h, objective: o, target: "<= 0.10", window: 1h, action_on_breach: route_to_human_review, per: tenant}
- {name: decision_ece_1h, objective: o, target: "<= 0.08", window: 1h, action_on_breach: notify, min_events: 50}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch,
   stale_after: 30m}
"""
TICK = 30_000
START = 1_790_000_000_000 // 86_400_000 * 86_400_000 // TICK
"""The first tick of a history."""

SLICES = ('["a"]', '["b"]', '["c"]', "[]")
OOD, ECE, NEVER = range(3)

Step = TallyRecord | tuple[Any, ...]
"""What a judge is told: a record, `("idle", shard, topic)` or `("clock", ms)`."""


@cache
def plan(policy: str = POLICY) -> Plan:
    """The plan of a policy; its tick is TICK."""
    made = make_plan(load_policy(policy.encode(), "f.yaml"))
    assert made.tick == TICK
    return made


def new_judge(shards: int, policy: str = POLICY) -> Judge:
    """A judge before its first record."""
    return Judge(plan(policy), Learned({}, scores_ood=True), shards)


def ms(ticks: int) -> int:
    """Event time of the start of a tick of a history."""
    return (START + ticks) * TICK


@dataclass(slots=True)
class Book:
    """Rows of counts by tick of a history; an SLO's rows go to its first series."""

    rows: list[tuple[int, ...]] = field(default_factory=list)
    named: list[Exemplar] = field(default_factory=list)

    def ood(self, tick: int, n: int, hits: int, slice_: int = 0) -> None:
        """Predictions of a tenant, some of them out of distribution; each is due a label."""
        self.rows += [(START + tick, NO_COHORT, 0, 0, 3, N, n)] * (n > 0)
        for series, code, cell, count in ((OOD, slice_, N, n), (OOD, slice_, HIT, hits), (ECE, 3, DECISIONS, n)):
            self.add(tick, NO_COHORT, series, code, cell, count)
        self.add(tick, NO_COHORT, NEVER, 3, DECIDED, n)

    def violation(self, tick: int) -> None:
        """A never-event."""
        self.add(tick, NO_COHORT, NEVER, 3, VIOLATION, 1)
        place = plan().of_slo[NEVER][0]
        told = ("large_denial", ms(tick) + 7, ("m", "1"))
        self.named.append(Exemplar(START + tick, place, "[]", tick, f"e{tick}", *told))

    def undecidable(self, tick: int, n: int) -> None:
        """Predictions for which the never-event's rule could not be decided."""
        self.add(tick, NO_COHORT, NEVER, 3, UNDECIDABLE, n)

    def labels(self, tick: int, cohort: int, n: int, y: int) -> None:
        """Labels of a cohort's decisions, all of probability 0.75."""
        self.rows += [(START + tick, START + cohort, 0, 0, 3, LABELS, n)] * (n > 0)
        for j, count in enumerate((n, n * SCALE * 3 // 4, y)):
            self.add(tick, START + cohort, ECE, 3, 3 * 48 + j, count)

    def add(self, tick: int, *rest: int) -> None:
        """One row: tick, cohort, SLO, slice, cell, count."""
        cohort, slo, code, cell, count = rest
        if count:
            self.rows.append((START + tick, cohort, plan().of_slo[slo][0], 0, code, cell, count))

    def record(self, shard: int, chain: str, after: int | None, through: int) -> TallyRecord:
        """Return the panes (after, through] as a record; None: from the beginning."""
        table = np.array(self.rows, np.int64).reshape(-1, 7).T
        first = BEGINNING if after is None else START + after
        mine = table[:, (table[PANE] > first) & (table[PANE] <= START + through)]
        named = tuple(x for x in self.named if first < x.pane <= START + through)
        return TallyRecord(shard, chain, first, START + through, mine, (("m", "1"),), SLICES, named)


def book(*ticks: int, n: int = 10) -> Book:
    """Ten good predictions of tenant a in each of these ticks."""
    made = Book()
    for tick in ticks:
        made.ood(tick, n, 0)
    return made


Progress = dict[tuple[int, str], int | None]
CHAINS = ("predictions", "joined")


def everyone(shards: int) -> list[Step]:
    """Declare all sources idle."""
    return [("idle", shard, topic) for shard in range(shards) for topic in ("predictions", "outcomes")]


def history(seed: int, shards: int, ticks: int, *, idle: bool = True) -> list[Step]:
    """Return records of shards that progress at their own pace; labels come 2 to 8 ticks late.

    Ticks 60 to 100: tenant a is out of distribution; from 60 on labels are wrong. Now and then a never-event. With `idle`
    silences are declared, clock records pass time, with and without reason, and at the end nothing comes for 4 hours.
    """
    rng = np.random.default_rng(seed)
    books = [filled(rng, ticks) for _ in range(shards)]
    reached: Progress = {(shard, chain): None for shard in range(shards) for chain in CHAINS}
    steps: list[Step] = []
    while any(at is None or at < ticks - 1 for at in reached.values()):
        if idle and rng.random() < 0.1:
            steps += _silence(rng, reached)
        else:
            steps += _progress(rng, books, reached, ticks)
    if idle:
        steps += [*everyone(shards), *(("clock", ms(ticks + 60 * hour)) for hour in range(8))]
    return steps


def filled(rng: np.random.Generator, ticks: int) -> tuple[Book, Book]:
    """Return what one shard counts of predictions and of labels; ticks 150 to 290 are empty."""
    made, joined = Book(), Book()
    for tick in range(ticks):
        if 150 <= tick < 290 or rng.random() < 0.3:
            continue
        for piece in range(3):
            n = int(rng.poisson(6 if piece < 2 else 1))
            odd = 0.6 if piece == 0 and 60 <= tick < 100 else 0.02
            made.ood(tick, n, int(rng.binomial(n, odd)), piece)
            late = tick + int(rng.integers(2, 9))
            joined.labels(late, tick, n, int(rng.binomial(n, 0.75 if tick < 60 else 0.2)))
        if rng.random() < 0.01:
            made.violation(tick)
    return made, joined


def _silence(rng: np.random.Generator, reached: Progress) -> list[Step]:
    """Declare one source idle, or all of them, or pass time."""
    shards, kind = len(reached) // 2, rng.random()
    if kind < 0.3:
        return [("clock", ms(max(at or 0 for at in reached.values()) + int(rng.integers(20))))]
    if kind < 0.4:
        return everyone(shards)
    return [("idle", int(rng.integers(shards)), str(rng.choice(["predictions", "outcomes"])))]


def _progress(
    rng: np.random.Generator, books: Sequence[tuple[Book, Book]], reached: Progress, ticks: int
) -> list[Step]:
    """Let one chain of one shard report some ticks; joined ones not before predictions."""
    shard, place = int(rng.integers(len(books))), int(rng.integers(2))
    after, made = reached[shard, CHAINS[place]], reached[shard, "predictions"]
    limit = ticks - 1 if place == 0 else -1 if made is None else made
    through = min(limit, (-1 if after is None else after) + int(rng.integers(1, 25)))
    if through <= (-1 if after is None else after):
        return []
    reached[shard, CHAINS[place]] = through
    return [books[shard][place].record(shard, CHAINS[place], after, through)]


def told(judge: Judge, step: Step) -> list[Said]:
    """Tell a judge one thing."""
    if isinstance(step, TallyRecord):
        return judge.apply([step])
    return judge.idle(*step[1:]) if step[0] == "idle" else judge.clock(*step[1:])


def heard(steps: Iterable[Step], shards: int) -> list[Said]:
    """Return what a judge says, told one thing after the other."""
    judge = new_judge(shards)
    return [said for step in steps for said in told(judge, step)]


def cut(steps: Iterable[Step], rng: np.random.Generator) -> list[Step]:
    """Cut records of several panes in pieces, each in the place of the whole."""
    return [piece for step in steps for piece in (_pieces(step, rng) if isinstance(step, TallyRecord) else [step])]


def _pieces(record: TallyRecord, rng: np.random.Generator) -> list[Step]:
    first = max(record.after, START - 1)
    inner = [pane for pane in range(first + 1, record.through) if rng.random() < 0.2]
    found: list[Step] = []
    for after, through in zip([record.after, *inner], [*inner, record.through], strict=True):
        mine = (record.counts[PANE] > after) & (record.counts[PANE] <= through)
        named = tuple(x for x in record.exemplars if after < x.pane <= through)
        piece = replace(record, after=after, through=through, counts=record.counts[:, mine], exemplars=named)
        found.append(piece)
    return found


def resumed(judge: Judge) -> Judge:
    """Return a new judge in the state of this one, by way of bytes."""
    again = Judge(judge.plan, judge.learned, judge.shards)
    again.restore(checkpoint.decode(checkpoint.encode(judge.snapshot())))
    return again


def text(said: Iterable[Said]) -> list[bytes]:
    """Return all that was said as canonical lines, in order of time."""
    lines = [(s.ts, verdict_line(v)) for s in said for v in s.verdicts]
    lines += [(s.ts, control_line(c)) for s in said for c in s.controls]
    return [line for _, line in sorted(lines)]


def controls(said: Iterable[Said]) -> list[Control]:
    """Return the controls that were said."""
    return [control for one in said for control in one.controls]
