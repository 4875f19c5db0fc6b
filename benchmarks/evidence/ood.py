"""A13, A14 and A17: what the OOD score finds that is not familiar, and how soon new codes are noticed."""

from collections.abc import Iterator
from functools import cache
from importlib.util import find_spec

import numpy as np

from benchmarks.evidence.registry import Measured, Size, acceptance
from benchmarks.league import oddities
from benchmarks.tables import fitted, frame, named, paged, scores
from interlock.policies.load import load_policy
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.streams.reference import Reference

SETS = {"digits": 0.88, "wine": 0.93, "breast_cancer": 0.85, "iris": 0.93}
"""Sets that ship in scikit-learn's wheel, with the least mean AUROC."""
OURS = "Interlock"
MARGINS = {"scikit-learn IsolationForest": 0.04, "River HalfSpaceTrees(25)": 0.08, "PyOD ECOD": 0.13}
"""How far the mean AUROC must be above each rival's."""
SPACING, PER_PANE = 36_000, 100
NEW_CODES = (
    "{version: 1, model: m, human_goal: g, proxies: [{name: p, over_optimised: o}], owners: {model: a, on_call: b, "
    "risk: c}, runbook_url: 'https://r.example', false_pages_per_year: 1, slos: [{name: unseen_rate_7d, "
    "objective: kept, target: '<= %s', window: 7d, action_on_breach: notify}]}"
)


def left_out_splits(name: str, seeds: int) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Yield reference, test and which of the test is odd: one class left out, half of the others is the reference."""
    from sklearn import datasets  # noqa: PLC0415 - a package of developers

    values, classes = getattr(datasets, f"load_{name}")(return_X_y=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for left_out in np.unique(classes):
            others = rng.permutation(np.flatnonzero(classes != left_out))
            half = len(others) // 2
            test = np.concatenate([others[half:], np.flatnonzero(classes == left_out)])
            yield values[others[:half]], values[test], classes[test] == left_out


@cache
def _aurocs(seeds: int) -> dict[str, dict[str, float]]:
    """Return per set the mean AUROC of the product's score, by OURS, and those of rivals that are installed."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    found = {}
    for name in SETS:
        values: dict[str, list[float]] = {OURS: [], **{rival: [] for rival in _installed()}}
        for place, (reference, test, odd) in enumerate(left_out_splits(name, seeds)):
            # These sets are smaller than any reference may be; the learning is the same.
            values[OURS].append(roc_auc_score(odd, scores(fitted(named(reference), least=20), named(test))))
            for rival in _installed():
                values[rival].append(roc_auc_score(odd, oddities.ODD[rival][1](reference, place)(test)))
        found[name] = {who: float(np.mean(one)) for who, one in values.items()}
    return found


def _installed() -> list[str]:
    return [name for name in MARGINS if not name.startswith("PyOD") or find_spec("pyod")]


@acceptance(
    "A13",
    "A class that the reference never had is told from the others, on four sets of scikit-learn, one class left out.",
    "mean AUROC of digits, wine, breast_cancer, iris at least .88, .93, .85, .93",
)
def left_out(size: Size) -> Measured:
    """Measure the AUROC of the OOD score."""
    found = _aurocs(1 if size is Size.SMALL else 5)
    figure = ", ".join(f"{name} {ours:.3f}" for name, ours in ((name, one[OURS]) for name, one in found.items()))
    return Measured(figure, all(found[name][OURS] >= least for name, least in SETS.items()))


@acceptance(
    "A14",
    "The OOD score beats an IsolationForest, River's half-space trees and PyOD's ECOD on the same splits, averaged over the sets.",
    "mean AUROC at least .04, .08 and .13 above theirs",
)
def above_others(size: Size) -> Measured:
    """Measure the margins; ECOD's where PyOD is installed, which docs/detectors.md has in a venv of its own."""
    found = _aurocs(1 if size is Size.SMALL else 5)
    mean = {who: float(np.mean([one[who] for one in found.values()])) for who in (OURS, *_installed())}
    told = [f"{who} {mean[who]:.3f} ({mean[OURS] - mean[who]:+.3f})" for who in _installed()]
    told += [f"{who} not installed" for who in MARGINS if who not in mean]
    held = all(mean[OURS] - mean[who] >= MARGINS[who] for who in _installed())
    return Measured(f"{mean[OURS]:.3f}; {', '.join(told)}", held)


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
