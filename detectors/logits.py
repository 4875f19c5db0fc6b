"""How unsure a classifier's logits are of every class: the energy, or the largest logit, on integers.

Logits are rounded to 1/1024 first; from there on there are integers and look-ups only, so that no batching, no order of
addition and no processor changes a bit.
"""

from typing import Literal, get_args

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

Score = Literal["energy", "max_logit"]
"""How the logits of an event become one number."""
SCORES: tuple[Score, ...] = get_args(Score)

UNIT = 1024
"""Parts of a logit that are told apart, and of a nat in what comes out."""
LEAST_CLASSES = 2
"""Logits of an event at least: of a single one, which says yes or no, the largest says nothing."""
FARTHEST = 1 << 20
"""Logits beyond it, either way, are as far away as they can be."""

_ONE = 1 << 20  # one, of a probability relative to the likeliest class, and one nat inside a logarithm
_BITS = 12  # of a sum's mantissa that its logarithm looks at
_DOUBLINGS = 33  # of a sum: that of 4096 classes has twelve
_BLOCK = 2048  # rows whose look-ups stand in memory at a time

EXP: Ints = np.rint(_ONE * np.exp(-np.arange(15_000) / UNIT)).astype(np.int64)
"""exp(-d / UNIT) in 2**-20 of one; from the last entry on it is nothing."""
LOG1P: Ints = np.rint(_ONE * np.log1p(np.arange(1 << _BITS) / (1 << _BITS))).astype(np.int64)
"""ln(1 + i / 4096) in 2**-20 nat."""
LN2: Ints = np.rint(_ONE * np.log(2.0) * np.arange(_DOUBLINGS)).astype(np.int64)
"""k ln 2 in 2**-20 nat."""


def oddities(logits: Floats, score: Score) -> Ints:
    """Return how odd each row of logits float64[n, K] is, int64[n] in 1/UNIT nat: more where no class is likely.

    All are finite, K >= 2. `energy` is `-ln sum_k exp f_k` (Liu et al., *Energy-based Out-of-distribution Detection*,
    NeurIPS 2020, equation 4 at temperature 1), within 2/1024 of it; `max_logit` is `-max_k f_k` (Hendrycks et al.,
    *Scaling Out-of-Distribution Detection for Real-World Settings*, ICML 2022). A constant added to all logits of an
    event is subtracted from either.
    """
    found = np.empty(len(logits), np.int64)
    for start in range(0, len(logits), _BLOCK):
        units = _rounded(logits[start : start + _BLOCK])
        largest = units.max(axis=1)
        found[start : start + _BLOCK] = -largest if score == "max_logit" else -(largest + _rest(units, largest))
    return found


def _rounded(logits: Floats) -> Ints:
    return np.rint(np.clip(logits, -FARTHEST, FARTHEST) * UNIT).astype(np.int64)


def _rest(units: Ints, largest: Ints) -> Ints:
    """Return what the other classes add to the largest logit, int64[n] in 1/UNIT: ln sum exp(f - max f)."""
    below = np.minimum(largest[:, None] - units, len(EXP) - 1)
    return (_log(EXP[below].sum(axis=1)) + _ONE // UNIT // 2) // (_ONE // UNIT)


def _log(sums: Ints) -> Ints:
    """Return the logarithm of sums in 2**-20, one or more, in 2**-20 nat: that of the power of two, and log1p of the rest."""
    mantissa, exponent = np.frexp(sums.astype(np.float64))  # exact: sums are far below 2**53
    place = ((2 * mantissa - 1) * (1 << _BITS)).astype(np.int64)
    logs: Ints = LN2[exponent - _ONE.bit_length()] + LOG1P[place]
    return logs
