"""Embeddings from JSON and from Arrow: the same matrix, the same faults."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute
from numpy.typing import NDArray

from interlock.detectors.prototypes import MAX_WIDTH
from interlock.streams import decode_arrow_read as read
from interlock.streams.decode_dead import Bad, Faults, blame
from interlock.streams.vectors import ABSENT, Vectors

pc: Any = pyarrow.compute
PATH = "$.embedding"
EXPECTED = f"{PATH}: expected 1 to {MAX_WIDTH} finite numbers"


def of_lists(lists: Sequence[list[float] | None], faults: Faults) -> Vectors:
    """Return vectors from lists, None where there is none; one too long, empty or not finite is a fault."""
    lengths = np.array([ABSENT if one is None else len(one) for one in lists], np.int32)
    kept = [one for one in lists if one is not None and 0 < len(one) <= MAX_WIDTH]
    flat = np.array([number for one in kept for number in one], np.float64)
    return _filled(flat, lengths, faults)


def of_arrow(array: Any, rows: int, faults: Faults) -> Vectors:
    """Return vectors from a column of lists of numbers of any width."""
    if array is None or pa.types.is_null(array.type):
        return Vectors(np.zeros((rows, 0)), np.full(rows, ABSENT, np.int32))
    kind = array.type
    lists = pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    if not lists or not read.is_number(kind.value_type):
        blame(faults, read.present(array), lambda _: read.mistyped(PATH, "an array of numbers", array))
        return Vectors(np.zeros((rows, 0)), np.full(rows, ABSENT, np.int32))
    lengths = pc.list_value_length(array).fill_null(ABSENT).to_numpy(zero_copy_only=False).astype(np.int32)
    usable = pa.array((lengths > 0) & (lengths <= MAX_WIDTH))
    return _filled(read.doubles(pc.list_flatten(array.filter(usable))), lengths, faults)


def _filled(flat: NDArray[np.float64], lengths: NDArray[np.int32], faults: Faults) -> Vectors:
    """Return the matrix of what stands one after another in `flat`, for rows of a length that is allowed."""
    usable = (lengths > 0) & (lengths <= MAX_WIDTH)
    blame(faults, ~usable & (lengths != ABSENT), lambda row: Bad("out_of_range", f"{EXPECTED}, got {lengths[row]}"))
    values = np.zeros((len(lengths), int(lengths[usable].max(initial=0))))
    values[usable[:, None] & (np.arange(values.shape[1]) < lengths[:, None])] = flat
    odd = np.zeros(len(lengths), np.bool_)
    odd[np.flatnonzero(~np.isfinite(values).all(axis=1))] = True
    blame(faults, odd, lambda _: Bad("out_of_range", f"{EXPECTED}, got one that is not"))
    values[odd] = 0.0
    return Vectors(values, np.where(usable & ~odd, lengths, np.int32(ABSENT)))
