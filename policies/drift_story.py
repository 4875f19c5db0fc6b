"""What a verdict on drift tells: per stream since when, how its values changed, how large the difference is."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.drift import MISSING, NEW, Alternative, Bins
from interlock.detectors.effect_sizes import effect_sizes, psi
from interlock.policies.context import Context
from interlock.policies.scalars import HOUR
from interlock.records import State, Verdict

OTHERS = 10
"""Streams without evidence that a verdict shows, the largest PSI first."""
OF_A_SLICE = 3
NAMED = 5
"""Unseen values that a sentence names."""

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(slots=True)
class Drift:
    """A stream that was found: since which pane, found in which, last warned of in which, and by what.

    `m` is the evidence by which it was found; it is cleared after `hold` panes of its own without a warning, `clear` so far.
    """

    since: int
    found: int
    last: int
    best: Alternative
    m: float
    hold: int
    clear: int = 0

    @classmethod
    def restored(cls, fields: Sequence[Any]) -> "Drift":
        """Return a drift from its plain fields."""
        since, found, last, best, m, hold, clear = fields
        return cls(since, found, last, Alternative(*best), m, hold, clear)


@dataclass(frozen=True, slots=True)
class Streams:
    """All streams of a slot: M float64[F]; counts int64[F, B] since evidence began, of the window, of the reference.

    `blind`: streams whose reference is too small, for how much its counts vary, to prove any alternative.
    """

    context: Context
    streams: Sequence[Bins]
    m: Floats
    begun: Ints
    recent: Ints
    reference: Ints
    drifts: Mapping[int, Drift]
    causes: Mapping[str, object]
    accepted: Sequence[Mapping[str, object]]
    n: int
    threshold: float
    blind: Sequence[str]


def evidence(told: Streams, state: State) -> dict[str, object]:
    """Return the evidence of a verdict: drifted streams first, then those with the largest PSI."""
    width = told.context.pane_ms
    found: dict[str, object] = {
        "log_e": _log(float(told.m.max(initial=0.0))),
        "log_e_page": _log(told.threshold),
        "watched": len(told.streams),
        "streams": [_drifted(told, f, drift, width) for f, drift in told.drifts.items()] + _others(told),
        **told.causes,
    }
    if told.blind:
        found["blind"] = list(told.blind)
    if told.accepted:
        found["accepted"] = list(told.accepted)
    reason = _missing(told, state)
    return found | ({"reason": reason} if reason else {})


def _log(m: float) -> float | None:
    return math.log(m) if m > 0 else None


def _drifted(told: Streams, stream: int, drift: Drift, width: int) -> dict[str, object]:
    bins, counts = told.streams[stream], told.begun[stream]
    return {
        "stream": bins.name,
        "drifted": True,
        "says": says(drift.best, bins, counts, told.causes),
        "since": drift.since * width,
        "found": (drift.found + 1) * width,
        "warned": (drift.last + 1) * width,
        "log_e": _log(drift.m),
        "clear": drift.clear,
        "hold": drift.hold,
        **_sizes(bins, counts, width),
    }


def _others(told: Streams) -> list[dict[str, object]]:
    """Return the streams without drift that differ most; of a slice fewer, since there may be thousands."""
    rest = [f for f in range(len(told.streams)) if f not in told.drifts and told.recent[f].any()]
    differ = psi(told.recent[rest], told.reference[rest]).tolist()
    most = OTHERS if told.context.cap == 0 else OF_A_SLICE
    ranked = sorted(zip(differ, rest, strict=True), key=lambda one: (-one[0], told.streams[one[1]].name))
    return [
        {
            "stream": told.streams[f].name,
            "drifted": False,
            "log_e": _log(float(told.m[f])),
            **_sizes(told.streams[f], told.recent[f], told.context.pane_ms),
        }
        for _, f in ranked[:most]
    ]


def _sizes(bins: Bins, counts: Ints, width: int) -> dict[str, object]:
    """Return effect sizes against the reference of all hours; `cycle` says where evidence is against that of each hour."""
    known = counts[: len(bins.counts)]
    sizes: dict[str, object] = {"n": int(known.sum()), "dispersion": bins.phi}
    if bins.hours is not None and width <= HOUR:
        sizes |= {"dispersion": bins.hours.phi, "cycle": f"{len(bins.hours.counts)}h"}
    return sizes | effect_sizes(known, np.array(bins.counts, np.int64), bins.centres)


def marked(pairs: Iterable[tuple[int, int]], shape: tuple[int, ...]) -> Mask:
    """Return which (slot, stream) pairs there are, bool[S, F]."""
    found = np.zeros(shape, np.bool_)
    for pair in pairs:
        found[pair] = True
    return found


def hour_of(pane: int, width: int) -> int | None:
    """Return the hour since 1970 in which a pane of `width` ms begins; None of one wider than an hour."""
    return pane * width // HOUR if width <= HOUR else None


def says(best: Alternative, bins: Bins, counts: Ints, causes: Mapping[str, object]) -> str:
    """Return an alternative as a sentence, with the shares that were counted."""
    if best.kind == "location":
        return f"location {best.size:+g} sd"
    if best.kind == "scale":
        return f"spread x{best.size:g}"
    share = _percent(counts[best.bin] / max(int(counts.sum()), 1))
    was, label = _percent(bins.counts[best.bin] / max(bins.rows, 1)), bins.labels[best.bin]
    if best.bin in (MISSING, NEW):
        names = _unseen(bins, causes) if best.bin == NEW and not bins.ordered else ""
        return f"{share} {label}{names} (reference {was})"
    return f"{share} of the mass in {label} (reference {was})"


def _percent(share: float) -> str:
    return f"{100 * share:.2g} %" if share < 0.995 else "100 %"  # noqa: PLR2004 - two digits would show 1e+02


def _unseen(bins: Bins, causes: Mapping[str, object]) -> str:
    """Return the values of a feature that no reference row had, as the causes name them."""
    start = f"{bins.name.removeprefix('features.')}="
    told = causes.get("causes")
    reasons = [str(one["reason"]) for one in told] if isinstance(told, list) else []
    named = [reason.removeprefix(start) for reason in reasons if reason.startswith(start)][:NAMED]
    return f": {', '.join(named)}" if named else ""


def _missing(told: Streams, state: State) -> str | None:
    """Return what a verdict lacks, in words."""
    if not told.context.learned.reference_id:
        return "no reference: what values were like before is not known"
    if not told.streams:
        return "the reference has no bins of drift: an older `interlock fit` wrote it; fit it again"
    words = {
        "no_data": "no predictions of the reference's model in the time that counts",
        "unidentified": "too often it could not be decided whether an event counts (fields are missing, or of another kind)",
        "insufficient": f"{told.n} events of {told.context.slo.least_events}",
    }
    if len(told.blind) == len(told.streams):
        words["unidentified"] = "the reference is too small, for how much it varies, to prove a change of any stream"
    return words.get(state)


def sentence(verdict: Verdict, *, cleared: bool) -> str:
    """Return one line on why a ticket opens, changes or closes."""
    where = ", ".join(verdict.scope.values()) or "the whole model"
    if cleared:
        return f"{verdict.slo}: no stream of {where} has fresh evidence of drift, or what drifted is accepted"
    listed = verdict.evidence["streams"]
    found = [one for one in listed if one["drifted"]] if isinstance(listed, list) else []
    shown = "; ".join(f"{one['stream']}: {one['says']}" for one in found[:NAMED])
    more = f" and {len(found) - NAMED} more" if len(found) > NAMED else ""
    return f"{verdict.slo}: {len(found)} drifted in {where}: {shown}{more}"
