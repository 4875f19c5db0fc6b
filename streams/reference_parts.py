"""The parts of the OOD score as they stand in a reference's file."""

from interlock.detectors.conformal import Scale
from interlock.detectors.ood import Parts, Space
from interlock.detectors.prototypes import Prototypes
from interlock.streams.reference_file import OodPart, ScalePart, SpacePart, array, packed


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
