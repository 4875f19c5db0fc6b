"""Streams of predictions and labels for tests of the ratios of labels: one a minute, with errors as told."""

import json
from collections.abc import Callable
from pathlib import Path

from tests.replaying import Event, Ran, outcome, prediction, replay_lines

Two = Callable[[int], tuple[Event, Event | None]]
"""What event i changes of a prediction, and of its outcome; no outcome at all where that is None."""

TARGETS = {
    "accuracy": ">= 0.9",
    "precision": ">= 0.9",
    "recall": ">= 0.9",
    "false_positive_rate": "<= 0.1",
    "false_negative_rate": "<= 0.1",
    "label_coverage": ">= 0.9",
}
OF_CLASS = ("precision", "recall", "false_positive_rate", "false_negative_rate")


def policy(*names: str, labels: str = "", head: str = "", **more: object) -> str:
    """A policy of some SLOs with windows of 6 h, judged on predictions that are an hour old."""
    slos = [
        {"name": f"{name}_6h", "objective": "o", "target": TARGETS[name], "window": "6h", "action_on_breach": "notify"}
        for name in names
    ]
    written = "\n".join(f"- {json.dumps(slo | more)}" for slo in slos)
    return f"model: m\n{head}labels: {{maturity: 1h, join_ttl: 1d{labels}}}\nslos:\n{written}\n"


def replayed(folder: Path, text: str, event: Two, events: int = 1200) -> Ran:
    """Replay one prediction a minute, and their outcomes ten minutes later."""
    folder.mkdir(exist_ok=True)
    told = [event(i) for i in range(events)]
    made = [prediction(i, **changes) for i, (changes, _) in enumerate(told)]
    said = [outcome(i, **changes) for i, (_, changes) in enumerate(told) if changes is not None]
    return replay_lines(folder, made, said, text)


def final(ran: Ran, name: str) -> Event:
    """The last verdict of an SLO."""
    return [verdict for verdict in ran.lines("verdicts") if verdict["slo"] == f"{name}_6h"][-1]


def errors(*, positive: int = 0, negative: int = 0) -> Two:
    """Half of the events are said to be positive; from the 500th on one in so many of each half is labelled otherwise."""

    def event(i: int) -> tuple[Event, Event]:
        said = i % 2 == 0
        share = positive if said else negative
        return {"prediction": said}, {"label": said ^ bool(share and i > 500 and (i // 2) % share == 0)}

    return event


WORDS = ("cat", "dog", "bird")


def zoo(*, cats: int = 0, dogs: int = 0, field: str = "prediction") -> Two:
    """Three classes in turn; from the 500th on one in so many cats, or dogs, is a bird by its label."""

    def event(i: int) -> tuple[Event, Event]:
        word = WORDS[i % 3]
        share = {"cat": cats, "dog": dogs}.get(word, 0)
        said = {"prediction": word} if field == "prediction" else {"probabilities": {word: 0.6, "other": 0.4}}
        return said, {"label": "bird" if share and i > 500 and (i // 3) % share == 0 else word}

    return event
