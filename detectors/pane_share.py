"""Evidence for a share of which one pane is one observation: for events that come in clusters of unknown size."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import log1p

from interlock.detectors.bounded_mean import BETS
from interlock.detectors.fixed import floor_fixed

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class PaneEvidence:
    """Log e-values about the expected share m/n of failures of a pane, int64[S, 6] from `failures` and `n` int64[S].

    `1 + lambda (m/n - q0)` is at least 1 - lambda q0 > 0 for 0 < lambda < 1/q0, and its expectation is at most 1 while,
    given the past, E[m/n] <= q0: however the events of a pane hang together, since of the pane its share alone enters.
    Mirrored, `1 + lambda (q0 - m/n)` with lambda < 1/(1 - q0). An empty pane says nothing. Source: betting on a bounded
    mean, Waudby-Smith and Ramdas, JRSS-B 2024; VERDICTS.md section 2.
    """

    limit: float

    def __post_init__(self) -> None:
        """Refuse a limit that is no share; ValueError."""
        if not 0 < self.limit < 1:
            raise ValueError(f"need 0 < q0 < 1, got {self.limit}")

    @property
    def weights(self) -> Floats:
        """Weights float64[6] of the alternatives, on either side."""
        return np.full(len(BETS), 1 / len(BETS))

    def log_bad(self, failures: Ints, n: Ints) -> Ints:
        """Return evidence that panes fail more than the limit allows."""
        return _fixed(BETS / self.limit, failures, n, self.limit)

    def log_good(self, failures: Ints, n: Ints) -> Ints:
        """Return evidence that panes fail less than the limit allows."""
        return _fixed(-BETS / (1 - self.limit), failures, n, self.limit)


def _fixed(stakes: Floats, failures: Ints, n: Ints, limit: float) -> Ints:
    """Return the logarithms rounded down; by scipy's function, which gives the same bits for any batch."""
    share = failures / np.maximum(n, 1)
    out = floor_fixed(log1p(stakes * (share - limit)[:, None]))
    out[n == 0] = 0
    return out
