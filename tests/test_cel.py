"""What expressions mean."""

import itertools
import subprocess
import sys
from collections.abc import Iterator
from types import EllipsisType

import numpy as np
import pytest

from interlock.columns import BOOL, MISSING, NULL, NUMBER, STRING, Column
from interlock.policies.expressions import FALSE, TRUE, UNDECIDED, ExpressionError, compile_expression

Value = str | float | bool | EllipsisType | None


def column(values: list[Value]) -> Column:
    """Return a column of values, `...` for a missing one; what is undefined in a column is rubbish here."""
    kinds = {type(...): MISSING, type(None): NULL, float: NUMBER, int: NUMBER, str: STRING, bool: BOOL}
    texts = tuple(dict.fromkeys(value for value in values if isinstance(value, str)))
    return Column(
        np.array([kinds[type(value)] for value in values], np.uint8),
        np.array([value if isinstance(value, int | float) else np.nan for value in values], np.float64),
        np.array([texts.index(value) if isinstance(value, str) else -99 for value in values], np.int32),
        texts,
    )


def run(source: str, **fields: list[Value]) -> list[int]:
    """Evaluate over `features.<name>` columns; one row if there are none."""
    columns = {f"features.{name}": column(values) for name, values in fields.items()}
    rows = len(next(iter(fields.values()))) if fields else 1
    results: list[int] = compile_expression(source).evaluate(columns, rows).tolist()
    return results


OPERANDS = {"true": TRUE, "false": FALSE, "features.no": UNDECIDED, "(features.no + 1 > 2)": UNDECIDED}
PAIRS = list(itertools.product(OPERANDS, OPERANDS))


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_a_false_operand_decides_and(left: str, right: str) -> None:
    values = {OPERANDS[left], OPERANDS[right]}
    expected = FALSE if FALSE in values else UNDECIDED if UNDECIDED in values else TRUE

    assert run(f"{left} && {right}") == [expected]


@pytest.mark.parametrize(("left", "right"), PAIRS)
def test_a_true_operand_decides_or(left: str, right: str) -> None:
    values = {OPERANDS[left], OPERANDS[right]}
    expected = TRUE if TRUE in values else UNDECIDED if UNDECIDED in values else FALSE

    assert run(f"{left} || {right}") == [expected]


def test_not_keeps_an_error() -> None:
    assert run("!features.x", x=[True, False, ..., None, 1, "a"]) == [0, 1, -1, -1, -1, -1]


def test_a_conditional_fails_only_by_its_condition_or_the_chosen_branch() -> None:
    condition: list[Value] = [True, False, ..., 1]

    assert run("features.c ? true : features.no", c=condition) == [1, -1, -1, -1]
    assert run("features.c ? features.no : true", c=condition) == [-1, 1, -1, -1]
    assert run("(features.c ? 'a' : 1) == 1", c=condition) == [0, 1, -1, -1]


def test_a_conditional_may_mix_strings_of_two_columns() -> None:
    assert run("(features.c ? features.x : features.y) == 'a'", c=[True, False, True], x=["a", "b", "c"],
               y=["b", "a", "a"]) == [1, 1, 0]  # fmt: skip
    assert run("(true ? 'a' : (features.c ? 'b' : 'c')) == 'a'", c=[True, False]) == [1, 1]


def test_what_is_no_boolean_at_the_root_is_undecided() -> None:
    assert run("features.x", x=[True, False, 1, 0, "true", None, ...]) == [1, 0, -1, -1, -1, -1, -1]


@pytest.mark.parametrize("comparison", ["== 1", "!= 1", "< 1", "> 1", "in [1]", "+ 1 == 2", "* 2 > 1"])
def test_a_missing_field_is_undecided_whether_its_column_is_there_or_not(comparison: str) -> None:
    assert run(f"features.x {comparison}", x=[..., ...]) == [UNDECIDED, UNDECIDED]
    assert run(f"features.x {comparison}") == [UNDECIDED]


def test_values_of_different_kinds_are_unequal_without_error() -> None:
    values: list[Value] = [1.0, "1", True, None, ...]

    assert run("features.x == 1", x=values) == [1, 0, 0, 0, -1]
    assert run("features.x == '1'", x=values) == [0, 1, 0, 0, -1]
    assert run("features.x == true", x=values) == [0, 0, 1, 0, -1]
    assert run("features.x == null", x=values) == [0, 0, 0, 1, -1]
    assert run("features.x != null", x=values) == [1, 1, 1, 0, -1]


def test_order_needs_two_values_of_one_kind() -> None:
    values: list[Value] = [1.0, 3.0, "a", "c", True, False, None, ...]

    assert run("features.x < 2", x=values) == [1, 0, -1, -1, -1, -1, -1, -1]
    assert run("features.x >= 'b'", x=values) == [-1, -1, 0, 1, -1, -1, -1, -1]
    assert run("features.x > false", x=values) == [-1, -1, -1, -1, 1, 0, -1, -1]
    assert run("'b' > features.x", x=values) == [-1, -1, 1, 0, -1, -1, -1, -1]


