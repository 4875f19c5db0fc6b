"""Streams and references for tests of what performance would be if only the inputs had changed."""

from collections.abc import Callable, Sequence
from dataclasses import replace

import msgspec
import numpy as np
from numpy.typing import NDArray

from interlock.streams.batch import Lines, Wanted
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.fit import learn
from interlock.streams.fit_rows import RowGatherer
from interlock.streams.reference import Reference
from tests.events import HOUR, START, History
from tests.replaying import Event
from tests.test_laws import SECRET

Floats = NDArray[np.float64]
Say = Callable[[float, bool], tuple[Event, object]]
"""What an event says of a score whose positive label came, or not, and what its label is."""

FIELDS = frozenset({"features.amount", "prediction"})


def binary(p: float, y: bool) -> tuple[Event, object]:
    """Return a score with its class."""
    return {"score": p, "prediction": p >= 0.5}, y


def words(p: float, y: bool) -> tuple[Event, object]:
    """Return the likeliest of three words with its probability, which is right if y."""
    return {"probabilities": {"cat": p, "dog": (1 - p) / 2, "bird": (1 - p) / 2}}, "cat" if y else "dog"


def told(scores: Floats, came: NDArray[np.bool_], hours: int, say: Say = binary) -> History:
    """Return events evenly spread over some hours, with labels 40 minutes later."""
    step, made, said = hours * HOUR // len(scores), [], []
    for i, (p, y) in enumerate(zip(np.round(scores, 6).tolist(), came.tolist(), strict=True)):
        states, label = say(p, y)
        name, ts = {"event_id": f"e{i:06d}"}, START + i * step
        about = {"ts": ts, "model": "claims", "model_version": "1", "features": {"amount": float(i % 50)}}
        tenant = {"segment": {"tenant": ("acme", "zen", "solo", "duo", "rest")[i % 7 % 5]}}
        made.append(msgspec.json.encode(name | about | tenant | states))
        said.append(msgspec.json.encode(name | {"ts": ts + 40 * 60_000, "label": label}))
    return History(made, said, START + (hours + 10) * HOUR)


def fitted(events: History) -> Reference:
    """Return the reference of a history."""
    gatherer = RowGatherer(["amount"])
    gatherer.predictions(prediction_decoder(Wanted(paths=FIELDS), SECRET)(Lines(events.predictions, 0, events.end))[0])
    gatherer.outcomes(outcome_decoder(SECRET)(Lines(events.outcomes, 0, events.end))[0])
    return learn(gatherer.rows(), 0.01)


def unfitted(reference: Reference) -> Reference:
    """Return what the reference was before it knew calibration."""
    return replace(reference, reliability=None)


def policy(slos: Sequence[str], labels: str = "") -> str:
    """Return a policy of some SLOs, each as YAML without its braces, objective, window and action."""
    same = "objective: o, window: 6h, action_on_breach: notify"
    written = "\n".join(f"- {{{slo}, {same}}}" for slo in slos)
    return (
        "model: claims\nlateness: 5m\nfalse_pages_per_year: 100\nslices: [{by: [tenant], max: 3}]\n"
        f"labels: {{join_ttl: 2d, orphan_ttl: 30m, maturity: 3h{labels}}}\nslos:\n{written}\n"
    )
