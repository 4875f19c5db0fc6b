"""Predictions meet their outcomes (STREAM.md §2), whichever comes first and however input is cut.

An outcome carries a label, a review, or both: two facts. Each is remembered, met and counted on its own, once an event,
whether they come in one outcome or in two. One of higher revision takes an earlier one's place (`revisions.py`).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.model import Policy
from interlock.streams import revisions
from interlock.streams.batch import Ids
from interlock.streams.clock import BEGINNING, Times
from interlock.streams.revisions import Pairs
from interlock.streams.store import Rows, Store

Mask = NDArray[np.bool_]
Payload = Mapping[str, NDArray[np.generic]]

LABEL, REVIEW = FACTS = 1, 2
"""What an outcome can say, as the bits of a prediction's `met`."""

MET = LABEL | REVIEW
"""`met` of a row that waits for nothing more; true where there is one fact only."""

PREDICTION = {"version": "i4", "p": "i8", "top": "u8", "marks": "u1", "level": "i1", "met": "u1"}
"""What is remembered of a prediction besides its id and time: what its outcome will be counted by."""

CLASSES = {"says": "i1", "said": "u8"}, {"means": "i1"}
"""What is remembered of both beyond that, where classes are judged."""

NUMBERS = {"guess": "f8"}, {"truth": "f8"}
"""What is remembered of both beyond that, where numbers are judged."""

SAYING = {"met": "?", "revision": "i4", "before": "i8"}

TOLD = {LABEL: {"y": "i1", "label": "u8", **SAYING}, REVIEW: {"ood": "i1", "along": "?", **SAYING}}
"""What is remembered of each fact of an outcome: until its prediction comes, and for a correction of it.

`along`: the label of the same outcome counts too, so that the outcome is counted with that. `before`: the row after that of
the revision whose place this one takes, 0 for none.
"""

SWEEP = 1 << 16
"""Rows by which a store may grow before it is swept; memory only, never results."""


@dataclass(frozen=True, slots=True)
class Admitted:
    """Which of n events are counted: the `fresh`, and those that are `revised`, which correct one; the store rows of each."""

    fresh: Mask
    rows: Rows
    revised: Mask
    corrections: Rows


@dataclass(frozen=True, slots=True)
class Horizons:
    """How long each side is remembered, in milliseconds of event time."""

    join: int
    orphan: int
    predictions: int
    outcomes: int

    @classmethod
    def of(cls, policy: Policy, *, joins: bool) -> "Horizons":
        """Derive the horizons of a policy.

        A prediction's id is remembered for as long as an outcome may still find it, not for `dedup_ttl` alone: a second
        prediction of the id would give the outcome two candidates, and which it met would hang on the interleaving.
        An outcome is remembered for as long as a correction of it may still find its prediction.
        """
        labels, repeat = policy.labels, policy.dedup_ttl
        longest = max(repeat, labels.join_ttl) if joins else repeat
        told = labels.orphan_ttl + (labels.join_ttl if joins else 0)
        return cls(labels.join_ttl, labels.orphan_ttl, longest, max(repeat, told))


@dataclass(frozen=True, slots=True)
class Kept:
    """What a plan needs remembered of each prediction besides what all need, and which `facts` of outcomes it counts.

    `slices`: its slice in the joined series at these positions; `classes`, `numbers`: what it says, and its label; `stated`:
    the probability of the class that the series at these positions name.
    """

    slices: tuple[int, ...] = ()
    classes: bool = False
    numbers: bool = False
    stated: tuple[int, ...] = ()
    facts: int = LABEL


