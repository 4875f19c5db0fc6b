"""A6, A7, A9, A10, A11 and A19: how often SLOs page at their target, and how soon beyond it."""

from collections.abc import Callable, Iterator
from json import dumps

import numpy as np

from benchmarks.alarms import confident, counted, doubtful, ece_panes, machine, machine_at, paged
from benchmarks.court import Court, Floats, Ints, decisions, make_policy, promise
from benchmarks.evidence.registry import Measured, Size, acceptance
from interlock.policies.machine import Machine
from interlock.policies.plan import (
    AUDITABLE,
    CONFIRMED,
    FLAGGED,
    HIT,
    MISSED,
    REVIEWED,
    SELECTED,
    SETTLED,
    N,
    audit_cell,
)

PAGE = 10_000.0
"""The threshold C for which detectors.md section 6 states A6, A7, A9 and A10."""
QUARTER = 2160
"""Hours of 90 days."""
RECALL = promise("ood_recall_7d", ">= 0.90", "7d")
ECE = promise("decision_ece_24h", "<= 0.05", "24h")
P95 = promise("decision_ece_p95_24h", "<= 0.05", "24h")
RATE, LIMIT = promise("ood_rate_7d", "<= 0.05", "7d"), 0.05


Draw = Callable[[np.random.Generator, tuple[int, int]], Floats]
"""How confidences are drawn, float64[S, n]."""


def _recall_panes(of: Machine, seed: int, recalls: Floats, slots: int) -> Iterator[Ints]:
    """Yield hours of about 10 events that are truly out of distribution, every one of them looked at by people."""
    rng = np.random.default_rng(seed)
    flagged = (FLAGGED, REVIEWED, CONFIRMED)
    unflagged = [audit_cell(0, what) for what in (AUDITABLE, SELECTED, SETTLED, MISSED)]
    for recall in recalls:
        ood = rng.poisson(10, slots)
        hits = rng.binomial(ood, recall)
        yield counted(of, dict.fromkeys(flagged, hits) | dict.fromkeys(unflagged, ood - hits))


def _recall(seed: int, recalls: Floats, slots: int) -> Floats:
    """Return the hour of each stream's first page, inf without one."""
    of = machine_at(RECALL, slots, PAGE, audits={"rate": 1.0})
    return paged(of, slots, _recall_panes(of, seed, recalls, slots))[0]


@acceptance(
    "A6",
    "An OOD recall at its target of .90, or at .92, seldom pages within 90 days: 10 truly unfamiliar events an hour, C = 10,000.",
    "share of streams paged at most .216 and .02",
)
def boundary_of_recall(size: Size) -> Measured:
    """Measure A6."""
    slots = 300 if size is Size.FULL else 60
    at, above = (float(np.isfinite(_recall(6, np.full(QUARTER, r), slots)).mean()) for r in (0.90, 0.92))
    return Measured(f"{at:.3f} and {above:.3f} of {slots} streams", at <= 0.216 and above <= 0.02)


@acceptance(
    "A7",
    "An OOD recall that falls from .95 to .80 is found within a day at 10 truly unfamiliar events an hour, C = 10,000.",
    "delay of at most 24 h in the median and 48 h at the 95th percentile, no page before",
)
def fall_of_recall(size: Size) -> Measured:
    """Measure A7."""
    slots, start = 300 if size is Size.FULL else 60, 600
    first = _recall(8, np.where(np.arange(1000) < start, 0.95, 0.80), slots)
    delay = first - start + 1
    median, late = float(np.median(delay)), float(np.quantile(delay, 0.95))
    early = int((first < start).sum())
    figure = f"{median:.0f} h and {late:.0f} h; {early} of {slots} before"
    return Measured(figure, median <= 24 and late <= 48 and not early)


def _ece(seed: int, error: float, streams: tuple[int, int], draw: Draw = confident) -> Floats:
    """Return how many decisions were labelled up to the first page of each of S streams of T panes, inf without one."""
    slots, panes = streams
    of, per_pane, rng = machine_at(ECE, slots, PAGE), 100, np.random.default_rng(seed)
    draws = (draw(rng, (slots, per_pane)) for _ in range(panes))
    return (paged(of, slots, ece_panes(of, draws, rng, error))[0] + 1) * per_pane


