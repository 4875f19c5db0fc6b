"""Our columns against an independent implementation: common-expression-language, a CEL interpreter in Rust.

Where the peer departs from the CEL language definition, the generator leaves out exactly that; DEPARTURES has each case
with both answers, so that a peer that is mended is noticed.
"""

from functools import cache
from types import EllipsisType
from typing import Any

import cel
import numpy as np
import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column
from interlock.policies.expressions import FALSE, TRUE, UNDECIDED, ExpressionError, compile_expression

Value = str | float | bool | EllipsisType | None
Event = dict[str, Value]

FIELDS = ("features.a", "features.b", "features['my col']", "segment.s", "decision")
PATHS = ("features.a", "features.b", "features.my col", "segment.s", "decision")
PATTERNS = ("a", "^a", "b$", "^$", "[ab]{2}", "(?i)A", "x|b", "a.?b")

DEPARTURES = [
    # source, what CEL says, what the peer says
    ("size(features.e) == 1.0", TRUE, FALSE),  # it counts the bytes of UTF-8, CEL counts code points
    ("size('ab') + 1.0 == 3.0", TRUE, UNDECIDED),  # its size is an int, and int + double has no overload (as in CEL)
    ("0.0 / 0.0 < 1.0", FALSE, UNDECIDED),  # it refuses to order NaN
    ("!(0.0 / 0.0 < 1.0)", TRUE, UNDECIDED),
    ("-features.t != 5.0", UNDECIDED, TRUE),  # it negates bools
    ("matches('ab', 'b')", TRUE, UNDECIDED),  # it has the method only
    ("1 / 2 == 0.5", TRUE, FALSE),  # its literals without a point are ints (as in CEL; ours are doubles)
]


def column(values: list[Value]) -> Column:
    """Return a column of values, `...` for a missing one."""
    kinds = {type(...): MISSING, type(None): NULL, float: NUMBER, str: STRING, bool: BOOL}
    texts = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
    return Column(
        np.array([kinds[type(value)] for value in values], np.uint8),
        np.array([value if isinstance(value, float | bool) else np.nan for value in values], np.float64),
        np.array([texts.index(value) if isinstance(value, str) else -99 for value in values], np.int32),
        texts,
    )


def ours(source: str, events: list[Event]) -> list[int]:
    """Evaluate over the events as one batch."""
    columns = {path: column([event[path] for event in events]) for path in PATHS}
    results: list[int] = compile_expression(source).evaluate(columns, len(events)).tolist()
    return results


def peers(source: str, event: Event) -> int:
    """Evaluate one event by the peer; every error of CEL is an exception of Python."""
    context: dict[str, Any] = {"features": {}, "segment": {}}
    for path, value in event.items():
        owner, _, key = path.rpartition(".")
        if value is not ...:
            (context[owner] if owner else context)[key] = value
    try:
        result = cel.evaluate(source, context)
    except (KeyError, TypeError, RuntimeError):
        return UNDECIDED
    return int(result) if isinstance(result, bool) else UNDECIDED


