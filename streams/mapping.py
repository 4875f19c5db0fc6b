"""`--map FILE`: the field names of one's own logs onto ours, for JSON and Arrow alike.

The file is YAML, ours: theirs, both dotted where they are nested. What it does not name stays as it is.

    event_id: id                      # numbers become text where ours is text
    score: prob.approve
    model: {const: claims}            # the same for every event
    segment.tenant: org.name
    features: [AGEP, SCHL]            # same names; or {age: AGEP}; or "*": all fields not named here and not ours
"""

from collections.abc import Iterator
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, NamedTuple

import msgspec
import pyarrow as pa
import yaml

from interlock.errors import UserError
from interlock.events import AbuseReport, Outcome, Prediction
from interlock.streams.decode_columns import number_text

GROUPS = ("features", "segment", "probabilities")
ALL = "*"
EVENTS: dict[str, type[msgspec.Struct]] = {"predictions": Prediction, "outcomes": Outcome, "abuse": AbuseReport}
FIELDS = frozenset(name for kind in EVENTS.values() for name in kind.__struct_fields__) | {"appended_at"}
TEXT_FIELDS = frozenset({
    "event_id", "model", "model_version", "category", "route", "variant", "control_id", "instance", "group_id",
    "trace_id", "batch_id", "subject", "source",
})  # fmt: skip


class Constant(NamedTuple):
    """A value that every event gets."""

    value: str | float | bool | None


Source = str | Constant


@dataclass(frozen=True, slots=True)
class Mapping:
    """Our dotted field -> theirs, or a constant; `rest`: all other fields of theirs are features."""

    sources: dict[str, Source]
    rest: bool = False

    def of(self, kind: str) -> "Mapping":
        """Return the entries that one kind of event has fields for, so that one file maps all of a log's tables."""
        fields = {*EVENTS[kind].__struct_fields__, "appended_at"}
        if kind == "outcomes":  # what they carry is in our names; `prediction` here is the field of a prediction
            fields.remove("prediction")
        ours = {path: source for path, source in self.sources.items() if path.partition(".")[0] in fields}
        return Mapping(ours, self.rest and "features" in fields)

    def line(self, text: bytes) -> bytes:
        """Return a JSON event in our names; what is no JSON object is returned as it is, for the decoder to refuse."""
        try:
            theirs = msgspec.json.decode(text)
        except (ValueError, RecursionError):
            return text
        return msgspec.json.encode(self.event(theirs)) if isinstance(theirs, dict) else text

    def event(self, theirs: dict[str, Any]) -> dict[str, Any]:
        """Return one event in our names."""
        used = {source.partition(".")[0] for source in self.sources.values() if isinstance(source, str)}
        ours = {
            name: value
            for name, value in theirs.items()
            if name not in self.sources and (name not in used or name in FIELDS)
        }
        if self.rest:
            moved = {name: ours.pop(name) for name in [*ours] if name not in FIELDS}
            _group(ours, "features").update(moved)
        for path, source in self.sources.items():
            value = source.value if isinstance(source, Constant) else _find(theirs, source)
            if value is not msgspec.UNSET:
                _place(ours, path, as_text(value) if is_text_field(path) else value)
        return ours

    def batch(self, theirs: pa.RecordBatch) -> pa.RecordBatch:
        """Return an Arrow batch in our names, as dotted columns; raises KeyError with a column that is not there."""
        columns = dict(_leaves(theirs))
        used = {source for source in self.sources.values() if isinstance(source, str)}
        ours = {name: array for name, array in columns.items() if name not in used or name in FIELDS}
        if self.rest:
            own = {name for name in ours if name.partition(".")[0] in FIELDS}
            ours = {name if name in own else f"features.{name}": array for name, array in ours.items()}
        for path, source in self.sources.items():
            if isinstance(source, Constant):
                ours[path] = pa.array([source.value] * theirs.num_rows)
            else:
                ours[path] = columns[source]
        return pa.RecordBatch.from_arrays(list(ours.values()), names=list(ours))


