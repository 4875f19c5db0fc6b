"""A reference and traffic of a claims model whose amounts, codes and answers drift for a while, for tests of drift."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any

import msgspec
import numpy as np

from interlock.records import Control, Verdict
from interlock.streams.batch import Lines
from interlock.streams.fit import learn
from interlock.streams.fit_files import feature_names, gather
from interlock.streams.reference import Reference
from tests.events import HOUR, START, History

POLICY = """
model: claims
lateness: 5m
false_pages_per_year: 1
slices: [{by: [tenant], max: 3}]
%s
slos:
- {name: drift_24h, objective: o, target: "== 0", window: 24h, action_on_breach: notify, severity: ticket%s}
"""


@dataclass(frozen=True)
class Traffic:
    """How many predictions in how many hours; between `hours` of `drift`, amounts shift by `shift` sd and codes are new.

    Amounts rise and fall by `swing` sd with the hour of the day.
    """

    seed: int
    rows: int = 3000
    hours: int = 30
    drift: tuple[int, int] = (10, 20)
    shift: float = 0.0
    new: float = 0.0
    gone: bool = False
    start: int = START
    swing: float = 0.0


def predictions(traffic: Traffic) -> list[dict[str, Any]]:
    """Return the events, in order of time."""
    rng, t = np.random.default_rng(traffic.seed), traffic
    ts = np.sort(rng.integers(0, t.hours * HOUR, t.rows))
    inside = (ts >= t.drift[0] * HOUR) & (ts < t.drift[1] * HOUR)
    amount = rng.standard_normal(t.rows) + t.shift * inside
    amount += t.swing * np.sin(2 * np.pi * ((ts + t.start) / (24 * HOUR) % 1))
    code = np.where(
        inside & (rng.random(t.rows) < t.new), "ZX-9", rng.choice(list("abcd"), t.rows, p=[0.5, 0.3, 0.15, 0.05])
    )
    tenant, paid, score = rng.choice(["acme", "zen"], t.rows), rng.random(t.rows) < 0.6, rng.beta(2, 2, t.rows).round(4)
    made = []
    for i in range(t.rows):
        features = {"amount": float(amount[i]), "code": str(code[i]), "flat": 1.0}
        if t.gone and inside[i]:
            del features["amount"]
        made.append({
            "event_id": f"e-{t.start}-{i}", "ts": int(ts[i]) + t.start, "model": "claims", "score": float(score[i]),
            "segment": {"tenant": str(tenant[i])}, "features": features, "prediction": "pay" if paid[i] else "deny",
        })  # fmt: skip
    return made


def history(events: Sequence[dict[str, Any]], hours: int = 40) -> History:
    """Return events as a history of predictions alone."""
    return History([msgspec.json.encode(event) for event in events], [], START + hours * HOUR)


def fitted(events: Sequence[dict[str, Any]]) -> Reference:
    """Return the reference of events."""
    chunk = Lines([msgspec.json.encode(event) for event in events], 0, 0)
    return learn(gather(feature_names([chunk]), [chunk], []).rows, 0.01)


@cache
def reference() -> Reference:
    """Return what quiet traffic looks like: 6000 rows of the days before."""
    return fitted(predictions(Traffic(99, rows=6000, hours=60, start=START - 100 * HOUR)))


def verdicts(lines: bytes) -> list[Verdict]:
    """Return verdicts from their lines."""
    return [Verdict.model_validate_json(line) for line in lines.splitlines()]


def controls(lines: bytes) -> list[Control]:
    """Return controls from their lines."""
    return [Control.model_validate_json(line) for line in lines.splitlines()]


def drifted(verdict: Verdict) -> dict[str, dict[str, Any]]:
    """Return the streams of a verdict that drifted, by name."""
    return {one["stream"]: one for one in verdict.evidence["streams"] if one["drifted"]}
