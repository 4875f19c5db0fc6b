"""Whether a stream's values still fall into bins as the reference's did: the Neyman-smooth Shiryaev-Roberts e-detector."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

MISSING, NEW, KNOWN = 0, 1, 2
"""Bins: no value; a value beyond the reference's range or vocabulary; from KNOWN on, those that the reference has."""
BINS = KNOWN + 16
ALTERNATIVES = 10 + 4 + 2 * BINS
"""Locations, scales and two spikes per bin: 46 for the 16 quantile bins of notes/detectors.md 2.8, 4 for the first two."""
LOCATIONS = (0.1, 0.25, 0.5, 1.0, 2.0)
"""Shifts in standard deviations of the normal scores, up and down."""
SCALES = (0.5, 0.75, 1.33, 2.0)
SPIKES = (0.04, 0.15)
"""Shares of all events that move into one bin."""
HALF = 0.5
"""What is left of one value of a category."""
SIGMAS = 3.0
"""How far, in standard errors, the truth may lie from the reference's counts."""
RARE = 25
"""Fewer rows in a bin say little: two more are supposed, instead of half of one."""
UNIT = 1 << 20
"""Log e-values are integers in 1/UNIT nat."""
MOST_NATS = 50.0
"""Largest log e-value of a pane; less is still valid."""
MOST_R = 1e100
LEAST_ROWS = 250
"""Rows of an hour's own reference; with fewer it could prove no shift of half a standard deviation."""
EXACT = 1 << 53
BLOCK = 1024
"""Slots taken at once, so that a block of R stays in the cache; no effect on results."""

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Hours:
    """The reference of a stream with a cycle by the hour of the day (C = 24) or of the week (C = 168), UTC.

    Hour c holds the times whose hours since 1970 leave c when divided by C. `counts`: C rows of K; `new`: by hour, a bound
    on the share of events in NEW; `phi`: of what the hours do not explain; `explained`: the share that they do.
    """

    counts: tuple[tuple[int, ...], ...]
    new: tuple[float, ...]
    phi: float
    explained: float


@dataclass(frozen=True)
class Bins:
    """One stream as the reference had it: `labels` and `counts` of its K bins, MISSING and NEW among them.

    `ordered`: the known bins lie in order of the values. `new`: a bound on the share of events in NEW. `phi` >= 1 is what
    counts are divided by. `centres` are the middles of the known bins, for distances. `hours`: if a cycle has its own.
    """

    name: str
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    ordered: bool
    new: float
    phi: float = 1.0
    centres: tuple[float, ...] = ()
    hours: Hours | None = None

    def each_hour(self) -> list["Bins"]:
        """Return the bins of each hour of the cycle, none without one; an hour with few rows has those of all hours."""
        if self.hours is None:
            return []
        return [
            replace(self, counts=counts, new=new, phi=self.hours.phi, hours=None) if sum(counts) >= LEAST_ROWS else self
            for counts, new in zip(self.hours.counts, self.hours.new, strict=True)
        ]

    @property
    def rows(self) -> int:
        """Rows of the reference."""
        return sum(self.counts)

    @cached_property
    def shares(self) -> Floats:
        """Return the null p0 float64[K]: a share per bin; NEW has its bound, thin bins are rounded up."""
        counts = np.array(self.counts, np.float64)
        supposed = counts + np.where(counts < RARE, 2.0, 0.5)
        supposed[NEW] = 0.0
        shares: Floats = supposed / supposed.sum() * (1 - self.new)
        shares[NEW] = self.new
        return shares


@dataclass(frozen=True, slots=True)
class Alternative:
    """One way to drift: `kind` is `location`, `scale`, `more` or `less`, `size` how much, `bin` where."""

    kind: str
    size: float
    bin: int = -1


