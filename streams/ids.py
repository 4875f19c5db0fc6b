"""Event ids as 128-bit hashes, whole columns at a time, and the keyed choice of events for audits."""

import hashlib
from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from interlock.streams.batch import Ids

Arrow = Any
"""An Arrow array: its published stubs do not follow its own conversions."""

WORD = 8
FINAL_FACTORS = (np.uint64(0xFF51AFD7ED558CCD), np.uint64(0xC4CEB9FE1A85EC53))
FINAL_SHIFT = np.uint64(33)
SHIFT = np.uint64(32)
WORD_MASKS = np.array([(1 << (8 * used)) - 1 for used in range(1, WORD + 1)], dtype=np.uint64)
SHA256_BLOCK = 64


class LaneKey(NamedTuple):
    """Secret of one lane: where its state starts, and what words and state are multiplied by (both odd)."""

    seed: np.uint64
    word: np.uint64
    state: np.uint64


class Word(NamedTuple):
    """The k-th 8 bytes of texts, zero beyond their ends, for the `rows` that are long enough (None: all)."""

    rows: NDArray[np.intp] | None
    values: NDArray[np.uint64]


class IdHash:
    """A keyed hash of event ids: equal text, equal hash, in any batch; 128 bits as two independent lanes.

    Per lane and 8-byte word: `h = (h ^ w·a)·b; h ^= h >> 32`, from a secret seed and the length, ended by MurmurHash3's
    64-bit finaliser (Appleby 2011). a and b are odd and derived from the key by BLAKE2b, so that whoever chooses ids
    cannot aim at collisions without it. Not a MAC.
    """

    def __init__(self, key: bytes) -> None:
        """Derive the constants of both lanes; `key` may have any length."""
        material = hashlib.blake2b(key, digest_size=48, person=b"interlock/id/1").digest()
        values = np.frombuffer(material, dtype="<u8").astype(np.uint64).reshape(2, 3)
        odd = values | np.uint64(1)
        self._lanes = tuple(LaneKey(values[lane, 0], odd[lane, 1], odd[lane, 2]) for lane in range(2))

    def __call__(self, texts: Iterable[str] | Arrow) -> Ids:
        """Return the ids of a list, or of an Arrow column, of strings; none may be null."""
        strings = as_strings(texts)
        lengths = byte_lengths(strings)
        words = _words(strings, lengths)
        h1, h2 = (_lane(key, words, lengths) for key in self._lanes)
        return Ids(h1, h2, strings)


def as_strings(texts: Iterable[str] | Arrow) -> Arrow:
    """Return texts as one Arrow array of type string."""
    array: Arrow = texts if isinstance(texts, pa.Array) else pa.array(list(texts), type=pa.string())
    return array if array.type == pa.string() else array.cast(pa.string())


def byte_lengths(strings: Arrow) -> NDArray[np.int64]:
    """Return the lengths in UTF-8 bytes, int64[n]."""
    return np.diff(_offsets(strings))


def select(texts: Iterable[str], secret: bytes, label: str) -> NDArray[np.uint64]:
    """Return the first 8 bytes, big-endian, of `HMAC-SHA256(secret, label ‖ event_id)` as uint64[n].

    An event is audited iff this is below π · 2^64 (VERDICTS.md §2). About half a microsecond each: RFC 2104's two
    states are computed once and copied, which takes a third of the time of `hmac.digest`.
    """
    key = hashlib.sha256(secret).digest() if len(secret) > SHA256_BLOCK else secret
    block = key.ljust(SHA256_BLOCK, b"\0")
    inner = hashlib.sha256(bytes(byte ^ 0x36 for byte in block) + label.encode())
    outer = hashlib.sha256(bytes(byte ^ 0x5C for byte in block))
    heads = []
    for text in texts:
        first, second = inner.copy(), outer.copy()
        first.update(text.encode())
        second.update(first.digest())
        heads.append(second.digest()[:WORD])
    return np.frombuffer(b"".join(heads), dtype=">u8").astype(np.uint64)


def _offsets(strings: Arrow) -> NDArray[np.int64]:
    if not len(strings):
        return np.zeros(1, dtype=np.int64)
    end = strings.offset + len(strings) + 1
    offsets = np.frombuffer(strings.buffers()[1], dtype=np.int32, count=end)
    used: NDArray[np.int64] = offsets[strings.offset :].astype(np.int64)
    return used


def _words(strings: Arrow, lengths: NDArray[np.int64]) -> list[Word]:
    if not lengths.any():
        return []
    offsets = _offsets(strings)
    first, last = int(offsets[0]), int(offsets[-1])
    padded = np.zeros(last - first + WORD, dtype=np.uint8)
    padded[:-WORD] = np.frombuffer(strings.buffers()[2], dtype=np.uint8, count=last - first, offset=first)
    # Entry i is the 8 bytes that start at byte i: overlapping on purpose, and unaligned.
    windows = np.lib.stride_tricks.as_strided(padded[:WORD].view("<u8"), (len(padded) - WORD + 1,), (1,))
    return [_word(windows, offsets[:-1] - first, lengths, at) for at in range(0, int(lengths.max()), WORD)]


def _word(windows: NDArray[np.uint64], starts: NDArray[np.int64], lengths: NDArray[np.int64], at: int) -> Word:
    rows = None if int(lengths.min()) > at else np.flatnonzero(lengths > at)
    begin, left = (starts, lengths - at) if rows is None else (starts[rows], lengths[rows] - at)
    values = windows[begin + at].astype(np.uint64, copy=False)
    if int(left.min()) < WORD:
        values &= WORD_MASKS[np.minimum(left, WORD) - 1]
    return Word(rows, values)


def _lane(key: LaneKey, words: list[Word], lengths: NDArray[np.int64]) -> NDArray[np.uint64]:
    state = lengths.astype(np.uint64) * FINAL_FACTORS[0] ^ key.seed
    for rows, values in words:
        if rows is None:
            _absorb(key, state, values)
        else:
            part = state[rows]
            _absorb(key, part, values)
            state[rows] = part
    for factor in FINAL_FACTORS:
        state ^= state >> FINAL_SHIFT
        state *= factor
    state ^= state >> FINAL_SHIFT
    return state


def _absorb(key: LaneKey, state: NDArray[np.uint64], values: NDArray[np.uint64]) -> None:
    state ^= values * key.word
    state *= key.state
    state ^= state >> SHIFT
