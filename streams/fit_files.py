"""From chunks of files to the rows that a reference is learned from, in two passes: names first, then values."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass

import msgspec
import pyarrow as pa

from interlock.streams.batch import Chunk, DeadLetter, Frame, Lines, Wanted
from interlock.streams.decode import outcome_decoder, prediction_decoder
from interlock.streams.fit_rows import RowGatherer, Rows

_GROUP = "features"
ANSWERS = frozenset({"prediction", "decision"})
"""What a prediction says beside its score: dispersions of accuracy and of abstention are learned from it."""
_KEY = b""  # the decoder's id hash is not used here: rows are keyed by fit_rows


class _Features(msgspec.Struct):
    features: dict[str, msgspec.Raw] = {}


@dataclass(frozen=True, slots=True)
class Gathered:
    """Rows, how many events could not be read for which reason, and how many outcomes were read."""

    rows: Rows
    unreadable: Counter[str]
    outcomes: int


def feature_names(chunks: Iterable[Chunk]) -> tuple[str, ...]:
    """Return the names of all features that any prediction has, sorted; events that cannot be read are passed over."""
    found: set[str] = set()
    for chunk in chunks:
        if isinstance(chunk, Frame):
            found |= _frame_names(chunk.batch.schema)
        elif isinstance(chunk, Lines):
            found |= _line_names(chunk.values)
        else:
            found |= _line_names([line for message in chunk for line in message.value.splitlines()])
    return tuple(sorted(found))


def gather(names: Iterable[str], predictions: Iterable[Chunk], outcomes: Iterable[Chunk]) -> Gathered:
    """Return the rows of all chunks, with these features."""
    features = tuple(names)
    gatherer = RowGatherer(features)
    unreadable: Counter[str] = Counter()
    paths = frozenset(f"{_GROUP}.{name}" for name in features)
    decode = prediction_decoder(Wanted(paths=paths | ANSWERS, embedding=True, logits=True), _KEY)
    for chunk in predictions:
        batch, dead = decode(chunk)
        gatherer.predictions(batch)
        unreadable.update(_reasons(dead))
    decode_outcome, read = outcome_decoder(_KEY), 0
    for chunk in outcomes:
        labels, dead = decode_outcome(chunk)
        gatherer.outcomes(labels)
        unreadable.update(_reasons(dead))
        read += labels.rows()
    return Gathered(gatherer.rows(), unreadable, read)


def _reasons(dead: Iterable[DeadLetter]) -> list[str]:
    return [letter.reason for letter in dead]


def _frame_names(schema: pa.Schema) -> set[str]:
    dotted = {name.partition(".")[2] for name in schema.names if name.startswith(f"{_GROUP}.")}
    if _GROUP in schema.names and pa.types.is_struct(schema.field(_GROUP).type):
        kind = schema.field(_GROUP).type
        dotted |= {kind.field(place).name for place in range(kind.num_fields)}
    return dotted


def _line_names(lines: Iterable[bytes]) -> set[str]:
    decoder = msgspec.json.Decoder(_Features)
    found: set[str] = set()
    for line in lines:
        try:
            found.update(decoder.decode(line).features)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return found
