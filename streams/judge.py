"""Adds up the tallies of all shards and judges every model by the policy (STREAM.md §3 and §6)."""

from collections.abc import Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import Exemplar
from interlock.policies.context import Context, Learned
from interlock.policies.machine import Said
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machine_p95 import P95Machine
from interlock.policies.machines import build
from interlock.policies.plan import Plan
from interlock.records import Control
from interlock.streams.axes import ArrivalAxis, Axis, CohortAxis
from interlock.streams.clock import BEGINNING
from interlock.streams.feed import Feed, Legend, Rows, by_slice, by_version
from interlock.streams.shard import Trigger
from interlock.streams.tally import CHAINS, COUNT, PANE, VERSION, Ints, TallyRecord, exemplar


class TallyGapError(RuntimeError):
    """A shard's record does not follow its last one: counts are missing, and judging on would be wrong."""


@dataclass(slots=True)
class ChainState:
    """One chain: how far each shard has come, and records whose panes are not complete over all shards."""

    reached: dict[int, int] = field(default_factory=dict)
    waiting: list[TallyRecord] = field(default_factory=list)
    merged: int = BEGINNING

    def put(self, record: TallyRecord) -> None:
        """Take in a record; what was seen before is dropped."""
        known = self.reached.get(record.shard, BEGINNING)
        if record.through <= known:
            return
        if record.after > known:
            raise TallyGapError(f"{record.chain} of shard {record.shard}: {record.after} after {known}")
        fresh = record.counts[:, record.counts[PANE] > known]
        named = tuple(x for x in record.exemplars if x.pane > known)
        self.waiting.append(
            TallyRecord(record.shard, record.chain, known, record.through, fresh, record.versions, record.slices, named)
        )
        self.reached[record.shard] = record.through

    def complete(self, shards: int) -> int:
        """Return the last pane that all shards have passed."""
        return min(self.reached.values()) if len(self.reached) == shards else BEGINNING

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        waiting = [
            (r.shard, r.chain, r.after, r.through, r.counts, r.versions, r.slices, [astuple(x) for x in r.exemplars])
            for r in self.waiting
        ]
        return {"reached": dict(self.reached), "waiting": waiting, "merged": self.merged}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self.reached, self.merged = dict(saved["reached"]), saved["merged"]
        self.waiting = [
            TallyRecord(
                shard,
                chain,
                after,
                through,
                counts,
                tuple((m, v) for m, v in versions),
                tuple(slices),
                tuple(map(exemplar, found)),
            )
            for shard, chain, after, through, counts, versions, slices, found in saved["waiting"]
        ]

    def take(self, through: int) -> list[TallyRecord]:
        """Take out all panes up to `through`."""
        taken, kept = [], []
        for record in self.waiting:
            early = record.counts[PANE] <= through
            taken.append(_part(record, early, tuple(x for x in record.exemplars if x.pane <= through)))
            if record.through > through:
                kept.append(_part(record, ~early, tuple(x for x in record.exemplars if x.pane > through)))
        self.waiting, self.merged = kept, through
        return taken


def _part(record: TallyRecord, columns: NDArray[np.bool_], exemplars: tuple[Exemplar, ...]) -> TallyRecord:
    counts = record.counts[:, columns]
    return TallyRecord(
        record.shard, record.chain, record.after, record.through, counts, record.versions, record.slices, exemplars
    )


class ModelJudge:
    """All SLOs of one model."""

    def __init__(self, model: str, plan: Plan, learned: Learned) -> None:
        """Start before the model's first pane."""
        self.start: int | None = None
        self.axes: list[Axis] = []
        for slo, places in zip(plan.policy.slos_in_force, plan.of_slo, strict=True):
            context = Context(plan.policy, slo, model, learned)
            self.axes.append(_axis(context, places, plan.tick))

    def put(self, predictions: Rows, joined: Rows) -> None:
        """Take in counts of this model."""
        if predictions.table.shape[1]:
            first = int(predictions.table[PANE].min())
            self.start = first if self.start is None else min(first, self.start)
        for axis in self.axes:
            axis.put(predictions, joined)

    def advance(self, through: int, joined: int) -> list[Said]:
        """Judge what has become complete."""
        if self.start is None:
            return []
        return [said for axis in self.axes for said in axis.advance(self.start, through, joined)]

    def never(self) -> Iterable[NeverMachine]:
        """Return the machines that triggers go to."""
        return [axis.machine for axis in self.axes if isinstance(axis.machine, NeverMachine)]


