"""Which class a prediction says, and which one its label means: the positive one, or one by name."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column, among
from interlock.policies.expressions import Expression
from interlock.policies.model_parts import POSITIVE
from interlock.policies.plan import Series
from interlock.streams.batch import Predictions
from interlock.streams.labels import NO_CLASS, class_hash, class_hashes

NEGATIVE: tuple[str | float | bool, ...] = (False, 0.0, "0", "false")
"""What says the other class where the policy does not name the positive one."""

Signs = NDArray[np.int8]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Classes:
    """Of n events: `positive` int8[n] is 1, 0, or -1 where it is not known; `name` uint64[n] hashes, or NO_CLASS."""

    positive: Signs
    name: NDArray[np.uint64]


def predicted(batch: Predictions, positive: Sequence[str | float | bool], said: Expression | None) -> Classes:
    """Return the classes that predictions say: of `prediction`, else of the likeliest of `probabilities`.

    Whether that is the positive class, the expression `said` decides where there is one.
    """
    n = batch.rows()
    name, signs = np.full(n, NO_CLASS, np.uint64), np.full(n, -1, np.int8)
    for column in (batch.top, batch.columns.get("prediction")):
        if column is not None:
            there = (column.kind != MISSING) & (column.kind != NULL)
            name = np.where(there, class_hashes(column), name)
            signs = np.where(there, signs_of(column, positive), signs)
    return Classes(signs if said is None else said.evaluate(batch.columns, n), name)


def signs_of(column: Column, positive: Sequence[str | float | bool]) -> Signs:
    """Return 1 for the positive class, 0 for another class, -1 for what is none: int8[n].

    Without words of the policy's own only false, 0, "0" and "false" are the other class. With its own words, whatever is
    of the same kind as one of them is: a number says nothing where classes are texts.
    """
    if tuple(positive) == POSITIVE:
        other = among(column, NEGATIVE)
    else:
        kinds = [STRING if isinstance(v, str) else BOOL if isinstance(v, bool) else NUMBER for v in positive]
        other = np.isin(column.kind, kinds)
    signs = np.where(other, 0, -1).astype(np.int8)
    signs[among(column, positive)] = 1
    return signs


def of_series(series: Series, classes: Classes) -> Signs:
    """Return whether each event is of the class that a series is about: 1, 0, or -1 where that is not known."""
    if series.named is None:
        return classes.positive
    same = (classes.name == np.uint64(class_hash(series.named))).astype(np.int8)
    return np.where(classes.name == NO_CLASS, np.int8(-1), same)