class Join:
    """The memory of one shard: predictions and outcomes by id."""

    def __init__(self, policy: Policy, kept: Kept, *, joins: bool, patient: bool = False) -> None:
        """Start empty.

        A patient join never gives up on outcomes that are only not read yet: for drivers that read files.
        """
        self.joins, self.patient, self._needs = joins, patient, kept.facts
        self.horizons = Horizons.of(policy, joins=joins)
        made, said = CLASSES if kept.classes else ({}, {})
        guess, truth = NUMBERS if kept.numbers else ({}, {})
        by_series = {f"slice{place}": "i4" for place in kept.slices} | {f"stated{place}": "i8" for place in kept.stated}
        self.predictions = Store(PREDICTION | made | guess | by_series)
        self.told = {LABEL: Store(TOLD[LABEL] | said | truth), REVIEW: Store(TOLD[REVIEW])}
        self._sweep = {"predictions": SWEEP, "outcomes": SWEEP}

    def admit_predictions(self, ids: Ids, times: Times) -> Admitted:
        """Enter predictions; repeats of a remembered id are not fresh."""
        return admit(
            self.predictions, ids, times, self.horizons.predictions
        )  # met or not: outcomes find only the first

    def admit_outcomes(self, fact: int, ids: Ids, times: Times, revision: NDArray[np.int32]) -> Admitted:
        """Enter a fact of outcomes; repeats of a remembered id are not fresh, and one that still waits is remembered."""
        return admit(self.told[fact], ids, times, self.horizons.outcomes, revision=revision)

    def meet_outcomes(self, fact: int, predictions: Rows) -> Pairs:
        """Match predictions just entered with a fact of outcomes that were waiting for them."""
        told = self.told[fact]
        found = told.find(*self._keys(self.predictions, predictions))
        predictions, found = predictions[found >= 0], found[found >= 0]
        corrected = told["before"][found] > 0
        waiting = ~told["met"][found] & ~corrected
        pairs = self._match(fact, predictions[waiting], found[waiting])
        if corrected.any():
            pairs = pairs.also(revisions.meet_chains(self, fact, predictions[corrected], found[corrected]))
        return pairs

    def meet_predictions(self, fact: int, outcomes: Rows) -> tuple[Pairs, Rows]:
        """Match a fact of outcomes just entered with predictions; also return the rows whose prediction has it already."""
        told = self.told[fact]
        found = self.predictions.find(*self._keys(told, outcomes))
        outcomes, found = outcomes[found >= 0], found[found >= 0]
        taken = self.has(fact, found)
        pairs = self._match(fact, found[~taken], outcomes[~taken])
        late = np.setdiff1d(outcomes[self.has(fact, found)], pairs.outcome)
        told["met"][late] = True
        return pairs, late

    def correct(self, fact: int, outcomes: Rows) -> Pairs:
        """Match corrections just entered with predictions that had what they correct, or would have met it."""
        found = self.predictions.find(*self._keys(self.told[fact], outcomes))
        return revisions.correct(self, fact, found[found >= 0], outcomes[found >= 0])

    def has(self, fact: int, predictions: Rows) -> Mask:
        """Return which of these predictions have met this fact."""
        met: NDArray[np.uint8] = self.predictions["met"][predictions]
        has: Mask = (met & np.uint8(fact)) != 0
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
        made, said = self.predictions["e"][predictions], self.told[fact]["e"][outcomes]
        close: Mask = (said <= made + self.horizons.join) & (made <= said + self.horizons.orphan)
        return close

    def meet(self, fact: int, predictions: Rows, outcomes: Rows) -> None:
        """Note that these have met."""
        self.predictions["met"][predictions] |= np.uint8(fact)
        self.told[fact]["met"][outcomes] = True

    @staticmethod
    def _keys(store: Store, rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return store["h1"][rows], store["h2"][rows]

    def first(self, fact: int, rows: Rows) -> Mask:
        """Return which of these rows stand for their outcome where outcomes are counted: its label, else its review; none that correct."""
        told = self.told[fact]
        alone: Mask = told["before"][rows] == 0
        return alone if fact == LABEL else alone & ~told["along"][rows]

    def orphans(self, before: int) -> NDArray[np.int64]:
        """Give up outcomes whose wait ended before this time; return the ends of their waits, int64[m] ms."""
        given_up = []
        for fact, told in self.told.items():
            ends = told["e"] + self.horizons.orphan
            lost = np.flatnonzero(~told["met"] & (ends < before))
            told["met"][lost] = True
            given_up.append(ends[lost[self.first(fact, lost)]])
        return np.concatenate(given_up)

    def waiting(self) -> int:
        """Count outcomes that have not met a prediction yet."""
        return sum(self._counted(fact, ~told["met"]) for fact, told in self.told.items())

    def _counted(self, fact: int, rows: Mask) -> int:
        return int(self.first(fact, np.flatnonzero(rows)).sum())

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        stores = {"predictions": self.predictions, "labels": self.told[LABEL], "reviews": self.told[REVIEW]}
        return {name: store.snapshot() for name, store in stores.items()} | {"sweep": dict(self._sweep)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same plan's join."""
        self.predictions.restore(saved["predictions"])
        self.told[LABEL].restore(saved["labels"])
        self.told[REVIEW].restore(saved["reviews"])
        self._sweep = dict(saved["sweep"])

    def sweep(self, predictions: int, outcomes: int) -> int:
        """Forget what no watermark allows to match any more; return how many went unmatched too early.

        Those are past `join_ttl` by their own topic's watermark while the other topic has fallen silent.
        """
        evicted = 0
        if self.predictions.size > self._sweep["predictions"]:
            evicted = self._sweep_predictions(predictions, outcomes)
            self._sweep["predictions"] = 2 * self.predictions.size + SWEEP
        if self._told() > self._sweep["outcomes"]:
            evicted += sum(self._sweep_told(fact, outcomes) for fact in FACTS)
            self._sweep["outcomes"] = 2 * self._told() + SWEEP
        return evicted

    def _told(self) -> int:
        return sum(told.size for told in self.told.values())

    def _sweep_predictions(self, predictions: int, outcomes: int) -> int:
        e, met = self.predictions["e"], self.predictions["met"]
        keep = predictions <= e + self.horizons.predictions
        open_ = outcomes <= e + self.horizons.join
        if self.patient and self.joins:
            keep |= (met != MET) & open_
        early = ~keep & self._missing() & open_
        self.predictions.keep(keep)
        return int(early.sum()) if self.joins else 0

    def _missing(self) -> Mask:
        """Return which predictions have met nothing, or lack a fact that would count: reviews do where they are due."""
        met: NDArray[np.uint8] = self.predictions["met"]
        marks: NDArray[np.uint8] = self.predictions["marks"]
        lacks = np.uint8(self._needs) & ~met
        missing: Mask = (met == 0) | (lacks & LABEL != 0) | ((lacks & REVIEW != 0) & (marks != 0))
        return missing

    def _sweep_told(self, fact: int, outcomes: int) -> int:
        told = self.told[fact]
        soon = self.patient | (outcomes <= told["e"] + self.horizons.join)
        keep = (outcomes <= told["e"] + self.horizons.outcomes) | (~told["met"] & soon)
        lost = self._counted(fact, ~keep & ~told["met"])
        revisions.renumber(told, keep)
        told.keep(keep)
        return lost


def admit(store: Store, ids: Ids, times: Times, memory: int, *, revision: NDArray[np.int32] | None = None) -> Admitted:
    """Enter events into a store that remembers ids for `memory` ms; facts, which have a `revision`, until they have met."""
    rows = store.append({"h1": ids.h1, "h2": ids.h2, "e": times.effective})
    if revision is not None:
        store["revision"][rows] = revision
    held = store.index(rows)
    revised = np.zeros(len(rows), np.bool_)
    for place in np.flatnonzero(_doubted(store, rows, held, times.watermark - memory)).tolist():
        row, head = int(rows[place]), store.head(int(rows[place]))
        if not _remembered(store, head, times.watermark[place] - memory):
            store.replace(head, row)
            held[place] = row
        elif revision is not None and revision[place] > store["revision"][head]:
            store.replace(head, row)
            store["before"][row], revised[place] = head + 1, True
    fresh = held == rows
    gone = rows[~fresh & ~revised]
    store["e"][gone] = BEGINNING // 2  # never indexed, waits for nothing, gone with the next sweep
    store["met"][gone] = MET
    return Admitted(fresh, rows[fresh], revised, rows[revised])


def _doubted(store: Store, rows: Rows, held: Rows, since: NDArray[np.int64]) -> Mask:
    """Return which events repeat an id, but one that may be forgotten, or in a higher revision."""
    doubted: Mask = store["e"][held] < since
    if "revision" in store:
        doubted |= store["revision"][rows] > 0
    doubted &= held != rows
    return doubted


def _remembered(store: Store, head: int, since: int) -> bool:
    return bool(store["e"][head] >= since or ("revision" in store and not store["met"][head]))
