"""What decoding costs: Interlock's decoder beside a bare one that gives the same columns and checks nothing.

Run `python benchmarks/decode.py`; prints microseconds per event for JSON lines and for Arrow.
"""

import json
import platform
import time
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from interlock.streams.batch import Frame, Lines, Wanted
from interlock.streams.decode import prediction_decoder

EVENTS = 98_304
CHUNK = 8192
BARE_CHUNK = 1024
"""The chunk at which the bare decoder is fastest: more of its objects do not stay in the cache."""
NUMBERS = tuple(f"n{place}" for place in range(10))
CATEGORIES = tuple(f"c{place}" for place in range(10))
VOCABULARY = {f"v{code}": code for code in range(30)}
WANTED = Wanted(NUMBERS, dict.fromkeys(CATEGORIES, VOCABULARY), frozenset({"segment.tenant", "decision"}))


def events(count: int = EVENTS) -> list[dict[str, Any]]:
    """Return predictions of about 386 bytes: 10 numbers, 10 categories, one slice key."""
    rng = np.random.default_rng(0)
    numbers = rng.normal(size=(count, 10)).round(4).tolist()
    codes = rng.integers(0, 30, size=(count, 10)).tolist()
    return [
        {
            "event_id": f"e-{row:09d}",
            "ts": 1_700_000_000_000 + row * 10,
            "model": "claims",
            "model_version": "3",
            "segment": {"tenant": f"t{row % 50}"},
            "features": dict(zip(NUMBERS, numbers[row], strict=True))
            | {name: f"v{code}" for name, code in zip(CATEGORIES, codes[row], strict=True)},
            "score": 0.5,
            "decision": "approve",
        }
        for row in range(count)
    ]


def lines_of(rows: Sequence[dict[str, Any]]) -> list[bytes]:
    """Return events as JSON texts."""
    return [json.dumps(row, separators=(",", ":")).encode() for row in rows]


class Bare:
    """The fastest bare decode found (generated Structs, attrgetter, dict look-ups): no checks, no slow path, no ids."""

    def __init__(self) -> None:
        number: list[Any] = [(name, float | None, None) for name in NUMBERS]
        text: list[Any] = [(name, str | None, None) for name in CATEGORIES]
        features = msgspec.defstruct("Features", number + text, gc=False)
        segment = msgspec.defstruct("Segment", [("tenant", str | None, None)], gc=False)
        scalar = str | float | bool | None
        fields: list[Any] = [
            ("event_id", str), ("ts", int), ("model", str), ("model_version", str, ""), ("segment", segment, None),
            ("features", features, None), ("score", float | None, None), ("decision", scalar, None),
        ]  # fmt: skip
        self._decode = msgspec.json.Decoder(msgspec.defstruct("Event", fields, gc=False)).decode
        self._numbers = attrgetter(*NUMBERS)
        self._texts = attrgetter(*CATEGORIES)
        self._top = attrgetter(*(field[0] for field in fields))

    def __call__(self, lines: Sequence[bytes]) -> list[Any]:
        top = list(zip(*map(self._top, map(self._decode, lines)), strict=True))
        ids, ts, models, versions, segments, features, scores, decisions = top
        matrix = np.array(list(map(self._numbers, features)), dtype=np.float64).T
        texts = zip(*map(self._texts, features), strict=True)
        codes = np.array([list(map(VOCABULARY.get, values)) for values in texts], dtype=np.int32)
        keys = [self._code(values) for values in (models, versions, [each.tenant for each in segments], decisions)]
        return [ids, np.array(ts), np.array(scores, dtype=np.float64), np.ascontiguousarray(matrix), codes, keys]

    def _code(self, values: Sequence[str]) -> Any:
        places = {value: place for place, value in enumerate(dict.fromkeys(values))}
        return np.array(list(map(places.__getitem__, values)), dtype=np.int32)


def bare_decode(lines: Sequence[bytes], chunk: int = BARE_CHUNK) -> int:
    """Decode all lines barely, chunk by chunk; return how many."""
    bare = Bare()
    return sum(len(bare(lines[start : start + chunk])[0]) for start in range(0, len(lines), chunk))


def our_decode(lines: list[bytes], chunk: int = CHUNK) -> int:
    """Decode all lines with Interlock's decoder; return how many."""
    decode = prediction_decoder(WANTED, b"key")
    chunks = (Lines(lines[start : start + chunk], start, 0) for start in range(0, len(lines), chunk))
    return sum(decode(each)[0].rows() for each in chunks)


def arrow_decode(batches: Sequence[pa.RecordBatch]) -> int:
    """Decode Arrow batches with Interlock's decoder; return how many events."""
    decode = prediction_decoder(WANTED, b"key")
    return sum(decode(Frame(batch, 0, 0))[0].rows() for batch in batches)


def best(run: Callable[[], int], repeats: int = 5) -> float:
    """Return the best time in microseconds per event."""
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        count = run()
        times.append((time.perf_counter() - start) / count * 1e6)
    return min(times)


def main() -> None:
    """Print the figures."""
    rows = events()
    lines = lines_of(rows)
    frames = [pa.RecordBatch.from_pylist(rows[start : start + CHUNK]) for start in range(0, len(rows), CHUNK)]
    size = sum(map(len, lines)) / len(lines)
    bare = best(lambda: bare_decode(lines))
    ours = best(lambda: our_decode(lines))
    arrow = best(lambda: arrow_decode(frames))
    print(
        f"{platform.processor() or platform.machine()}, Python {platform.python_version()}; {size:.0f} bytes an event"
    )
    print(f"JSON, bare        {bare:6.2f} us/event")
    print(f"JSON, Interlock   {ours:6.2f} us/event   {ours / bare:.2f} x bare")
    print(f"Arrow, Interlock  {arrow:6.2f} us/event")


if __name__ == "__main__":
    main()
