"""What an indicator would be if only the inputs had changed: no label is asked, calibration is taken to hold as it did.

Every prediction is counted by what it states and says. In the reference, what was stated came true so often; were it so
still, the indicator would be known before a label comes. It is shown beside verdicts and decides nothing: where the
relation of inputs and labels changes, which is what people fear most, it stays as it was (VERDICTS.md: it can neither page nor
clear). Source: confidence-based performance estimation, Kivimäki et al., "Confidence-based Estimators for Predictive
Performance in Model Monitoring", JAIR 2025, arXiv 2407.08649; NannyML's CBPE.
"""

import math

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS
from interlock.detectors.fixed import SCALE
from interlock.detectors.reliability import Reliability
from interlock.policies.context import Context
from interlock.policies.measures import MOST_UNDECIDED
from interlock.policies.plan import KINDS, OF_CLASS, Kind, Series

KEY = "if_only_inputs_changed"
"""Where it stands in the evidence of a verdict: `value`, and `n` predictions that it is from."""

WITH_INPUTS = (Kind.ACCURACY, *OF_CLASS, Kind.BRIER, Kind.LOG_LOSS)
"""Kinds of series whose predictions are counted by what they state."""

SCORED = (Kind.BRIER, Kind.LOG_LOSS)
"""Of those, the losses: they ask for no class."""

UNPLACED = 0
"""Column of predictions that state no probability, or one that tells nothing here."""

NEGATIVE, POSITIVE, NAMED = range(3)
"""Which way a prediction counts: its score says the positive class, or not, or its class has a name alone."""

COLUMNS = 1 + 3 * BINS
"""Columns: unplaced; then for losses 3 * bin + {n, sum if the label were positive, sum if not}, else 64 * way + bin."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Told = dict[str, float | int]
Sums = tuple[int, int, Floats, Floats]
"""Predictions counted; those of which something is known; the parts of the numerator and of the denominator."""


def has_inputs(series: Series) -> bool:
    """Return whether a series counts its predictions by what they state: of one class by name nothing is learned."""
    return series.kind in WITH_INPUTS and series.named is None and not series.variant


def only_inputs(context: Context) -> "OnlyInputs | None":
    """Return what estimates an SLO's indicator; None where its formula is not that of a whole window, or nothing is known."""
    slo, known = context.slo, context.learned.reliability
    kind = KINDS[slo.resolved_indicator]
    whole = slo.compare is None and slo.class_ is None and slo.evidence != "per_pane"
    if known is None or kind not in WITH_INPUTS or not whole:
        return None
    return OnlyInputs(kind, known, slo.span if kind in SCORED else None)


class OnlyInputs:
    """Estimates one indicator from the predictions of a window."""

    def __init__(self, kind: Kind, known: Reliability, span: tuple[float, float] | None) -> None:
        """Estimate an indicator by what the reference knew; `span`: the least and the greatest loss."""
        self._kind, self._span = kind, span
        self._positive, self._right = np.array(known.positive), np.array(known.right)

    def told(self, row: Ints) -> Told | None:
        """Return `value` and `n` from a window's columns, int64[COLUMNS]; None if more than 5 % of its predictions tell nothing.

        Sums are rounded once (fsum): they depend on nothing but the counts.
        """
        n, placed, parts, of = self._ratio(row[1:]) if self._span is None else self._losses(row[1:], self._span)
        whole = math.fsum(of)
        every = n + int(row[UNPLACED])
        if not whole or every - placed > MOST_UNDECIDED * every:
            return None
        return {"value": math.fsum(parts) / whole, "n": placed}

    def _losses(self, cells: Ints, span: tuple[float, float]) -> Sums:
        n, yes, no = (part.astype(np.float64) for part in (cells[0::3], cells[1::3], cells[2::3]))
        known = ~np.isnan(self._positive)
        p = self._positive[known]
        losses = (yes[known] * p + no[known] * (1 - p)) / float(SCALE)
        return int(n.sum()), int(n[known].sum()), span[0] * n[known] + (span[1] - span[0]) * losses, n[known]

    def _ratio(self, cells: Ints) -> Sums:
        """Return the expected numbers of true and false positives and negatives as the indicator puts them together."""
        ways = cells.reshape(3, BINS)
        shares = np.stack([self._positive, self._positive, self._right])
        known = ~np.isnan(shares)
        expected = np.where(known, ways * np.nan_to_num(shares), 0.0)
        other = np.where(known, ways - expected, 0.0)
        parts, of = _confusion(self._kind, expected, other)
        return int(ways.sum()), int(ways[known].sum()), parts, of


def _confusion(kind: Kind, expected: Floats, other: Floats) -> tuple[Floats, Floats]:
    """Return the parts of an indicator's numerator and denominator, from what is expected of each way, float64[3, 64].

    `expected`: positive labels of the first two ways, right predictions of the third; `other`: all others of them.
    """
    every = expected + other
    match kind:
        case Kind.ACCURACY:
            return np.concatenate([other[NEGATIVE], expected[POSITIVE], expected[NAMED]]), every.reshape(-1)
        case Kind.PRECISION:
            return expected[POSITIVE], every[POSITIVE]
        case Kind.CLASS_RECALL:
            return expected[POSITIVE], expected[:NAMED].reshape(-1)
        case Kind.FALSE_POSITIVES:
            return other[POSITIVE], other[:NAMED].reshape(-1)
        case _:
            return expected[NEGATIVE], expected[:NAMED].reshape(-1)
