"""`python -m benchmarks.logits`: what logits add to the OOD score, by either way of counting them and by their weight.

Scikit-learn's digits, one class left out at a time: a classifier learns from a third of the others, a reference from
another third, and the last third and the class left out are told apart.
"""

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.tables import frame, named, read
from interlock.detectors.logits import SCORES, Score
from interlock.detectors.ood import WEIGHT, OodScorer
from interlock.policies.model_parts import Ood
from interlock.streams.batch import Frame
from interlock.streams.fit import learn
from interlock.streams.fit_files import gather
from interlock.streams.oddity import Oddity
from interlock.streams.reference import Reference

Floats = np.ndarray
WEIGHTS = (0.5, 1, 2, 3, 4)
FALSE = 0.05
"""Share of familiar events that may be flagged where the share of odd ones is taken."""
ALONE = "without logits"


class Split(NamedTuple):
    """What a classifier said of a reference and of a test: features, logits, and which of the test is odd."""

    reference: tuple[Floats, Floats]
    test: tuple[Floats, Floats]
    odd: Floats


class Told(NamedTuple):
    """How well odd events are told apart: AUROC, and share of them found where FALSE of the others are flagged."""

    auroc: float
    found: float


def logistic(values: Floats, classes: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Return the logits of a multinomial regression."""
    from sklearn.linear_model import LogisticRegression  # noqa: PLC0415 - a package of developers

    made = LogisticRegression(max_iter=2000, random_state=seed).fit(values / 16, classes)
    return lambda test: np.asarray(made.decision_function(test / 16))


def perceptron(values: Floats, classes: Floats, seed: int) -> Callable[[Floats], Floats]:
    """Return the logits of a network of one hidden layer of 64, up to a constant that each event has of its own.

    What scikit-learn gives are log-probabilities, whose energy is always 0: the last layer's sums are taken instead.
    """
    from sklearn.neural_network import MLPClassifier  # noqa: PLC0415

    made: Any = MLPClassifier((64,), max_iter=1000, random_state=seed).fit(values / 16, classes)
    (first, last), (bias, end) = made.coefs_, made.intercepts_
    return lambda test: np.maximum(test / 16 @ first + bias, 0) @ last + end


MODELS = {"LogisticRegression": logistic, "MLPClassifier(64)": perceptron}


def splits(model: str, seed: int) -> Iterator[Split]:
    """Yield a split for each class left out."""
    from sklearn.datasets import load_digits  # noqa: PLC0415

    values, classes = load_digits(return_X_y=True)
    rng = np.random.default_rng(seed)
    for left_out in range(10):
        train, known, rest = np.array_split(rng.permutation(np.flatnonzero(classes != left_out)), 3)
        test = np.concatenate([rest, np.flatnonzero(classes == left_out)])
        logits = MODELS[model](values[train], classes[train], seed)
        both = ((values[rows], logits(values[rows])) for rows in (known, test))
        yield Split(*both, odd=classes[test] == left_out)


def events(rows: tuple[Floats, Floats], prefix: str = "e") -> Frame:
    """Return features [n, F] with their logits [n, K] as events."""
    made = frame(named(rows[0]), prefix=prefix)
    logits = pa.array(list(rows[1]), pa.list_(pa.float64()))
    return Frame(made.batch.append_column("logits", logits), 0, made.appended)


def fitted(rows: tuple[Floats, Floats]) -> Reference:
    """Return what `interlock fit` learns of these rows."""
    return learn(gather(tuple(named(rows[0])), [events(rows, "r")], []).rows, 0.01)


def told(split: Split) -> dict[tuple[str, float], Told]:
    """Return how well each way and weight tells odd events apart."""
    from sklearn.metrics import roc_auc_score  # noqa: PLC0415

    reference, batch = fitted(split.reference), events(split.test)
    found = {}
    for score, weight in ((None, 0.0), *((score, weight) for score in SCORES for weight in WEIGHTS)):
        odd = scored(reference, batch, score, weight)
        least = np.quantile(odd[~split.odd], 1 - FALSE, method="higher")
        found[score or ALONE, weight] = Told(roc_auc_score(split.odd, odd), float((odd[split.odd] > least).mean()))
    return found


def scored(reference: Reference, batch: Frame, score: Score | None, weight: float) -> Floats:
    """Return the OOD scores of events with logits of this weight."""
    parts = reference.parts
    if parts is None or parts.logits is None:
        raise ValueError("a reference without logits")
    weighed = replace(parts, logits=replace(parts.logits, weight=int(weight * WEIGHT)))
    decoded = read(reference, batch, score)
    beside = Oddity(reference, Ood(logits=score)).beside(decoded)[1]
    return OodScorer(reference.scorer, weighed).score(decoded.numbers, decoded.categories, beside)


def main() -> None:
    """Print a table per classifier."""
    for model in MODELS:
        rows = [told(split) for split in splits(model, 0)]
        print(f"\n{f'digits, {model}, {len(rows)} splits':45}{'weight':>8}{'AUROC':>8}{f'found at {FALSE:.0%}':>14}")
        for score, weight in rows[0]:
            auroc, found = np.mean([one[score, weight] for one in rows], axis=0)
            print(f"{score:45}{weight or '':>8}{auroc:8.3f}{found:14.3f}", flush=True)


if __name__ == "__main__":
    main()
