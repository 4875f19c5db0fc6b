"""What Interlock writes: verdicts, controls and tallies, and their canonical JSON lines."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral
from typing import Annotated, Any, Literal, NamedTuple, Protocol, Self

import numpy as np
from msgspec import json as msgspec_json
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

DIGITS = 9
"""Significant digits of every float that is shown (VERDICTS.md §2)."""

SHOWN_BYTES = 4096
"""Bytes of a refused event that its dead letter shows."""

State = Literal["met", "at_risk", "breached", "insufficient", "unidentified", "no_data"]
Mode = Literal["normal", "throttled", "human_review", "safe_mode", "killed"]
Severity = Literal["critical", "error", "warning", "info"]
Milliseconds = Annotated[int, Field(description="Milliseconds since 1970 UTC, in event time.")]
Scope = Annotated[dict[str, str], Field(description="What it is about; empty for the whole model.")]
Details = dict[str, Any]
Ints = NDArray[np.int64]


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, allow_inf_nan=False)


class Verdict(_Record):
    """What the counts of one SLO in one scope say at one moment."""

    verdict_id: str
    model: str
    slo: str
    scope: Scope
    ts: Milliseconds
    window_start: Milliseconds
    window_end: Milliseconds
    state: State
    value: float | None = Field(description="The indicator over the window; null where it cannot be known.")
    lower: float | None = Field(description="Lower end of the interval that holds the value.")
    upper: float | None = Field(description="Upper end of the interval that holds the value.")
    n: int = Field(ge=0, description="Events or labels that the value rests on.")
    label_coverage: float | None = Field(ge=0, le=1, description="Share of due labels that are present.")
    target: str
    evidence: Details
    policy_digest: str


class Control(_Record):
    """A transition of one control: what serving systems must do from now on."""

    control_id: str
    epoch: int = Field(ge=1, description="Counts the engagements of this SLO and action in this scope.")
    model: str
    scope: Scope
    action: str
    mode: Mode
    state: Literal["engaged", "released"]
    parameters: Details
    slo: str
    verdict_id: str
    cause: str
    evidence: Details
    policy_digest: str
    ts: Annotated[int, Field(description="Milliseconds since 1970 UTC: event time of the transition.")]
    issued_at: Annotated[int, Field(description="Milliseconds since 1970 UTC: when it was sent, by wall clock.")]


class Link(_Record):
    """Where to read on."""

    href: str
    text: str


class Page(_Record):
    """What on-call is told of one control: it engaged, there is news of it, or it was released."""

    page_id: str = Field(description="The same whenever the same page is published again.")
    action: Literal["trigger", "update", "resolve"]
    incident: str = Field(min_length=1, max_length=255, description="Pages of one engagement share it.")
    severity: Severity = Field(description="critical and error wake somebody; warning and info do not.")
    summary: str = Field(min_length=1, max_length=1024, description="One line: what broke, where, since when.")
    model: str
    slo: str
    scope: Scope
    control_id: str
    epoch: int = Field(ge=1)
    mode: Mode = Field(description="The mode that the control asks for.")
    verdict_id: str = Field(description="Empty where a never-event pages ahead of its pane.")
    ts: Annotated[int, Field(description="Milliseconds since 1970 UTC: event time of the control's transition.")]
    details: Details = Field(description="What broke, where, since, causes, events, done, next, goal: plain text each.")
    links: tuple[Link, ...] = ()
    issued_at: Annotated[int, Field(description="Milliseconds since 1970 UTC: when it was sent, by wall clock.")]


class Refused(Protocol):
    """The shape of a dead letter."""

    @property
    def topic(self) -> str:
        """Where it was read: a topic or a file."""

    @property
    def offset(self) -> int:
        """Its position there."""

    @property
    def index(self) -> int:
        """Its place within a message of several events."""

    @property
    def reason(self) -> str:
        """Why it was refused, one word."""

    @property
    def detail(self) -> str:
        """What was found and what was expected, one line."""

    @property
    def raw(self) -> bytes:
        """Its first bytes."""

    @property
    def size(self) -> int:
        """Bytes of the whole."""

    @property
    def digest(self) -> str:
        """SHA-256 of the whole, in hex."""


@dataclass(frozen=True, slots=True)
class Labels:
    """Texts of n rows: `codes` int32[n] point into `texts`."""

    codes: NDArray[np.int32]
    texts: tuple[str, ...]

    @classmethod
    def of(cls, values: Iterable[str]) -> Self:
        """Return the labels of these values, in the order of first appearance."""
        places: dict[str, int] = {}
        codes = [places.setdefault(value, len(places)) for value in values]
        return cls(np.array(codes, np.int32), tuple(places))

    @classmethod
    def constant(cls, text: str, rows: int) -> Self:
        """Return n rows of one text."""
        return cls(np.zeros(rows, np.int32), (text,))

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return these rows only."""
        return type(self)(self.codes[rows], self.texts)

    def values(self) -> list[str]:
        """Return the text of each row."""
        return [self.texts[code] for code in self.codes.tolist()]


