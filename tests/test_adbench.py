"""`python -m benchmarks.adbench` on files in the form of ADBench, made of scikit-learn's sets."""

from pathlib import Path

import numpy as np
import pytest
from sklearn import datasets

from benchmarks.adbench import MOST, TESTED, lines, split


def save(folder: Path, name: str, odd: int, times: int = 1) -> Path:
    """Write a set whose class `odd` is odd."""
    values, classes = getattr(datasets, f"load_{name}")(return_X_y=True)
    path = folder / f"{name}.npz"
    np.savez(path, X=np.tile(values, (times, 1)), y=np.tile(classes == odd, times).astype(int))
    return path


@pytest.mark.statistical
def test_every_set_has_its_row_and_the_means_are_set_against_the_targets(tmp_path: Path) -> None:
    for name in ("iris", "wine"):
        save(tmp_path, name, 2)
    said = list(lines(tmp_path, apart=False))

    assert [line.split(" | ")[0] for line in said[2:4]] == ["| iris", "| wine"]
    assert all(0.5 < float(cell) <= 1 for line in said[2:4] for cell in line.strip("| ").split(" | ")[1:])
    assert said[4].strip().startswith("A13  holds  mean AUROC of 2 sets 0.9")
    assert said[5].startswith("A14  ")


def test_half_of_the_usual_rows_are_the_reference_and_no_row_is_in_both(tmp_path: Path) -> None:
    made, large = split(save(tmp_path, "iris", 1)), split(save(tmp_path, "digits", 3, 20))

    assert len(made.reference) == 50
    assert int(made.odd.sum()) == 50
    assert len(made.test) == 100
    assert (len(large.reference), len(large.test)) == (MOST, TESTED)


@pytest.mark.parametrize(
    ("arrays", "said"),
    [
        ({"X": np.zeros((9, 2))}, "expected arrays X and y, found X"),
        ({"X": np.zeros((9, 2)), "y": np.zeros(9)}, "expected rows of both kinds"),
        ({"X": np.zeros((9, 2)), "y": np.ones(9)}, "expected rows of both kinds"),
    ],
)
def test_a_file_that_is_no_such_set_is_named(tmp_path: Path, arrays: dict[str, np.ndarray], said: str) -> None:
    np.savez(tmp_path / "bad.npz", **arrays)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match=f"bad.npz: {said}"):
        list(lines(tmp_path, apart=False))


def test_a_folder_without_sets_is_named(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"expected \.npz files of ADBench, found none"):
        list(lines(tmp_path, apart=False))
