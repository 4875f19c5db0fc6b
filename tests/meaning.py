"""Streams and policies for tests of the means: losses, errors, numbers of a field."""

import json
from typing import Any

import numpy as np

from tests.labelling import Two
from tests.replaying import Event, Ran

EVENTS = 1200
TARGETS: dict[str, Event] = {
    "brier": {"target": "<= 0.25"},
    "log_loss": {"target": "<= 0.7"},
    "auroc": {"target": ">= 0.6"},
    "mae": {"target": "<= 5", "cap": 50},
    "rmse": {"target": "<= 6", "cap": 20},
    "mean": {"target": "<= 12", "field": "features.amount", "range": [0, 100]},
}
LABELLED = ("brier", "log_loss", "auroc")
NUMERIC = ("mae", "rmse")


def policy(*names: str, **more: Any) -> str:
    """A policy of some SLOs with windows of 6 h, judged on predictions that are an hour old."""
    basis = {"objective": "o", "window": "6h", "action_on_breach": "notify"}
    basis |= more
    slos = [{"name": f"{name}_{basis['window']}", **TARGETS[name], **basis} for name in names]
    return json.dumps({"model": "m", "labels": {"maturity": "1h", "join_ttl": "1d"}, "slos": slos})


def final(ran: Ran, name: str, window: str = "6h") -> Event:
    """The last verdict of an SLO."""
    return [verdict for verdict in ran.lines("verdicts") if verdict["slo"] == f"{name}_{window}"][-1]


def draws(seed: int = 1) -> np.random.Generator:
    """Random numbers, the same for every test that asks for this seed."""
    return np.random.default_rng(seed)


def scored(sharp: float) -> Two:
    """Half of the labels are positive; scores are beta around them, the sharper the further apart; after 600: flipped."""
    rng, y = draws(), draws(2).random(EVENTS) < 0.5

    def event(i: int) -> tuple[Event, Event]:
        score = float(rng.beta(2 * sharp, 2) if y[i] else rng.beta(2, 2 * sharp))
        return {"score": score}, {"label": bool(y[i]) ^ (i > 600 and sharp < 3)}

    return event


def guessed(after: float) -> Two:
    """Numbers around 50; errors have a standard deviation of 4, and of `after` from the 600th on; amounts follow."""
    rng = draws(3)

    def event(i: int) -> tuple[Event, Event]:
        error = rng.normal(0, after if i > 600 else 4.0)
        amount = abs(rng.normal(0, after if i > 600 else 4.0)) + 5
        return {"prediction": 50.0, "features": {"amount": float(amount)}}, {"label": 50.0 + float(error)}

    return event
