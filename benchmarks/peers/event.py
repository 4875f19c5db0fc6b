"""What the peers read of an event: the same fields that a worker's columns are made of, typed, by the fastest decoder there is."""

import msgspec


class Event(msgspec.Struct):
    """A prediction of 20 features."""

    event_id: str
    ts: int
    model: str
    model_version: str
    segment: dict[str, str]
    features: dict[str, float | str]
    score: float
    decision: str


decode = msgspec.json.Decoder(Event).decode
