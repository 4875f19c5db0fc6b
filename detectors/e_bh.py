"""Which of many streams have evidence, however they depend on each other: e-BH."""

import numpy as np
from numpy.typing import NDArray


def e_bh(m: NDArray[np.float64], c: float, streams: int) -> NDArray[np.bool_]:
    """Return which of `m` float64[...] are found: with j the largest for which the j-th largest m >= c * streams / j.

    `streams` is how many are watched, at least as many as are given. If all are null, something is found only where the
    mean of all m is at least c. Source: Wang and Ramdas, "False discovery rate control with e-values", JRSS-B 2022; for
    e-detectors Dandapanthula and Ramdas, arXiv 2501.04130.
    """
    likely = -np.sort(-m[m >= c], axis=None)  # below c none can be found
    enough = np.flatnonzero(likely * np.arange(1, len(likely) + 1) >= c * streams)
    if not len(enough):
        return np.zeros(m.shape, np.bool_)
    return np.asarray(m >= likely[enough[-1]])