def test_two_columns_compare_row_by_row() -> None:
    x: list[Value] = [1.0, "a", "b", "b", "a", True, None, None, ...]
    y: list[Value] = [2.0, "b", "a", "b", 1.0, True, None, "a", "a"]

    assert run("features.x < features.y", x=x, y=y) == [1, 1, 0, 0, -1, 0, -1, -1, -1]
    assert run("features.x == features.y", x=x, y=y) == [0, 0, 0, 1, 0, 1, 1, 0, -1]


def test_strings_are_ordered_by_code_points() -> None:
    assert run(r"'\uFFFF' < '\U0001F600' && 'Z' < 'a' && 'z' < 'é'") == [TRUE]
    assert run("features.x < features.y", x=["\uffff"], y=["\U0001f600"]) == [TRUE]


def test_numbers_are_doubles_however_they_are_written() -> None:
    assert run("features.x == 60000 && features.x > 50000.0", x=[60000.0]) == [TRUE]
    assert run("1 / 2 == 0.5 && 0x10 == 16.0 && 3u == 3 && 1e3 == 1000 && .5 == 0.5 && 2 - -3u == 5") == [TRUE]


def test_arithmetic_follows_ieee_754() -> None:
    assert run("1 / 0 > 1e308 && -1 / 0 < -1e308 && 0.1 + 0.2 != 0.3 && 2 + 3 * 4 - 1 == 13 && 7 - 2 - 1 == 4") == [1]
    assert run("0 / 0 == 0 / 0 || 0 / 0 < 1 || 0 / 0 >= 1 || 0 / 0 in [0]") == [FALSE]
    assert run("0 / 0 != 0 / 0") == [TRUE]


def test_arithmetic_on_other_kinds_is_an_error() -> None:
    assert run("features.x * 2 == 4", x=[2.0, "2", True, None, ...]) == [1, -1, -1, -1, -1]
    assert run("-features.x == 2", x=[-2.0, "2", True, None, ...]) == [1, -1, -1, -1, -1]


def test_plus_adds_numbers_and_joins_strings() -> None:
    x: list[Value] = [1.0, "a", "ab", "a", 1.0, ...]
    y: list[Value] = [2.0, "bc", "c", 1.0, "a", "a"]

    assert run("features.x + features.y == 'abc'", x=x, y=y) == [0, 1, 1, -1, -1, -1]
    assert run("features.x + features.y == 3", x=x, y=y) == [1, 0, 0, -1, -1, -1]
    assert run("'<' + features.x + '>' == '<a>'", x=x) == [-1, 1, 0, 1, -1, -1]


def test_in_is_equality_with_any_of_the_list() -> None:
    values: list[Value] = [1.0, "1", True, False, None, 2.0, "b", ...]

    assert run("features.x in [1, 'b', null, false, - 2]", x=values) == [1, 0, 0, 1, 1, 0, 1, -1]
    assert run("features.x in []", x=values) == [0, 0, 0, 0, 0, 0, 0, -1]


def test_has_is_never_undecided_and_null_is_there() -> None:
    assert run("has(features.x)", x=[1.0, "a", None, ...]) == [1, 1, 1, 0]
    assert run("'x' in features && !has(segment.x) && !('p' in probabilities)", x=[None, ...]) == [1, 0]


def test_string_functions_look_at_code_points() -> None:
    values: list[Value] = ["ab", "é", "\U0001f600", "", 1.0, None, ...]

    assert run("size(features.x) == 1 && features.x.size() == 1", x=values) == [0, 1, 1, 0, -1, -1, -1]
    assert run("features.x.startsWith('a')", x=values) == [1, 0, 0, 0, -1, -1, -1]
    assert run("features.x.endsWith('b')", x=values) == [1, 0, 0, 0, -1, -1, -1]
    assert run("features.x.contains('')", x=values) == [1, 1, 1, 1, -1, -1, -1]
    assert run("'xab'.contains(features.x)", x=values) == [1, 0, 0, 1, -1, -1, -1]
    assert run("features.x.contains(features.y)", x=["ab", "ab", "ab"], y=["b", "c", 1.0]) == [1, 0, -1]