def load(text: str, file: str) -> Mapping:
    """Return the mapping in a YAML text; `file` names it in errors. Raises UserError with file, line and column."""
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.YAMLError as error:
        raise UserError(f"{file}: not YAML: {' '.join(str(error).split())}") from None
    if not isinstance(root, yaml.MappingNode):
        raise UserError(f"{file}: expected our fields with theirs, such as `score: prob.approve`")
    sources: dict[str, Source] = {}
    rest = False
    for key, value in root.value:
        if key.value == "features" and value.value == ALL:
            rest = True
            continue
        for path, source in _entries(key, value, file):
            if path in sources:
                raise _error(file, key, f"{path} is given twice")
            sources[path] = source
    return Mapping(sources, rest)


def is_text_field(path: str) -> bool:
    """Return whether our field is text, so that a number in its place counts as its text."""
    own = path.removeprefix("prediction.")
    return own in TEXT_FIELDS or own.startswith("segment.")


def as_text(value: Any) -> Any:
    """Return a number as its JSON text, all else as it is."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return number_text(value) if is_number else value


def _entries(key: Any, value: Any, file: str) -> Iterator[tuple[str, Source]]:
    name = str(key.value)
    _check_target(name, key, file)
    if isinstance(value, yaml.SequenceNode) and name in GROUPS:
        yield from ((f"{name}.{item.value}", str(item.value)) for item in value.value)
    elif isinstance(value, yaml.MappingNode):
        yield from _nested(name, value, file)
    elif isinstance(value, yaml.ScalarNode) and value.tag.endswith(":str"):
        yield name, str(value.value)
    else:
        raise _error(file, value, f"{name}: expected the name of a field, or {{const: VALUE}}")


def _nested(name: str, value: Any, file: str) -> Iterator[tuple[str, Source]]:
    keys = [key.value for key, _ in value.value]
    if keys == ["const"]:
        constant = yaml.SafeLoader("").construct_object(value.value[0][1])
        if constant is not None and not isinstance(constant, str | int | float | bool):
            raise _error(file, value, f"{name}: expected text, a number or a boolean as constant")
        yield name, Constant(constant)
    elif name in GROUPS:
        for key, item in value.value:
            yield from _entries(yaml.ScalarNode(key.tag, f"{name}.{key.value}", key.start_mark), item, file)
    else:
        raise _error(file, value, f"{name}: expected the name of a field, or {{const: VALUE}}")


def _check_target(name: str, node: Any, file: str) -> None:
    group, dot, _ = name.partition(".")
    if (dot and group in GROUPS) or (not dot and name in FIELDS):
        return
    close = get_close_matches(group, sorted(FIELDS), n=1)
    hint = f"; did you mean {close[0]}?" if close else f"; there are {', '.join(sorted(FIELDS))}"
    raise _error(file, node, f"we have no field {name}{hint}")


def _error(file: str, node: Any, message: str) -> UserError:
    mark = node.start_mark
    return UserError(f"{file}:{mark.line + 1}:{mark.column + 1}: {message}")


def _find(theirs: dict[str, Any], path: str) -> Any:
    """Look a dotted path up: as one name first, then level by level; UNSET where it is missing."""
    if path in theirs:
        return theirs[path]
    value: Any = theirs
    for name in path.split("."):
        if not isinstance(value, dict) or name not in value:
            return msgspec.UNSET
        value = value[name]
    return value


def _place(ours: dict[str, Any], path: str, value: Any) -> None:
    group, dot, name = path.partition(".")
    if dot:
        _group(ours, group)[name] = value
    else:
        ours[path] = value


def _group(ours: dict[str, Any], name: str) -> dict[str, Any]:
    if not isinstance(ours.get(name), dict):
        ours[name] = {}
    group: dict[str, Any] = dict(ours[name])
    ours[name] = group
    return group


def _leaves(batch: pa.RecordBatch) -> Iterator[tuple[str, Any]]:
    pending: list[tuple[str, Any]] = list(zip(batch.schema.names, batch.columns, strict=True))
    while pending:
        name, array = pending.pop(0)
        if pa.types.is_struct(array.type):
            pending[:0] = [
                (f"{name}.{part.name}", below) for part, below in zip(array.type, array.flatten(), strict=True)
            ]
        else:
            yield name, array
