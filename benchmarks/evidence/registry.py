"""The acceptance tests A1-A19 by name: what each says, its target, and the function that measures it.

A file of this folder registers its own with `@acceptance`; `tests/test_acceptance.py` runs every one of them in small, and
`make evidence` in full, into docs/evidence.md.
"""

import importlib
import pkgutil
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path

HERE = Path(__file__).resolve().parent
APART = ("registry", "__main__")


class Size(Enum):
    """How much is simulated: SMALL takes seconds, for every run of the tests; FULL may take minutes."""

    SMALL = "small"
    FULL = "full"


@dataclass(frozen=True, slots=True)
class Measured:
    """What came out, in the words of the target, and whether it holds."""

    figure: str
    held: bool


@dataclass(frozen=True, slots=True)
class Acceptance:
    """One acceptance test: `name` such as A1, the claim in a sentence, its target, and how it is measured."""

    name: str
    claim: str
    target: str
    measure: Callable[[Size], Measured]


_FOUND: dict[str, Acceptance] = {}


def acceptance(
    name: str, claim: str, target: str
) -> Callable[[Callable[[Size], Measured]], Callable[[Size], Measured]]:
    """Register a function as the measure of an acceptance test.

    Raises:
        ValueError: the name is taken.
    """

    def register(measure: Callable[[Size], Measured]) -> Callable[[Size], Measured]:
        if name in _FOUND:
            raise ValueError(f"{name} is registered twice")
        _FOUND[name] = Acceptance(name, claim, target, measure)
        return measure

    return register


def every() -> list[Acceptance]:
    """Return all acceptance tests in the order of their numbers; A13a comes after A13."""
    for module in pkgutil.iter_modules([str(HERE)]):
        if module.name not in APART:
            importlib.import_module(f"benchmarks.evidence.{module.name}")
    return sorted(_FOUND.values(), key=lambda one: (int("".join(filter(str.isdigit, one.name))), one.name))
