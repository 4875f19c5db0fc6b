"""A3 and A15: how soon drift's evidence finds a shift, and what the OOD score costs, each beside River's in the same run."""

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from benchmarks.league import oddities, ours, rivals, tasks

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


@acceptance(
    "A15",
    "The OOD score of an event of 20 features, with the reason of each that is flagged (1 %), takes a few thousand instructions.",
    "less than 2 µs of CPU an event, and less than a tenth of what River's HalfSpaceTrees(10) takes to score and learn it",
)
def a15(size: Size) -> Measured:
    """Measure it: the best of some rounds, since this machine does other things too. Small, no time is held to anything."""
    rounds, events = (10, 50_000) if size is Size.FULL else (4, 8192)
    alone, flagged, every = np.min([ours.odd_cost(events) for _ in range(rounds)], axis=0).tolist()
    _, trees = np.min([oddities.trees_cost(1000) for _ in range(rounds)], axis=0).tolist()
    figure = f"{flagged:.2f} µs ({alone:.2f} without reasons, {every:.2f} with everyone's); {flagged / trees:.3f} of {trees:.1f} µs"
    if size is Size.SMALL:
        return Measured(figure, min(alone, flagged, every, trees) > 0)
    return Measured(figure, flagged < 2 and flagged < trees / 10)
