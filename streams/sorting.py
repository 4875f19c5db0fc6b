"""`--sort`: the events of one topic in the order of their time, whatever order its files have."""

from collections.abc import Iterable, Iterator
from typing import TypeVar

import numpy as np

from interlock.streams.batch import AbuseReports, Chunk, DeadLetter, Outcomes, Predictions
from interlock.streams.decode import Decoder
from interlock.streams.decode_concat import concat

B = TypeVar("B", Predictions, Outcomes, AbuseReports)

ROWS = 8192
"""Rows of a sorted batch; no result depends on it."""


def in_order(chunks: Iterable[Chunk], decode: Decoder[B]) -> Iterator[tuple[B, list[DeadLetter]]]:
    """Yield all events of a topic by `ts`, events of equal `ts` in the order given, after reading all of them.

    Decoded columns are sorted, not files, so that every format and every way to write a time is ordered alike. They are
    held in memory, twice while they are put together: some hundred bytes an event, its texts included. Dead letters
    have no time; they come first, in the order given. Offsets stay those of the files.
    """
    batches: list[B] = []
    dead: list[DeadLetter] = []
    for chunk in chunks:
        batch, letters = decode(chunk)
        batches.append(batch)
        dead += letters
    if not batches:
        return
    whole = concat(batches)
    del batches
    order = np.argsort(whole.ts, kind="stable")
    for start in range(0, max(len(order), 1), ROWS):
        yield whole.take(order[start : start + ROWS]), dead if start == 0 else []
