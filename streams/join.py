"""Predictions meet their outcomes (STREAM.md §2), whichever comes first and however input is cut.

An outcome carries a label, a review, or both: two facts. Each is remembered, met and counted on its own, once an event,
whether they come in one outcome or in two. One of higher revision takes an earlier one's place (`revisions.py`).
"""

from collections.abc import Mapping
from copy import copy
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.model import Policy
from interlock.streams import revisions
from interlock.streams.admitting import Admitted, admit, admit_apart
from interlock.streams.batch import Ids
from interlock.streams.budget import Budget
from interlock.streams.clock import Times
from interlock.streams.horizons import Horizons
from interlock.streams.revisions import Pairs
from interlock.streams.store import Rows, Store

Mask = NDArray[np.bool_]
Payload = Mapping[str, NDArray[np.generic]]

LABEL, REVIEW = FACTS = 1, 2
"""What an outcome can say, as the bits of a prediction's `met`."""

PREDICTION = {"version": "i4", "p": "i8", "top": "u8", "marks": "u1", "level": "i1"}
"""What is remembered of a prediction besides its id and time: what its outcome will be counted by."""

CLASSES = {"says": "i1", "said": "u8"}, {"means": "i1"}
"""What is remembered of both beyond that, where classes are judged."""

NUMBERS = {"guess": "f8"}, {"truth": "f8"}
"""What is remembered of both beyond that, where numbers are judged."""

SAYING = {"revision": "i4", "before": "i8"}

TOLD = {LABEL: {"y": "i1", "label": "u8", **SAYING}, REVIEW: {"ood": "i1", "along": "?", **SAYING}}
"""What is remembered of each fact of an outcome: until its prediction comes, and for a correction of it.

`along`: the label of the same outcome counts too, so that the outcome is counted with that. `before`: the row after that of
the revision whose place this one takes, 0 for none.
"""

SAID = 1
"""`met` of a fact that has met its prediction, or waits for it no more."""

AT_ONCE = 4096
"""Outcomes that are looked at together, when those are sought whose wait has ended."""


@dataclass(frozen=True, slots=True)
class Kept:
    """What a plan needs remembered of each prediction besides what all need, and which `facts` of outcomes it counts.

    `slices`: its slice in the joined series at these positions; `classes`, `numbers`: what it says, and its label; `stated`:
    the probability of the class that the series at these positions name; `sampled`: of some predictions only.
    """

    slices: tuple[int, ...] = ()
    classes: bool = False
    numbers: bool = False
    stated: tuple[int, ...] = ()
    facts: int = LABEL
    sampled: bool = False


