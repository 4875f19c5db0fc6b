"""Laws of the reference file."""

import hashlib
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.detectors.conformal import Calibration
from interlock.detectors.surprisal import SurprisalScorer, category_table, numeric_table
from interlock.errors import UserError
from interlock.streams.reference import LabelAge, Reference, Vocabulary, from_bytes, load, save, to_bytes

AGE = LabelAge(1, 2, 3)


def reference(rows: int = 900, label_age: LabelAge | None = AGE, seed: int = 0) -> Reference:
    rng = np.random.default_rng(seed)
    counts = np.array([600, 200, 99, 1])
    scorer = SurprisalScorer(
        (0.5,), (1.25,), (numeric_table(rng.normal(size=500), 0.5, 1.25),), (category_table(counts, 7),),
        np.array([5], np.int64), np.array([6], np.int64),
    )  # fmt: skip
    return Reference(
        model="m",
        versions=("1", "2"),
        rows=rows,
        span=(1, 2),
        numbers=("age",),
        vocabularies={"code": Vocabulary(("b", "a", "ü", ""), counts, 7)},
        scorer=scorer,
        calibration=Calibration(np.arange(300)),
        ece_groups=np.arange(64) * 15 // 64,
        label_age=label_age,
        flag_rate=0.01,
        dispersion={"ood_rate": 1.5, "decision_ece": 1.0},
        warnings=("few rows",),
    )


CONTENT = to_bytes(reference())


def test_a_saved_reference_loads_as_it_was_and_saves_to_the_same_bytes(tmp_path: Path) -> None:
    path = tmp_path / "m.ref"
    save(reference(), path)
    loaded = load(path)
    save(loaded, tmp_path / "again.ref")

    assert path.read_bytes() == CONTENT == (tmp_path / "again.ref").read_bytes()
    assert loaded.id == reference().id
    assert loaded.label_age == LabelAge(1, 2, 3)
    assert loaded.vocabularies["code"].values == ("b", "a", "ü", "")
    assert loaded.features == ("age", "code")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def test_a_loaded_reference_scores_as_the_saved_one() -> None:
    numbers = np.array([[0.0, 9.0, np.nan]])
    categories = np.array([[0, -2, -1]], np.int32)
    loaded = from_bytes(CONTENT, "m.ref")

    np.testing.assert_array_equal(
        loaded.scorer.score(numbers, categories), reference().scorer.score(numbers, categories)
    )


@given(place=st.integers(0, len(CONTENT) - 1), flip=st.integers(1, 255))
def test_any_flipped_byte_is_refused_in_one_line(place: int, flip: int) -> None:
    damaged = bytearray(CONTENT)
    damaged[place] ^= flip

    with pytest.raises(UserError, match=r"^m\.ref: [^\n]+$"):
        from_bytes(bytes(damaged), "m.ref")


@given(length=st.integers(0, len(CONTENT) - 1))
def test_a_file_cut_short_is_refused(length: int) -> None:
    with pytest.raises(UserError, match=r"^m\.ref: (not a reference|cut short|damaged or cut short)"):
        from_bytes(CONTENT[:length], "m.ref")


def test_another_format_version_is_named() -> None:
    with pytest.raises(UserError, match="format version 4, this Interlock reads 1, 2, 3"):
        from_bytes(CONTENT[:8] + b"\x04" + CONTENT[9:], "m.ref")


def test_a_missing_file_and_an_unwritable_place_are_one_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot read the reference: No such file"):
        load(tmp_path / "none.ref")
    with pytest.raises(UserError, match="cannot write the reference"):
        save(reference(), tmp_path / "none" / "m.ref")


def test_the_id_names_the_content() -> None:
    assert reference().id == reference().id
    assert len({reference().id, reference(rows=901).id, reference(label_age=None).id, reference(seed=1).id}) == 4
    assert reference().id.startswith("sha256:")


def test_what_is_wanted_of_an_event_is_what_the_scorer_reads() -> None:
    wanted = reference().wanted(["decision"])

    assert wanted.numbers == ("age",)
    assert dict(wanted.categories["code"]) == {"b": 0, "a": 1, "ü": 2, "": 3}
    assert wanted.paths == frozenset({"decision"})


def test_the_bound_on_new_values_is_the_sum_of_the_features_bounds() -> None:
    assert reference().unseen_upper() == reference().vocabularies["code"].unseen_upper() > 1 / 907


def test_a_file_of_format_1_loads_with_the_id_that_it_had_and_no_ranges() -> None:
    """The id is pinned: it is what the last Interlock without ranges called this reference."""
    content = CONTENT[42:]
    header = b"ILK-REF\n" + b"\x01\x00" + hashlib.sha256(content).digest()
    older = from_bytes(header + content, "m.ref")

    assert older.id == "sha256:e3e6a96e3ab601abe9d3ceb62f3aea47fa179a36eaae4d49e2932e810a3f8bdd"
    assert older.ranges == ()
    assert older.parts is None
    np.testing.assert_array_equal(older.bounds, [[-np.inf], [np.inf]])


def test_ranges_are_kept_and_are_part_of_the_id() -> None:
    known = replace(reference(), ranges=((-1.5, 0.1 + 0.2),))
    loaded = from_bytes(to_bytes(known), "m.ref")

    assert loaded.ranges == ((-1.5, 0.1 + 0.2),)
    assert loaded.id == known.id != reference().id
    assert loaded.outside_expected() == 2 / 901
