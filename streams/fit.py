"""Learn a reference from rows of familiar traffic."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import BOOL, NUMBER, STRING
from interlock.detectors.conformal import Calibration, thin
from interlock.detectors.dispersion import ece_dispersion, proportion_dispersion
from interlock.detectors.ece import BINS, groups_equal_mass, micro_bin
from interlock.detectors.surprisal import MISSING_CODE, SurprisalScorer, category_table, numeric_table
from interlock.errors import UserError
from interlock.streams.clock import YEAR_2000
from interlock.streams.counting import FIXED
from interlock.streams.decode_columns import category_text
from interlock.streams.fit_rows import FeatureRows, Rows
from interlock.streams.reference import LabelAge, Reference, Vocabulary

LEAST_ROWS, GOOD_ROWS = 500, 5000
MAX_VALUES = 65_536
"""Distinct values of a category; a feature with more looks like an identifier and is left out."""
HELD_OUT = 3
"""One row in three, chosen by its hashed id, is held out for the conformal calibration."""
COMMON_NEW = 0.05
"""Share of new values above which an unseen value means little."""
PANES = tuple(minutes * 60_000 for minutes in (10, 30, 60, 180, 360, 720, 1440))
PANE_EVENTS = 50
"""Median events of the pane that dispersion is estimated on: thinner ones say little."""

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Numeric:
    """A numeric feature learned: name, values float64[n] (NaN without), mean, standard deviation, surprisals, range."""

    name: str
    values: NDArray[np.float64]
    mean: float
    sd: float
    table: Ints
    range: tuple[float, float]


@dataclass(frozen=True, slots=True)
class Category:
    """A categorical feature learned: name, codes int32[n], vocabulary, counts in the fitted part, surprisals."""

    name: str
    codes: NDArray[np.int32]
    vocabulary: Vocabulary
    fitted: Ints
    table: Ints


def learn(rows: Rows, flag_rate: float) -> Reference:
    """Return the reference of rows of one model.

    Features, calibration and dispersion follow from the rows as a set: the same rows give the same id in any order.

    Raises:
        UserError: fewer than 500 rows, or no feature that can be learned.
    """
    if len(rows.key) < LEAST_ROWS:
        raise UserError(f"a reference needs at least {LEAST_ROWS} predictions, found {len(rows.key)}; give more files")
    warnings: list[str] = []
    held = rows.key % np.uint64(HELD_OUT) == 0
    features = [_feature(name, rows.features[name], ~held, warnings) for name in sorted(rows.features)]
    numerics = [feature for feature in features if isinstance(feature, Numeric)]
    categories = [feature for feature in features if isinstance(feature, Category)]
    if not numerics and not categories:
        raise UserError("no feature to learn from: predictions need `features`, at least one with values")
    scorer, scores = _scorer(numerics, categories, held)
    calibration = Calibration(thin(scores[held]))
    groups = groups_equal_mass(_bins(rows.p[rows.p >= 0]))
    _doubts(rows, calibration, flag_rate, warnings)
    flagged = scores >= calibration.threshold(flag_rate)
    return Reference(
        model=rows.names[rows.model[0]],
        versions=tuple(sorted({rows.names[code] for code in np.unique(rows.version)} - {""})),
        rows=len(held),
        span=(int(rows.ts.min()), int(rows.ts.max())),
        numbers=tuple(feature.name for feature in numerics),
        vocabularies={feature.name: feature.vocabulary for feature in categories},
        scorer=scorer,
        calibration=calibration,
        ece_groups=groups,
        label_age=_label_age(rows.age[rows.age >= 0]),
        flag_rate=flag_rate,
        dispersion=_dispersion(rows, flagged, _new(categories, held), groups),
        warnings=tuple(warnings),
        ranges=tuple(feature.range for feature in numerics),
    )


def _feature(name: str, rows: FeatureRows, fit: Mask, warnings: list[str]) -> Numeric | Category | None:
    texts = rows.kind == STRING
    numbers = (rows.kind == NUMBER) | (rows.kind == BOOL)
    found = (int(texts.sum()), int(numbers.sum()))
    if not any(found):
        warnings.append(f"{name}: no values; left out")
        return None
    if all(found):
        kept, other = ("text", "numbers") if found[0] > found[1] else ("a number", "texts")
        count = f"{min(found)} of {sum(found)}"
        warnings.append(f"{name}: mostly {kept}, learned as such; {count} values are {other}")
    if found[0] > found[1]:
        return _category(name, rows, fit, warnings)
    return _numeric(name, np.where(numbers, rows.value, np.nan), fit, warnings)


def _numeric(name: str, values: NDArray[np.float64], fit: Mask, warnings: list[str]) -> Numeric | None:
    known = np.sort(values[fit & np.isfinite(values)])  # sorted, so that sums do not depend on the rows' order
    if not len(known):
        warnings.append(f"{name}: no finite values in the fitted part; left out")
        return None
    with np.errstate(over="ignore", invalid="ignore"):
        mean = float(known.mean())
        sd = float(np.sqrt(np.mean((known - mean) ** 2)))
    if not np.isfinite(sd):
        warnings.append(f"{name}: values too large for a standard deviation; left out")
        return None
    if known[0] == known[-1]:
        warnings.append(f"{name}: always {known[0]:g}; any other value will be odd")
    sd = max(sd, 1e-9 * max(abs(mean), 1.0))  # a constant's grid is narrow: anything else lies outside it
    finite = values[np.isfinite(values)]
    return Numeric(
        name, values, mean, sd, numeric_table(values[fit], mean, sd), (float(finite.min()), float(finite.max()))
    )


def _category(name: str, rows: FeatureRows, fit: Mask, warnings: list[str]) -> Category | None:
    codes, values = _texts(rows)
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], values[code]))
    if len(order) > MAX_VALUES:
        warnings.append(f"{name}: {len(order)} distinct values look like an identifier; left out")
        return None
    renamed = np.full(len(values) + 1, MISSING_CODE, np.int32)
    renamed[order] = np.arange(len(order), dtype=np.int32)
    codes = renamed[codes]
    fitted = np.bincount(codes[fit & (codes >= 0)], minlength=len(order))
    missing = codes == MISSING_CODE
    vocabulary = Vocabulary(tuple(values[code] for code in order), counts[order].astype(np.int64), int(missing.sum()))
    upper = vocabulary.unseen_upper()
    if upper > COMMON_NEW:
        warnings.append(f"{name}: up to {upper:.0%} of events bring a value never seen; unseen_rate says little here")
    table = category_table(fitted.astype(np.int64), int((missing & fit).sum()))
    return Category(name, codes, vocabulary, fitted.astype(np.int64), table)


def _texts(rows: FeatureRows) -> tuple[NDArray[np.int32], list[str]]:
    """Return codes int32[n] of the texts that the values count as (-1 without), and those texts."""
    codes = np.where(rows.kind == STRING, rows.value, -1).astype(np.int32)
    known = {text: code for code, text in enumerate(rows.texts)}
    for kind in (NUMBER, BOOL):
        for value in np.unique(rows.value[rows.kind == kind]).tolist():
            text = category_text(bool(value) if kind == BOOL else value)
            codes[(rows.kind == kind) & (rows.value == value)] = known.setdefault(text, len(known))
    return codes, list(known)


def _scorer(numerics: Sequence[Numeric], categories: Sequence[Category], held: Mask) -> tuple[SurprisalScorer, Ints]:
    """Return the scorer that the fitted part makes, and the scores of all rows."""
    numbers = np.array([feature.values for feature in numerics]).reshape(len(numerics), len(held))
    codes = np.array([feature.codes for feature in categories], np.int32).reshape(len(categories), len(held))
    bare = SurprisalScorer(
        means=tuple(feature.mean for feature in numerics),
        sds=tuple(feature.sd for feature in numerics),
        number_tables=tuple(feature.table for feature in numerics),
        category_tables=tuple(feature.table for feature in categories),
        number_means=np.zeros(len(numerics), np.int64),
        category_means=np.zeros(len(categories), np.int64),
    )
    scorer = bare.with_means(numbers[:, ~held], codes[:, ~held])
    return scorer, scorer.score(numbers, codes)


def _new(categories: Sequence[Category], held: Mask) -> Mask:
    """Return which held-out rows bring a value that the fitted part never had."""
    new = np.zeros(len(held), np.bool_)
    for feature in categories:
        new |= np.append(feature.fitted == 0, False)[feature.codes]  # code -1, missing, reads the last entry
    return new & held


def _bins(p: Ints) -> Ints:
    return np.bincount(micro_bin(p / float(FIXED)), minlength=BINS).astype(np.int64)


def _doubts(rows: Rows, calibration: Calibration, flag_rate: float, warnings: list[str]) -> None:
    n, labelled = len(rows.key), int((rows.y >= 0).sum())
    if rows.ts.min() < YEAR_2000:
        warnings.append("some events lie before the year 2000: ts is in milliseconds")
    if n < GOOD_ROWS:
        warnings.append(f"{n} rows: rare values and the flagging threshold are rough; {GOOD_ROWS} or more are better")
    if calibration.threshold(flag_rate) == np.iinfo(np.int64).max:
        warnings.append(f"{len(calibration.scores)} calibration scores prove no flag rate of {flag_rate:g}: no flags")
    if not (rows.p >= 0).any():
        warnings.append("no scores: ECE groups are of equal width")
    if not labelled:
        warnings.append("no labels: maturity stays 24h unless the policy says otherwise")
    elif labelled < n:
        warnings.append(f"{n - labelled} of {n} predictions have no label")


def _label_age(age: Ints) -> LabelAge | None:
    if not len(age):
        return None
    ordered = np.sort(age)
    return LabelAge(*(int(ordered[-(-len(age) * percent // 100) - 1]) for percent in (50, 95, 99)))


def _dispersion(rows: Rows, flagged: Mask, new: Mask, groups: Ints) -> dict[str, float]:
    """Return φ per indicator, from panes wide enough to hold 50 events in the median; empty if none is."""
    pane = _panes(rows.ts)
    if pane is None:
        return {}
    last = int(pane.max()) + 1
    n = np.bincount(pane, minlength=last)
    held = rows.key % np.uint64(HELD_OUT) == 0
    found = {
        "ood_rate": proportion_dispersion(np.bincount(pane[flagged], minlength=last), n),
        "unseen_rate": proportion_dispersion(
            np.bincount(pane[new], minlength=last), np.bincount(pane[held], minlength=last)
        ),
    }
    due = (rows.y >= 0) & (rows.p >= 0)
    if due.any():
        cell = pane[due] * BINS + micro_bin(rows.p[due] / float(FIXED))
        seen, positive = (np.bincount(c, minlength=last * BINS) for c in (cell, cell[rows.y[due] == 1]))
        found["decision_ece"] = ece_dispersion(seen.reshape(last, BINS), positive.reshape(last, BINS), groups)
    return found


def _panes(ts: Ints) -> Ints | None:
    """Return the pane of each row, numbered without gaps: the narrowest with 50 events in the median pane."""
    for width in PANES:
        _, pane, counts = np.unique(ts // width, return_inverse=True, return_counts=True)
        if len(counts) > 1 and np.median(counts) >= PANE_EVENTS:
            return pane.astype(np.int64)
    return None
