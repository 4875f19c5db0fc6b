"""A13, A14 and A17: what the OOD score finds that is not familiar, and how soon new codes are noticed."""

from functools import cache

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from benchmarks.league.oddities import ALONE, AT_ONCE
from benchmarks.oddness import OURS, Aurocs, left_out_splits, margins, measured, measured_apart, with_apart
from benchmarks.tables import fitted, frame, paged
from interlock.policies.load import load_policy
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.streams.reference import Reference

SETS = {"digits": 0.88, "wine": 0.93, "breast_cancer": 0.85, "iris": 0.93}
"""Sets that ship in scikit-learn's wheel, with the least mean AUROC."""
MARGINS = {"scikit-learn IsolationForest": 0.04, "River HalfSpaceTrees(25)": 0.08, AT_ONCE: 0.13}
"""How far the mean AUROC must be above each rival's."""
SPACING, PER_PANE = 36_000, 100
NEW_CODES = (
    "{version: 1, model: m, human_goal: g, proxies: [{name: p, over_optimised: o}], owners: {model: a, on_call: b, "
    "risk: c}, runbook_url: 'https://r.example', false_pages_per_year: 1, slos: [{name: unseen_rate_7d, "
    "objective: kept, target: '<= %s', window: 7d, action_on_breach: notify}]}"
)


@cache
def _found(size: Size) -> tuple[Aurocs, str]:
    """Return the AUROCs per set, and which rival is not among them."""
    sets = {name: list(left_out_splits(name, 1 if size is Size.SMALL else 5)) for name in SETS}
    found = measured(sets)
    return found, with_apart(sets, found) if size is Size.FULL else f"{AT_ONCE} not in the small form"


@acceptance(
    "A13",
    "A class that the reference never had is told from the others, on four sets of scikit-learn, one class left out.",
    "mean AUROC of digits, wine, breast_cancer, iris at least .88, .93, .85, .93",
)
def left_out(size: Size) -> Measured:
    """Measure the AUROC of the OOD score."""
    found, _ = _found(size)
    figure = ", ".join(f"{name} {ours:.3f}" for name, ours in ((name, one[OURS]) for name, one in found.items()))
    return Measured(figure, all(found[name][OURS] >= least for name, least in SETS.items()))


@acceptance(
    "A14",
    "The OOD score beats an IsolationForest, River's half-space trees and PyOD's ECOD on the same splits, averaged over the sets.",
    "mean AUROC at least .04, .08 and .13 above theirs",
)
def above_others(size: Size) -> Measured:
    """Measure the margins; ECOD's in full only: on all of a test at once, as the target has it, and on one event at a time."""
    found, absent = _found(size)
    figure, held = margins(found, MARGINS)
    if absent:
        return Measured(f"{figure}; {absent}", held)
    alone = measured_apart({name: left_out_splits(name, 1) for name in SETS}, ALONE)
    return Measured(f"{figure}, an event at a time {np.mean(list(alone.values())):.3f}", held)


@acceptance(
    "A17",
    "A new vendor code in 5 % or 1 % of events is noticed although familiar traffic brings new codes too (Zipf 1.5).",
    "median of 600 events at 5 %, 7000 at 1 %; none of 200 streams without it pages",
)
def new_codes(size: Size) -> Measured:
    """Measure how many events pass until `unseen_rate` at the bound that `interlock fit` prints breaches."""
    streams, quiet = (8, 20) if size is Size.SMALL else (100, 200)
    reference = fitted({"vendor": _vendors(np.random.default_rng(0), 100_000)})
    plan = make_plan(load_policy((NEW_CODES % round(reference.unseen_upper(), 4)).encode(), "A17"))
    often, seldom = (
        float(np.median([_delay(plan, reference, share, seed) for seed in range(streams)])) for share in (0.05, 0.01)
    )
    false = sum(np.isfinite(_delay(plan, reference, 0.0, 1000 + seed)) for seed in range(quiet))
    figure = f"{often:.0f} events at 5 %, {seldom:.0f} at 1 %; {false} of {quiet} without"
    return Measured(figure, bool(often <= 600 and seldom <= 7000 and false == 0))


def _vendors(rng: np.random.Generator, rows: int) -> list[str]:
    return [f"v{code}" for code in rng.zipf(1.5, rows).tolist()]


def _delay(plan: Plan, reference: Reference, share: float, seed: int) -> float:
    """Return events until the page, infinite without one, in 15,000 of which `share` have a code that nobody saw."""
    rng = np.random.default_rng(seed)
    vendors = _vendors(rng, 15_000)
    for row in np.flatnonzero(rng.random(len(vendors)) < share).tolist():
        vendors[row] = "ZX-9"
    events = frame({"vendor": vendors}, spacing=SPACING)
    control = paged(plan, reference, events)
    return np.inf if control is None else (control.ts - int(events.batch["ts"][0].as_py())) / SPACING
