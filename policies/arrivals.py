"""How long labels take, by the outcome that they tell: what corrects for labels that are still to come."""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Unlabelled = Literal["exclude", "hit", "miss", "ipw"]

LEAST_SHARE = 0.05
"""Share of labels that must be there when a prediction is judged: below it one label would stand for too many."""

STEPS = 100
"""Steps of a curve: its k-th entry is the age (ms) by which k % of the labels had come."""

RIGHT_POSITIVE, WRONG_POSITIVE, RIGHT_NEGATIVE, WRONG_NEGATIVE = range(4)
"""Outcome classes by the label: positive and said so, positive and not said so; negative likewise."""

CLASSES: dict[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "accuracy": ((RIGHT_POSITIVE, RIGHT_NEGATIVE), (WRONG_POSITIVE, WRONG_NEGATIVE)),
    "precision": ((RIGHT_POSITIVE,), (WRONG_NEGATIVE,)),
    "recall": ((RIGHT_POSITIVE,), (WRONG_POSITIVE,)),
    "false_negative_rate": ((RIGHT_POSITIVE,), (WRONG_POSITIVE,)),
    "false_positive_rate": ((RIGHT_NEGATIVE,), (WRONG_NEGATIVE,)),
}
"""Per ratio of labels the classes of right and of wrong predictions."""

Curves = NDArray[np.int64]


@dataclass(frozen=True, slots=True, eq=False)
class Delays:
    """Reporting-delay curves learned from mature history.

    `ages` int64[4, STEPS + 1]: per outcome class the ages (ms) at which 0, 1, … 100 % of the labels were there, -1 where
    there were too few; `counts` int64[4]: labels of each class.
    """

    ages: Curves
    counts: NDArray[np.int64]

    def table(self) -> Curves:
        """Return both as one table, int64[4, STEPS + 2]: ages, then counts."""
        return np.column_stack([self.ages, self.counts])

    @classmethod
    def of(cls, table: Curves) -> "Delays":
        """Return the curves of a table; ValueError if it has another shape."""
        if table.shape != (4, STEPS + 2):
            raise ValueError(f"damaged (delays of shape {table.shape})")
        return cls(table[:, :-1], table[:, -1])

    def share(self, classes: tuple[int, ...], age: int) -> float | None:
        """Return the share of labels of some classes that are there at an age (ms); None if it is not known.

        Rounded down to whole percents; several classes are weighted as they were in the history.
        """
        known = [c for c in classes if self.counts[c]]
        total = int(self.counts[known].sum()) if known else 0
        if not total or (self.ages[known, 0] < 0).any():
            return None
        here = [np.searchsorted(self.ages[c], age, side="right") - 1 for c in known]
        return float(
            sum(int(n) * max(int(k), 0) for n, k in zip(self.counts[known], here, strict=True)) / STEPS / total
        )

    def shares(self, indicator: str, age: int) -> tuple[float, float] | None:
        """Return the shares of right and of wrong predictions whose label is there; None if unknown, or too small."""
        right, wrong = (self.share(classes, age) for classes in CLASSES.get(indicator, ((), ())))
        if right is None or wrong is None or min(right, wrong) < LEAST_SHARE:
            return None
        return right, wrong


def curves(age: NDArray[np.int64], outcome: NDArray[np.int64], least: int = 100) -> Delays:
    """Return the curves of labels by their age (ms) int64[n] and outcome class int64[n]; a class of fewer than `least` has none."""
    ages, counts = np.full((4, STEPS + 1), -1, np.int64), np.bincount(outcome, minlength=4).astype(np.int64)
    for one in range(4):
        mine = np.sort(age[outcome == one])
        if len(mine) >= least:
            ages[one] = mine[np.maximum(-(-np.arange(STEPS + 1) * len(mine) // STEPS) - 1, 0)]
    return Delays(ages, counts)
