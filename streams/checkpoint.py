"""State as bytes and back: plain values and arrays only, with a checksum, so that a damaged one is refused."""

import hashlib
import re
from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

MAGIC = b"interlock/state/3\n"
ARRAY = 1
"""msgpack extension type of an array: its header and its little-endian bytes."""

PLAIN = re.compile(r"[<|][biufSUV][0-9]{1,5}")
"""Kinds of arrays; numpy would take far more of what is written there for one."""

CHECKSUM = 32


class DamagedStateError(ValueError):
    """The bytes are no state, or of another version, or not what was written."""


def pack(value: object) -> bytes:
    """Return plain values and arrays as msgpack."""
    return msgspec.msgpack.encode(value, enc_hook=_pack)


def unpack(data: bytes) -> Any:
    """Return what `pack` took; tuples come back as lists."""
    return msgspec.msgpack.decode(data, ext_hook=_unpack)


def encode(state: Mapping[str, Any]) -> bytes:
    """Return a state as bytes: magic, SHA-256 of the rest, msgpack."""
    body = pack(state)
    return MAGIC + hashlib.sha256(body).digest() + body


def decode(data: bytes) -> dict[str, Any]:
    """Return the state in these bytes.

    Raises:
        DamagedStateError: they are not what `encode` wrote.
    """
    body = data[len(MAGIC) + CHECKSUM :]
    if not data.startswith(MAGIC) or hashlib.sha256(body).digest() != data[len(MAGIC) : len(MAGIC) + CHECKSUM]:
        raise DamagedStateError("not a state of this version, or damaged")
    state: dict[str, Any] = unpack(body)
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
