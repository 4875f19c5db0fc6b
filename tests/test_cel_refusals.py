"""What is refused, where and why."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.policies.expressions import ExpressionError, compile_expression

REFUSALS = [
    ("", 0, "the expression is empty"),
    ("a &&", 4, "ends too early"),
    ("true &&\n ", 9, "ends too early"),
    ("decision 'a'", 9, "unexpected `'a'`"),
    ("decision = 'a'", 9, "did you mean `==`?"),
    ("true and false", 5, "did you mean `&&`?"),
    ("decision == 'a", 12, "not closed"),
    ("decision.true", 9, "unexpected `true`"),
    ("decison == 'a'", 0, "did you mean `decision`?"),
    ("true || decison == 'a'", 8, "did you mean `decision`?"),
    ("amount > 1", 0, "features.amount"),
    ("feature.x > 1", 0, "did you mean `features`?"),
    ("true && features", 8, "`features` needs a key"),
    ("decision.x == 1", 0, "`decision` has no fields"),
    ("features.x.y == 1", 0, "one level deep"),
    ("features[0] == 1", 9, "the key must be a string literal"),
    ("features[decision] == 1", 9, "the key must be a string literal"),
    ("features.in == 1", 9, "write ['in']"),
    (".decision == 'a'", 0, "leading dot"),
    (".size('a') == 1", 0, "leading dot"),
    ("has(decision)", 4, "has() needs a selection"),
    ("has(features['x'])", 4, "has() needs a selection"),
    ("has(features.x.y)", 4, "one level deep"),
    ("has(features.x, 1)", 0, "`has` takes 1 argument"),
    ("size() == 1", 0, "`size` takes 1 argument"),
    ("decision.size(1) == 1", 9, "`size` takes no arguments"),
    ("decision.startswith('a')", 9, "did you mean `startsWith`?"),
    ("sise(decision) == 1", 0, "did you mean `size`?"),
    ("startsWith(decision, 'a')", 0, "write it as a method"),
    ("decision.has(features.x)", 9, "unknown function `has`"),
    ("features.all(k, k == 'a')", 9, "macros"),
    ("int(score) > 1", 0, "conversions are not supported"),
    ("timestamp(ts) > timestamp(ts)", 0, "timestamps and durations are not supported"),
    ("ts.getHours() > 1", 3, "timestamps and durations are not supported"),
    ("type(score) == 1", 0, "type() and dyn()"),
    ("dyn(score) == 1", 0, "type() and dyn()"),
    ("bytes('a') == 1", 0, "bytes are not supported"),
    ("decision == b'a'", 12, "bytes are not supported"),
    ("score == {'a': 1}", 9, "maps are not supported"),
    ("score == Point{x: 1}", 9, "messages are not supported"),
    ("score == [1]", 9, "only on the right of `in`"),
    ("score in decision", 9, "`in` needs a list literal"),
    ("score in [1, decision]", 13, "only literals"),
    ("score in [[1]]", 10, "only literals"),
    ("score in [-decision]", 10, "only literals"),
    ("decision in features", 0, "only a string literal can be looked up"),
    ("score % 2 == 1", 6, "no remainder of doubles"),
    ("score > 1e999", 8, "too large for a double"),
    ("score > 0x" + "F" * 300, 8, "too large for a double"),
    (r"decision == 'a\q'", 14, r"invalid escape `\q`"),
    (r"decision == '\uD800'", 13, "invalid escape"),
    ("decision == 'a\\'", 14, "invalid escape"),
    (r"decision == r'\'a'", 12, "before its own quote"),
    ("1 + 'a' == 2", 2, "`+` needs two numbers or two strings, found a number and a string"),
    ("1 + null == 2", 2, "found a number and null"),
    ("decision - 'a' == 2", 9, "`-` needs two numbers"),
    ("score > null", 6, "`>` needs two numbers, two strings or two bools"),
    ("score > 1 && 1 < 'a'", 15, "found a number and a string"),
    ("true && (1 < 'a') == true", 11, "found a number and a string"),
    ("size(1) == 1", 5, "size() needs a string, found a number"),
    ("decision.contains(1)", 18, "needs a string, found a number"),
    ("'a' && true", 0, "`&&` needs a bool, found a string"),
    ("!1", 1, "`!` needs a bool, found a number"),
    ("-true == 1", 1, "unary `-` needs a number"),
    ("1 ? true : false", 0, "the condition before `?` needs a bool"),
    ("score + 1", 6, "must be true or false, found a number"),
    ("true ? 1 : 'a'", 0, "must be true or false, found a number or a string"),
    ("(1 + 'a') in [1]", 3, "`+` needs"),
    ("decision.matches(route)", 17, "must be a string literal"),
    ("decision.matches('(a')", 17, "RE2 refuses the pattern: missing ): (a"),
    (r"decision.matches(r'(a)\1')", 17, r"RE2 refuses the pattern: invalid escape sequence: \1"),
    ("decision.matches('(?=a)')", 17, "invalid perl operator: (?="),
    ("decision.matches('(?<!a)b')", 17, "invalid perl operator: (?<!"),
    ("decision.matches('(?>a)')", 17, "invalid perl operator: (?>"),
    ("decision.matches('(a)?(?(1)b)')", 17, "invalid perl operator: (?("),
    (r"decision.matches(r'a\Z')", 17, r"invalid escape sequence: \Z"),
    ("decision.matches('a*+')", 17, "bad repetition operator: *+"),
    ("decision.matches('é[b-a]')", 17, "invalid character class range: b-a"),
    ("decision.matches('(?P<é')", 17, "invalid named capture group: (?P<é"),
    ("decision.matches('a{1001}')", 17, "invalid repetition size: {1001}"),
    (r"decision.matches(r'\pL{1000}')", 17, "pattern too large"),
    ("true && matches(decision, '(')", 26, "missing )"),
    ("true" + " " * 4093, 4096, "at most 4096 characters, found 4097"),
    ("(" * 65 + "true" + ")" * 65, 65, "nested deeper than 64"),
    ("(" * 2046 + "true" + ")" * 2046, 65, "nested deeper than 64"),
    ("!" * 4000 + "true", 65, "nested deeper than 64"),
    ("-" * 4000 + "score > 1", 64, "nested deeper than 64"),
    ("score in [" + "-" * 4000 + "1]", 75, "nested deeper than 64"),
    ("score" + "+1" * 70 + " > 1", 0, "nested deeper than 64"),
    ("score" + ".x" * 2000 + " > 1", 0, "one level deep"),
    ("true ? true : " * 200 + "true", 896, "nested deeper than 64"),
    ("||".join(["true"] * 600), 3066, "more than 512 parts"),
    ("score in [" + ",".join(["1"] * 600) + "]", 1032, "more than 512 parts"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("source", "offset", "message"),
    REFUSALS,
    ids=[f"{source[:30]} #{number}" for number, (source, _, _) in enumerate(REFUSALS)],
)
def test_what_is_refused_says_where_and_why(source: str, offset: int, message: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(source)

    assert (refused.value.offset, message in str(refused.value)) == (offset, True), str(refused.value)


WORDS = (
    *"()[]{}.,:?!-+*/%<> &|='\"\\é\n", "&&", "||", "==", " in ", "true", "null", "features", ".x", "decision", "size(", "has(",
    ".matches(", "'a'", "r'", "b'", "'''", "1", "0x", "1.5e", "u", "9" * 400, "//", "(?", "\\u", "[[", "\0", "\ud800",
)  # fmt: skip


@settings(max_examples=300, derandomize=True, deadline=None, database=None)
@given(st.lists(st.sampled_from(WORDS), max_size=20).map("".join))
def test_any_text_is_an_expression_or_is_refused_with_its_place(source: str) -> None:
    place, message = 0, ""
    try:
        compile_expression(source).evaluate({}, 2)
    except ExpressionError as refused:
        place, message = refused.offset, str(refused)

    assert 0 <= place <= len(source)
    assert message.isprintable()
    assert len(message) <= 300


@pytest.mark.parametrize(
    "source",
    ["true '''a\nb'''", "a" * 4000, "true 'a\x07'", "decision == '\\\x07'", "decision.matches('(?P<\x07')"],
)
def test_a_refusal_is_one_short_line(source: str) -> None:
    with pytest.raises(ExpressionError) as refused:
        compile_expression(source)

    assert str(refused.value).isprintable()
    assert len(str(refused.value)) <= 300


def test_a_refused_pattern_is_not_logged(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ExpressionError):
        compile_expression("decision.matches('(')")

    assert capfd.readouterr() == ("", "")
