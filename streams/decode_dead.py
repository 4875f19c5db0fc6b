"""Why an event cannot be read: stable reasons, and the dead letter that keeps it."""

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.streams.batch import DeadLetter

REASONS = (
    "not_json",
    "not_utf8",
    "wrong_type",
    "missing_field",
    "bad_ts",
    "out_of_range",
    "too_large",
    "future_ts",
    "ancient_ts",
    "truncated_frame",
    "empty_id",
    "bad_content_type",
)
"""Codes that decoding gives; the shard adds its own, such as `future_ts`."""

RAW_BYTES = 4096


class Bad(Exception):  # noqa: N818 - caught where it is decided, never shown
    """One event cannot be read: `reason` is one of REASONS, `detail` one line with the JSON path."""

    def __init__(self, reason: str, detail: str) -> None:
        """Keep both."""
        super().__init__(reason, detail)
        self.reason = reason
        self.detail = detail


@dataclass(frozen=True, slots=True)
class Where:
    """Where events stand: topic; per event the message's offset, the position inside it and the append time (ms)."""

    topic: str
    offset: NDArray[np.int64]
    index: NDArray[np.int32]
    appended: NDArray[np.int64]

    def part(self, start: int, end: int) -> "Where":
        """Return where the events from `start` to before `end` stand."""
        return Where(self.topic, self.offset[start:end], self.index[start:end], self.appended[start:end])

    def take(self, rows: NDArray[np.bool_]) -> "Where":
        """Return where these events stand."""
        return Where(self.topic, self.offset[rows], self.index[rows], self.appended[rows])


Faults = dict[int, Bad]
"""Row -> why it cannot be read."""


def letters(where: Where, faults: Mapping[int, Bad], raw: Callable[[int], bytes]) -> list[DeadLetter]:
    """Return the dead letters of the faulty rows, in order; `raw(row)` is the event's bytes."""
    return [
        letter(where.topic, (int(where.offset[row]), int(where.index[row])), faults[row], raw(row))
        for row in sorted(faults)
    ]


def letter(topic: str, place: tuple[int, int], fault: Bad, raw: bytes) -> DeadLetter:
    """Return one dead letter; `place` is (offset, index)."""
    detail = " ".join(fault.detail.split())[:500]
    digest = hashlib.sha256(raw).hexdigest()
    return DeadLetter(topic, *place, fault.reason, detail, raw[:RAW_BYTES], len(raw), digest)


def blame(faults: Faults, rows: NDArray[np.bool_], fault: Callable[[int], Bad]) -> None:
    """Add a fault for every marked row that has none yet."""
    for row in np.flatnonzero(rows).tolist():
        if row not in faults:
            faults[row] = fault(row)


def embed(faults: Faults, inside: Faults, present: NDArray[np.bool_]) -> None:
    """Add the faults of embedded predictions, by their own rows, to those of the events that carry them, `present` bool[n]."""
    rows = np.flatnonzero(present).tolist()
    for row, fault in inside.items():
        faults.setdefault(rows[row], Bad(fault.reason, fault.detail.replace("$", "$.prediction", 1)))