@dataclass(frozen=True, slots=True)
class TallyTable:
    """Counts of closed panes, a row per (pane, cohort, series, version, slice, cell); arrays int64[n], times in ms.

    `cohort_start` equals `pane_start` where a count has no cohort. `series` names what was counted (indicator and
    filter) and must be unique within a policy; `cell` numbers a count within it, as `interlock.policies.plan` says.
    """

    pane_start: Ints
    pane_ms: Ints
    cohort_start: Ints
    chain: Labels
    model: Labels
    model_version: Labels
    slice: Labels
    series: Labels
    cell: Ints
    count: Ints

    def __len__(self) -> int:
        return len(self.count)

    def take(self, rows: NDArray[np.bool_] | NDArray[np.intp]) -> Self:
        """Return these rows only."""
        return type(self)(
            pane_start=self.pane_start[rows],
            pane_ms=self.pane_ms[rows],
            cohort_start=self.cohort_start[rows],
            chain=self.chain.take(rows),
            model=self.model.take(rows),
            model_version=self.model_version.take(rows),
            slice=self.slice.take(rows),
            series=self.series.take(rows),
            cell=self.cell[rows],
            count=self.count[rows],
        )


class Count(NamedTuple):
    """A sum over some panes: of a series in a slice and a version, in one of its cells."""

    series: str
    slice: str
    version: str
    cell: int
    total: int


def verdict_line(verdict: Verdict) -> bytes:
    """Return the canonical JSON line of a verdict, newline included."""
    return _line({name: getattr(verdict, name) for name in Verdict.model_fields})


def control_line(control: Control) -> bytes:
    """Return the canonical JSON line of a control, newline included."""
    return _line({name: getattr(control, name) for name in Control.model_fields})


def page_line(page: Page) -> bytes:
    """Return the canonical JSON line of a page, newline included."""
    return _line(page.model_dump())


def dead_letter_line(letter: Refused, partition: int | None = None) -> bytes:
    """Return the JSON line of a dead letter; bytes that are not UTF-8 are shown escaped."""
    return _line(
        {
            "topic": letter.topic,
            **({} if partition is None else {"partition": partition}),
            "offset": letter.offset,
            "index": letter.index,
            "reason": letter.reason,
            "detail": letter.detail,
            "raw": shown(letter.raw),
            "size": letter.size,
            "digest": letter.digest,
        }
    )


def shown(raw: bytes) -> str:
    """Return the start of a refused event as text."""
    return raw[:SHOWN_BYTES].decode("utf-8", "backslashreplace")


def canonical_json(value: object) -> str:
    """Return one JSON text per value: keys sorted, floats rounded, no spaces; what JSON cannot hold is null."""
    return msgspec_json.encode(_canonical(value)).decode()


def rounded(value: float) -> float | None:
    """Round to nine significant digits; None for NaN and infinities, 0.0 for -0.0."""
    return float(f"{value:.{DIGITS}g}") + 0.0 if math.isfinite(value) else None


def _line(fields: Mapping[str, object]) -> bytes:
    """Keep the fields in their declared order, and sort every mapping below them."""
    return msgspec_json.encode({name: _canonical(value) for name, value in fields.items()}) + b"\n"


def _canonical(value: object) -> object:
    # What verdicts are made of comes first; asking an abstract type costs ten times as much as asking a built-in one.
    if isinstance(value, bool | str) or value is None or type(value) is int:
        return value
    if isinstance(value, float):
        return rounded(value)
    if isinstance(value, dict | Mapping):
        return {str(key): _canonical(value[key]) for key in sorted(value, key=str)}
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, list | Iterable):
        return [_canonical(item) for item in value]
    raise TypeError(f"a record cannot hold a {type(value).__name__}")
