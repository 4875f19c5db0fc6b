"""The bytes of a reference: magic, format version, SHA-256, then the content as MessagePack.

Arrays are little-endian int64 bytes with their shape. The checksum covers the format version (from 3 on) and the content;
the hash of the content alone is the reference's id.
"""

import hashlib
import math
import struct

import msgspec
import numpy as np
from numpy.typing import NDArray

from interlock.detectors.logits import Score

MAGIC = b"ILK-REF\n"
FORMAT = 3
READABLE = (1, 2, 3)
"""Formats that are read: 1 has no ranges, 1 and 2 no prototypes and no bins of drift; nothing else differs, and ids stay what they were."""
_COVERED = 3
_HEADER = struct.Struct("<8sH32s")
_INT64 = "<i8"


class Packed(msgspec.Struct, frozen=True, array_like=True):
    """An array of integers: element type as numpy writes it, shape, and raw little-endian bytes."""

    dtype: str
    shape: tuple[int, ...]
    data: bytes


class NumberPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """A numeric feature; `range`, its least and its largest value, is left out where it is not known (format 1)."""

    name: str
    mean: float
    sd: float
    table: Packed
    range: tuple[float, float] | None = None


class CategoryPart(msgspec.Struct, frozen=True):
    """A categorical feature and its vocabulary."""

    name: str
    values: tuple[str, ...]
    counts: Packed
    missing: int
    table: Packed


class ScalePart(msgspec.Struct, frozen=True, array_like=True):
    """A conformal scale: its knots and its values."""

    knots: Packed
    values: Packed


class SpacePart(msgspec.Struct, frozen=True):
    """Prototypes of one kind of vector, the scale of their distances, and its weight."""

    centres: Packed
    scale: ScalePart
    weight: int


class LogitsPart(msgspec.Struct, frozen=True):
    """The scales of logits by score, and their weight."""

    classes: int
    scales: dict[Score, ScalePart]
    weight: int


class OodPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """What the OOD score adds up."""

    surprisal: ScalePart
    numbers: SpacePart | None = None
    embedding: SpacePart | None = None
    logits: LogitsPart | None = None


class HoursPart(msgspec.Struct, frozen=True):
    """The reference of each hour of a stream with a cycle: `counts` int64[24 or 168, K]."""

    counts: Packed
    new: tuple[float, ...]
    phi: float
    explained: float


class DriftPart(msgspec.Struct, frozen=True, omit_defaults=True):
    """The bins of one stream that drift watches; of a number `range` and `edges`, of a category `values`."""

    name: str
    labels: tuple[str, ...]
    counts: Packed
    new: float
    phi: float
    range: tuple[float, float] | None = None
    edges: tuple[float, ...] = ()
    centres: tuple[float, ...] = ()
    values: tuple[str, ...] = ()
    rest: tuple[str, ...] = ()
    hours: HoursPart | None = None


class Body(msgspec.Struct, frozen=True, omit_defaults=True):
    """Everything a reference knows, in the order of the file."""

    model: str
    versions: tuple[str, ...]
    rows: int
    span: tuple[int, int]
    numbers: tuple[NumberPart, ...]
    categories: tuple[CategoryPart, ...]
    number_means: Packed
    category_means: Packed
    calibration: Packed
    ece_groups: Packed
    label_age: tuple[int, int, int] | None
    flag_rate: float
    dispersion: tuple[tuple[str, float], ...]
    warnings: tuple[str, ...]
    prototypes: OodPart | None = None
    delays: Packed | None = None
    drift: tuple[DriftPart, ...] | None = None
    reliability: Packed | None = None
    logit_calibrations: dict[Score, Packed] | None = None


def packed(values: NDArray[np.int64]) -> Packed:
    """Return an array as it stands in the file."""
    return Packed(_INT64, values.shape, values.astype(_INT64).tobytes())


def array(values: Packed) -> NDArray[np.int64]:
    """Return an array of the file, read-only.

    Raises:
        ValueError: its type or its length is not what it says.
    """
    if values.dtype != _INT64 or len(values.data) != 8 * math.prod(values.shape):
        raise ValueError("damaged (an array does not have the shape it claims)")
    return np.frombuffer(values.data, dtype=_INT64).reshape(values.shape).astype(np.int64, copy=False)


def _content(body: Body) -> bytes:
    """Return a content as it stands in the file: parts that are not known are left out.

    As a mapping: of a struct that may have sixteen fields, MessagePack's header would be another one.
    """
    optional = {part.name for part in msgspec.structs.fields(Body) if part.default is None}
    parts = {name: getattr(body, name) for name in body.__struct_fields__}
    return msgspec.msgpack.encode({k: part for k, part in parts.items() if part is not None or k not in optional})


def identity(body: Body) -> str:
    """Return the id of a content: `sha256:` and its hash in hex."""
    return "sha256:" + hashlib.sha256(_content(body)).hexdigest()


def sealed(body: Body) -> bytes:
    """Return the file's bytes."""
    content = _content(body)
    return _HEADER.pack(MAGIC, FORMAT, _checksum(FORMAT, content)) + content


def opened(content: bytes) -> Body:
    """Return the content of a file's bytes.

    Raises:
        ValueError: no reference, another format version, cut short, or damaged; the message says which.
    """
    if content[: len(MAGIC)] != MAGIC:
        raise ValueError("not a reference file")
    if len(content) <= _HEADER.size:
        raise ValueError("cut short")
    _, version, checksum = _HEADER.unpack_from(content)
    if version not in READABLE:
        raise ValueError(f"format version {version}, this Interlock reads {', '.join(map(str, READABLE))}")
    body = content[_HEADER.size :]
    if _checksum(version, body) != checksum:
        raise ValueError("damaged or cut short (its checksum does not match)")
    try:
        return msgspec.msgpack.decode(body, type=Body)
    except msgspec.DecodeError as error:
        raise ValueError(f"damaged ({error})") from None


def _checksum(version: int, content: bytes) -> bytes:
    """Return the checksum in the header; formats 1 and 2 did not cover their own number."""
    covered = version.to_bytes(2, "little") if version >= _COVERED else b""
    return hashlib.sha256(covered + content).digest()