@acceptance(
    "A9",
    "A calibration error of 0, .03 or .05 seldom pages where .05 is allowed: 500 panes of 100 decisions, C = 10,000.",
    "share of streams paged 0, 0 and at most .05",
)
def boundary_of_calibration(size: Size) -> Measured:
    """Measure A9."""
    slots, panes = (180, 500) if size is Size.FULL else (25, 300)
    shares = [float(np.isfinite(_ece(10, error, (slots, panes))).mean()) for error in (0.0, 0.03, 0.05)]
    figure = ", ".join(f"{share:.3f}" for share in shares)
    return Measured(f"{figure} of {slots} streams", shares[:2] == [0.0, 0.0] and shares[2] <= 0.05)


@acceptance(
    "A10",
    "A calibration error of .10 or .15 where .05 is allowed is found in a few hundred decisions, C = 10,000. The target is for "
    "the confidences of the notes, .88 in the mean; confidences spread evenly from .54 to .91 take longer, as the figure says.",
    "median of at most 1800 and 700 decisions, every stream found",
)
def miscalibration(size: Size) -> Measured:
    """Measure A10."""
    slots = 180 if size is Size.FULL else 25
    found = [_ece(11, error, (slots, 100), draw) for draw in (confident, doubtful) for error in (0.10, 0.15)]
    medians = [float(np.median(one)) for one in found]
    missed = int(sum(np.isinf(one).sum() for one in found[:2]))
    figure = f"{medians[0]:.0f} and {medians[1]:.0f}, {missed} of {2 * slots} not found; "
    figure += f"spread evenly {medians[2]:.0f} and {medians[3]:.0f}"
    return Measured(figure, medians[0] <= 1800 and medians[1] <= 700 and not missed)


def _p95_pages(seed: int, volume: float, bad: int, error: float, days: int) -> int:
    """Return the pages of 25 endpoints, `bad` of which have this calibration error and the others none."""
    endpoints, panes = 25, 144 * days
    options: dict[str, object] = {"endpoint": "segment.endpoint", "labels": {"maturity": "1h"}}
    of = Court(make_policy(P95, false_pages_per_year=1, **options), tuple(dumps([f"e{i}"]) for i in range(endpoints)))
    errors = np.where(np.arange(endpoints) < bad, error, 0.0)
    seen = decisions(np.random.default_rng(seed), volume, errors[None], (panes, endpoints))
    return len(of.judge(panes, seen.made(), seen.joined(1)).pages)


@acceptance(
    "A11",
    "The p95 of calibration error over 25 endpoints pages neither if all are calibrated nor if 4 % of them are bad (.12).",
    "0 pages in 60 days, at 2,160 labels of an endpoint a day, and with a bad one at 144",
)
def p95_of_calibration(size: Size) -> Measured:
    """Measure A11; the small form has 2 days."""
    days = 60 if size is Size.FULL else 2
    pages = [_p95_pages(12, volume, bad, 0.12, days) for volume, bad in ((15, 0), (15, 1), (1, 1))]
    return Measured(f"{sum(pages)} pages in {days} days of 3 simulations", not any(pages))


def _year(seed: int, slots: int, budget: float, hours: int) -> int:
    """Return the pages of streams whose rate is exactly what the target allows, 20 events an hour each."""
    of, rng = machine(RATE, slots, budget), np.random.default_rng(seed)
    panes = (_rate_pane(of, rng, slots) for _ in range(hours))
    return paged(of, slots, panes)[1]


def _rate_pane(of: Machine, rng: np.random.Generator, slots: int) -> Ints:
    n = rng.poisson(20, slots)
    return counted(of, {N: n, HIT: rng.binomial(n, LIMIT)})


@acceptance(
    "A19",
    "600 streams of one policy, each exactly at what its target allows, keep the year's budget of false pages.",
    "mean over seeds at most 1 page a year, which is the budget",
)
def year(size: Size) -> Measured:
    """Measure A19; the small form has 60 streams for 90 days and a budget that would be 10 pages in that time."""
    if size is Size.FULL:
        pages = [_year(seed, 600, 1.0, 8766) for seed in range(4)]
        return Measured(f"mean {np.mean(pages):.2f} ({_listed(pages)} in 4 seeds)", float(np.mean(pages)) <= 1)
    pages, allowed = [_year(seed, 60, 40.0, QUARTER) for seed in range(2)], 40.0 * QUARTER / 8766
    figure = f"mean {np.mean(pages):.1f} of {allowed:.1f} allowed ({_listed(pages)})"
    return Measured(figure, 0 < float(np.mean(pages)) <= allowed)


def _listed(counts: list[int]) -> str:
    return ", ".join(map(str, counts))
