"""One source partition's state: chunks of events in, tally records and triggers out.

Everything here is a function of the events of the shard's topics up to an offset each (STREAM.md §1-§4): how they were
cut into chunks, and how the topics interleaved, does not show.
"""

from collections import Counter as Counters
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.causes import NOWHERE
from interlock.policies.plan import ORPHANS, Plan
from interlock.streams.at_source import AtSource
from interlock.streams.batch import AbuseReports, Outcomes, Predictions
from interlock.streams.budget import Budget
from interlock.streams.clock import BEGINNING, Clock, Times
from interlock.streams.due import Due
from interlock.streams.facts import count, take_in, waited_for
from interlock.streams.join import Join
from interlock.streams.names import OVERFLOW, Names, pair_codes
from interlock.streams.remembering import kept, remember, slices_in
from interlock.streams.reporting import FIRST_SLICE, Reports
from interlock.streams.scoring import Scorer
from interlock.streams.segments import Segment, Segments
from interlock.streams.store import Store
from interlock.streams.tally import CHAINS, NO_COHORT, CodeTables, Ints, OpenCounts, TallyRecord, local_record, tabulate

TOPICS = ("predictions", "outcomes", "abuse")

MOST_VERSIONS = 4096
"""Pairs of model and version that a shard tells apart; later versions of a model are counted as one."""

MOST_CATEGORIES = FIRST_SLICE
"""Categories of abuse that a shard tells apart."""


@dataclass(frozen=True, slots=True)
class Trigger:
    """A never-event violation, sent to the judge at once; counts and verdict follow with its pane."""

    rule: str
    model: str
    version: str
    ts: int
    event_id: str
    shard: int
    at: tuple[int, int] = NOWHERE


@dataclass(slots=True)
class Output:
    """What a step of a shard yields."""

    records: list[TallyRecord] = field(default_factory=list)
    triggers: list[Trigger] = field(default_factory=list)
    due: list[Due] = field(default_factory=list)

    def extend(self, other: "Output") -> None:
        """Add another step's output."""
        self.records += other.records
        self.triggers += other.triggers
        self.due += other.due


