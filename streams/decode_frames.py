"""Arrow IPC messages into record batches: checked in full before anything reads them."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.ipc
from numpy.typing import NDArray

from interlock.streams.batch import DeadLetter, Frame, Message
from interlock.streams.decode_arrow_read import Table, times
from interlock.streams.decode_dead import Bad, Where, letter


class _Piece(NamedTuple):
    """One record batch of one message; `start` is the index of its first event there."""

    batch: pa.RecordBatch
    message: Message
    start: int


def where_of_frame(frame: Frame, topic: str) -> Where:
    """Return where the events of a stretch of a file stand; its column `appended_at` wins over the run's start."""
    rows = frame.batch.num_rows
    appended = np.full(rows, frame.appended, dtype=np.int64)
    if "appended_at" in frame.batch.schema.names:
        own = times(Table(frame.batch), "appended_at", {}, required=False)
        appended = np.where(own > 0, own, appended)
    offsets = np.arange(frame.offset, frame.offset + rows, dtype=np.int64)
    return Where(topic, offsets, np.zeros(rows, dtype=np.int32), appended)


def frames_of_messages(
    messages: Iterable[Message], topic: str
) -> tuple[list[tuple[pa.RecordBatch, Where]], list[DeadLetter]]:
    """Return the batches, neighbours of one schema joined, with where their events stand; and what is cut or broken.

    A message that breaks off gives its whole batches, and one dead letter for the rest.
    """
    pieces: list[_Piece] = []
    dead = []
    for message in messages:
        fault, rows = _read(message, pieces)
        if fault is not None:
            dead.append(letter(topic, (message.offset, rows), fault, message.value))
    return [_join(run, topic) for run in _runs(pieces)], dead


def _read(message: Message, pieces: list[_Piece]) -> tuple[Bad | None, int]:
    rows = 0
    try:
        with pa.ipc.open_stream(message.value) as stream:
            if not (pieces and pieces[-1].batch.schema.equals(stream.schema)):  # else its names were looked at
                _decode_names(list(stream.schema))
            for batch in stream:
                batch.validate(full=True)
                pieces.append(_Piece(batch, message, rows))
                rows += batch.num_rows
    except (pa.ArrowException, OSError, ValueError, KeyError) as error:
        text = str(error)
        reason = "not_utf8" if isinstance(error, UnicodeDecodeError) or "UTF8" in text else "truncated_frame"
        return Bad(reason, f"$: expected an Arrow IPC stream, which broke off after {rows} events: {text}"), rows
    return None, rows


def _decode_names(fields: Iterable[Any]) -> None:
    """Raise UnicodeDecodeError where the name of a column, or of a member, is not UTF-8."""
    for field in fields:
        field.name.encode()
        _decode_names(field.type if pa.types.is_struct(field.type) else ())


def _runs(pieces: list[_Piece]) -> list[list[_Piece]]:
    runs: list[list[_Piece]] = []
    for piece in pieces:
        if runs and runs[-1][-1].batch.schema.equals(piece.batch.schema):
            runs[-1].append(piece)
        else:
            runs.append([piece])
    return runs


def _join(run: list[_Piece], topic: str) -> tuple[pa.RecordBatch, Where]:
    counts = [piece.batch.num_rows for piece in run]
    index = np.concatenate([np.arange(piece.start, piece.start + piece.batch.num_rows) for piece in run])
    where = Where(
        topic,
        _repeat([piece.message.offset for piece in run], counts),
        index.astype(np.int32),
        _repeat([piece.message.appended for piece in run], counts),
    )
    return (run[0].batch if len(run) == 1 else _one_batch([piece.batch for piece in run])), where


def _one_batch(batches: list[pa.RecordBatch]) -> pa.RecordBatch:
    joined: Any = pa
    whole: pa.RecordBatch = joined.concat_batches(batches)
    return whole


def _repeat(values: list[int], counts: list[int]) -> NDArray[np.int64]:
    return np.repeat(np.array(values, dtype=np.int64), counts)
