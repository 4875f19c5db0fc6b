"""Learn a reference from rows of familiar traffic."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from interlock.columns import BOOL, NUMBER, STRING
from interlock.detectors.conformal import Calibration, thin
from interlock.detectors.ece import BINS, groups_equal_mass, micro_bin
from interlock.detectors.ood import LEAST_NUMBERS
from interlock.detectors.surprisal import MISSING_CODE
from interlock.errors import UserError
from interlock.policies.scalars import HOUR
from interlock.streams.clock import YEAR_2000
from interlock.streams.counting import FIXED
from interlock.streams.decode_columns import category_text
from interlock.streams.drift_bins import FEATURES, PREDICTION, SCORE, DriftStream, score_values
from interlock.streams.fit_delays import learn_delays
from interlock.streams.fit_dispersion import Marks, dispersions, panes
from interlock.streams.fit_drift import Times, category_stream, number_stream
from interlock.streams.fit_logits import learned_logits
from interlock.streams.fit_reliability import learn_reliability
from interlock.streams.fit_rows import FeatureRows, Rows
from interlock.streams.fit_scorer import (
    UNSCORED,
    Category,
    Learnt,
    Numeric,
    Part,
    fitted_counts,
    scorer_of,
    scores_of,
    whole_scores,
)
from interlock.streams.reference import LabelAge, Reference, Vocabulary

LEAST_ROWS, GOOD_ROWS = 500, 5000
MAX_VALUES = 65_536
"""Distinct values of a category; a feature with more looks like an identifier and is left out."""
COST = "a shift of a quarter of a standard deviation is noticed after about 1,480 events with 1,000 rows, after 640 with 20,000"
"""What a small reference costs: median delays of drift evidence at one false alarm in a million panes, simulated."""
HELD_OUT = 3
"""One row in three, chosen by its hashed id, is held out for the conformal calibration."""
COMMON_NEW = 0.05
"""Share of new values above which an unseen value means little."""
SCALED = 4
"""Of the others, one in four tells how odd each part of the OOD score finds events that it was not fitted on."""

Mask = NDArray[np.bool_]
Ints = NDArray[np.int64]


def learn(rows: Rows, flag_rate: float, least: int = LEAST_ROWS) -> Reference:
    """Return the reference of rows of one model.

    Features, calibration and dispersion follow from the rows as a set: the same rows give the same id in any order.

    Raises:
        UserError: fewer than `least` rows, or no feature that can be learned.
    """
    if len(rows.key) < least:
        raise UserError(f"a reference needs at least {least} predictions, found {len(rows.key)}; give more files")
    warnings: list[str] = []
    learnt = _learnt(rows, warnings)
    held, numerics, categories = learnt.split == Part.HELD, learnt.numerics, learnt.categories
    scorer = scorer_of(learnt)
    scores = scores_of(scorer, learnt)
    calibration = Calibration(thin(scores[held & (scores != UNSCORED)]))
    whole = whole_scores(scorer, learnt)
    flagged = {"ood_rate": scores >= calibration.threshold(flag_rate)}
    flagged |= {f"ood_rate.{score}": one.flagged(flagged["ood_rate"], flag_rate) for score, one in whole.items()}
    groups = groups_equal_mass(_bins(rows.p[rows.p >= 0]))
    _doubts(rows, calibration, flag_rate, warnings)
    return Reference(
        model=rows.names[rows.model[0]],
        versions=tuple(sorted({rows.names[code] for code in np.unique(rows.version)} - {""})),
        rows=len(held),
        span=(int(rows.ts.min()), int(rows.ts.max())),
        numbers=tuple(feature.name for feature in numerics),
        vocabularies={feature.name: feature.vocabulary for feature in categories},
        scorer=scorer.surprisal,
        calibration=calibration,
        ece_groups=groups,
        label_age=_label_age(rows.age[rows.age >= 0]),
        flag_rate=flag_rate,
        dispersion=dispersions(rows, _marks(flagged, learnt), groups),
        warnings=tuple(warnings),
        ranges=tuple(feature.range for feature in numerics),
        parts=scorer.parts,
        delays=learn_delays(rows),
        reliability=learn_reliability(rows),
        drift=_drift(rows, numerics, categories, ~held, warnings),
        logit_calibrations={score: one.calibration for score, one in whole.items()},
    )


def _learnt(rows: Rows, warnings: list[str]) -> Learnt:
    """Return what is learned of features, embeddings and logits; UserError if there is none of them."""
    split = _split(rows)
    fit = split != Part.HELD
    features = [_feature(name, rows.features[name], fit, warnings) for name in sorted(rows.features)]
    numerics = [feature for feature in features if isinstance(feature, Numeric)]
    categories = [feature for feature in features if isinstance(feature, Category)]
    learnt = Learnt(split, numerics, categories, *_embedded(rows, warnings), learned_logits(rows.logits, warnings))
    if not (numerics or categories or len(learnt.embedded) or learnt.logits):
        raise UserError(
            "no feature to learn from: predictions need `features`, at least one with values, `logits` or `embedding`"
        )
    return learnt


def _drift(
    rows: Rows, numerics: Sequence[Numeric], categories: Sequence[Category], fit: Mask, warnings: list[str]
) -> tuple[DriftStream, ...]:
    """Return the bins of what drift watches: features in the scorer's order, then the score and the prediction."""
    times, score = Times(panes(rows.ts), rows.ts // HOUR), score_values(rows.p)
    found = [number_stream(f"{FEATURES}{one.name}", one.values, times) for one in numerics]
    found += [category_stream(f"{FEATURES}{one.name}", one.codes, one.vocabulary.values, times) for one in categories]
    if not np.isnan(score).all():
        found.append(number_stream(SCORE, score, times))
    said = _feature(PREDICTION, rows.prediction, fit, warnings) if any(_found(rows.prediction)) else None
    if isinstance(said, Numeric):
        found.append(number_stream(PREDICTION, said.values, times))
    elif said is not None:
        values = said.vocabulary.values
        made = category_stream(PREDICTION, said.codes, values, times)
        found.append(replace(made, rest=values[len(made.values) :]))
    warnings += times.doubts
    return tuple(found)


def _split(rows: Rows) -> NDArray[np.int8]:
    """Return the `Part` of each row, int8[n], by its hashed id; without prototypes nothing needs a scale."""
    number = sum(bool(_is_number(feature)) for feature in rows.features.values())
    held = rows.key % np.uint64(HELD_OUT) == 0
    scaled = rows.key // np.uint64(HELD_OUT) % np.uint64(SCALED) == 0
    scaled &= number >= LEAST_NUMBERS or len(rows.embeddings.key) > 0 or rows.logits.classes > 0
    return np.select([held, scaled], [Part.HELD, Part.SCALE], Part.FIT).astype(np.int8)


def _embedded(rows: Rows, warnings: list[str]) -> tuple[NDArray[np.intp], Ints]:
    """Return the rows whose embeddings are known, and those; none if they are too few to learn from."""
    found = rows.embeddings
    place = np.minimum(np.searchsorted(rows.key, found.key), len(rows.key) - 1)
    mine = rows.key[place] == found.key
    if not 0 < mine.sum() < LEAST_ROWS:
        if found.left_out:
            warnings.append(
                f"embedding: {found.left_out} rows have none, or one of another length; they are not scored"
            )
        return place[mine].astype(np.intp), found.vectors[mine]
    warnings.append(f"embedding: only {mine.sum()} rows have one of the usual length; left out")
    return np.zeros(0, np.intp), found.vectors[:0]


def _is_number(rows: FeatureRows) -> bool:
    """Return whether a feature is learned as a number."""
    texts, numbers = _found(rows)
    return numbers >= max(texts, 1)


def _found(rows: FeatureRows) -> tuple[int, int]:
    """Return how many values are texts and how many are numbers."""
    return int((rows.kind == STRING).sum()), int(((rows.kind == NUMBER) | (rows.kind == BOOL)).sum())


def _feature(name: str, rows: FeatureRows, fit: Mask, warnings: list[str]) -> Numeric | Category | None:
    found = _found(rows)
    if not any(found):
        warnings.append(f"{name}: no values; left out")
        return None
    if all(found):
        kept, other = ("text", "numbers") if found[0] > found[1] else ("a number", "texts")
        count = f"{min(found)} of {sum(found)}"
        warnings.append(f"{name}: mostly {kept}, learned as such; {count} values are {other}")
    if found[0] > found[1]:
        return _category(name, rows, warnings)
    numbers = (rows.kind == NUMBER) | (rows.kind == BOOL)
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
    if sd <= 1e-9 * abs(mean):  # a constant's grid is narrow: anything else lies outside it
        sd = 1e-9 * max(abs(mean), 1.0)
    finite = values[np.isfinite(values)]
    return Numeric(name, values, mean, sd, (float(finite.min()), float(finite.max())))


def _category(name: str, rows: FeatureRows, warnings: list[str]) -> Category | None:
    codes, values = _texts(rows)
    counts = np.bincount(codes[codes >= 0], minlength=len(values))
    order = sorted(np.flatnonzero(counts).tolist(), key=lambda code: (-counts[code], values[code]))
    if len(order) > MAX_VALUES:
        warnings.append(f"{name}: {len(order)} distinct values look like an identifier; left out")
        return None
    renamed = np.full(len(values) + 1, MISSING_CODE, np.int32)
    renamed[order] = np.arange(len(order), dtype=np.int32)
    codes = renamed[codes]
    missing = codes == MISSING_CODE
    vocabulary = Vocabulary(tuple(values[code] for code in order), counts[order].astype(np.int64), int(missing.sum()))
    upper = vocabulary.unseen_upper()
    if upper > COMMON_NEW:
        warnings.append(f"{name}: up to {upper:.0%} of events bring a value never seen; unseen_rate says little here")
    return Category(name, codes, vocabulary)


def _texts(rows: FeatureRows) -> tuple[NDArray[np.int32], list[str]]:
    """Return codes int32[n] of the texts that the values count as (-1 without), and those texts."""
    codes = np.where(rows.kind == STRING, rows.value, -1).astype(np.int32)
    known = {text: code for code, text in enumerate(rows.texts)}
    for kind in (NUMBER, BOOL):
        for value in np.unique(rows.value[rows.kind == kind]).tolist():
            text = category_text(bool(value) if kind == BOOL else value)
            codes[(rows.kind == kind) & (rows.value == value)] = known.setdefault(text, len(known))
    return codes, list(known)


def _marks(flagged: Mapping[str, Mask], learnt: Learnt) -> Marks:
    held = learnt.split == Part.HELD
    missing, outside = np.zeros(len(held), np.bool_), np.zeros(len(held), np.bool_)
    for number in learnt.numerics:
        missing |= np.isnan(number.values)
        rest = number.values[~held & np.isfinite(number.values)]
        outside |= held & ((number.values < rest.min()) | (number.values > rest.max()))
    for feature in learnt.categories:
        missing |= feature.codes == MISSING_CODE
    return Marks(flagged, missing, held, _new(learnt.categories, held), outside)


def _new(categories: Sequence[Category], held: Mask) -> Mask:
    """Return which held-out rows bring a value that the fitted part never had."""
    new = np.zeros(len(held), np.bool_)
    for feature in categories:
        new |= np.append(fitted_counts(feature, ~held) == 0, False)[
            feature.codes
        ]  # code -1, missing, reads the last entry
    return new & held


def _bins(p: Ints) -> Ints:
    return np.bincount(micro_bin(p / float(FIXED)), minlength=BINS).astype(np.int64)


def _doubts(rows: Rows, calibration: Calibration, flag_rate: float, warnings: list[str]) -> None:
    n, labelled = len(rows.key), int((rows.y >= 0).sum())
    if rows.ts.min() < YEAR_2000:
        warnings.append("some events lie before the year 2000: ts is in milliseconds")
    if n < GOOD_ROWS:
        warnings.append(f"{n} rows: {COST}; rare values and the flagging threshold are rough; give {GOOD_ROWS} or more")
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
