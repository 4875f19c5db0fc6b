"""Corrections: a fact of higher revision takes an earlier one's place (STREAM.md §2), as a difference of counts.

The facts of an id form a chain, newest first. Which of them count for a prediction hangs on times alone, and each counts in the
pane of its own arrival less what it corrects; so it does not matter whether the prediction or any of them was read first.
Corrections are few: they are followed one by one.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from interlock.streams.store import Rows, Store

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Pairs:
    """m matches of predictions and a fact as rows of the two stores; `instead` int64[m]: of the fact that it corrects, or -1."""

    prediction: Rows
    outcome: Rows
    instead: Rows

    @classmethod
    def first(cls, prediction: Rows, outcome: Rows) -> "Pairs":
        """Return matches that correct nothing."""
        return cls(prediction, outcome, np.full(len(prediction), -1, np.int64))

    @classmethod
    def of(cls, matches: Iterable[tuple[int, int, int]]) -> "Pairs":
        """Return matches from (prediction, outcome, instead)."""
        table = np.array(list(matches), np.int64).reshape(-1, 3)
        return cls(table[:, 0], table[:, 1], table[:, 2])

    def also(self, other: "Pairs") -> "Pairs":
        """Return these and other matches."""
        mine, more = (self.prediction, self.outcome, self.instead), (other.prediction, other.outcome, other.instead)
        return Pairs(*(np.concatenate(both) for both in zip(mine, more, strict=True)))

    def corrected(self) -> tuple["Pairs", "Pairs"]:
        """Return what is corrected: the matches that correct, and for each that of the fact whose place it takes."""
        rows = self.instead >= 0
        p, new, old = self.prediction[rows], self.outcome[rows], self.instead[rows]
        return Pairs(p, new, old), Pairs.first(p, old)


class Memory(Protocol):
    """What a join remembers."""

    @property
    def told(self) -> Mapping[int, Store]:
        """The facts of outcomes."""

    def has(self, fact: int, predictions: Rows) -> Mask:
        """Return which predictions have met a fact."""

    def near(self, fact: int, predictions: Rows, outcomes: Rows) -> Mask:
        """Return which are close enough in time to match."""

    def meet(self, fact: int, predictions: Rows, outcomes: Rows) -> None:
        """Note that they have met."""


def correct(memory: Memory, fact: int, predictions: Rows, outcomes: Rows) -> Pairs:
    """Match corrections just entered, in order, with the predictions of their ids: less what those had, if anything."""
    return Pairs.of(
        match
        for one in zip(predictions.tolist(), outcomes.tolist(), strict=True)
        for match in _corrected(memory, fact, *one)
    )


def _corrected(memory: Memory, fact: int, prediction: int, outcome: int) -> Iterator[tuple[int, int, int]]:
    told, p = memory.told[fact], np.array([prediction])
    if not memory.near(fact, p, np.array([outcome]))[0]:
        return
    older = (one for one in chain(told, outcome) if one != outcome and _has_met(told, one))
    instead = next((one for one in older if memory.near(fact, p, np.array([one]))[0]), -1)
    if instead < 0 and memory.has(fact, p)[0]:
        return  # of an outcome that is no longer remembered
    memory.meet(fact, p, np.array([outcome]))
    yield prediction, outcome, instead


def meet_chains(memory: Memory, fact: int, predictions: Rows, heads: Rows) -> Pairs:
    """Match predictions just entered with all facts of their ids that were waiting, each less the one before."""
    return Pairs.of(
        match for one in zip(predictions.tolist(), heads.tolist(), strict=True) for match in _waited(memory, fact, *one)
    )


def _waited(memory: Memory, fact: int, prediction: int, head: int) -> Iterator[tuple[int, int, int]]:
    told, p, instead = memory.told[fact], np.array([prediction]), -1
    for outcome in reversed(list(chain(told, head))):
        row = np.array([outcome])
        if not _has_met(told, outcome) and memory.near(fact, p, row)[0]:
            memory.meet(fact, p, row)
            yield prediction, outcome, instead
            instead = outcome


def chain(told: Store, row: int) -> Iterator[int]:
    """Yield a fact and those whose place it took, newest first, as far as they are remembered."""
    while row >= told.first:
        yield row
        row = int(told.take(np.array([row]))["before"][0]) - 1


def _has_met(told: Store, row: int) -> bool:
    return bool(told.met(np.array([row]))[0])
