"""The reference: what `interlock fit` learned of familiar traffic, in one file that is checked when it is read."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.conformal import Calibration
from interlock.detectors.logits import Score
from interlock.detectors.ood import OodScorer, Parts
from interlock.detectors.surprisal import SurprisalScorer, good_turing_upper
from interlock.errors import UserError
from interlock.policies.arrivals import Delays
from interlock.streams import reference_file, reference_parts
from interlock.streams.batch import Wanted
from interlock.streams.drift_bins import Binner, DriftStream
from interlock.streams.reference_file import Body, CategoryPart, NumberPart, array, packed


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """The values that a category had in the reference, most frequent first.

    `counts` int64[V] over all rows; `missing`: rows without the feature.
    """

    values: tuple[str, ...]
    counts: NDArray[np.int64]
    missing: int

    def unseen_upper(self) -> float:
        """Return the Good–Turing upper bound on the share of events that bring a value never seen."""
        return good_turing_upper(np.append(self.counts, self.missing))


@dataclass(frozen=True, slots=True)
class LabelAge:
    """Milliseconds from a prediction to its label in the reference: median, 95 % and 99 % (default maturity)."""

    p50: int
    p95: int
    p99: int


@dataclass(frozen=True, eq=False)
class Reference:
    """What familiar traffic looks like.

    `id`: `sha256:` and the hash of everything else here. `rows` predictions, with times in `span` (first, last; ms since
    1970 UTC). `numbers` and `vocabularies` name the features in the scorer's order. `ece_groups` int64[64]: the group
    (0..14) of each of the 64 equal score bins, of about equal mass. `dispersion`: indicator -> φ >= 1 at `flag_rate`.
    `label_age` is None without outcomes. `warnings`: what the fit had to leave out or doubts. `ranges`: the least and the
    largest finite value of each number, over all rows; empty in a reference that was fitted before there were ranges.
    `drift`: the bins of the streams that drift watches; none in a reference that was fitted before there was drift.
    `reliability` int64[64, 4]: how often what was stated came true, as `detectors/reliability.py` reads it; None likewise.
    `logit_calibrations`: the scores of held-out rows with logits, by how these count; `calibration` has all rows', without.
    `parts`: what the OOD score adds up beside surprisal; None in a reference that was fitted before there were prototypes.
    """

    model: str
    versions: tuple[str, ...]
    rows: int
    span: tuple[int, int]
    numbers: tuple[str, ...]
    vocabularies: Mapping[str, Vocabulary]
    scorer: SurprisalScorer
    calibration: Calibration
    ece_groups: NDArray[np.int64]
    label_age: LabelAge | None
    flag_rate: float
    dispersion: Mapping[str, float]
    warnings: tuple[str, ...]
    ranges: tuple[tuple[float, float], ...] = ()
    parts: Parts | None = None
    delays: Delays | None = None
    drift: tuple[DriftStream, ...] = ()
    reliability: NDArray[np.int64] | None = None
    logit_calibrations: Mapping[Score, Calibration] = field(default_factory=dict)
    id: str = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "id", reference_file.identity(_body(self)))

    @cached_property
    def ood(self) -> OodScorer:
        """What scores events: `calibration` holds its scores of the held-out rows."""
        return OodScorer(self.scorer, self.parts)

    @cached_property
    def binner(self) -> Binner | None:
        """What finds the bins of drift; None without any."""
        known = {name: vocabulary.values for name, vocabulary in self.vocabularies.items()}
        return Binner(self.drift, self.numbers, known) if self.drift else None

    @property
    def width(self) -> int:
        """The numbers of an embedding that can be scored; 0 if it knows none."""
        return 0 if self.parts is None else self.parts.width

    @property
    def classes(self) -> int:
        """The logits of an event that can be scored; 0 if it knows none."""
        return 0 if self.parts is None else self.parts.classes

    @property
    def categories(self) -> tuple[str, ...]:
        """The categorical features, in the scorer's order."""
        return tuple(self.vocabularies)

    @property
    def features(self) -> tuple[str, ...]:
        """All features as `OodScorer.reasons` numbers them: numbers first."""
        return (*self.numbers, *self.vocabularies)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """The ends of the ranges, float64[2, Fn]: (low, high), infinite where they are not known."""
        unknown = ((-np.inf, np.inf),) * len(self.numbers)
        return np.array(self.ranges or unknown, np.float64).reshape(-1, 2).T

    def outside_expected(self) -> float:
        """Return how often an event of the same kind leaves a range, at most: for each number, once per end in rows + 1."""
        return min(1.0, 2 * len(self.ranges) / (self.rows + 1))

    def unseen_upper(self) -> float:
        """Return a bound on the share of events with any unseen value: the features' bounds added, at most 1."""
        total = 0.0
        for vocabulary in self.vocabularies.values():
            total += vocabulary.unseen_upper()
        return min(1.0, total)

    def wanted(self, paths: Iterable[str], logits: Score | None = None) -> Wanted:
        """Return what a decoder must yield so that `ood` can score, logits too if asked, and the columns of `paths`."""
        codes = {
            name: {value: code for code, value in enumerate(vocabulary.values)}
            for name, vocabulary in self.vocabularies.items()
        }
        asked = logits is not None and self.classes > 0
        return Wanted(self.numbers, codes, frozenset(paths), embedding=self.width > 0, logits=asked)


