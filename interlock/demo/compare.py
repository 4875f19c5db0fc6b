"""Is what was said live what a replay says? Verdicts to the byte; controls but for the time at which they were issued."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SHOWN = 100
"""Characters of a record in the line of a difference."""


@dataclass(frozen=True, slots=True)
class Compared:
    """How many are equal, what differs (a line each), and how many verdicts only the end of the files brought about."""

    verdicts: int
    controls: int
    differences: Sequence[str]
    beyond: int


def compare(live: Mapping[str, Iterable[bytes]], replayed: Path, judged: int) -> Compared:
    """Compare the records of `verdicts` and `control` with a replay's folder, up to the event time (ms) judged live.

    Of a control counts what its pane said; a never-event's first word, ahead of its pane, names no verdict.
    """
    said = set(live["verdicts"])
    told = {line: json.loads(line)["ts"] for line in _lines(replayed / "verdicts.jsonl")}
    due = {line for line, ts in told.items() if ts <= judged}
    found = _controls(live["control"])
    expected = {name: one for name, one in _controls(_lines(replayed / "control.jsonl")).items() if one["ts"] <= judged}
    wrong = sorted(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
    differences = [
        *(f"verdict, live only: {_shown(line)}" for line in sorted(said - told.keys())),
        *(f"verdict, replay only: {_shown(line)}" for line in sorted(due - said)),
        *(
            f"control {name} is {_state(found.get(name))} live, {_state(expected.get(name))} in the replay"
            for name in wrong
        ),
    ]
    return Compared(len(said & told.keys()), len(found), differences, len(told.keys() - due - said))


def _lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines()


def _controls(lines: Iterable[bytes]) -> dict[str, dict[str, Any]]:
    """Return the transitions of controls by name, without what differs by its nature."""
    found = [json.loads(line) for line in lines]
    return {
        f"{one['control_id']}/{one['epoch']}/{one['state']}": {key: one[key] for key in one if key != "issued_at"}
        for one in found
        if one["verdict_id"]
    }


def _shown(line: bytes) -> str:
    text = line.decode("utf-8", "replace")
    return text if len(text) <= SHOWN else f"{text[:SHOWN]}…"


def _state(control: Mapping[str, Any] | None) -> str:
    return "missing" if control is None else _shown(json.dumps(control).encode())