@pytest.mark.parametrize(
    ("pattern", "text", "expected"),
    [
        ("b", "abc", 1), ("^b", "abc", 0), ("^a.c$", "abc", 1), ("c$", "abc\n", 0), (r"c\z", "abc", 1),
        (r"^\d$", "٣", 0), (r"^\w$", "é", 0), ("(?i)ABC", "abc", 1), ("(?m)^c$", "ab\nc\nd", 1), ("[[]", "[", 1),
        (r"^[\[x]$", "x", 1), ("(?P<name>a)", "a", 1), ("a{2,}", "caa", 1), ("[^a]", "a", 0), ("(?:a|b)+?c", "abc", 1),
        ("[]]", "]", 1), (r"a\$", "a$", 1), ("[$]", "$", 1), (r"\B", "", 1), (r"^a\B", "ab", 1),
        ("^.$", "é", 1), ("(?i)É", "é", 1), (r"^\pL$", "é", 1), ("^[[:alpha:]]$", "é", 0), ("a{,2}", "a{,2}", 1),
        ("(?U)^a+$", "aa", 1), (r"^\Qa+\E$", "a+", 1), ("^a.b$", "a\0b", 1), ("^.$", "\n", 0), ("^.a$", "\ud800a", 1),
        ("\ud800", "a\ud800", 1),
    ],
)  # fmt: skip
def test_matches_searches_as_re2_does(pattern: str, text: str, expected: int) -> None:
    assert run(f"features.x.matches(r'{pattern}')", x=[text, 1.0]) == [expected, UNDECIDED]
    assert run(f"matches(features.x, r'{pattern}')", x=[text]) == [expected]


def test_no_pattern_backtracks() -> None:
    for pattern in (r"(a)\1", "a(?=b)", "(?<=a)b"):  # only an engine that backtracks has these
        with pytest.raises(ExpressionError, match="RE2 refuses the pattern"):
            compile_expression(f"decision.matches(r'{pattern}')")

    assert run("features.x.matches('^(a+)+$')", x=["a" * 59 + "b", "a" * 60]) == [FALSE, TRUE]


def test_matches_may_meet_many_distinct_texts() -> None:
    texts = [f"user-{number}é" for number in range(10_000)]
    many = Column(np.full(10_000, STRING, np.uint8), np.zeros(10_000), np.arange(10_000, dtype=np.int32), texts)
    results = compile_expression("decision.matches(r'^user-\\d*7.$')").evaluate({"decision": many}, 10_000)

    assert results.tolist() == [int(text[-2] == "7") for text in texts]


def test_literals_are_read_as_cel_spells_them() -> None:
    assert run(r"""'\a\b\f\n\r\t\v\\\?\"\'\`\x41\X42\u0043\U00000044\105' == features.x""",
               x=["\a\b\f\n\r\t\v\\?\"'`ABCDE"]) == [TRUE]  # fmt: skip
    assert run(r"""r'\n' == '\\n' && "" == '' && '''a
b''' == 'a\nb' && R"\d" == '\\d' && 'http://x' == "http://x" // a comment""") == [TRUE]


def test_paths_name_every_field_that_is_read() -> None:
    source = "decision == 'a' && features['my col'] > 1 ? has(segment.t) : 'k' in probabilities || size(route) in [1]"

    assert compile_expression(source).paths == {
        "decision", "features.my col", "segment.t", "probabilities.k", "route",
    }  # fmt: skip


def test_a_dictionary_may_hold_more_than_the_batch() -> None:
    class Dictionary(list[str]):
        def __iter__(self) -> Iterator[str]:
            raise AssertionError("the whole dictionary is walked")

    texts = Dictionary(f"t{code}" for code in range(1000))
    few = Column(np.array([3, 3, 0], np.uint8), np.zeros(3), np.array([999, 5, 10_000], np.int32), texts)
    columns = {"decision": few, "route": few.take(np.array([0, 0, 1]))}

    for source, expected in {
        "decision == 't5'": [0, 1, -1],
        "decision.endsWith('9')": [1, 0, -1],
        "size(decision) == 4": [1, 0, -1],
        "decision + '!' in ['t5!', 't6!']": [0, 1, -1],
        "decision + route == 't5t999'": [0, 1, -1],
    }.items():
        assert compile_expression(source).evaluate(columns, 3).tolist() == expected


def test_no_rows_give_no_results() -> None:
    assert run("features.x + 'a' == 'b' || true", x=[]) == []
    assert compile_expression("true").evaluate({}, 0).tolist() == []


def test_a_column_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match=r"column features\.x has 2 rows, expected 3"):
        compile_expression("features.x == 1").evaluate({"features.x": column([1.0, 2.0])}, 3)


def test_a_long_chain_is_not_deep() -> None:
    source = " || ".join(f"features.x == {number}" for number in range(150))

    assert run(source, x=[149.0, 150.0]) == [TRUE, FALSE]


def test_the_parser_needs_no_evaluator() -> None:
    script = (
        "import sys; from interlock.policies.expressions import compile_expression as compiled;"
        "compiled('true'); sys.exit('celpy' in sys.modules)"
    )

    assert subprocess.run([sys.executable, "-c", script], check=False, timeout=60).returncode == 0
