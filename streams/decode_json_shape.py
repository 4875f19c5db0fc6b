"""What to read of a JSON event: decoders compiled for the fields that are wanted, everything else skipped unparsed."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from operator import attrgetter
from typing import Any

import msgspec
from msgspec import UNSET, UnsetType

from interlock.streams.batch import Wanted
from interlock.streams.decode_json_read import (
    Reader,
    read_appended,
    read_category,
    read_flag,
    read_number,
    read_number_feature,
    read_probabilities,
    read_raw,
    read_revision,
    read_scalar,
    read_text,
    read_ts,
    read_vector,
)

Scalar = float | str | bool | None | UnsetType


@dataclass(frozen=True, slots=True)
class Field:
    """A field: its JSON name, the type the fast decoder takes at once, its default, and the reader for all else."""

    name: str
    fast: Any
    default: Any
    read: Reader
    required: bool = False
    general: Any = Any


def required(name: str, fast: Any, read: Reader) -> Field:
    """Return a field that every event must have."""
    return Field(name, fast, msgspec.NODEFAULT, read, required=True)


def scalar(name: str) -> Field:
    """Return a field that is kept just as it is: text, number, bool, null or missing."""
    return Field(name, Scalar, UNSET, read_scalar)


EVENT_ID = required("event_id", str, read_text)
TIMES = (
    required("ts", int | str, read_ts),
    Field("appended_at", int | str | None, None, read_appended),
)
EVENT = (EVENT_ID, *TIMES)
PREDICTED = (
    *TIMES,
    required("model", str, read_text),
    Field("model_version", str | None, None, read_text),
    Field("score", float | None, None, read_number),
    Field("ood_score", float | None, None, read_number),
    Field("probabilities", dict[str, float] | None, None, read_probabilities),
)
PREDICTION = (EVENT_ID, *PREDICTED)
EMBEDDING = Field("embedding", list[float] | None, None, read_vector)
LOGITS = Field("logits", list[float] | None, None, read_vector)
"""Both are read of predictions only where they are scored: they cost more than all else."""
OUTCOME = (
    *EVENT,
    scalar("label"),
    Field("confirmed_ood", bool | None, None, read_flag),
    Field("revision", int | None, None, read_revision),
)
EMBEDDED = Field("prediction", msgspec.Raw, msgspec.Raw(b""), read_raw, general=msgspec.Raw)
"""What an outcome carries of its prediction, unread; it is read where a policy joins at the source."""
ABUSE = (*EVENT, required("model", str, read_text), required("category", str, read_text))
GROUPS = frozenset({"features", "segment", "probabilities", "embedding", "logits"})
"""Fields that are no scalars themselves; paths lead into the first three."""


@dataclass(frozen=True, slots=True)
class Part:
    """One level of an event: fields in order, and the Structs that they decode into."""

    fields: tuple[Field, ...]
    fast: type[msgspec.Struct]
    general: type[msgspec.Struct]

    def getter(self, names: Iterable[str]) -> Callable[[Any], Any]:
        """Return what takes these fields from a decoded Struct: a value, or a tuple of several."""
        places = {field.name: f"f{place}" for place, field in enumerate(self.fields)}
        return attrgetter(*[places[name] for name in names])


@dataclass(frozen=True, slots=True)
class Shape:
    """A whole event: its own level, and the levels below by field name."""

    top: Part
    groups: dict[str, Part]

    def decoders(self) -> tuple[msgspec.json.Decoder[Any], msgspec.json.Decoder[Any]]:
        """Return the fast decoder, and the general one that takes any JSON value in any field."""
        return msgspec.json.Decoder(self.top.fast), msgspec.json.Decoder(self.top.general)


def shape(core: tuple[Field, ...], wanted: Wanted, always: tuple[str, ...]) -> Shape:
    """Compile what to read: the core fields of the message type, `always` these groups, and what is wanted beyond."""
    groups: dict[str, list[Field]] = {name: _features(wanted) if name == "features" else [] for name in always}
    top = sorted(core, key=lambda field: not field.required)
    known = {field.name for field in core} - {"probabilities"}
    for path in sorted(wanted.paths - known):
        group, dot, name = path.partition(".")
        if not dot:
            top.append(_top(path))
        elif group != "probabilities" and not any(field.name == name for field in groups.get(group, ())):
            groups.setdefault(group, []).append(scalar(name))
    parts = {name: _part(fields, {}) for name, fields in groups.items()}
    return Shape(_part(top, parts), parts)


def _top(path: str) -> Field:
    if path in GROUPS:
        raise ValueError(f"{path} is no scalar; name a field in it, such as {path}.x")
    return scalar(path)


def _features(wanted: Wanted) -> list[Field]:
    mixed = {path.partition(".")[2] for path in wanted.paths if path.startswith("features.")}
    mixed |= set(wanted.numbers) & set(wanted.categories)
    numbers = [Field(name, float | None, None, read_number_feature) for name in wanted.numbers if name not in mixed]
    texts = [
        Field(name, int | float | str | None, None, read_category) for name in wanted.categories if name not in mixed
    ]
    return [*numbers, *texts, *(scalar(name) for name in sorted(mixed))]


def _part(fields: list[Field], groups: dict[str, Part]) -> Part:
    names = {f"f{place}": field.name for place, field in enumerate(fields)}
    fast: list[Any] = [(place, field.fast, field.default) for place, field in zip(names, fields, strict=True)]
    general: list[Any] = [(place, field.general, UNSET) for place, field in zip(names, fields, strict=True)]
    for place, (name, part) in enumerate(groups.items(), start=len(fields)):
        names[f"f{place}"] = name
        fast.append((f"f{place}", part.fast, msgspec.field(default_factory=part.fast)))
        general.append((f"f{place}", part.general | None, None))
    own = [*fields, *(Field(name, None, None, read_scalar) for name in groups)]
    return Part(
        tuple(own),
        msgspec.defstruct("Event", fast, rename=names, gc=False),
        msgspec.defstruct("AnyEvent", general, rename=names, gc=False),
    )
