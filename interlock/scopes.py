"""Which requests a control is about. A control is passed over only where a request provably differs from its scope."""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from interlock.protocol import MODES, ControlRecord

POOLS = frozenset({"(other)", "(rest)", "(overflow)"})
"""Names of what is not kept apart; anything may be in there that is not provably elsewhere."""

_NAME, _VALUE = r"[^\\,=]+", r"(?:[^\\,=]|\\[\\,=])*"
_SLICE = re.compile(f"{_NAME}={_VALUE}(?:,{_NAME}={_VALUE})*")
_PAIR = re.compile(f"({_NAME})=({_VALUE})")
_ESCAPED = re.compile(r"\\(.)")

Values = tuple[str, ...]
Segment = Mapping[str, str] | None


class Request(NamedTuple):
    """What is known of a request; None, or a key that the segment lacks, is not known. `score`: what the model said."""

    segment: Segment = None
    version: str | None = None
    variant: str | None = None
    score: float | None = None


class Scope(NamedTuple):
    """A control's scope, read once.

    `keys` are the segment keys that decide. A slice has the `values` that they must have; a pool has None, and the
    values of the slices that are kept `apart` from it.
    """

    version: str | None
    variant: str | None
    keys: tuple[str, ...] = ()
    values: Values | None = ()
    apart: frozenset[Values] = frozenset()


def read_slice(text: str) -> dict[str, str] | None:
    r"""Return the names and values of a slice such as `tenant=acme,region=eu`, escapes undone; None if it is no such text.

    `\,`, `\=` and `\\` in a value stand for the character itself.
    """
    if not _SLICE.fullmatch(text):
        return None
    pairs = [(name, _ESCAPED.sub(r"\1", value)) for name, value in _PAIR.findall(text)]
    return dict(pairs) if len(dict(pairs)) == len(pairs) else None


def read_scope(control: ControlRecord) -> Scope:
    """Return the scope of a control. What cannot be read decides nothing, so it passes no request over."""
    version, variant = (_exact(control.scope.get(name)) for name in ("version", "variant"))
    if "slice" not in control.scope:
        return Scope(version, variant)
    by = _paths(control.parameters.get("by"))
    pairs = read_slice(control.scope["slice"])
    if pairs is None:
        return Scope(version, variant, *_pool(by, control.parameters.get("apart")))
    keys: Sequence[str | None] = [_segment_key(path) for path in by] if len(by) == len(pairs) else list(pairs)
    known = [(key, value) for key, value in zip(keys, pairs.values(), strict=True) if key is not None]
    return Scope(version, variant, tuple(key for key, _ in known), tuple(value for _, value in known))


def differs(scope: Scope, request: Request) -> bool:
    """Whether a request is provably not what a control is about."""
    if _other(scope.version, request.version) or _other(scope.variant, request.variant):
        return True
    values = [(request.segment or {}).get(key) for key in scope.keys]
    if scope.values is not None:
        return any(map(_other, scope.values, values))
    return bool(scope.apart) and tuple(values) in scope.apart


class Index:
    """Engaged controls of a model, so kept that a request need not be held against every slice."""

    def __init__(self, controls: Iterable[ControlRecord]) -> None:
        """Read their scopes."""
        self._groups: dict[tuple[str, ...], _Group] = {}
        for control in controls:
            scope = read_scope(control)
            group = self._groups.setdefault(scope.keys, _Group())
            entry = Entry(rank(control.mode), control, scope, automatic(control))
            if scope.values is None:
                group.pools.append(entry)
            else:
                group.slices.setdefault(scope.values, []).append(entry)

    def matching(self, request: Request) -> Iterator["Entry"]:
        """Yield the controls that are about a request, in no order."""
        for keys, group in self._groups.items():
            for entry in group.near(keys, request.segment):
                if not differs(entry.scope, request):
                    yield entry

    def strongest(self, request: Request) -> int:
        """Return the rank of a request's mode: the strongest of the controls that are about it, 0 without any."""
        return max((entry.of(request) for entry in self.matching(request)), default=0) if self._groups else 0


class Entry(NamedTuple):
    """A control in an index."""

    rank: int
    control: ControlRecord
    scope: Scope
    automatic: tuple[tuple[float, float], ...] = ()

    def of(self, request: Request) -> int:
        """Return the rank of the mode that it asks for: none for a score that it leaves to be decided automatically."""
        score = request.score
        if score is None or not self.automatic:
            return self.rank
        inside = any(low <= score < high or score == high == 1 for low, high in self.automatic)
        return 0 if inside else self.rank


@dataclass(slots=True)
class _Group:
    """Controls that the same segment keys decide."""

    slices: dict[Values, list[Entry]] = field(default_factory=dict)
    pools: list[Entry] = field(default_factory=list)

    def near(self, keys: tuple[str, ...], segment: Segment) -> Iterator[Entry]:
        """Yield the pools, and the slices that a request may be in: one if all its values are known."""
        yield from self.pools
        values = tuple([(segment or {}).get(key) for key in keys])
        if all([isinstance(value, str) for value in values]):  # noqa: C419 - lists are faster than generators here
            yield from self.slices.get(values, ())  # type: ignore[arg-type]  # they are all text
        else:
            for entries in self.slices.values():
                yield from entries


def automatic(control: ControlRecord) -> tuple[tuple[float, float], ...]:
    """Return the score ranges that a control of human review leaves to be decided automatically.

    Pairs of numbers, the second not in it unless it is 1. A list with anything else in it leaves nothing.
    """
    found = control.parameters.get("automatic")
    if control.mode != "human_review" or not isinstance(found, list) or not all(map(_is_range, found)):
        return ()
    return tuple((low, high) for low, high in found)


def _is_range(pair: object) -> bool:
    numbers = isinstance(pair, list) and len(pair) == 2 and all(type(end) in (int, float) for end in pair)  # noqa: PLR2004 - a pair
    return numbers and 0 <= pair[0] < pair[1] <= 1  # type: ignore[index]  # it is a list of two numbers


def rank(mode: str) -> int:
    """Return the place of a mode among MODES; one that nobody knows is safe mode."""
    return MODES.index(mode if mode in MODES else "safe_mode")


def _other(wanted: str | None, known: object) -> bool:
    return wanted is not None and isinstance(known, str) and known != wanted


def _exact(value: str | None) -> str | None:
    return None if value in POOLS else value


def _paths(by: Any) -> list[str]:
    return by if isinstance(by, list) and all(isinstance(path, str) for path in by) else []


def _segment_key(path: str) -> str | None:
    """Return the segment key that a field path names, None if it leads elsewhere; a bare name is a key."""
    key = path.removeprefix("segment.")
    return key if key != path or "." not in path else None


def _pool(by: Sequence[str], apart: Any) -> tuple[tuple[str, ...], None, frozenset[Values]]:
    """Return the keys that decide whether a request is in a pool, and the values of the slices that are not in it."""
    keys = [key for key in map(_segment_key, by) if key is not None]
    if not isinstance(apart, list):
        return (), None, frozenset()
    names = [path.rsplit(".", 1)[-1] for path in by]
    slices = [read_slice(text) for text in apart if isinstance(text, str)]
    return tuple(keys), None, frozenset(tuple(one.values()) for one in slices if one and list(one) == names)