class Shard:
    """Joins, scores and counts what one source partition brings; decodes nothing and judges nothing."""

    def __init__(
        self, number: int, plan: Plan, scorer: Scorer, *, patient: bool = False, budget: Budget | None = None
    ) -> None:
        """Start before the first event; `patient` and `budget` as in `Join`."""
        self.number, self.plan = number, plan
        self.clocks = {topic: Clock(plan.policy.lateness) for topic in TOPICS}
        self._kept = kept(plan)
        self.join = Join(plan.policy, self._kept, joins=plan.awaits, patient=patient, budget=budget)
        self.open = {chain: OpenCounts() for chain in CHAINS}
        self.through: dict[str, int] = {}
        self.versions: dict[tuple[str, str], int] = {}
        self.names, self.categories = Names(), Names(MOST_CATEGORIES)
        self.counters: Counters[str] = Counters()
        self._reports = Reports(plan, budget) if plan.reported else None
        self._scorer, self._segments = scorer, Segments(plan, scorer, self.names)
        at_source = plan.policy.labels.joined_at_source
        self._at_source = AtSource(plan, scorer, self.names, self._version) if at_source else None

    # -- intake ------------------------------------------------------------------------------------------------------

    def predictions(self, batch: Predictions) -> Output:
        """Take in predictions in offset order."""
        output = Output()
        times = self.clocks["predictions"].read(batch.ts, batch.appended)
        ours = self._of_model(batch)
        if not ours.all():  # their time counts all the same: what we judge may be silent while others speak
            self.counters["other_model"] += int((~ours).sum())
            batch, times = batch.take(ours), times.take(ours)
        if batch.rows():
            drawn = self._scorer.drawn(batch.ids) if self.plan.sampled else None
            admitted = self.join.admit_predictions(batch.ids, times, drawn)
            if not admitted.fresh.all():
                self.counters["duplicate"] += int((~admitted.fresh).sum())
                batch, times = batch.take(admitted.fresh), times.take(admitted.fresh)
            if batch.rows():
                self._count(batch, times, admitted.rows, output)
        return self._advance(output)

    def outcomes(self, batch: Outcomes) -> Output:
        """Take in outcomes in offset order."""
        if batch.rows():
            times = self.clocks["outcomes"].read(batch.ts, batch.appended)
            if self.plan.sampled:  # of the others no label is asked for
                drawn = self._scorer.drawn(batch.ids)
                self.counters["not_sampled"] += int((~drawn).sum())
                batch, times = batch.take(drawn), times.take(drawn)
            join, own = self.join, None
            if self._at_source is not None:
                ours, others = self._at_source.ours(batch)
                self.counters.update(others)
                batch, times = batch.take(ours), times.take(ours)
                join, own = self._at_source.enter(join, batch, times)
            told = take_in(join, self.plan, batch, times, own)
            if own is not None:
                self._orphans(times.effective[told.new & (own < 0)] + self.plan.policy.labels.orphan_ttl, 1)
            rest = ~told.new & ~told.revised
            ignored = rest & (batch.revision > 0)  # older than what is known; or labels are judged as they arrive
            self.counters["outcomes"] += int(told.new.sum())
            self.counters["revised"] += int(told.revised.sum())
            self.counters["revision_ignored"] += int(ignored.sum())
            self.counters["duplicate"] += int((rest & ~ignored).sum())
            self.counters["known_facts"] += int((told.new & told.known).sum())
            self.counters["late"] += int((times.late & told.new).sum())
            self.counters["joined"] += count(join, self.plan, told.pairs, self.open["joined"])
        return self._advance(Output())

    def abuse(self, batch: AbuseReports) -> Output:
        """Take in abuse reports in offset order: counted per model, pane and category."""
        times = self.clocks["abuse"].read(batch.ts, batch.appended)
        if self._reports is not None and batch.rows():
            fresh = self._reports.fresh(batch.ids, times)
            self.counters["duplicate"] += int((~fresh).sum())
            batch, times = batch.take(fresh), times.take(fresh)
        if batch.rows():
            self._count_reports(batch, times)
        return self._advance(Output())

    def end(self, topic: str) -> Output:
        """Say that a topic will bring nothing more: it keeps the others waiting no longer."""
        self.clocks[topic].ended = True
        return self._advance(Output())

    def finish(self, through: int) -> Output:
        """Close all panes up to `through` although no watermark has passed them: the files have ended."""
        return self._close(dict.fromkeys(CHAINS, through), Output())

    def _of_model(self, batch: Predictions) -> NDArray[np.bool_]:
        ours = self.plan.policy.model
        return np.array([ours in (None, model) for model in batch.model.values] or [True])[batch.model.codes]

    # -- state -------------------------------------------------------------------------------------------------------

    def snapshot(self, *, blocks: bool = False) -> dict[str, Any]:
        """Return the state after what was taken in so far, as plain values and arrays; with `blocks` as in `Store`."""
        return {
            "clocks": {topic: (clock.latest, clock.ended) for topic, clock in self.clocks.items()},
            "join": self.join.snapshot(blocks=blocks),
            "open": {chain: opened.snapshot() for chain, opened in self.open.items()},
            "through": dict(self.through),
            "versions": list(self.versions),
            "names": self.names.snapshot(),
            "categories": self.categories.snapshot(),
            "counters": dict(self.counters),
            "rivers": sum(len(segment.counter.rivers) for segment in self._segments.all),
            "reports": None if self._reports is None else self._reports.snapshot(blocks=blocks),
        }

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of a shard of the same plan."""
        for topic, (latest, ended) in saved["clocks"].items():
            self.clocks[topic].latest, self.clocks[topic].ended = latest, ended
        self.join.restore(saved["join"])
        for chain, opened in saved["open"].items():
            self.open[chain].restore(opened)
        self.through, self.counters = dict(saved["through"]), Counters(saved["counters"])
        self.versions = {(model, version): code for code, (model, version) in enumerate(saved["versions"])}
        self.names.restore(saved["names"])
        self.categories.restore(saved["categories"])
        if saved.get("rivers"):  # what they had learnt is River's own and is not saved
            self.counters["river_restarted"] += saved["rivers"]
        if self._reports is not None:
            self._reports.restore(saved["reports"])

    def stores(self) -> list[Store]:
        """Return all that remembers events."""
        return [*self.join.stores().values(), *([] if self._reports is None else [self._reports.store])]

    # -- counting ----------------------------------------------------------------------------------------------------

    def _count(self, batch: Predictions, times: Times, rows: Ints, output: Output) -> None:
        """Count each prediction by the policy that its effective time selects."""
        for segment, mine in self._segments.split(times.effective // self.plan.tick):
            if mine is None:
                self._count_by(segment, batch, (times, rows), output)
            else:
                self._count_by(segment, batch.take(mine), (times.take(mine), rows[mine]), output)

    def _count_by(self, segment: Segment, batch: Predictions, at: tuple[Times, Ints], output: Output) -> None:
        (times, rows), plan = at, segment.plan
        chunk = segment.chunk(batch, times, self._version(batch))
        self.counters["predictions"] += chunk.rows()
        self.counters["late"] += int(times.late.sum())
        opened = self.open["predictions"]
        counted = segment.counter.predictions(chunk, opened)
        broken = segment.explainer.violations(chunk, times.effective, counted)
        opened.explain(broken + segment.explainer.oddities(chunk, times.effective, counted))
        output.triggers += [Trigger(x.reason, *x.version, x.ts, x.event_id, self.number, x.at) for x in broken]
        output.due += segment.due.of(chunk, times.effective, counted)
        if plan.awaits:
            remember(self.join, plan, chunk, rows, slices_in(self._kept, counted, chunk.rows()))
            met = waited_for(self.join, rows)
            self.counters["joined"] += count(self.join, plan, met, self.open["joined"])

    def _count_reports(self, batch: AbuseReports, times: Times) -> None:
        self.counters["late"] += int(times.late.sum())
        self.counters["abuse"] += len(times.late)
        models = np.array([self._version_code(model, "") for model in batch.model.values])[batch.model.codes]
        category = np.array([self.categories.code(text) for text in batch.category.values])
        pane = times.effective // self.plan.tick
        keys, sums = tabulate([pane, models, category[batch.category.codes]])
        opened = self.open["abuse"]
        opened.add((keys[0], NO_COHORT, 0, keys[1], keys[2], 0), sums[0])
        if self._reports is not None:
            for segment, mine in self._segments.split(pane):
                own = np.ones(len(pane), np.bool_) if mine is None else mine
                keys = [pane[own], models[own]]
                self._reports.count(segment.plan, batch.take(own), (keys[0], keys[1]), (self.names, opened))

    def _version(self, batch: Predictions) -> Ints:
        """Return the code of each row's model and version."""
        return pair_codes(batch.model, batch.version, self._version_code)

    def _version_code(self, model: str, version: str) -> int:
        if (model, version) not in self.versions and len(self.versions) >= MOST_VERSIONS:
            self.counters["version_overflow"] += 1
            version = OVERFLOW
        return self.versions.setdefault((model, version), len(self.versions))

    # -- panes -------------------------------------------------------------------------------------------------------

    def _advance(self, output: Output) -> Output:
        """Close what the watermarks have passed; a topic that has ended goes along with the other."""
        self._orphans(self.join.claimed(), -1)
        furthest = max(self.clocks["predictions"].watermark, self.clocks["outcomes"].watermark)
        along = TOPICS if self._reports is not None else ("predictions", "outcomes")
        marks = {t: furthest if c.ended and t in along else c.watermark for t, c in self.clocks.items()}
        if self._reports is not None:
            self._reports.forget(self.clocks["abuse"].watermark)
        self.counters["evicted"] += self.join.sweep(marks["predictions"], marks["outcomes"])
        reached = {
            "predictions": marks["predictions"],
            "joined": marks["outcomes"] if self._at_source else min(marks["predictions"], marks["outcomes"]),
            "abuse": marks["abuse"],
        }
        through = {chain: mark // self.plan.tick - 1 for chain, mark in reached.items() if mark != BEGINNING}
        return self._close(through, output)

    def _close(self, through: dict[str, int], output: Output) -> Output:
        for chain, pane in through.items():
            after = self.through.get(chain)
            if after is not None and pane <= after:
                continue
            if chain == "joined":
                self._give_up((pane + 1) * self.plan.tick)
            # What closes first begins at the epoch's beginning of time: no source has panes before its first.
            span = (BEGINNING if after is None else after, pane)
            tables = CodeTables(tuple(self.versions), self._pieces() if chain == "abuse" else self.names.values)
            output.records.append(local_record(self.number, chain, span, self.open[chain], tables))
            self.through[chain] = pane
        return output

    def _pieces(self) -> Sequence[str]:
        """Return what the codes of the abuse chain stand for: categories, then slices."""
        known = self.categories.values
        return known if self._reports is None else [*known, *[""] * (FIRST_SLICE - len(known)), *self.names.values]

    def _give_up(self, before: int) -> None:
        """Count outcomes whose prediction can come no more."""
        if self.plan.joins:
            self._orphans(self.join.orphans(before), 1)

    def _orphans(self, ends: Ints, sign: int) -> None:
        """Count orphans, or take back what another shard counts of them; they belong to no model."""
        self.counters["orphan" if sign > 0 else "reclaimed"] += len(ends)
        if len(ends):
            keys, sums = tabulate([ends // self.plan.tick])
            place = NO_COHORT, 0, self._version_code("", ""), self.names.code("[]"), ORPHANS
            self.open["joined"].add((keys[0], *place), sign * sums[0])
