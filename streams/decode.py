"""Messages and stretches of files into columns: whatever arrives becomes a row or a dead letter, never nothing."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from itertools import groupby
from typing import Any, Generic, NamedTuple, TypeVar

import numpy as np
import pyarrow as pa

from interlock.columns import MISSING, NULL
from interlock.events import MAX_ID_BYTES
from interlock.streams.batch import (
    AbuseReports,
    Chunk,
    Coded,
    DeadLetter,
    Frame,
    Ids,
    Lines,
    Message,
    Outcomes,
    Predictions,
    Wanted,
)
from interlock.streams.clock import refusals
from interlock.streams.decode_arrow import ArrowAbuse, ArrowOutcomes, ArrowPredictions, row_json
from interlock.streams.decode_columns import core_columns
from interlock.streams.decode_concat import concat
from interlock.streams.decode_dead import REASONS, Bad, Faults, Where, blame, embed, letter, letters
from interlock.streams.decode_frames import frames_of_messages, where_of_frame
from interlock.streams.decode_json import Texts, texts_of_lines, texts_of_messages
from interlock.streams.decode_json_batch import JsonAbuse, JsonOutcomes, JsonPredictions
from interlock.streams.ids import IdHash, byte_lengths

__all__ = ["REASONS", "Decoder", "abuse_decoder", "outcome_decoder", "prediction_decoder"]

ARROW_START = b"\xff\xff\xff\xff"
JSON_TYPES = frozenset({"application/json", "application/x-ndjson", "application/ndjson", "application/jsonl"})
ARROW_TYPE = "application/vnd.apache.arrow.stream"
UNTYPED = frozenset({"", "application/octet-stream"})

AT_ONCE = 1024
"""JSON events decoded at a time: the Python objects of more do not stay in the processor's cache (measured: 2 x)."""

B = TypeVar("B", bound=Predictions | Outcomes | AbuseReports)


class Formats(NamedTuple, Generic[B]):
    """How one message type is read from each format, and what is checked of all its events."""

    json: Callable[[Texts], tuple[B, Faults]]
    arrow: Callable[[pa.RecordBatch, Where], tuple[B, Faults]]
    check: Callable[[B, Faults], None]


class Decoder(Generic[B]):
    """Decodes the chunks of one topic; pure, so that any cutting into chunks gives the same rows and dead letters."""

    def __init__(self, topic: str, formats: Formats[B], finish: Callable[[B], B], max_skew: int | None = None) -> None:
        """Use the factories below."""
        self._topic = topic
        self._formats = formats
        self._finish = finish
        self._max_skew = max_skew

    def timely(self, max_skew: int) -> "Decoder[B]":
        """Return a decoder that also refuses events from further than `max_skew` ms in the future, or from before 2000."""
        return Decoder(self._topic, self._formats, self._finish, max_skew)

    def __call__(self, chunk: Chunk) -> tuple[B, list[DeadLetter]]:
        """Return the readable events in order, and a dead letter for each of the others.

        The number of events that came in is the number of rows plus that of dead letters; a message that cannot be taken
        apart into events counts as one.
        """
        batches: list[B] = []
        dead: list[DeadLetter] = []
        for batch, bad in self._parts(chunk):
            batches.append(batch)
            dead += bad
        whole = batches[0] if len(batches) == 1 else concat(batches)
        return self._finish(whole), dead

    def _parts(self, chunk: Chunk) -> Iterator[tuple[B, list[DeadLetter]]]:
        if isinstance(chunk, Lines):
            yield from self._json(texts_of_lines(chunk, self._topic))
        elif isinstance(chunk, Frame):
            yield self._arrow(chunk.batch, where_of_frame(chunk, self._topic))
        else:
            yield from self._messages(chunk)

    def _messages(self, messages: Sequence[Message]) -> Iterator[tuple[B, list[DeadLetter]]]:
        for kind, group in groupby(messages, key=sniff) if messages else [("json", iter(()))]:
            if kind == "json":
                yield from self._json(texts_of_messages(list(group), self._topic))
            elif kind == "arrow":
                yield from self._frames(group)
            else:
                yield self._nothing(), [self._refused(message) for message in group]

    def _frames(self, messages: Iterable[Message]) -> Iterator[tuple[B, list[DeadLetter]]]:
        frames, dead = frames_of_messages(messages, self._topic)
        for batch, where in frames:
            yield self._arrow(batch, where)
        yield self._nothing(), dead

    def _nothing(self) -> B:
        batch, _ = self._formats.json(texts_of_messages([], self._topic))
        return batch

    def _refused(self, message: Message) -> DeadLetter:
        expected = f"{', '.join(sorted(JSON_TYPES))} or {ARROW_TYPE}"
        fault = Bad("bad_content_type", f"$: expected {expected}, got {str(message.content_type)[:100]}")
        return letter(self._topic, (message.offset, 0), fault, message.value)

    def _json(self, texts: Texts) -> Iterator[tuple[B, list[DeadLetter]]]:
        for part in texts.parts(AT_ONCE):
            batch, faults = self._formats.json(part)
            yield self._settle(batch, faults, part.where, part.values.__getitem__)

    def _arrow(self, frame: pa.RecordBatch, where: Where) -> tuple[B, list[DeadLetter]]:
        batch, faults = self._formats.arrow(frame, where)
        return self._settle(batch, faults, where, lambda row: row_json(frame, row))

    def _settle(
        self, batch: B, faults: Faults, where: Where, raw: Callable[[int], bytes]
    ) -> tuple[B, list[DeadLetter]]:
        self._formats.check(batch, faults)
        if self._max_skew is not None:
            _check_times(batch, self._max_skew, faults)
        if not faults:
            return batch, []
        good = np.ones(batch.rows(), dtype=np.bool_)
        good[list(faults)] = False
        kept: B = batch.take(good)  # type: ignore[assignment]
        return kept, letters(where, faults, raw)


