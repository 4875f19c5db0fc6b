"""Event ids: equal text means equal hash, in any batch and format; different text means a different one."""

import hashlib
import hmac
import random
import uuid
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.streams.ids import IdHash, select

HASH = IdHash(b"a secret")


def pairs(texts: Any) -> Any:
    """The 128-bit values of a list of ids."""
    ids = HASH(texts)
    return list(zip(ids.h1.tolist(), ids.h2.tolist(), strict=True))


@given(st.lists(st.text(max_size=40), max_size=30))
def test_the_hash_of_an_id_does_not_depend_on_the_batch_it_is_in(texts: Any) -> None:
    alone = [pairs([text])[0] for text in texts]

    assert pairs(texts) == alone
    assert pairs(texts[::-1]) == alone[::-1]


@given(st.lists(st.text(max_size=40), max_size=30), st.integers(0, 5))
def test_lists_and_arrow_columns_of_any_layout_hash_alike(texts: Any, skip: Any) -> None:
    expected = pairs(texts)[skip:]

    for kind in (pa.string(), pa.large_string(), pa.dictionary(pa.int32(), pa.string())):
        assert pairs(pa.array(texts, type=pa.string()).cast(kind)[skip:]) == expected


@given(st.lists(st.text(max_size=20), unique=True, min_size=2, max_size=50))
def test_different_texts_hash_differently_also_when_padded_with_zero_bytes(texts: Any) -> None:
    padded = {text + "\0" * more for text in texts for more in range(3)}

    assert len(set(pairs(sorted(padded)))) == len(padded)


def test_two_million_ids_do_not_collide_in_128_bits_nor_pairwise_in_either_lane() -> None:
    for make in ("e-{:09d}".format, "order/{0}/{0:x}".format):
        ids = HASH([make(i) for i in range(1_000_000)])

        # 10^6 ids collide in 64 bits with probability 3e-8.
        assert len(np.unique(ids.h1)) == len(np.unique(ids.h2)) == 1_000_000


def test_differences_in_the_last_bytes_of_words_reach_every_bit_of_a_lane() -> None:
    letters = [chr(code) for code in range(33, 126)]
    ids = HASH([f"1234567{a}1234567{b}" for a in letters for b in letters])

    assert len(np.unique(ids.h1)) == len(np.unique(ids.h2)) == len(letters) ** 2


def test_flipping_any_bit_of_an_id_flips_each_output_bit_half_the_time() -> None:
    rng = random.Random(5)
    texts = ["".join(rng.choices("abcdefghijklmnop", k=21)) for _ in range(4000)]
    base = HASH(texts)
    for position in range(21):
        flipped = HASH([text[:position] + chr(ord(text[position]) ^ 1) + text[position + 1 :] for text in texts])
        for before, after in ((base.h1, flipped.h1), (base.h2, flipped.h2)):
            changed = (before ^ after).astype(">u8").view(np.uint8).reshape(-1, 8)
            share = np.unpackbits(changed, axis=1).mean(axis=0)

            # sd of a share is .0079; 2688 shares are looked at: 5 sd.
            assert np.all(np.abs(share - 0.5) < 0.04)


def test_hash_values_of_sequential_ids_are_uniform_and_lanes_independent() -> None:
    ids = HASH([str(i) for i in range(1 << 18)])
    for values in (ids.h1 >> np.uint64(56), ids.h1 & np.uint64(255), ids.h2 >> np.uint64(56), ids.h2 & np.uint64(255)):
        counts = np.bincount(values.astype(np.intp), minlength=256)
        chi2 = ((counts - 1024.0) ** 2 / 1024).sum()

        assert 130 < chi2 < 400  # 255 degrees of freedom, sd 22.6
    together = (ids.h1 >> np.uint64(60)) * np.uint64(16) + (ids.h2 >> np.uint64(60))
    counts = np.bincount(together.astype(np.intp), minlength=256)

    assert ((counts - 1024.0) ** 2 / 1024).sum() < 400


def test_another_key_gives_other_hashes() -> None:
    assert IdHash(b"other")(["a"]).h1[0] != HASH(["a"]).h1[0]


@pytest.mark.parametrize("secret", [b"", b"k" * 32, b"k" * 64, b"k" * 65])
def test_selection_is_the_first_eight_bytes_of_hmac_sha256(secret: Any) -> None:
    texts = [str(uuid.UUID(int=i)) for i in range(50)] + ["", "é"]
    expected = [
        int.from_bytes(hmac.new(secret, b"audit/1" + text.encode(), hashlib.sha256).digest()[:8]) for text in texts
    ]

    assert select(texts, secret, "audit/1").tolist() == expected
    assert select([], secret, "audit/1").tolist() == []


def test_ids_can_be_taken_and_named() -> None:
    ids = HASH(["a", "b", "c"])

    assert ids.take(np.array([2, 0])).text(0) == "c"
    assert ids.take(np.array([False, True, False])).text(0) == "b"
    assert ids.take(np.array([2, 0])).h1.tolist() == [ids.h1[2], ids.h1[0]]
