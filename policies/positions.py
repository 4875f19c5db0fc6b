"""YAML text as plain values, with the line and column of every key and value.

Scalars follow the core schema of YAML 1.2: only `true` and `false` are booleans, `012` and `1:30` are text. What a
policy must not contain is refused: duplicate keys, NaN, tags, anchors inside themselves, bombs, several documents.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import yaml

MAX_BYTES = 1 << 20
MAX_NODES = 10_000
MAX_DEPTH = 64
EXACT = 1 << 53
"""Whole numbers up to here are exact as doubles."""

SHOWN = 60
"""Characters of a value that a message repeats."""

Loc = tuple[str | int, ...]
Value = None | bool | int | float | str | tuple["Value", ...] | dict[str, "Value"]

_NULL = re.compile(r"|~|null|Null|NULL")
_BOOL = re.compile(r"(true|True|TRUE)|false|False|FALSE")
_INT = re.compile(r"[-+]?(?:0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN)")
_SURROGATE = re.compile("[\ud800-\udfff]")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """A place in a file, both counted from 1."""

    line: int
    column: int


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to say about one place of a policy.

    `at_key` points at the key instead of the value; `offset` at a character of the value; `at` at a place without path.
    """

    loc: Loc
    message: str
    at_key: bool = False
    offset: int | None = None
    at: Position | None = None

    @property
    def path(self) -> str:
        """The place as people write it: `slos[0].target`."""
        text = "".join(f"[{step}]" if isinstance(step, int) else f".{step[:SHOWN]}" for step in self.loc)
        return text.removeprefix(".") or "(file)"


class RefusedError(Exception):
    """The text cannot be read any further; `finding` says why."""

    def __init__(self, message: str, at: Position) -> None:
        super().__init__(message)
        self.finding = Finding((), message, at=at)


@dataclass(slots=True)
class Document:
    """Plain values with positions; `findings` are what was refused on the way, `broken` the places of it."""

    data: Value = None
    keys: dict[Loc, Position] = field(default_factory=dict)
    values: dict[Loc, Position] = field(default_factory=dict)
    inner: dict[Loc, Position] = field(default_factory=dict)
    """Where the characters of a one-line scalar start, without its quote."""
    findings: list[Finding] = field(default_factory=list)
    broken: set[Loc] = field(default_factory=set)

    def position(self, finding: Finding) -> Position:
        """Return where a finding points: its place, else the nearest that is in the file."""
        if finding.at is not None:
            return finding.at
        loc = finding.loc
        if finding.offset is not None and loc in self.inner:
            start = self.inner[loc]
            return Position(start.line, start.column + finding.offset)
        first, second = (self.keys, self.values) if finding.at_key else (self.values, self.keys)
        while loc and loc not in first and loc not in second:
            loc = loc[:-1]
        return first.get(loc) or second.get(loc) or Position(1, 1)

    def refuse(self, loc: Loc, message: str, at: Position) -> None:
        """Note something refused; other findings at its place are not repeated."""
        self.findings.append(Finding(loc, message, at=at))
        self.broken.add(loc)


def read_document(text: bytes) -> Document:
    """Return the document of a YAML file.

    Raises:
        RefusedError: a syntax error, or something that makes reading on unsafe.
    """
    node = _compose(_decode(text))
    if node is None:
        raise RefusedError("found an empty file; expected a policy with the key `slos`", Position(1, 1))
    reader = _Reader()
    reader.document.data = reader.value(node, ())
    return reader.document


def _decode(text: bytes) -> str:
    if len(text) > MAX_BYTES:
        raise RefusedError(f"found {len(text)} bytes; expected at most {MAX_BYTES} (1 MiB)", Position(1, 1))
    try:
        return text.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        before = text[: error.start].decode("utf-8", "replace")
        line, column = before.count("\n") + 1, len(before) - before.rfind("\n")
        raise RefusedError("found a byte that is not UTF-8; expected UTF-8 text", Position(line, column)) from error


def _compose(text: str) -> yaml.Node | None:
    loader = None
    try:
        loader = _Composer(text)
        return loader.get_single_node()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise RefusedError(_syntax(error), _at(mark) if mark else Position(1, 1)) from error
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        column = error.position - text.rfind("\n", 0, error.position)
        message = "found a control character; expected printable text"
        raise RefusedError(message, Position(line, column)) from error
    except (ValueError, OverflowError) as error:  # chr() and int() inside PyYAML, on escapes and %YAML
        at = _at(loader.get_mark()) if loader else Position(1, 1)
        raise RefusedError("found an impossible escape or number; expected YAML", at) from error