def joined(template: str, *parts: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
    """Return a strategy of the template with its parts filled in."""
    return st.tuples(*parts).map(lambda drawn: template.format(*drawn))


numbers = st.sampled_from(["0.0", "1.0", "-2.5", "1e3", "5.0"])
strings = st.sampled_from(["''", "'a'", "'ab'", "'b'", "'é'", r"'\U0001F600'"])
literals = numbers | strings | st.sampled_from(["true", "false", "null"])
fields = st.sampled_from(FIELDS)
lists = st.lists(literals, max_size=3).map(lambda items: f"[{', '.join(items)}]")
orders = st.sampled_from(["<", "<=", ">", ">="])
equalities = st.sampled_from(["==", "!="])


@cache
def operands(depth: int, *, ordered: bool) -> st.SearchStrategy[str]:
    """Return values of any kind; `ordered` ones hold no division and so no NaN."""
    if depth == 0:
        return (fields | fields | literals).map(str)  # mapped: one_of would give each branch of it an equal chance
    below, conditions = operands(depth - 1, ordered=ordered), statements(depth - 1)
    arithmetic = joined("({} {} {})", below, st.sampled_from(["+", "-", "*"] + ["/"] * (not ordered)), below)
    return st.one_of(
        operands(0, ordered=ordered), operands(0, ordered=ordered), arithmetic, joined("({} + {})", below, below),
        joined("-({} * {})", below, below), joined("({} ? {} : {})", conditions, below, below),
        joined("({})", conditions),
    )  # fmt: skip


@cache
def statements(depth: int) -> st.SearchStrategy[str]:
    """Return what is mostly a boolean."""
    simple = st.one_of(
        joined("has(features.{})", st.sampled_from("abq")), st.sampled_from(["'a' in features", "'q' in segment"]),
        joined("{} {} {}", fields, equalities, literals), joined("{} {} {}", fields, orders, literals), fields,
        joined("{} in {}", fields, lists), joined("{}.matches('{}')", fields, st.sampled_from(PATTERNS)),
        joined("size({}) {} {}", fields, orders | equalities, numbers), st.sampled_from(["true", "false"]),
    ).map(str)  # fmt: skip
    if depth == 0:
        return simple
    below, free, ordered = statements(depth - 1), operands(depth - 1, ordered=False), operands(depth - 1, ordered=True)
    methods = st.sampled_from(["startsWith", "endsWith", "contains"])
    logic = joined("({} {} {})", below, st.sampled_from(["&&", "||"]), below)
    return st.one_of(
        simple, joined("{} {} {}", free, equalities, free), joined("{} {} {}", ordered, orders, ordered),
        joined("({} in {})", free, lists), joined("{}.{}({})", fields | strings, methods, operands(0, ordered=True)),
        logic, logic, joined("!({})", below), joined("({} ? {} : {})", below, below, below),
    ).map(lambda source: f"({source})")  # fmt: skip


def events(texts: list[str]) -> st.SearchStrategy[list[Event]]:
    """Return one to six events of these texts."""
    value = st.one_of(
        st.sampled_from([..., None, True, False]), st.sampled_from([0.0, 1.0, -2.5, 5.0, 60000.0, 0.1]),
        st.sampled_from(texts),
    )  # fmt: skip
    return st.lists(st.fixed_dictionaries(dict.fromkeys(PATHS, value)), min_size=1, max_size=6)


ASCII = ["", "a", "ab", "b", "Ab", "ba"]
ANY = [*ASCII, "é", "\U0001f600", "\uffff"]


@st.composite
def cases(draw: st.DrawFn) -> tuple[str, list[Event]]:
    """Draw an expression and events; where it has `size`, the events are ASCII."""
    source = draw(statements(3))
    try:
        compile_expression(source)
    except ExpressionError:  # a type error that is certain
        reject()
    return source, draw(events(ASCII if "size(" in source else ANY))


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(cases())
def test_both_agree_on_every_event(case: tuple[str, list[Event]]) -> None:
    source, batch = case

    assert ours(source, batch) == [peers(source, event) for event in batch]


@settings(max_examples=100, derandomize=True, deadline=None, database=None)
@given(cases(), st.integers(0, 6))
def test_batches_may_be_cut_anywhere(case: tuple[str, list[Event]], cut: int) -> None:
    source, batch = case
    columns = {path: column([event[path] for event in batch]) for path in PATHS}
    expression, rows, cut = compile_expression(source), len(batch), min(cut, len(batch))
    parts = [
        expression.evaluate({path: whole.take(np.arange(start, end)) for path, whole in columns.items()}, end - start)
        for start, end in ((0, cut), (cut, rows))
    ]

    assert np.concatenate(parts).tolist() == expression.evaluate(columns, rows).tolist()
    assert expression.evaluate({path: columns[path] for path in expression.paths & set(PATHS)}, rows).tolist() == ours(
        source, batch
    )


@pytest.mark.parametrize(("source", "cel_says", "peer_says"), DEPARTURES)
def test_the_peer_still_departs_from_cel(source: str, cel_says: int, peer_says: int) -> None:
    event: Event = {"features.e": "é", "features.t": True}
    columns = {path: column([value]) for path, value in event.items()}

    assert compile_expression(source).evaluate(columns, 1).tolist() == [cel_says]
    assert peers(source, event) == peer_says
