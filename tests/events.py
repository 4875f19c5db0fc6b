"""Histories of events for tests: made from a seed, with everything in them that a policy can object to."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import msgspec
import numpy as np

START = 1_790_000_000_000 - 1_790_000_000_000 % 86_400_000
HOUR = 3_600_000


@dataclass(frozen=True)
class History:
    """JSON events of each topic in order of arrival, and a time after all of them."""

    predictions: list[bytes] = field(repr=False)
    outcomes: list[bytes] = field(repr=False)
    end: int
    reports: list[bytes] = field(default_factory=list, repr=False)

    def shuffled(self, rng: np.random.Generator, within_ms: int) -> "History":
        """Move events in their order of arrival, none by more than this much event time."""

        def moved(lines: Sequence[bytes]) -> list[bytes]:
            times = np.array([msgspec.json.decode(line)["ts"] for line in lines])
            order = np.argsort(times + rng.integers(0, within_ms, len(times)), kind="stable")
            return [lines[place] for place in order]

        return History(moved(self.predictions), moved(self.outcomes), self.end, moved(self.reports))


def history(seed: int, hours: int, per_hour: int) -> History:
    """Return predictions with outcomes some 20 to 100 minutes later.

    Hours 10-13: one tenant's events are out of distribution, and the flag misses half of another's. Hours 20-25:
    scores point the wrong way. Hour 30: a never-event. One in fifty has no outcome; a few outcomes have no prediction.
    """
    rng = np.random.default_rng(seed)
    n = hours * per_hour
    at = np.sort(rng.integers(0, hours * HOUR, n)) + START
    made, said = [], []
    for i in range(n):
        event, outcome = _event(rng, i, int(at[i]))
        made.append(msgspec.json.encode(event))
        if rng.random() > 0.02:
            said.append(outcome)
    said += [{"event_id": f"nobody-{i}", "ts": START + i * 5 * HOUR + 77, "label": True} for i in range(hours // 5)]
    said.sort(key=lambda outcome: outcome["ts"])
    return History(made, [msgspec.json.encode(o) for o in said], START + hours * HOUR + 10 * HOUR)


def _event(rng: np.random.Generator, i: int, ts: int) -> tuple[dict[str, Any], dict[str, Any]]:
    hour = (ts - START) // HOUR
    tenant = ("acme", "zenith", "umbra", "delta", "solo")[int(rng.choice(5, p=[0.4, 0.3, 0.2, 0.07, 0.03]))]
    odd = rng.random() < (0.6 if tenant == "acme" and 10 <= hour < 14 else 0.02)
    missed = rng.random() < (0.6 if 14 <= hour < 18 else 0.02)
    p = float(np.round(rng.beta(2, 2), 4))
    true = p if not 20 <= hour < 26 else 0.5 - (p - 0.5) * 0.3
    event: dict[str, Any] = {
        "event_id": f"e-{i:06d}",
        "ts": ts,
        "model": "claims",
        "model_version": "2" if 20 <= hour < 26 else "1",
        "segment": {"tenant": tenant, "endpoint": "pay" if rng.random() < 0.6 else "hold"},
        "features": {"amount": float(np.round(rng.uniform(0, 890), 2))},
        "score": p,
        "decision": "deny" if p < 0.5 else "pay",
        "route": "automatic",
        "ood_score": 0.95 if (odd or (14 <= hour < 18 and rng.random() < 0.05)) and not missed else 0.1,
    }
    if i % 97 == 0:
        del event["features"]["amount"]
    if hour == 30 and i % 300 == 11:
        event |= {"decision": "deny", "features": {"amount": 950.0}}
    outcome = {
        "event_id": event["event_id"],
        "ts": ts + int(rng.integers(20 * 60_000, 100 * 60_000)),
        "label": bool(rng.random() < true),
        "confirmed_ood": bool(odd or (14 <= hour < 18 and missed and rng.random() < 0.3)),
    }
    return event, outcome
