"""A3: how soon drift's evidence finds a shift, beside River's ADWIN on the same streams."""

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from benchmarks.league import ours, rivals, tasks

SHIFTS = {"+0.25 sd": 1.4, "+0.5 sd": 1.2, "+1 sd": 1.0}
"""Shifts with the largest ratio of median delays."""


@acceptance(
    "A3",
    "A shift of the mean is found about as soon as River's ADWIN (delta .002) finds it, which sees nothing else.",
    "median delay at most 1.4, 1.2 and 1.0 times ADWIN's for 0.25, 0.5 and 1 sd (C = 3.3e4, panes of 25)",
)
def a3(size: Size) -> Measured:
    """Measure it: both have seen the 20,000 rows of reference, and 5000 events, before the change."""
    streams = 100 if size is Size.FULL else 30
    task = tasks.gaussian(tasks.Size(streams, 20_000, 5000, 5000))
    mine = ours.drift("Interlock drift C=3.3e4", task)
    _, make, most = rivals.DRIFT["River ADWIN"]
    theirs = rivals.alarms(make, task, most)
    medians = {shift: [float(np.median(one[f"after/{shift}"])) for one in (mine, theirs)] for shift in SHIFTS}
    figure = "; ".join(f"{shift}: {a:g} against {b:g}, {a / b:.2f}" for shift, (a, b) in medians.items())
    return Measured(figure, all(a <= SHIFTS[shift] * b for shift, (a, b) in medians.items()))
