"""What zero violations prove about a never-event."""

import math


def rate_bound(n: int, alpha: float = 0.05) -> float:
    """Return the upper bound 1 - alpha^(1/n) of the violation rate after n decided opportunities without a violation.

    1.0 when n = 0. Valid at any time, not only at a fixed n: (1 - q)^-n is a martingale at rate q until the first
    violation. Source: notes/detectors.md 2.4; the rule of three (Hanley and Lippman-Hand, JAMA 1983) approximates it.
    """
    return -math.expm1(math.log(alpha) / n) if n > 0 else 1.0
