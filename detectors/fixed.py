"""Fixed-point logarithms: evidence adds up to the same bits in any order and any batching."""

import numpy as np
from numpy.typing import NDArray

SCALE = 1 << 32
"""One nat. int64 then holds 2**31 nats, enough for the evidence of 10**9 events."""


def floor_fixed(log_factor: NDArray[np.float64] | float) -> NDArray[np.int64]:
    """Return natural logarithms as int64 in units of 1/SCALE nat, rounded down: a rounded factor never grows."""
    return np.floor(np.asarray(log_factor, dtype=np.float64) * SCALE).astype(np.int64)


def to_nats(fixed: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return fixed-point logarithms as nats."""
    return fixed / float(SCALE)
