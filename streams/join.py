"""Predictions meet their outcomes (STREAM.md §2), whichever comes first and however input is cut.

An outcome carries a label, a review, or both: two facts. Each is remembered, met and counted on its own, once an event,
whether they come in one outcome or in two.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.model import Policy
from interlock.streams.batch import Ids
from interlock.streams.clock import BEGINNING, Times
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

TOLD = {LABEL: {"y": "i1", "label": "u8", "met": "?"}, REVIEW: {"ood": "i1", "along": "?", "met": "?"}}
"""What is remembered of each fact of an outcome until its prediction comes.

`along`: the label of the same outcome counts too, so that the outcome is counted with that.
"""

SWEEP = 1 << 16
"""Rows by which a store may grow before it is swept; memory only, never results."""


@dataclass(frozen=True, slots=True)
class Pairs:
    """m matches of predictions and a fact as rows of the two stores; each row is in one pair at most."""

    prediction: Rows
    outcome: Rows


@dataclass(frozen=True, slots=True)
class Admitted:
    """Which of n events are counted (`fresh`), and the store rows of those."""

    fresh: Mask
    rows: Rows


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
        """
        labels, repeat = policy.labels, policy.dedup_ttl
        longest = max(repeat, labels.join_ttl) if joins else repeat
        return cls(labels.join_ttl, labels.orphan_ttl, longest, max(repeat, labels.orphan_ttl))


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

    def admit_outcomes(self, fact: int, ids: Ids, times: Times) -> Admitted:
        """Enter a fact of outcomes; repeats of a remembered id are not fresh, and one that still waits is remembered."""
        return admit(self.told[fact], ids, times, self.horizons.outcomes, waits=True)

    def meet_outcomes(self, fact: int, predictions: Rows) -> Pairs:
        """Match predictions just entered with a fact of outcomes that were waiting for them."""
        told = self.told[fact]
        found = told.find(*self._keys(self.predictions, predictions))
        predictions, found = predictions[found >= 0], found[found >= 0]
        waiting = ~told["met"][found]
        return self._match(fact, predictions[waiting], found[waiting])

    def meet_predictions(self, fact: int, outcomes: Rows) -> tuple[Pairs, Rows]:
        """Match a fact of outcomes just entered with predictions; also return the rows whose prediction has it already."""
        told = self.told[fact]
        found = self.predictions.find(*self._keys(told, outcomes))
        outcomes, found = outcomes[found >= 0], found[found >= 0]
        taken = self._has(fact, found)
        pairs = self._match(fact, found[~taken], outcomes[~taken])
        late = np.setdiff1d(outcomes[self._has(fact, found)], pairs.outcome)
        told["met"][late] = True
        return pairs, late

    def _has(self, fact: int, predictions: Rows) -> Mask:
        met: NDArray[np.uint8] = self.predictions["met"][predictions]
        has: Mask = (met & np.uint8(fact)) != 0
        return has

    def _match(self, fact: int, predictions: Rows, outcomes: Rows) -> Pairs:
        made, said = self.predictions["e"][predictions], self.told[fact]["e"][outcomes]
        near = (said <= made + self.horizons.join) & (made <= said + self.horizons.orphan)
        predictions, outcomes = predictions[near], outcomes[near]
        for column in (0, 1):  # an id may come twice in a chunk, its first memory gone: the first of a row counts
            first = np.sort(np.unique((predictions, outcomes)[column], return_index=True)[1])
            predictions, outcomes = predictions[first], outcomes[first]
        self.predictions["met"][predictions] |= np.uint8(fact)
        self.told[fact]["met"][outcomes] = True
        return Pairs(predictions, outcomes)

    @staticmethod
    def _keys(store: Store, rows: Rows) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
        return store["h1"][rows], store["h2"][rows]

    def first(self, fact: int, rows: Rows) -> Mask:
        """Return which of these rows stand for their outcome where outcomes are counted: its label, else its review."""
        return np.ones(len(rows), np.bool_) if fact == LABEL else ~self.told[REVIEW]["along"][rows]

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
        told.keep(keep)
        return lost


def admit(store: Store, ids: Ids, times: Times, memory: int, *, waits: bool = False) -> Admitted:
    """Enter events into a store that remembers ids for `memory` ms; one that `waits` is remembered until it has met."""
    rows = store.append({"h1": ids.h1, "h2": ids.h2, "e": times.effective})
    held = store.index(rows)
    again = held != rows
    expired = again & (times.watermark > store["e"][held] + memory)
    if waits:
        expired &= store["met"][held]
    for place in np.flatnonzero(expired).tolist():
        held[place] = _take_over(store, int(rows[place]), times.watermark[place] - memory)
    fresh = held == rows
    store["e"][rows[~fresh]] = BEGINNING // 2  # never indexed, waits for nothing, gone with the next sweep
    store["met"][rows[~fresh]] = MET
    return Admitted(fresh, rows[fresh])


def _take_over(store: Store, row: int, since: int) -> int:
    """Let a row stand for an id whose earlier event is no longer remembered, unless another row did already."""
    held = int(store.find(store["h1"][row : row + 1], store["h2"][row : row + 1])[0])
    if store["e"][held] >= since:
        return held
    store.replace(held, row)
    return row
