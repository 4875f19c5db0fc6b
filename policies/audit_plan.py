"""How many unflagged events must be reviewed so that a fallen recall is noticed in time."""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import poisson

from interlock.detectors.fixed import SCALE
from interlock.detectors.recall import RecallEvidence
from interlock.policies.model import Policy, Slo
from interlock.policies.panes import Thresholds, thresholds
from interlock.policies.scalars import DAY

POWER = 0.9
"""Probability with which the failure must be noticed in time."""

STEPS = 40
"""Halvings of the interval in which the rate is sought, on the log scale."""

LEAST = 1e-6
"""Smallest rate that is tried."""

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Traffic:
    """Predictions a day of one slot, and the share of them that is truly unfamiliar."""

    per_day: float
    unfamiliar: float


@dataclass(frozen=True, slots=True)
class Need:
    """What it takes to notice a recall: `audits.rate` and audits a day; None if auditing all of them is too little.

    `flagged` are reviews of flagged events a day, which are due in any case.
    """

    recall: float
    rate: float | None
    audits: float | None
    flagged: float


def plan(policy: Policy, slo: Slo, traffic: Traffic, recall: float, within: int) -> Need:
    """Return the smallest rate at which a recall is noticed within so many ms of traffic, with probability POWER.

    The evidence is that of the judge: all starts in the window, all bets, at the policy's threshold and dispersion. Of
    the misses that the audits find, whose number is Poisson, the 10 % quantile is taken, spread evenly over the time.
    Source: notes/detectors.md §2.3; checked by simulation in tests/test_audit_plan.py.
    """
    limits = thresholds(policy, slo)
    flagged = traffic.per_day * max(policy.ood.flag_rate, traffic.unfamiliar * recall)

    def enough(rate: float) -> bool:
        return _log_m(slo, limits, traffic, (recall, rate), within) >= math.log(limits.page)

    if not enough(1.0):
        return Need(recall, None, None, flagged)
    low, high = math.log(LEAST), 0.0
    for _ in range(STEPS):
        middle = (low + high) / 2
        low, high = (low, middle) if enough(math.exp(middle)) else (middle, high)
    rate = math.exp(high)
    return Need(recall, rate, rate * (traffic.per_day - flagged), flagged)


def _log_m(slo: Slo, limits: Thresholds, traffic: Traffic, truth: tuple[float, float], within: int) -> float:
    """Return ln M after `within` ms at a recall and an audit rate."""
    recall, rate = truth
    panes = max(1, min(within // limits.pane_ms, limits.window_panes))
    odd = traffic.per_day * traffic.unfamiliar * panes * limits.pane_ms / DAY
    misses = float(poisson.ppf(1 - POWER, odd * (1 - recall) * rate))
    evidence = RecallEvidence.build(slo.target.value, (rate,), slo.dispersion or 1.0)
    pane = (evidence.bad_hit * odd * recall + evidence.bad_miss[0] * misses) / (SCALE * panes)
    starts = np.arange(1, panes + 1)[:, None] * pane + np.log(evidence.bad_weights)
    most = starts.max()
    return float(most + np.log(np.exp(starts - most).sum()))
