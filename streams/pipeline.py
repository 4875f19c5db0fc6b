"""Shards and judge in one process: the core as replay and tests drive it."""

import math
from collections import Counter as Counters
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from interlock.detectors.reliability import Reliability
from interlock.policies.context import Learned
from interlock.policies.panes import pane_ms
from interlock.policies.plan import Plan
from interlock.policies.said import Said
from interlock.records import Control, Verdict
from interlock.streams.batch import AbuseReports, Outcomes, Predictions
from interlock.streams.clock import BEGINNING
from interlock.streams.due import Due
from interlock.streams.judge import Judge
from interlock.streams.reference import Reference
from interlock.streams.scoring import Scorer, audit_probabilities
from interlock.streams.shard import Output, Shard, Trigger
from interlock.streams.tally import TallyRecord

Batch = Predictions | Outcomes | AbuseReports


def learned(plan: Plan, reference: Reference | None) -> Learned:
    """Return what judging takes from a reference, under each policy of a plan."""
    return replace(_learned(plan, reference), later=tuple(_learned(later, reference) for later in plan.later))


def _learned(plan: Plan, reference: Reference | None) -> Learned:
    probabilities = audit_probabilities(plan.policy, reference)
    own = plan.policy.ood.threshold is not None
    if reference is None:
        return Learned({}, audit_probabilities=probabilities, scores_ood=own)
    age = reference.label_age
    dispersion = dict(reference.dispersion)
    logits = plan.policy.ood.logits
    if f"ood_rate.{logits}" in dispersion:
        dispersion["ood_rate"] = dispersion[f"ood_rate.{logits}"]
    return Learned(
        dispersion,
        tuple(reference.ece_groups.tolist()),
        None if age is None else age.p99,
        probabilities,
        scores_ood=True,
        reference_id=reference.id,
        ranges=bool(reference.ranges),
        delays=reference.delays,
        drift=tuple(stream.bins for stream in reference.drift),
        reliability=None if reference.reliability is None else Reliability.of(reference.reliability),
    )


def slo_order(plan: Plan) -> dict[str, int]:
    """Return the place of each SLO among all that the policies of a plan have."""
    names = dict.fromkeys(slo.name for one in plan.segments for slo in one.policy.slos)
    return {name: place for place, name in enumerate(names)}


@dataclass(slots=True)
class Yield:
    """What a step of the pipeline yields; verdicts and controls in their final order."""

    verdicts: list[Verdict] = field(default_factory=list)
    controls: list[Control] = field(default_factory=list)
    early: list[Control] = field(default_factory=list)
    records: list[TallyRecord] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)


