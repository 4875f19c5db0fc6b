"""A13 and A14 on sets that are not here: `.npz` files of ADBench (Han et al., NeurIPS 2022), which their authors let you download.

Usage: python -m benchmarks.adbench FOLDER

FOLDER holds the files of `adbench/datasets/Classical` of the repository Minqi824/ADBench: `X` float[n, F], and `y`, 1 for what
is odd. Of each, half of the usual rows are the reference, 5,000 at most; the others and all odd ones are the test.
"""

import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.__main__ import machine
from benchmarks.evidence.ood import MARGINS
from benchmarks.oddness import OURS, Split, margins, measured, with_apart

MOST = 5000
"""Rows of a reference."""
TESTED = 20_000
"""Rows of a test: of more, so many are drawn."""
MEAN = 0.86
"""The least mean AUROC."""


def split(path: Path) -> Split:
    """Return what one file holds, split by seed 0.

    Raises:
        ValueError: it lacks `X` or `y`, or one of the two kinds.
    """
    with np.load(path, allow_pickle=False) as file:
        if not {"X", "y"} <= set(file.files):
            raise ValueError(f"{path.name}: expected arrays X and y, found {', '.join(file.files) or 'none'}")
        values, odd = np.asarray(file["X"], np.float64), np.asarray(file["y"]).astype(bool)
    rng = np.random.default_rng(0)
    usual = rng.permutation(np.flatnonzero(~odd))
    half = min(len(usual) // 2, MOST)
    test = np.concatenate([usual[half:], np.flatnonzero(odd)])
    test = np.sort(rng.permutation(test)[:TESTED])
    if not half or not odd[test].any() or odd[test].all():
        raise ValueError(f"{path.name}: expected rows of both kinds, y = 0 and y = 1")
    return Split(values[usual[:half]], values[test], odd[test])


def lines(folder: Path, *, apart: bool) -> Iterator[str]:
    """Yield a table of all sets of a folder, and what A13 and A14 say of them; `apart`: beside what is installed apart, too.

    Raises:
        ValueError: there are none, or one is no such set.
    """
    sets = {path.stem: [split(path)] for path in sorted(folder.glob("*.npz"))}
    if not sets:
        raise ValueError(f"{folder}: expected .npz files of ADBench, found none")
    found = measured(sets)
    absent = with_apart(sets, found) if apart else ""
    who = list(next(iter(found.values())))
    yield "| set | " + " | ".join(who) + " |"
    yield "| --- |" + " --: |" * len(who)
    for name, one in found.items():
        yield f"| {name} | " + " | ".join(f"{one[scorer]:.3f}" for scorer in who) + " |"
    mean = float(np.mean([one[OURS] for one in found.values()]))
    figure, held = margins(found, MARGINS)
    yield f"\nA13  {'holds' if mean >= MEAN else 'MISSED'}  mean AUROC of {len(found)} sets {mean:.3f}, at least {MEAN}"
    yield f"A14  {'holds' if held else 'MISSED'}  {figure}; at least {', '.join(f'{least:+}' for least in MARGINS.values())}"
    if absent:
        yield absent


def main() -> int:
    """Read the command line, measure, print."""
    if len(sys.argv) != 2 or sys.argv[1].startswith("-"):
        print("usage: python -m benchmarks.adbench FOLDER", file=sys.stderr)
        return 2
    print(machine(), flush=True)
    try:
        for line in lines(Path(sys.argv[1]), apart=True):
            print(line, flush=True)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
