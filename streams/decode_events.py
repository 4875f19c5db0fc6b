"""One event out of the message that it came in: as it was sent, to be sent again or looked at."""

from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.ipc

from interlock.protocol import ARROW, JSON
from interlock.streams.batch import Message
from interlock.streams.decode import sniff
from interlock.streams.decode_arrow import row_json
from interlock.streams.decode_json import split


class Event(NamedTuple):
    """An event as a message of its own, `value` under `content_type`; `shown` are the bytes that a dead letter shows of it."""

    value: bytes
    content_type: str | None
    shown: bytes


def event_of(message: Message, index: int) -> Event | None:
    """Return the event at a place in its message; None where there is none, as in a frame that broke off before it.

    A message of an unknown content type is one event, and loses that type.
    """
    kind = sniff(message)
    if kind == "arrow":
        return _of_frame(message.value, index)
    if kind == "unknown":
        return Event(message.value, None, message.value)
    texts = split(message)
    return Event(texts[index], JSON, texts[index]) if index < len(texts) else None


def _of_frame(value: bytes, index: int) -> Event | None:
    ipc: Any = pyarrow.ipc
    try:
        with ipc.open_stream(value) as stream:
            for batch in stream:
                if index < batch.num_rows:
                    return Event(_one_row(batch.slice(index, 1)), ARROW, row_json(batch, index))
                index -= batch.num_rows
    except (pa.ArrowException, OSError, ValueError, KeyError):
        return None
    return None


def _one_row(batch: pa.RecordBatch) -> bytes:
    ipc: Any = pyarrow.ipc
    sink: Any = pa.BufferOutputStream()
    with ipc.new_stream(sink, batch.schema) as stream:
        stream.write_batch(batch)
    return bytes(sink.getvalue())
