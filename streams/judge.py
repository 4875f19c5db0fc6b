"""Adds up the tallies of all shards and judges every model by the policy (STREAM.md §3 and §6)."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from interlock.policies.context import Context, Learned
from interlock.policies.controls import ReleaseCommand, Scope
from interlock.policies.machine import Machine
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.machines import build
from interlock.policies.only_inputs import WITH_INPUTS
from interlock.policies.plan import KINDS, Plan
from interlock.policies.said import Said
from interlock.records import Control
from interlock.streams.axes import ArrivalAxis, Axis, CohortAxis
from interlock.streams.axes_inputs import InputsAxis
from interlock.streams.axes_paired import PairedAxis, StalenessAxis
from interlock.streams.chains import ChainState
from interlock.streams.clock import BEGINNING
from interlock.streams.feed import Feed, Legend, Rows, by_bin, by_slice, by_version
from interlock.streams.lines import Brought, Line, Marks, stages
from interlock.streams.shard import Trigger
from interlock.streams.tally import ABUSE, CHAINS, COUNT, JOINED, PANE, PREDICTIONS, VERSION, Ints, TallyRecord

FED = {"predictions": PREDICTIONS, "outcomes": JOINED, "abuse": ABUSE}
"""The chain that waits for a topic: predictions for both, but the chain of joined counts is told of outcomes."""


class ModelJudge:
    """All SLOs of one model, those of the policies that follow in mid-stream too."""

    def __init__(self, model: str, plan: Plan, learned: Learned) -> None:
        """Start before the model's first pane."""
        self.start: int | None = None
        names = dict.fromkeys(slo.name for one in plan.segments for slo in one.policy.slos_in_force)
        known = tuple(zip(plan.segments, (learned, *learned.later), strict=True))
        self.lines = [Line(stages([_staged(name, model, one) for one in known]), plan.tick) for name in names]

    @property
    def axes(self) -> list[Axis | None]:
        """The axes of the policy that judges now; None for an SLO of another."""
        return [line.stages[0].axis for line in self.lines]

    def put(self, brought: Brought) -> None:
        """Take in counts of this model, of each chain."""
        if brought.predictions.table.shape[1]:
            first = int(brought.predictions.table[PANE].min())
            self.start = first if self.start is None else min(first, self.start)
        for line in self.lines:
            line.put(brought)

    def advance(self, marks: Marks) -> list[Said]:
        """Judge what has become complete, of each chain up to its tick."""
        if self.start is None:
            return []
        found: list[Said] = []
        for line in self.lines:
            found += line.advance(self.start, marks)
        return found


def _staged(name: str, model: str, known: tuple[Plan, Learned]) -> tuple[Axis | None, str, int]:
    """Return a policy's axis of an SLO, None if it has none; the policy's digest and its first tick."""
    plan, learned = known
    for slo, places in zip(plan.policy.slos_in_force, plan.of_slo, strict=True):
        if slo.name == name:
            return _axis(Context(plan.policy, slo, model, learned), places, plan.tick), plan.policy.digest, plan.since
    return None, plan.policy.digest, plan.since


def _axis(context: Context, places: tuple[int, ...], tick: int) -> Axis:
    machine, ratio = build(context), context.pane_ms // tick
    if isinstance(machine, NeverMachine):
        return ArrivalAxis(machine, Feed(places, ratio), lambda parts: by_version(parts, places))
    if isinstance(machine, DriftMachine):
        return ArrivalAxis(machine, Feed(places, ratio), lambda parts: by_bin(parts, machine.width))
    chain = context.slo.spec.chain
    if isinstance(machine, Machine) and chain in ("abuse", "labels"):
        kind, beside = (PairedAxis, ABUSE) if chain == "abuse" else (StalenessAxis, JOINED)
        return kind(machine, Feed(places, ratio), Feed(places, ratio), beside)
    if isinstance(machine, Machine) and KINDS[context.slo.resolved_indicator] in WITH_INPUTS:
        return InputsAxis(machine, Feed(places, ratio), Feed(places, ratio))
    if isinstance(machine, P95Machine) or context.slo.spec.chain == "joined":
        return CohortAxis(machine, Feed(places, ratio), Feed(places, ratio))
    return ArrivalAxis(machine, Feed(places, ratio), lambda parts: by_slice(parts, machine, places))


