"""Embeddings and logits from JSON and from Arrow: the same matrix, the same faults."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from interlock.detectors.logits import LEAST_CLASSES
from interlock.detectors.prototypes import MAX_WIDTH
from interlock.streams import decode_arrow_read as read
from interlock.streams.decode_dead import Bad, Faults, blame
from interlock.streams.vectors import ABSENT, Vectors

pc: Any = pyarrow.compute


class Kind(NamedTuple):
    """A field of lists of numbers: its name, and the least length of one."""

    name: str
    least: int

    @property
    def path(self) -> str:
        """Its JSON path."""
        return f"$.{self.name}"

    @property
    def expected(self) -> str:
        """What it should have been, for faults."""
        return f"{self.path}: expected {self.least} to {MAX_WIDTH} finite numbers"


EMBEDDING, LOGITS = Kind("embedding", 1), Kind("logits", LEAST_CLASSES)


def of_lists(kind: Kind, lists: Sequence[list[float] | None], faults: Faults) -> Vectors:
    """Return vectors from lists, None where there is none; one too long, too short or not finite is a fault."""
    lengths = np.array([ABSENT if one is None else len(one) for one in lists], np.int32)
    kept = [one for one in lists if one is not None and kind.least <= len(one) <= MAX_WIDTH]
    flat = np.array([number for one in kept for number in one], np.float64)
    return _filled(kind, flat, lengths, faults)


def of_arrow(kind: Kind, table: read.Table, faults: Faults) -> Vectors:
    """Return vectors from a column of lists of numbers of any width."""
    array, rows = table.get(kind.name), table.rows
    if array is None or pa.types.is_null(array.type):
        return Vectors(np.zeros((rows, 0)), np.full(rows, ABSENT, np.int32))
    of = array.type
    lists = pa.types.is_list(of) or pa.types.is_large_list(of) or pa.types.is_fixed_size_list(of)
    if not lists or not read.is_number(of.value_type):
        blame(faults, read.present(array), lambda _: read.mistyped(kind.path, "an array of numbers", array))
        return Vectors(np.zeros((rows, 0)), np.full(rows, ABSENT, np.int32))
    lengths = pc.list_value_length(array).fill_null(ABSENT).to_numpy(zero_copy_only=False).astype(np.int32)
    usable = pa.array((lengths >= kind.least) & (lengths <= MAX_WIDTH))
    return _filled(kind, read.doubles(pc.list_flatten(array.filter(usable))), lengths, faults)


def _filled(kind: Kind, flat: NDArray[np.float64], lengths: NDArray[np.int32], faults: Faults) -> Vectors:
    """Return the matrix of what stands one after another in `flat`, for rows of a length that is allowed."""
    usable = (lengths >= kind.least) & (lengths <= MAX_WIDTH)
    wrong = ~usable & (lengths != ABSENT)
    blame(faults, wrong, lambda row: Bad("out_of_range", f"{kind.expected}, got {lengths[row]}"))
    values = np.zeros((len(lengths), int(lengths[usable].max(initial=0))))
    values[usable[:, None] & (np.arange(values.shape[1]) < lengths[:, None])] = flat
    odd = np.zeros(len(lengths), np.bool_)
    odd[np.flatnonzero(~np.isfinite(values).all(axis=1))] = True
    blame(faults, odd, lambda _: Bad("out_of_range", f"{kind.expected}, got one that is not"))
    values[odd] = 0.0
    return Vectors(values, np.where(usable & ~odd, lengths, np.int32(ABSENT)))