def alternatives(bins: Bins) -> list[tuple[Alternative, Floats]]:
    """Return at most J = 50 alternatives with their shares float64[K] (notes/detectors.md 2.8; Neyman 1937, smooth tests)."""
    shares, found = bins.shares, list[tuple[Alternative, Floats]]()
    if bins.ordered and len(shares) > KNOWN + 1:
        found += _tilts(shares)
    for place in range(len(shares)):
        for size in SPIKES:
            found.append((Alternative("more", size, place), (1 - size) * shares + size * np.eye(len(shares))[place]))
    if not bins.ordered:
        for place in range(KNOWN, len(shares)):
            left = shares.copy()
            left[place] *= HALF
            found.append((Alternative("less", HALF, place), left / left.sum()))
    return found[:ALTERNATIVES]


def normal_scores(shares: Floats) -> Floats:
    """Return 256 normal scores per known bin, float64[K - 2, 256]: tilts integrate over them."""
    known = shares[KNOWN:] / shares[KNOWN:].sum()
    ends = np.concatenate([[0.0], np.cumsum(known)[:-1]])
    within = (np.arange(256) + 0.5) / 256
    scores: Floats = ndtri(np.clip(ends[:, None] + known[:, None] * within, 1e-7, 1 - 1e-7))
    return scores


def _tilts(shares: Floats) -> list[tuple[Alternative, Floats]]:
    z = normal_scores(shares)
    shifts = [d for size in LOCATIONS for d in (size, -size)]
    found = [(Alternative("location", d), np.exp(d * z - d * d / 2)) for d in shifts]
    found += [(Alternative("scale", s), np.exp(-z * z / 2 * (1 / s**2 - 1)) / s) for s in SCALES]
    return [(named, _tilted(shares, factor.mean(axis=1))) for named, factor in found]


def _tilted(shares: Floats, factor: Floats) -> Floats:
    """Return shares whose known bins have been tilted; their mass, and the other bins, stay."""
    tilted = np.maximum(shares[KNOWN:] * factor, 1e-9)
    return np.concatenate([shares[:KNOWN], tilted / tilted.sum() * shares[KNOWN:].sum()])


@dataclass(frozen=True, slots=True)
class Design:
    """The evidence of one stream: alternatives, their weights float64[J], and what an event of a bin adds, int64[J, B].

    Coefficients are (ln(q/p0) - cost) / phi, rounded down. The cost ln(1 + z sd(q/p0) / sqrt(n/phi)) makes the factor's
    expectation at most 1 wherever the truth lies within z standard errors of the reference (notes/detectors.md 2.8); to
    divide by phi >= 1 keeps that (Jensen). An alternative that so small a reference could never prove is left out.
    """

    bins: Bins
    tried: tuple[Alternative, ...]
    weights: Floats
    coefficients: Ints
    by_hour: Ints
    """Of a stream with a cycle, for each hour int64[C, J, B]; what the hour's reference could never prove adds nothing in it."""

    @classmethod
    def of(cls, bins: Bins, sigmas: float = SIGMAS) -> "Design":
        """Return the design for a stream's bins."""
        tables = [_evidence(one, sigmas) for one in (bins, *bins.each_hour())]
        proven = np.any([table.any(axis=1) for table in tables], axis=0)
        tried = [named for (named, _), proves in zip(alternatives(bins), proven, strict=True) if proves]
        weights, coefficients = np.zeros(ALTERNATIVES), np.zeros((len(tables), ALTERNATIVES, BINS), np.int64)
        weights[: len(tried)] = 1 / max(len(tried), 1)
        for k, table in enumerate(tables):
            coefficients[k, : len(tried), : table.shape[1]] = table[proven]
        return cls(bins, tuple(tried), weights, coefficients[0], coefficients[1:])

    def at(self, hour: int | None) -> Ints:
        """Return what an event of a bin adds in an hour since 1970, int64[J, B]; None: compared with all hours."""
        return self.coefficients if hour is None or not len(self.by_hour) else self.by_hour[hour % len(self.by_hour)]