def prediction_decoder(wanted: Wanted, key: bytes, topic: str = "predictions") -> Decoder[Predictions]:
    """Return a decoder of predictions; `key` keys the hash of event ids, `topic` names it in dead letters."""
    ids = IdHash(key)
    formats = Formats(JsonPredictions(wanted, ids), ArrowPredictions(wanted, ids), _check_predictions)
    return Decoder(topic, formats, lambda batch: _finished(batch, wanted))


def outcome_decoder(key: bytes, topic: str = "outcomes", *, embedded: Wanted | None = None) -> Decoder[Outcomes]:
    """Return a decoder of outcomes; `embedded` is what is wanted of the predictions that they carry, None: nothing."""
    ids = IdHash(key)
    formats = Formats(JsonOutcomes(embedded, ids), ArrowOutcomes(embedded, ids), _check_outcomes)

    def finish(batch: Outcomes) -> Outcomes:
        if batch.embedded is None or embedded is None:
            return batch
        theirs = replace(batch.embedded, batch=_finished(batch.embedded.batch, embedded))
        return replace(batch, embedded=theirs)

    return Decoder(topic, formats, finish)


def abuse_decoder(wanted: Wanted, key: bytes, topic: str = "abuse") -> Decoder[AbuseReports]:
    """Return a decoder of abuse reports; of `wanted` it uses the paths under `segment`."""
    ids = IdHash(key)
    formats = Formats(JsonAbuse(wanted, ids), ArrowAbuse(wanted, ids), _check_abuse)
    return Decoder(topic, formats, lambda batch: batch)


def sniff(message: Message) -> str:
    """Return "json", "arrow" or "unknown": by content type, else by the first bytes."""
    return _kind(message.content_type) or ("arrow" if message.value.startswith(ARROW_START) else "json")


@lru_cache(maxsize=64)
def _kind(content_type: str | None) -> str:
    """Return what a content type says, "" for nothing."""
    kind = (content_type or "").partition(";")[0].strip().lower()
    if kind in UNTYPED:
        return ""
    if kind in JSON_TYPES:
        return "json"
    return "arrow" if kind == ARROW_TYPE else "unknown"


def _finished(batch: Predictions, wanted: Wanted) -> Predictions:
    core = core_columns(batch, wanted.paths)
    return replace(batch, columns={**batch.columns, **core}) if core else batch


def _check_times(batch: Predictions | Outcomes | AbuseReports, max_skew: int, faults: Faults) -> None:
    ts, appended = batch.ts, batch.appended
    future, ancient = refusals(ts, appended, max_skew)
    ahead = f"$.ts: expected at most {max_skew} ms after the append time"
    blame(faults, future, lambda row: Bad("future_ts", f"{ahead} {appended[row]}, got {ts[row]}"))
    blame(faults, ancient, lambda row: Bad("ancient_ts", f"$.ts: expected milliseconds since 1970, got {ts[row]}"))
    if isinstance(batch, Outcomes) and batch.embedded is not None:
        inside: Faults = {}
        _check_times(batch.embedded.batch, max_skew, inside)
        embed(faults, inside, batch.embedded.present)


def _check_ids(ids: Ids, faults: Faults) -> None:
    lengths = byte_lengths(ids.texts)
    wrong = (lengths == 0) | (lengths > MAX_ID_BYTES)
    expected = f"$.event_id: expected 1 to {MAX_ID_BYTES} bytes"
    blame(faults, wrong, lambda row: Bad("empty_id", f"{expected}, got {lengths[row]}"))


def _check_name(names: Coded, path: str, faults: Faults) -> None:
    if "" in names.values:
        fault = Bad("missing_field", f"{path}: expected a name, got an empty string")
        blame(faults, names.codes == names.values.index(""), lambda _: fault)


def _check_predictions(batch: Predictions, faults: Faults) -> None:
    _check_ids(batch.ids, faults)
    _check_predicted(batch, faults)


def _check_predicted(batch: Predictions, faults: Faults) -> None:
    _check_name(batch.model, "$.model", faults)
    score: Any = batch.score
    wrong = (score < 0) | (score > 1)
    blame(faults, wrong, lambda row: Bad("out_of_range", f"$.score: expected 0 to 1, got {score[row]}"))
    infinite = np.isinf(batch.ood_score)
    blame(faults, infinite, lambda _: Bad("out_of_range", "$.ood_score: expected a finite number"))


def _check_outcomes(batch: Outcomes, faults: Faults) -> None:
    _check_ids(batch.ids, faults)
    unlabelled = (batch.label.kind == MISSING) | (batch.label.kind == NULL)
    fault = Bad("missing_field", "$.label: expected label or confirmed_ood, found neither")
    blame(faults, unlabelled & (batch.confirmed_ood < 0), lambda _: fault)
    if batch.embedded is not None:
        inside: Faults = {}
        _check_predicted(batch.embedded.batch, inside)
        embed(faults, inside, batch.embedded.present)


def _check_abuse(batch: AbuseReports, faults: Faults) -> None:
    _check_ids(batch.ids, faults)
    _check_name(batch.model, "$.model", faults)
    _check_name(batch.category, "$.category", faults)
