"""The parts of the OOD score, and the bins of drift, as they stand in a reference's file."""

from collections.abc import Sequence

import numpy as np

from interlock.detectors.conformal import Scale
from interlock.detectors.drift import KNOWN, Bins
from interlock.detectors.ood import Parts, Space
from interlock.detectors.prototypes import Prototypes
from interlock.streams.drift_bins import DriftStream
from interlock.streams.reference_file import DriftPart, OodPart, ScalePart, SpacePart, array, packed


def written(parts: Parts | None) -> OodPart | None:
    """Return the parts as the file has them."""
    if parts is None:
        return None
    return OodPart(_scale_part(parts.surprisal), _space_part(parts.numbers), _space_part(parts.embedding))


def read(part: OodPart | None) -> Parts | None:
    """Return the parts in a file."""
    return None if part is None else Parts(_scale(part.surprisal), _space(part.numbers), _space(part.embedding))


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


def _stream(part: DriftPart) -> DriftStream:
    counts = tuple(array(part.counts).tolist())
    number = part.range is not None
    known = len(part.edges) + 1 if number else len(part.values)
    if len(part.labels) != len(counts) or len(counts) - KNOWN not in (known, known + (not number)) or part.phi < 1:
        raise ValueError(f"damaged (the bins of {part.name} do not fit together)")
    bins = Bins(part.name, part.labels, counts, number, part.new, part.phi, part.centres)
    return DriftStream(bins, part.edges, part.range, part.values, part.rest)