class Judge:
    """Turns tally records, in any order that keeps each shard's own, into verdicts and controls."""

    def __init__(self, plan: Plan, learned: Learned, shards: int) -> None:
        """Start with no counts; `shards` is the number of source partitions."""
        self.plan, self.learned, self.shards = plan, learned, shards
        self.chains = {chain: ChainState() for chain in CHAINS}
        self.models: dict[str, ModelJudge] = {}

    def apply(self, records: Iterable[TallyRecord]) -> list[Said]:
        """Take in records, one after the other; judge what they complete.

        Raises:
            TallyGapError: a shard's record does not follow its last one.
        """
        said = []
        for record in records:
            chain = self.chains[record.chain]
            chain.put(record)
            if record.chain == ABUSE and not self.plan.reported:
                chain.waiting.clear()  # shards have counted it; no SLO judges it
            said += self._advance(BEGINNING)
        return said

    def grow(self, shards: int, reached: Iterable[tuple[int, str, int]]) -> None:
        """Wait for so many shards from here on; those that come have closed the panes that they are said to have `reached`."""
        self.shards = shards
        for shard, chain, through in reached:
            known = self.chains[chain].reached
            known[shard] = max(through, known.get(shard, through))

    def idle(self, shard: int, topic: str) -> list[Said]:
        """Wait no longer for a shard's `predictions` or `outcomes`, until it reports progress; judge what that completes."""
        self.chains[FED[topic]].idle.add(shard)
        return self._advance(BEGINNING)

    def clock(self, ts: int) -> list[Said]:
        """Let time pass up to `ts` (ms) while every source of predictions is idle; else nothing happens."""
        return self._advance(ts // self.plan.tick - 1)

    def silent(self) -> bool:
        """Return whether every source of predictions is idle, so that only the clock lets time pass."""
        return self.chains[PREDICTIONS].complete(self.shards) is None

    def trigger(self, trigger: Trigger) -> list[Control]:
        """Return the control of a never-event violation ahead of its pane; none if it is engaged already.

        One whose pane its shard has closed is an old one, sent again: the pane's counts tell of it, and a person may have
        released what it engaged.
        """
        if trigger.ts // self.plan.tick <= self.chains[PREDICTIONS].reached.get(trigger.shard, BEGINNING):
            return []
        return [control for line in self._model(trigger.model).lines for control in line.trigger(trigger)]

    def release(  # noqa: PLR0913, PLR0917 - what a person must name, one by one
        self,
        model: str,
        slo: str,
        scope: Scope,
        control_id: str,
        epoch: int,
        ts: int,
        by: str,
        reason: str,
    ) -> list[Control]:
        """End exactly the engaged control that a person names, as of `ts` (ms); nothing if it is not what is engaged."""
        if model not in self.models:
            return []
        command = ReleaseCommand(model, slo, scope, control_id, epoch, ts, by, reason)
        return [control for line in self.models[model].lines for control in line.release(command)]

    @property
    def counters(self) -> Counter[str]:
        """Return what deviated: `behind`, the predictions and labels whose pane had been judged when they came."""
        return Counter({"behind": sum(chain.behind for chain in self.chains.values())})

    def judged(self) -> int:
        """Return the event time (ms) up to which every chain that matters has been judged."""
        asked = {PREDICTIONS: True, JOINED: self.plan.joins, ABUSE: self.plan.reported}
        chains = [chain for chain, matters in asked.items() if matters]
        merged = min(self.chains[chain].merged for chain in chains)
        return (merged + 1) * self.plan.tick if merged != BEGINNING else BEGINNING

    def counted(self) -> int:
        """Return the event time (ms) up to which predictions have been judged; labels may be behind, or never come."""
        return (self.chains[PREDICTIONS].merged + 1) * self.plan.tick

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two records, as plain values and arrays."""
        models = {name: (judge.start, [line.snapshot() for line in judge.lines]) for name, judge in self.models.items()}
        return {"chains": {chain: state.snapshot() for chain, state in self.chains.items()}, "models": models}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of a judge of the same plan and as many shards."""
        for chain, state in saved["chains"].items():
            self.chains[chain].restore(state)
        for name, (start, lines) in saved["models"].items():
            judge = self._model(name)
            judge.start = start
            for line, state in zip(judge.lines, lines, strict=False):  # a policy that came later may have more
                line.restore(state)

    def _model(self, model: str) -> ModelJudge:
        if model not in self.models:
            self.models[model] = ModelJudge(model, self.plan, self.learned)
        return self.models[model]

    def _advance(self, clock: int) -> list[Said]:
        """Judge what has become complete; without an active source, up to the pane `clock` too."""
        made, joined = self.chains[PREDICTIONS], self.chains[JOINED]
        complete, labelled = made.complete(self.shards), joined.complete(self.shards)
        through = max(made.furthest(), clock) if complete is None else complete
        through = max(through, made.merged)
        labelled = through if labelled is None else max(min(labelled, through), joined.merged)
        reports, told = self.chains[ABUSE], self._reported(through)
        if (through, labelled, told) == (made.merged, joined.merged, reports.merged):
            return []
        self._put(made.take(through), joined.take(labelled), reports.take(told) if self.plan.reported else [])
        reached = Marks(made.merged, joined.merged, reports.merged)
        return [said for _, judge in sorted(self.models.items()) for said in judge.advance(reached)]

    def _reported(self, through: int) -> int:
        """Return the pane up to which reports of abuse are complete; it stands still if no SLO asks."""
        reports = self.chains[ABUSE]
        if not self.plan.reported:
            return reports.merged
        complete = reports.complete(self.shards)
        return through if complete is None else max(min(complete, through), reports.merged)

    def _put(self, made: list[TallyRecord], joined: list[TallyRecord], reports: list[TallyRecord]) -> None:
        for model, rows in _by_models(made):
            self._model(model).put(Brought(rows, _nothing(), _nothing()))
        for model, rows in _by_models(joined):
            if model in self.models:
                self.models[model].put(Brought(_nothing(), rows, _nothing()))
        for model, rows in _by_models(reports):
            if model in self.models:
                self.models[model].put(Brought(_nothing(), _nothing(), rows))


def _nothing() -> Rows:
    return Rows(np.zeros((COUNT + 1, 0), np.int64), Legend((), ()))


def _by_models(records: Iterable[TallyRecord]) -> Iterator[tuple[str, Rows]]:
    for record in records:
        yield from _by_model(record)


def _by_model(record: TallyRecord) -> list[tuple[str, Rows]]:
    """Split a record by model."""
    versions = [version for _, version in record.versions]
    legend, found = Legend(versions, record.slices), []
    for model in sorted({model for model, _ in record.versions}):
        codes = [code for code, (name, _) in enumerate(record.versions) if name == model]
        table: Ints = record.counts[:, np.isin(record.counts[VERSION], codes)]
        named = tuple(x for x in record.exemplars if x.version[0] == model)
        found.append((model, Rows(table, legend, named)))
    return found
