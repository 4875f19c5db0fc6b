"""What the emitter's tests send."""

from typing import Any

PREDICTION: dict[str, Any] = {
    "event_id": "e1",
    "model": "claims",
    "ts": 1_700_000_000_000,
    "model_version": "2.3",
    "segment": {"tenant": "acme"},
    "features": {"amount": 12.5, "code": "A\n1", "age": None},
    "score": 0.25,
    "decision": "pay",
    "route": "automatic",
}
