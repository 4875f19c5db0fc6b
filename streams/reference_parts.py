"""The parts of the OOD score, and the bins of drift, as they stand in a reference's file."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import Scale
from interlock.detectors.cycle import DAY, WEEK
from interlock.detectors.drift import KNOWN, Bins, Hours
from interlock.detectors.ece import BINS
from interlock.detectors.ood import Logits, Parts, Space
from interlock.detectors.prototypes import Prototypes
from interlock.streams.drift_bins import DriftStream
from interlock.streams.reference_file import (
    DriftPart,
    HoursPart,
    LogitsPart,
    OodPart,
    Packed,
    ScalePart,
    SpacePart,
    array,
    packed,
)


def written(parts: Parts | None) -> OodPart | None:
    """Return the parts as the file has them."""
    if parts is None:
        return None
    spaces = (_space_part(parts.numbers), _space_part(parts.embedding))
    return OodPart(_scale_part(parts.surprisal), *spaces, _logits_part(parts.logits))


def read(part: OodPart | None) -> Parts | None:
    """Return the parts in a file."""
    if part is None:
        return None
    return Parts(_scale(part.surprisal), _space(part.numbers), _space(part.embedding), _logits(part.logits))


def _scale_part(scale: Scale) -> ScalePart:
    return ScalePart(packed(scale.knots), packed(scale.values))


def _scale(part: ScalePart) -> Scale:
    return Scale(array(part.knots), array(part.values))


def _space_part(space: Space | None) -> SpacePart | None:
    return (
        None if space is None else SpacePart(packed(space.prototypes.centres), _scale_part(space.scale), space.weight)
    )


def _space(part: SpacePart | None) -> Space | None:
    return None if part is None else Space(Prototypes(array(part.centres)), _scale(part.scale), part.weight)


def _logits_part(logits: Logits | None) -> LogitsPart | None:
    if logits is None:
        return None
    scales = {score: _scale_part(scale) for score, scale in sorted(logits.scales.items())}
    return LogitsPart(logits.classes, scales, logits.weight)


def _logits(part: LogitsPart | None) -> Logits | None:
    if part is None:
        return None
    return Logits(part.classes, {score: _scale(scale) for score, scale in part.scales.items()}, part.weight)


def written_drift(streams: Sequence[DriftStream]) -> tuple[DriftPart, ...] | None:
    """Return the bins of drift as the file has them."""
    parts = tuple(
        DriftPart(
            name=stream.name,
            labels=stream.bins.labels,
            counts=packed(np.array(stream.bins.counts, np.int64)),
            new=stream.bins.new,
            phi=stream.bins.phi,
            range=stream.range,
            edges=stream.edges,
            centres=stream.bins.centres,
            values=stream.values,
            rest=stream.rest,
            hours=_hours_part(stream.bins.hours),
        )
        for stream in streams
    )
    return parts or None


def read_drift(parts: Sequence[DriftPart] | None) -> tuple[DriftStream, ...]:
    """Return the bins of drift in a file.

    Raises:
        ValueError: a stream's parts do not fit together.
    """
    return tuple(_stream(part) for part in parts or ())


def read_reliability(part: Packed | None) -> NDArray[np.int64] | None:
    """Return the reliability in a file.

    Raises:
        ValueError: its counts do not fit together.
    """
    if part is None:
        return None
    table = array(part)
    if table.shape != (BINS, 4) or (table < 0).any() or (table[:, 1::2] > table[:, ::2]).any():
        raise ValueError("damaged (the counts of the reliability do not fit together)")
    return table


def _stream(part: DriftPart) -> DriftStream:
    counts = tuple(array(part.counts).tolist())
    number = part.range is not None
    known = len(part.edges) + 1 if number else len(part.values)
    if len(part.labels) != len(counts) or len(counts) - KNOWN not in (known, known + (not number)) or part.phi < 1:
        raise ValueError(f"damaged (the bins of {part.name} do not fit together)")
    bins = Bins(part.name, part.labels, counts, number, part.new, part.phi, part.centres, _hours(part))
    return DriftStream(bins, part.edges, part.range, part.values, part.rest)


def _hours_part(hours: Hours | None) -> HoursPart | None:
    if hours is None:
        return None
    return HoursPart(packed(np.array(hours.counts, np.int64)), hours.new, hours.phi, hours.explained)


def _hours(part: DriftPart) -> Hours | None:
    if part.hours is None:
        return None
    counts, one = array(part.hours.counts), part.hours
    fits = counts.shape in ((DAY, len(part.labels)), (WEEK, len(part.labels))) and len(one.new) == len(counts)
    if not fits or not np.array_equal(counts.sum(axis=0), array(part.counts)) or one.phi < 1:
        raise ValueError(f"damaged (the hours of {part.name} do not fit together)")
    return Hours(tuple(map(tuple, counts.tolist())), one.new, one.phi, one.explained)