class Pipeline:
    """Some shards, one judge. Events go to shards by their id, as a keyed topic would spread them."""

    def __init__(self, plan: Plan, reference: Reference | None, secret: bytes, shards: int = 1) -> None:
        """Start before the first event."""
        scorer = Scorer(plan.policy, reference, secret)
        self.plan = plan
        self.shards = [Shard(number, plan, scorer, patient=True) for number in range(shards)]
        self.judge = Judge(plan, learned(plan, reference), shards)
        self.closed_from: int | None = None
        self._verdicts: list[Verdict] = []
        self._controls: list[tuple[int, Control]] = []
        """Each with the end of the arrival pane that brought it."""
        self._order = slo_order(plan)

    def read(self, batch: Batch) -> Yield:
        """Take in a chunk of the topic that its kind says."""
        output = Output()
        for shard, part in self._spread(batch):
            output.extend(self.intake(shard, part))
        return self._judge(output)

    @staticmethod
    def intake(shard: Shard, part: Batch) -> Output:
        """Give a shard its part of a chunk."""
        match part:
            case Predictions():
                return shard.predictions(part)
            case Outcomes():
                return shard.outcomes(part)
            case AbuseReports():
                return shard.abuse(part)

    def end(self, topic: str) -> Yield:
        """Say that a topic will bring nothing more."""
        output = Output()
        for shard in self.shards:
            output.extend(shard.end(topic))
        return self._judge(output)

    def finish(self) -> Yield:
        """Close all panes with events in them: every topic has ended. `closed_from` says which no watermark passed."""
        latest = max(clock.latest for shard in self.shards for clock in shard.clocks.values())
        output = Output()
        self.closed_from = self.judge.judged()
        whole = math.lcm(*(pane_ms(slo.window) for one in self.plan.segments for slo in one.policy.slos_in_force))
        for shard in self.shards if latest != BEGINNING else ():
            output.extend(shard.finish((latest // whole + 1) * whole // self.plan.tick - 1))
        judged = self._judge(output)
        rest = self._settled(None)
        judged.verdicts += rest.verdicts
        judged.controls += rest.controls
        return judged

    def snapshot(self) -> dict[str, Any]:
        """Return the state between two chunks, as plain values and arrays."""
        waiting = [v.model_dump() for v in self._verdicts], [(ts, c.model_dump()) for ts, c in self._controls]
        shards = [shard.snapshot() for shard in self.shards]
        return {"shards": shards, "judge": self.judge.snapshot(), "verdicts": waiting[0], "controls": waiting[1]}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of a pipeline of the same plan and as many shards."""
        for shard, state in zip(self.shards, saved["shards"], strict=True):
            shard.restore(state)
        self.judge.restore(saved["judge"])
        self._verdicts = [Verdict(**fields) for fields in saved["verdicts"]]
        self._controls = [(ts, Control(**fields)) for ts, fields in saved["controls"]]

    @property
    def counters(self) -> Counters[str]:
        """Return the counters of the shards, added up, and of the judge."""
        total = self.judge.counters
        for shard in self.shards:
            total.update(shard.counters)
            total["slice_overflow"] += shard.names.overflowed
            total["waiting_outcomes"] += shard.join.waiting()
        return total

    def watermark(self, topic: str) -> int:
        """Return how far a topic has come: what the slowest shard waits for."""
        return min(shard.clocks[topic].watermark for shard in self.shards)

    def _spread(self, batch: Batch) -> Sequence[tuple[Shard, Batch]]:
        if len(self.shards) == 1:
            return [(self.shards[0], batch)]
        to = (batch.ids.h2 % np.uint64(len(self.shards))).astype(np.int64)
        return [(shard, batch.take(to == shard.number)) for shard in self.shards]

    def _judge(self, output: Output) -> Yield:
        early = [control for trigger in output.triggers for control in self.judge.trigger(trigger)]
        self._keep(self.judge.apply(output.records))
        settled = self._settled(self.judge.judged())
        return Yield(settled.verdicts, settled.controls, early, output.records, output.triggers, output.due)

    def _keep(self, judged: Sequence[Said]) -> None:
        for said in judged:
            self._verdicts += said.verdicts
            self._controls += [(said.ts, control) for control in said.controls]

    def _settled(self, until: int | None) -> Yield:
        """Take out, in order of time, SLO and scope, what no chain that lags can still precede."""
        self._verdicts.sort(key=lambda verdict: self._place(verdict.ts, verdict))
        ready = [v for v in self._verdicts if until is None or v.ts <= until]
        self._verdicts = self._verdicts[len(ready) :]
        controls = [(ts, control) for ts, control in self._controls if until is None or ts <= until]
        self._controls = [(ts, control) for ts, control in self._controls if not (until is None or ts <= until)]
        return Yield(ready, [control for _, control in sorted(controls, key=lambda one: self._place(*one))])

    def _place(self, ts: int, said: Verdict | Control) -> tuple[int, str, int, list[tuple[str, str]]]:
        """Return the order of what is said; controls of what stays unknown stand with their SLO."""
        return ts, said.model, self._order[said.slo.partition(".")[0]], sorted(said.scope.items())
