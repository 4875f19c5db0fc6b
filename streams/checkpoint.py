"""State as bytes and back: plain values, arrays and names of blocks only, with a checksum, so that a damaged one is refused.

`interlock/state/2`, which held all rows of the join and was not compressed, is still read.
"""

import hashlib
import re
from collections.abc import Callable, Mapping
from typing import Any

import msgspec
import numpy as np
import pyarrow as pa

from interlock.streams.blocks import Block, Name

MAGIC = b"interlock/state/4\n"
BEFORE = b"interlock/state/2\n"
ARRAY, BLOCK = 1, 2
"""msgpack extension types: an array is its header and its little-endian bytes; a block where it begins, ends, its latest, its name."""

NameOf = Callable[[Block], Name]

PLAIN = re.compile(r"[<|][biufSUV][0-9]{1,5}")
"""Kinds of arrays; numpy would take far more of what is written there for one."""

CHECKSUM, SIZE = 32, 8
MOST = 1 << 32
"""Bytes of a state, before it was compressed, that nothing is taken for."""

ZSTD: Any = pa.Codec("zstd", compression_level=1)


class DamagedStateError(ValueError):
    """The bytes are no state, or of another version, or not what was written."""


def pack(value: object, name: NameOf | None = None) -> bytes:
    """Return plain values and arrays as msgpack; `name` gives blocks their names."""

    def other(value: object) -> object:
        if isinstance(value, Block) and name is not None:
            place = (value.start, value.stop, value.latest, *name(value))
            return msgspec.msgpack.Ext(BLOCK, msgspec.msgpack.encode(place))
        return _pack(value)

    return msgspec.msgpack.encode(value, enc_hook=other)


def unpack(data: bytes, blocks: list[Block] | None = None) -> Any:
    """Return what `pack` took; tuples come back as lists. Blocks are added to `blocks`."""

    def other(code: int, body: memoryview) -> object:
        if code != BLOCK or blocks is None:
            return _unpack(code, body)
        start, stop, latest, epoch, digest = msgspec.msgpack.decode(body, type=tuple[int, int, int, int, bytes])
        blocks.append(Block(start, stop, latest, name=Name(epoch, digest)))
        return blocks[-1]

    return msgspec.msgpack.decode(data, ext_hook=other)


def compress(data: bytes) -> bytes:
    """Return bytes as their length and zstd of level 1."""
    return len(data).to_bytes(SIZE, "little") + bytes(ZSTD.compress(data, asbytes=True))


def expand(data: bytes) -> bytes:
    """Return what `compress` took.

    Raises:
        DamagedStateError: it is something else.
    """
    size = int.from_bytes(data[:SIZE], "little")
    if size > MOST:
        raise DamagedStateError(f"{size} bytes are no state")
    try:
        return bytes(ZSTD.decompress(data[SIZE:], decompressed_size=size, asbytes=True))
    except (pa.ArrowException, OSError) as error:
        raise DamagedStateError(str(error)) from error


def encode(state: Mapping[str, Any], name: NameOf | None = None) -> bytes:
    """Return a state as bytes: magic, SHA-256 of the rest, compressed msgpack."""
    body = compress(pack(state, name))
    return MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes, blocks: list[Block] | None = None) -> dict[str, Any]:
    """Return the state in these bytes, of this version or the one before; the blocks that it names go to `blocks` too.

    Raises:
        DamagedStateError: they are not what `encode` wrote.
    """
    body = data[len(MAGIC) + CHECKSUM :]
    magic = data[: len(MAGIC)]
    if magic not in {MAGIC, BEFORE} or hashlib.sha256(body).digest() != data[len(MAGIC) : len(MAGIC) + CHECKSUM]:
        raise DamagedStateError("not a state of this version or the one before, or damaged")
    state: dict[str, Any] = unpack(expand(body) if magic == MAGIC else body, blocks)
    return state


def _pack(value: object) -> object:
    if isinstance(value, np.ndarray):
        little = np.ascontiguousarray(value).astype(value.dtype.newbyteorder("<"), copy=False)
        header = msgspec.msgpack.encode((little.dtype.str, little.shape))
        return msgspec.msgpack.Ext(ARRAY, len(header).to_bytes(4, "little") + header + little.tobytes())
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError(f"state holds a {type(value).__name__}")


def _unpack(code: int, data: memoryview) -> object:
    if code != ARRAY:
        raise DamagedStateError(f"unknown extension {code}")
    size = int.from_bytes(data[:4], "little")
    kind, shape = msgspec.msgpack.decode(data[4 : 4 + size])
    if not PLAIN.fullmatch(kind):
        raise DamagedStateError(f"unknown kind of array {kind}")
    return np.frombuffer(data[4 + size :], dtype=kind).reshape(shape).copy()
