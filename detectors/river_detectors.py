"""River's detectors by name: what they may be given, and how they are asked event by event.

River (https://riverml.xyz, BSD-3) is an optional extra; this is the one file that imports it. Its detectors look at one event
after the other, so that what they find depends on the order of events and cannot be merged: outside the laws of counts.
"""

import inspect
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.errors import UserError

DRIFT = ("ADWIN", "PageHinkley", "KSWIN")
"""Detectors of change in one number."""

ANOMALY = ("HalfSpaceTrees", "LODA")
"""Scores of how odd an event is, over one number or more; `threshold`, which is ours, says from where on it is detected."""

NAMES = (*DRIFT, *ANOMALY)

THRESHOLD = "threshold"

LEARNING = 250
"""Events of which an anomaly detector only learns: before that its scores mean nothing."""

SEED = 1
"""What chance starts from unless `seed` says otherwise, so that a replay detects what was detected."""

LARGEST = 1_000_000
"""Largest whole number that a parameter may be: they are sizes of windows, trees and histograms."""

DEEPEST = 15
"""Largest `height` of a tree: it doubles the memory."""

SHARES = {("ADWIN", "delta"), ("KSWIN", "alpha")}
"""Parameters between 0 and 1, both excluded: significance levels."""

NOT_NEGATIVE = ("seed", "grace_period", "min_instances", "delta", "alpha")
"""Parameters that may be 0; other numbers are positive, with which River fails late or never detects."""

REFUSED = ("window",)
"""Parameters that make no sense in a policy: past data."""

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Setting:
    """A detector by name with its parameters, as JSON with sorted keys so that equal ones are equal."""

    name: str
    params: str

    @classmethod
    def of(cls, name: str, params: Mapping[str, Any]) -> "Setting":
        """Return the setting of checked parameters."""
        return cls(name, json.dumps(params, sort_keys=True))


@dataclass(frozen=True, slots=True)
class Problem:
    """What is wrong with a parameter; `key` is None for what is wrong with all of them together."""

    key: str | None
    text: str


class Detector:
    """One stream's detector: drift in a number, or oddness of an event over some numbers."""

    def __init__(self, setting: Setting, fields: Sequence[str]) -> None:
        """Start afresh; `fields` name the numbers, as limits of a tree do."""
        params = json.loads(setting.params)
        self._threshold = float(params.get(THRESHOLD, math.inf)) if setting.name in ANOMALY else None
        self._made = _made(setting.name, params)
        self._fields = tuple(fields)
        self._seen = 0

    def detect(self, values: Floats) -> Mask:
        """Return at which of n events something is detected, bool[n]; `values` float64[fields, n] are finite."""
        step = self._drifted if self._threshold is None else self._odd
        return np.array([step(row) for row in values.T.tolist()], np.bool_)

    def _drifted(self, row: Sequence[float]) -> bool:
        self._made.update(row[0])
        return bool(self._made.drift_detected)

    def _odd(self, row: Sequence[float]) -> bool:
        event = dict(zip(self._fields, row, strict=True))
        odd = self._seen >= LEARNING and self._made.score_one(event) >= self._threshold
        self._made.learn_one(event)
        self._seen += 1
        return bool(odd)


def problems(name: str, params: Mapping[str, Any]) -> list[Problem]:
    """Return what is wrong with the parameters of a detector, by River's own signature.

    Raises:
        UserError: River is not installed.
    """
    known = _signature(name)
    found = [_problem(name, key, params[key], known) for key in params]
    wrong = [one for one in found if one is not None]
    if name in ANOMALY and THRESHOLD not in params:
        wrong.append(Problem(None, f"found no {THRESHOLD}; expected the score from which river.{name} detects"))
    if wrong:
        return wrong
    try:
        _made(name, params)
    except (ArithmeticError, LookupError, TypeError, ValueError) as error:
        return [Problem(None, f"found what River refuses; expected otherwise: {str(error).strip().rstrip('.')}")]
    return []


def _classes() -> dict[str, type]:
    try:
        from river import anomaly, drift  # noqa: PLC0415 - an optional extra
    except ImportError as error:
        raise UserError("the indicators river.… need River: pip install 'interlock[river]'") from error
    return {name: getattr(drift if name in DRIFT else anomaly, name) for name in NAMES}


def _signature(name: str) -> dict[str, str]:
    """Return what each parameter of a detector must be, in words; THRESHOLD of anomaly scores among them."""
    given = inspect.signature(_classes()[name]).parameters.values()
    known = {one.name: _kind(one) for one in given if one.name not in REFUSED}
    return known | ({THRESHOLD: "a number"} if name in ANOMALY else {})


KINDS = {"dict": "limits", "int": "a whole number", "float": "a number", "bool": "true or false", "str": "a text"}
"""What River's annotations are called here."""


def _kind(parameter: inspect.Parameter) -> str:
    """Return what a parameter must be, by its annotation, else by its default."""
    said = str(parameter.annotation) if isinstance(parameter.annotation, str) else type(parameter.default).__name__
    return next((words for kind, words in KINDS.items() if said.startswith(kind)), "a number")


def _problem(name: str, key: str, value: object, known: Mapping[str, str]) -> Problem | None:
    if key not in known:
        listed = ", ".join(f"{one} ({kind})" for one, kind in known.items())
        return Problem(key, f"found {key}, which River's {name} does not take; expected {listed}")
    fault = _fault(name, key, value, known[key])
    return None if fault is None else Problem(key, f"found {_shown(value)}; expected {fault}")


def _shown(value: object) -> str:
    return json.dumps(value, default=str)


def _fault(name: str, key: str, value: object, kind: str) -> str | None:  # noqa: PLR0911 - one line a kind
    """Return what was expected instead of a value; None if it will do."""
    if kind == "limits":
        return None if _limits(value) else "for each field its lowest and highest value, such as {features.a: [0, 1]}"
    if kind == "true or false":
        return None if isinstance(value, bool) else kind
    if kind == "a text":
        return None if isinstance(value, str) else kind
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        return kind
    if kind == "a whole number":
        most, least = DEEPEST if key == "height" else LARGEST, 0 if key in NOT_NEGATIVE else 1
        return None if value == int(value) and least <= value <= most else f"{kind} from {least} to {most:,}"
    if (name, key) in SHARES:
        return None if 0 < value < 1 else "a number above 0 and below 1"
    if key == THRESHOLD and name in ANOMALY:
        return None
    good = value >= 0 if key in NOT_NEGATIVE else value > 0
    return None if good else f"a number {'of at least' if key in NOT_NEGATIVE else 'above'} 0"


def _limits(value: object) -> bool:
    """Return whether a value is a mapping of names to two numbers, the lower first."""
    return isinstance(value, Mapping) and all(
        isinstance(pair, list | tuple)
        and len(pair) == 2  # noqa: PLR2004
        and all(isinstance(end, int | float) and not isinstance(end, bool) for end in pair)
        and -math.inf < pair[0] < pair[1] < math.inf
        for pair in value.values()
    )


def _made(name: str, params: Mapping[str, Any]) -> Any:
    """Return River's detector."""
    made = _classes()[name]
    own = {key: value for key, value in params.items() if not (name in ANOMALY and key == THRESHOLD)}
    if "limits" in own:
        own["limits"] = {field: tuple(ends) for field, ends in own["limits"].items()}
    if "seed" in _signature(name):
        own.setdefault("seed", SEED)
    return made(**{key: int(value) if _whole(name, key) else value for key, value in own.items()})


def _whole(name: str, key: str) -> bool:
    return _signature(name).get(key) == "a whole number"
