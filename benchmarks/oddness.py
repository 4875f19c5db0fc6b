"""How well scores of oddness tell what is odd from what is not: splits of sets, and the AUROC of the product's score and of rivals'."""

from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np

from benchmarks.apart import AbsentError
from benchmarks.league import oddities, venvs
from benchmarks.tables import fitted, named, scores

Floats = np.ndarray

OURS = "Interlock"
HERE = ("scikit-learn IsolationForest", "River HalfSpaceTrees(25)")
"""Rivals that are installed beside us."""
LEAST = 20
"""Rows of a reference at least: these sets are smaller than any reference may be; the learning is the same."""


class Split(NamedTuple):
    """A reference float64[n, F], a test float64[m, F], and which of the test is odd, bool[m]."""

    reference: Floats
    test: Floats
    odd: Floats


Sets = Mapping[str, Iterable[Split]]
Aurocs = dict[str, dict[str, float]]
"""Of each set the mean over its splits, by who scores."""


def left_out_splits(name: str, seeds: int) -> Iterator[Split]:
    """Yield splits of one of scikit-learn's sets: one class left out is odd, half of the others is the reference."""
    from sklearn import datasets  # noqa: PLC0415 - a package of developers

    values, classes = getattr(datasets, f"load_{name}")(return_X_y=True)
    for seed in range(seeds):
        rng = np.random.default_rng(seed)
        for left_out in np.unique(classes):
            others = rng.permutation(np.flatnonzero(classes != left_out))
            half = len(others) // 2
            test = np.concatenate([others[half:], np.flatnonzero(classes == left_out)])
            yield Split(values[others[:half]], values[test], classes[test] == left_out)


def flat(sets: Sets) -> dict[str, Floats]:
    """Return splits by `SET/N/reference`, `SET/N/test` and `SET/N/odd`, as scripts take them."""
    return {
        f"{name}/{place}/{part}": values
        for name, splits in sets.items()
        for place, split in enumerate(splits)
        for part, values in split._asdict().items()
    }


def aurocs(said: Mapping[str, Floats], splits: Mapping[str, Floats]) -> dict[str, float]:
    """Return the mean AUROC of each set over its splits; `said` are scores by `SET/N`."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415 - a package of developers

    found: dict[str, list[float]] = {}
    for key, values in said.items():
        if key != "cost":
            found.setdefault(key.split("/")[0], []).append(roc_auc_score(splits[f"{key}/odd"], values))
    return {name: float(np.mean(values)) for name, values in found.items()}


def measured(sets: Sets) -> Aurocs:
    """Return the AUROCs of the product's score and of the rivals that are here."""
    splits = flat(sets)
    by = {rival: aurocs(oddities.scored(oddities.ODD[rival][1], splits), splits) for rival in HERE}
    by[OURS] = aurocs(ours(splits), splits)
    return {name: {who: by[who][name] for who in (OURS, *HERE)} for name in by[OURS]}


def ours(splits: Mapping[str, Floats]) -> dict[str, Floats]:
    """Return the product's scores of each split."""
    keys = [name.removesuffix("/test") for name in splits if name.endswith("/test")]
    return {
        key: scores(fitted(named(splits[f"{key}/reference"]), least=LEAST), named(splits[f"{key}/test"]))
        for key in keys
    }


def measured_apart(sets: Sets, rival: str) -> dict[str, float]:
    """Return the AUROCs of a rival that is in a venv of its own.

    Raises:
        AbsentError: it cannot be installed.
    """
    splits = flat(sets)
    return aurocs(venvs.run("oddities.py", rival, splits, 1), splits)


def margins(found: Mapping[str, Mapping[str, float]], least: Mapping[str, float]) -> tuple[str, bool]:
    """Return in words how far the mean of our AUROCs is above each rival's, and whether by as much as it must be."""
    mean = {who: float(np.mean([one[who] for one in found.values()])) for who in next(iter(found.values()))}
    told = [f"{who} {mean[who]:.3f} ({mean[OURS] - mean[who]:+.3f})" for who in least if who in mean]
    held = all(mean[OURS] - mean[who] >= margin for who, margin in least.items() if who in mean)
    return f"{mean[OURS]:.3f}; {', '.join(told)}", held


def with_apart(sets: Sets, found: Aurocs) -> str:
    """Add PyOD's ECOD; return why that could not be."""
    try:
        for name, auroc in measured_apart(sets, oddities.AT_ONCE).items():
            found[name][oddities.AT_ONCE] = auroc
    except AbsentError as error:
        return f"{oddities.AT_ONCE} {error}"
    return ""