def _syntax(error: yaml.MarkedYAMLError) -> str:
    problem = (error.problem or "a syntax error")[: 2 * SHOWN]
    if "'\\t'" in problem:
        return "found a tab; expected spaces as indentation"
    if error.context and error.context.startswith("expected a single document"):
        return "found a second document (---); expected one policy in the file"
    context = f" ({error.context})" if error.context else ""
    return f"found broken YAML: {problem}{context}; expected YAML"


def _at(mark: yaml.Mark) -> Position:
    return Position(mark.line + 1, mark.column + 1)


class _Composer(yaml.SafeLoader):
    """Nodes without any resolution of types; tags and deep nesting are refused before they cost anything."""

    yaml_implicit_resolvers = {}  # noqa: RUF012 - PyYAML's name and shape
    depth = 0
    count = 0

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        event = self.peek_event()  # type: ignore[no-untyped-call]
        self.count += 1
        if getattr(event, "tag", None) is not None:
            raise RefusedError(
                f"found the tag {event.tag[:SHOWN]}; expected plain values without tags", _at(event.start_mark)
            )
        if self.depth >= MAX_DEPTH:
            raise RefusedError(f"found nesting deeper than {MAX_DEPTH}; expected less", _at(event.start_mark))
        if self.count > 2 * MAX_NODES:
            raise RefusedError(_too_many(), _at(event.start_mark))
        self.depth += 1
        try:
            return super().compose_node(parent, index)
        finally:
            self.depth -= 1


def _too_many() -> str:
    return f"found more than {MAX_NODES} values, aliases expanded; expected fewer"


class _Reader:
    """Nodes to values."""

    def __init__(self) -> None:
        self.document = Document()
        self.count = 0
        self.open: set[int] = set()

    def value(self, node: yaml.Node, loc: Loc) -> Value:
        start = _at(node.start_mark)
        self.count += 1
        if self.count > MAX_NODES:
            raise RefusedError(_too_many(), start)
        self.document.values[loc] = start
        if isinstance(node, yaml.ScalarNode):
            return self._scalar(node, loc)
        with self._inside(node, start):
            if isinstance(node, yaml.SequenceNode):
                return tuple(self.value(item, (*loc, i)) for i, item in enumerate(node.value))
            return self._mapping(node, loc)

    @contextmanager
    def _inside(self, node: yaml.Node, start: Position) -> Iterator[None]:
        if id(node) in self.open:
            raise RefusedError("found an anchor inside itself; expected values that end", start)
        if len(self.open) >= MAX_DEPTH:
            raise RefusedError(f"found nesting deeper than {MAX_DEPTH}; expected less", start)
        self.open.add(id(node))
        yield
        self.open.discard(id(node))

    def _mapping(self, node: yaml.Node, loc: Loc) -> dict[str, Value]:
        result: dict[str, Value] = {}
        for key, item in node.value:
            here = (*loc, key.value) if isinstance(key, yaml.ScalarNode) else loc
            if problem := self._wrong_key(key, here, result):
                self.document.findings.append(Finding(here, problem, at=_at(key.start_mark)))
                continue
            self.document.keys[here] = _at(key.start_mark)
            result[key.value] = self.value(item, here)
        return result

    def _wrong_key(self, key: yaml.Node, here: Loc, before: dict[str, Value]) -> str:
        if not isinstance(key, yaml.ScalarNode):
            return "found a list or mapping as a key; expected text"
        if _SURROGATE.search(key.value):
            return "found half a surrogate pair in a key; expected Unicode text"
        if key.value in before:
            first = self.document.keys[here].line
            return f"found the key `{key.value[:SHOWN]}` again (first at line {first}); expected it once"
        return ""

    def _scalar(self, node: yaml.ScalarNode, loc: Loc) -> Value:
        start, text = _at(node.start_mark), str(node.value)
        if node.start_mark.line == node.end_mark.line:
            self.document.inner[loc] = Position(start.line, start.column + (node.style in {"'", '"'}))
        if _SURROGATE.search(text):
            self.document.refuse(loc, "found half a surrogate pair; expected Unicode text", start)
            return None
        if node.style is not None:
            return text
        value, problem = plain_value(text)
        if problem:
            self.document.refuse(loc, problem, start)
        return value


def plain_value(text: str) -> tuple[bool | int | float | str | None, str]:
    """Return the value of a plain scalar by the core schema, and what is wrong with it, or an empty text."""
    if _NULL.fullmatch(text):
        return None, ""
    if found := _BOOL.fullmatch(text):
        return found[1] is not None, ""
    if _NOT_FINITE.fullmatch(text):
        return None, f"found {text}; expected a finite number"
    if _LEADING_ZERO.fullmatch(text) or not _FLOAT.fullmatch(text):
        return text, ""
    number = float(text)
    if abs(number) > EXACT:
        return None, f"found a number beyond 2^53 ({text[:30]}); expected a smaller one, or text in quotes"
    return (int(text) if _INT.fullmatch(text) else number), ""