def to_bytes(reference: Reference) -> bytes:
    """Return the file's content; equal references give equal bytes."""
    return reference_file.sealed(_body(reference))


def from_bytes(content: bytes, name: str) -> Reference:
    """Return the reference in a file's content.

    Raises:
        UserError: it is no reference, or of another format version, cut short or damaged; `name` says which file.
    """
    try:
        return _reference(reference_file.opened(content))
    except ValueError as error:
        raise UserError(f"{name}: {error}; write it again with `interlock fit`") from None


def save(reference: Reference, path: Path) -> None:
    """Write the reference, whole or not at all.

    Raises:
        UserError: the file cannot be written.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        temporary.write_bytes(to_bytes(reference))
        temporary.replace(path)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise UserError(f"{path}: cannot write the reference: {error.strerror}") from None


def load(path: Path) -> Reference:
    """Read a reference.

    Raises:
        UserError: the file cannot be read, or `from_bytes` refuses it.
    """
    try:
        content = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot read the reference: {error.strerror}") from None
    return from_bytes(content, str(path))


def _body(reference: Reference) -> Body:
    scorer, age = reference.scorer, reference.label_age
    return Body(
        model=reference.model,
        versions=reference.versions,
        rows=reference.rows,
        span=reference.span,
        numbers=tuple(
            NumberPart(
                name,
                scorer.means[f],
                scorer.sds[f],
                packed(scorer.number_tables[f]),
                reference.ranges[f] if reference.ranges else None,
            )
            for f, name in enumerate(reference.numbers)
        ),
        categories=tuple(
            CategoryPart(name, part.values, packed(part.counts), part.missing, packed(scorer.category_tables[f]))
            for f, (name, part) in enumerate(reference.vocabularies.items())
        ),
        number_means=packed(scorer.number_means),
        category_means=packed(scorer.category_means),
        calibration=packed(reference.calibration.scores),
        ece_groups=packed(reference.ece_groups),
        label_age=None if age is None else (age.p50, age.p95, age.p99),
        flag_rate=reference.flag_rate,
        dispersion=tuple(sorted(reference.dispersion.items())),
        warnings=reference.warnings,
        prototypes=reference_parts.written(reference.parts),
        delays=None if reference.delays is None else packed(reference.delays.table()),
        drift=reference_parts.written_drift(reference.drift),
        reliability=None if reference.reliability is None else packed(reference.reliability),
        logit_calibrations={name: packed(one.scores) for name, one in sorted(reference.logit_calibrations.items())}
        or None,
    )


def _reference(body: Body) -> Reference:
    return Reference(
        model=body.model,
        versions=body.versions,
        rows=body.rows,
        span=body.span,
        numbers=tuple(part.name for part in body.numbers),
        vocabularies={part.name: Vocabulary(part.values, array(part.counts), part.missing) for part in body.categories},
        scorer=SurprisalScorer(
            means=tuple(part.mean for part in body.numbers),
            sds=tuple(part.sd for part in body.numbers),
            number_tables=tuple(array(part.table) for part in body.numbers),
            category_tables=tuple(array(part.table) for part in body.categories),
            number_means=array(body.number_means),
            category_means=array(body.category_means),
        ),
        calibration=Calibration(array(body.calibration)),
        ece_groups=array(body.ece_groups),
        label_age=None if body.label_age is None else LabelAge(*body.label_age),
        flag_rate=body.flag_rate,
        dispersion=dict(body.dispersion),
        warnings=body.warnings,
        ranges=tuple(part.range for part in body.numbers if part.range is not None),
        parts=reference_parts.read(body.prototypes),
        delays=None if body.delays is None else Delays.of(array(body.delays)),
        drift=reference_parts.read_drift(body.drift),
        reliability=reference_parts.read_reliability(body.reliability),
        logit_calibrations={name: Calibration(array(one)) for name, one in (body.logit_calibrations or {}).items()},
    )