class Join:
    """The memory of one shard: predictions and outcomes by id."""

    def __init__(
        self, policy: Policy, kept: Kept, *, joins: bool, patient: bool = False, budget: Budget | None = None
    ) -> None:
        """Start empty.

        A patient join never gives up on outcomes that are only not read yet: for drivers that read files.
        """
        self.joins, self.patient, self._needs = joins, patient, kept.facts
        self.horizons, self._lateness = Horizons.of(policy, joins=joins), policy.lateness
        made, said = CLASSES if kept.classes else ({}, {})
        guess, truth = NUMBERS if kept.numbers else ({}, {})
        by_series = {f"slice{place}": "i4" for place in kept.slices} | {f"stated{place}": "i8" for place in kept.stated}
        self._made = PREDICTION | made | guess | by_series
        self.predictions = Store({} if policy.labels.joined_at_source else self._made, budget)
        self.others = Store({}, budget) if kept.sampled else None
        """Predictions of which nothing is awaited: their ids, as long as they may come twice."""
        self.told = {LABEL: Store(TOLD[LABEL] | said | truth, budget), REVIEW: Store(TOLD[REVIEW], budget)}
        self._inherited = dict.fromkeys(FACTS, 0)
        """Rows of facts before these are of the shard from which this one came when partitions grew; that counts their orphans."""
        self._claimed: list[NDArray[np.int64]] = []

    def admit_predictions(self, ids: Ids, times: Times, drawn: Mask | None = None) -> Admitted:
        """Enter predictions; repeats of a remembered id are not fresh. Of those not drawn nothing is awaited: row -1."""
        memory = self.horizons.predictions  # met or not: outcomes find only the first
        if drawn is None or self.others is None:
            return admit(self.predictions, ids, times, memory)
        return admit_apart((self.predictions, memory), (self.others, self.horizons.repeat), (ids, times), drawn)

    def embedding(self) -> "Join":
        """Return a join of the same outcomes with predictions of its own, none yet: those that a chunk of outcomes carries."""
        own = copy(self)
        own.predictions = Store(self._made)
        return own

    def admit_outcomes(self, fact: int, ids: Ids, times: Times, revision: NDArray[np.int32] | None) -> Admitted:
        """Enter a fact of outcomes; repeats of a remembered id are not fresh, and one that still waits is remembered.

        Without revisions nothing corrects, and nothing waits.
        """
        return admit(self.told[fact], ids, times, self.horizons.outcomes, revision=revision)

    def meet_outcomes(self, fact: int, predictions: Rows) -> Pairs:
        """Match predictions just entered with a fact of outcomes that were waiting for them."""
        told = self.told[fact]
        if not told.size:
            return Pairs.first(predictions[:0], predictions[:0])
        found = told.find(*self._keys(self.predictions, predictions))
        predictions, found = predictions[found >= 0], found[found >= 0]
        corrected = told.take(found)["before"] > 0
        waiting = (told.met(found) == 0) & ~corrected
        pairs = self._match(fact, predictions[waiting], found[waiting])
        if corrected.any():
            pairs = pairs.also(revisions.meet_chains(self, fact, predictions[corrected], found[corrected]))
        return pairs

    def meet_predictions(self, fact: int, outcomes: Rows) -> tuple[Pairs, Rows]:
        """Match a fact of outcomes just entered with predictions; also return the rows whose prediction has it already."""
        told = self.told[fact]
        found = self.predictions.find(*self._keys(told, outcomes))
        outcomes, found = outcomes[found >= 0], found[found >= 0]
        soon = told.take(outcomes)["e"] <= self.predictions.take(found)["e"] + self.horizons.join
        taken = self.has(fact, found)
        pairs = self._match(fact, found[~taken], outcomes[~taken])
        # A prediction that is too old has nothing, whether it is still there or not: memory decides no result.
        late = np.setdiff1d(outcomes[soon & self.has(fact, found)], pairs.outcome)
        told.mark(late, SAID)
        return pairs, late

    def meet_own(self, fact: int, predictions: Rows, outcomes: Rows) -> tuple[Pairs, Rows]:
        """Match a fact of outcomes just entered with the predictions that they carry, -1 for none; as `meet_predictions`."""
        self.told[fact].mark(outcomes, SAID)
        met = predictions >= 0
        return Pairs.first(predictions[met], outcomes[met]), outcomes[:0]

    def correct(self, fact: int, outcomes: Rows) -> Pairs:
        """Match corrections just entered with predictions that had what they correct, or would have met it."""
        found = self.predictions.find(*self._keys(self.told[fact], outcomes))
        return revisions.correct(self, fact, found[found >= 0], outcomes[found >= 0])

    def has(self, fact: int, predictions: Rows) -> Mask:
        """Return which of these predictions have met this fact."""
        has: Mask = (self.predictions.met(predictions) & np.uint8(fact)) != 0
        return has

    def _match(self, fact: int, predictions: Rows, outcomes: Rows) -> Pairs:
        near = self.near(fact, predictions, outcomes)
        predictions, outcomes = predictions[near], outcomes[near]
        for column in (0, 1):  # an id may come twice in a chunk, its first memory gone: the first of a row counts
            first = np.sort(np.unique((predictions, outcomes)[column], return_index=True)[1])
            predictions, outcomes = predictions[first], outcomes[first]
        self.meet(fact, predictions, outcomes)
        return Pairs.first(predictions, outcomes)

    def near(self, fact: int, predictions: Rows, outcomes: Rows) -> Mask:
        """Return which of these predictions and facts of their ids are close enough in time to match."""
        made, said = self.predictions.take(predictions)["e"], self.told[fact].take(outcomes)["e"]
        close: Mask = (said <= made + self.horizons.join) & (made <= said + self.horizons.orphan)
        return close

    def meet(self, fact: int, predictions: Rows, outcomes: Rows) -> None:
        """Note that these have met."""
        ours = outcomes[outcomes < self._inherited[fact]]
        if len(ours):
            self._claimed.append(self.told[fact].take(ours)["e"][self.first(fact, ours)] + self.horizons.orphan)
        self.predictions.mark(predictions, fact)
        self.told[fact].mark(outcomes, SAID)

    @staticmethod
    def _keys(store: Store, rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        records = store.take(rows)
        return np.ascontiguousarray(records["h1"]), np.ascontiguousarray(records["h2"])

    def first(self, fact: int, rows: Rows) -> Mask:
        """Return which of these rows stand for their outcome where outcomes are counted: its label, else its review; none that correct."""
        told = self.told[fact].take(rows)
        alone: Mask = told["before"] == 0
        return alone if fact == LABEL else alone & ~told["along"]

    def orphans(self, before: int) -> NDArray[np.int64]:
        """Give up outcomes whose wait ended before this time; return the ends of their waits, int64[m] ms."""
        return np.concatenate([self._lost(fact, before) for fact in FACTS])

    def _lost(self, fact: int, before: int) -> NDArray[np.int64]:
        told, given_up = self.told[fact], [np.zeros(0, np.int64)]
        waiting = told.unmet()
        for at in range(0, len(waiting), AT_ONCE):
            rows = waiting[at : at + AT_ONCE]
            ends = told.take(rows)["e"] + self.horizons.orphan
            lost = ends < before
            told.mark(rows[lost], SAID)
            lost &= rows >= self._inherited[fact]
            given_up.append(ends[lost][self.first(fact, rows[lost])])
            if ends.max() - self._lateness >= before:
                break  # effective time runs back by no more than that
        return np.concatenate(given_up)

    def claimed(self) -> NDArray[np.int64]:
        """Return, once, the ends of the waits of inherited outcomes that have met: another shard counts them as orphans, int64[m] ms."""
        claimed, self._claimed = self._claimed, []
        return np.concatenate([np.zeros(0, np.int64), *claimed])

    def waiting(self) -> int:
        """Count outcomes that have not met a prediction yet."""
        return sum(int(self.first(fact, told.unmet()).sum()) for fact, told in self.told.items())

    # -- state -------------------------------------------------------------------------------------------------------

    def snapshot(self, *, blocks: bool = False) -> dict[str, Any]:
        """Return the state as plain values and arrays; with `blocks` as in `Store`."""
        inherited = {"inherited": [self._inherited[fact] for fact in FACTS]}
        return {name: store.snapshot(blocks=blocks) for name, store in self.stores().items()} | inherited

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same plan's join."""
        for name, store in self.stores().items():
            if name in saved:  # `others` are apart since there is a sample
                store.restore(saved[name])
        self._inherited = dict(zip(FACTS, saved.get("inherited", (0, 0)), strict=True))

    def sizes(self) -> dict[str, int]:
        """Return how many events are remembered of each side."""
        return {"predictions": self.predictions.size, "outcomes": sum(told.size for told in self.told.values())}

    def stores(self) -> dict[str, Store]:
        """Return what is remembered of each side, by the names of the state."""
        told = {"predictions": self.predictions, "labels": self.told[LABEL], "reviews": self.told[REVIEW]}
        return told if self.others is None else told | {"others": self.others}

    # -- forgetting --------------------------------------------------------------------------------------------------

    def forget(self, most: int) -> None:
        """Remember about so many predictions at the most, whatever may still come of them."""
        for store in (self.predictions, *([self.others] if self.others else [])):
            while store.size > most and store.oldest() is not None:
                store.forget()

    def sweep(self, predictions: int, outcomes: int) -> int:
        """Forget what no watermark allows to match any more; return how many went unmatched too early.

        Those are past `join_ttl` by their own topic's watermark while the other topic has fallen silent.
        """
        evicted = self._sweep_predictions(predictions, outcomes)
        while self.others and (block := self.others.oldest()) and predictions > block.latest + self.horizons.repeat:
            self.others.forget()
        return evicted + sum(self._sweep_told(fact, outcomes) for fact in FACTS)

    def _sweep_predictions(self, predictions: int, outcomes: int) -> int:
        store, evicted = self.predictions, 0
        while (block := store.oldest()) is not None and predictions > block.latest + self.horizons.predictions:
            awaited = self.joins and outcomes <= block.latest + self.horizons.join
            if awaited and self.patient:
                break
            if awaited:
                rows = np.arange(block.start, block.stop)
                evicted += int((self._missing(rows) & (outcomes <= store.take(rows)["e"] + self.horizons.join)).sum())
            store.forget()
        return evicted

    def _missing(self, rows: Rows) -> Mask:
        """Return which predictions have met nothing, or lack a fact that would count: reviews do where they are due."""
        met, marks = self.predictions.met(rows), self.predictions.take(rows)["marks"]
        lacks = np.uint8(self._needs) & ~met
        missing: Mask = (met == 0) | (lacks & LABEL != 0) | ((lacks & REVIEW != 0) & (marks != 0))
        return missing

    def _sweep_told(self, fact: int, outcomes: int) -> int:
        told, lost = self.told[fact], 0
        while (block := told.oldest()) is not None and outcomes > block.latest + self.horizons.outcomes:
            rows = np.arange(block.start, block.stop)
            waiting = rows[told.met(rows) == 0]
            if len(waiting) and (self.patient or outcomes <= block.latest + self.horizons.join):
                break
            lost += int(self.first(fact, waiting).sum())
            told.forget()
        return lost