def _evidence(bins: Bins, sigmas: float) -> Ints:
    """Return the coefficients of every alternative, int64[J, K]; 0 for one that the reference could never prove."""
    p0, rows = bins.shares, []
    for _, q in alternatives(bins):
        ratio = q / p0
        sd = np.sqrt((p0 * (ratio - 1) ** 2).sum())
        gain = np.log(ratio) - np.log1p(sigmas * sd / np.sqrt(max(bins.rows, 1) / bins.phi))
        rows.append(np.floor(gain / bins.phi * UNIT) * float((q * gain).sum() > 0))
    return np.array(rows, np.int64).reshape(-1, len(p0))


def log_e(counts: Ints, coefficients: Ints) -> Floats:
    """Return the log e-values of S slots, float64[J, S] in 1/UNIT nat: whole numbers, whatever the batching.

    `counts` int64[S, B]. A float64 product is exact while no sum can reach 2**53; beyond, integers are multiplied.
    """
    n = int(counts.sum(axis=1).max(initial=0))
    if n * int(np.abs(coefficients).max()) < EXACT:
        exact: Floats = coefficients.astype(np.float64) @ counts.T.astype(np.float64)
        return exact
    limit = EXACT // (2 * BINS)
    clipped = np.array(coefficients.astype(object) @ counts.T.astype(object))  # rare, and never wraps
    bounded: Floats = np.clip(clipped, -limit, limit).astype(np.float64)
    return bounded


class DriftDetector:
    """R of S slots x F streams x J alternatives: R = (R + w) e at every pane with events; M is their sum.

    Under the null E[M] grows by at most 1 a pane, so P(M >= C by pane T) <= T / C, whatever the dependence between
    streams. Source: Shin, Ramdas and Rinaldo, "E-detectors", NEJSDS 2023.
    """

    def __init__(self, designs: Sequence[Design], slots: int) -> None:
        """Start without evidence."""
        self._designs = tuple(designs)
        self.m = np.zeros((slots, len(designs)))
        self._r = np.zeros((len(designs), ALTERNATIVES, slots))

    def step(self, counts: Ints, busy: Ints, hour: int | None = None) -> None:
        """Take in a pane: `counts` int64[S, F, B]; only the slots `busy`, ascending, had events; `hour` as in `Design.at`."""
        for f, design in enumerate(self._designs):
            for start in range(0, len(busy), BLOCK):
                self._step(f, design.at(hour), counts, busy[start : start + BLOCK])

    def _step(self, f: int, coefficients: Ints, counts: Ints, slots: Ints) -> None:
        whole = len(slots) and slots[-1] - slots[0] == len(slots) - 1
        rows: Any = slice(slots[0], slots[-1] + 1) if whole else slots
        e = log_e(np.ascontiguousarray(counts[rows, f]), coefficients)
        design = self._designs[f]
        used = len(design.tried)
        np.exp(np.minimum(e * (1 / UNIT), MOST_NATS), out=e)
        r = self._r[f][:used, rows]
        r = (r + design.weights[:used, None]) * e[:used]
        total = np.zeros(len(slots))
        for k in range(used):  # one by one: the same bits for any number of slots
            total += np.minimum(r[k], MOST_R, out=r[k])
        self._r[f][:used, rows] = r
        self.m[rows, f] = total

    def restart(self, slots: Ints, streams: Ints) -> None:
        """Let these pairs start anew."""
        self._r[streams, :, slots] = 0.0
        self.m[slots, streams] = 0.0

    def best(self, slot: int, stream: int) -> Alternative:
        """Return the alternative that has most evidence."""
        return self._designs[stream].tried[int(np.argmax(self._r[stream, : len(self._designs[stream].tried), slot]))]

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain arrays."""
        return {"m": self.m.copy(), "r": self._r.copy()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same designs and slots."""
        self.m, self._r = np.array(saved["m"], np.float64), np.array(saved["r"], np.float64)