def _axis(context: Context, places: tuple[int, ...], tick: int) -> Axis:
    machine, ratio = build(context), context.pane_ms // tick
    if isinstance(machine, NeverMachine):
        return ArrivalAxis(machine, Feed(places, ratio), lambda parts: by_version(parts, places))
    if isinstance(machine, P95Machine) or context.slo.spec.chain == "joined":
        return CohortAxis(machine, Feed(places, ratio), Feed(places, ratio))
    return ArrivalAxis(machine, Feed(places, ratio), lambda parts: by_slice(parts, machine))


class Judge:
    """Turns tally records, in any order that keeps each shard's own, into verdicts and controls."""

    def __init__(self, plan: Plan, learned: Learned, shards: int) -> None:
        """Start with no counts; `shards` is the number of source partitions."""
        self.plan, self.learned, self.shards = plan, learned, shards
        self.chains = {chain: ChainState() for chain in CHAINS}
        self.models: dict[str, ModelJudge] = {}

    def apply(self, records: Iterable[TallyRecord]) -> list[Said]:
        """Take in records; judge what they complete."""
        for record in records:
            self.chains[record.chain].put(record)
        made, joined = self.chains["predictions"], self.chains["joined"]
        through = made.complete(self.shards)
        labelled = min(joined.complete(self.shards), through)
        if through <= made.merged and labelled <= joined.merged:
            return []
        self._put(made.take(max(through, made.merged)), joined.take(max(labelled, joined.merged)))
        return [said for _, judge in sorted(self.models.items()) for said in judge.advance(made.merged, joined.merged)]

    def trigger(self, trigger: Trigger) -> list[Control]:
        """Return the control of a never-event violation ahead of its pane; none if it is engaged already."""
        judge = self._model(trigger.model)
        return [
            control
            for machine in judge.never()
            for control in machine.trigger(trigger.version, trigger.ts, trigger.event_id, trigger.rule)
        ]

    def judged(self) -> int:
        """Return the event time (ms) up to which every chain that matters has been judged."""
        chains = ("predictions", "joined") if self.plan.joins else ("predictions",)
        merged = min(self.chains[chain].merged for chain in chains)
        return (merged + 1) * self.plan.tick if merged != BEGINNING else BEGINNING

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two records, as plain values and arrays."""
        models = {name: (judge.start, [axis.snapshot() for axis in judge.axes]) for name, judge in self.models.items()}
        return {"chains": {chain: state.snapshot() for chain, state in self.chains.items()}, "models": models}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of a judge of the same plan and as many shards."""
        for chain, state in saved["chains"].items():
            self.chains[chain].restore(state)
        for name, (start, axes) in saved["models"].items():
            judge = self._model(name)
            judge.start = start
            for axis, state in zip(judge.axes, axes, strict=True):
                axis.restore(state)

    def _model(self, model: str) -> ModelJudge:
        if model not in self.models:
            self.models[model] = ModelJudge(model, self.plan, self.learned)
        return self.models[model]

    def _put(self, made: list[TallyRecord], joined: list[TallyRecord]) -> None:
        for record in made:
            for model, rows in _by_model(record):
                self._model(model).put(rows, _nothing())
        for record in joined:
            for model, rows in _by_model(record):
                if model in self.models:
                    self.models[model].put(_nothing(), rows)


def _nothing() -> Rows:
    return Rows(np.zeros((COUNT + 1, 0), np.int64), Legend((), ()))


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
