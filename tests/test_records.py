"""Records: canonical lines, rounding, and schemas that are what the types say."""

import json
import math
from pathlib import Path
from typing import Any

import jsonschema
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from interlock.records import (
    Control,
    Labels,
    Page,
    Verdict,
    canonical_json,
    control_line,
    rounded,
    verdict_line,
)

SCHEMAS = Path(__file__).resolve().parents[1] / "docs" / "schemas"

VERDICT: dict[str, Any] = {
    "verdict_id": "v1",
    "model": "claims",
    "slo": "ood_rate_24h",
    "scope": {"version": "2.3", "slice": '["acme","eu"]'},
    "ts": 1_700_000_000_000,
    "window_start": 1_699_913_600_000,
    "window_end": 1_700_000_000_000,
    "state": "breached",
    "value": 1 / 3,
    "lower": 0.25,
    "upper": None,
    "n": 120,
    "label_coverage": None,
    "target": "<= 0.05",
    "evidence": {"z": 2, "a": [1e-20, {"é": True}]},
    "policy_digest": "sha256:00",
}
CONTROL: dict[str, Any] = {
    "control_id": "c1",
    "epoch": 1,
    "model": "claims",
    "scope": {},
    "action": "kill_switch",
    "mode": "killed",
    "state": "engaged",
    "parameters": {},
    "slo": "never_event_violations",
    "verdict_id": "v1",
    "cause": "large_denial_without_person: 1 violation",
    "evidence": {},
    "policy_digest": "sha256:00",
    "ts": 1_700_000_000_000,
    "issued_at": 1_700_000_000_001,
}

numbers = st.floats(allow_nan=False, allow_infinity=False)
details = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | numbers | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def shuffled(value: Any) -> Any:
    """Return the same value with every mapping in the opposite order."""
    if isinstance(value, dict):
        return {key: shuffled(value[key]) for key in reversed(list(value))}
    return [shuffled(item) for item in value] if isinstance(value, list) else value


def test_a_verdict_line_is_these_bytes() -> None:
    line = verdict_line(Verdict(**VERDICT))

    assert line.decode() == (
        '{"verdict_id":"v1","model":"claims","slo":"ood_rate_24h",'
        '"scope":{"slice":"[\\"acme\\",\\"eu\\"]","version":"2.3"},"ts":1700000000000,"window_start":1699913600000,'
        '"window_end":1700000000000,"state":"breached","value":0.333333333,"lower":0.25,"upper":null,"n":120,'
        '"label_coverage":null,"target":"<= 0.05","evidence":{"a":[1e-20,{"é":true}],"z":2},'
        '"policy_digest":"sha256:00"}\n'
    )


def test_a_control_line_keeps_the_declared_order() -> None:
    line = control_line(Control(**CONTROL))

    assert list(json.loads(line)) == list(Control.model_fields)
    assert line.endswith(b"}\n")
    assert line.count(b"\n") == 1


@given(details, numbers)
def test_equal_records_have_equal_lines_whatever_order_they_were_built_in(evidence: Any, value: float) -> None:
    given_verdict = VERDICT | {"value": value, "evidence": {"found": evidence, "n": 1}}
    line = verdict_line(Verdict(**given_verdict))

    assert verdict_line(Verdict(**shuffled(given_verdict))) == line
    assert verdict_line(Verdict(**json.loads(line))) == line


@given(st.floats(min_value=1e-290, max_value=1e290), st.sampled_from([1, -1]))
def test_rounding_keeps_nine_digits_and_is_done_once(size: float, sign: int) -> None:
    short = rounded(sign * size)

    assert short is not None
    assert rounded(short) == short
    assert math.isclose(short, sign * size, rel_tol=5.1e-9)


def test_what_json_cannot_hold_is_null_and_zero_has_no_sign() -> None:
    assert canonical_json({"b": math.inf, "a": -0.0, "c": (math.nan,)}) == '{"a":0.0,"b":null,"c":[null]}'


def test_numpy_numbers_are_written_as_numbers() -> None:
    assert canonical_json([np.int64(3), np.float64(0.5), np.array([1, 2])]) == "[3,0.5,[1,2]]"


def test_a_value_without_a_json_form_is_refused() -> None:
    with pytest.raises(TypeError, match="cannot hold a object"):
        canonical_json({"a": object()})


@pytest.mark.parametrize(
    ("field", "wrong"), [("state", "green"), ("n", -1), ("label_coverage", 1.5), ("value", math.nan)]
)
def test_an_impossible_verdict_cannot_be_made(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Verdict(**(VERDICT | {field: wrong}))


@pytest.mark.parametrize(("field", "wrong"), [("mode", "off"), ("state", "recovering"), ("epoch", 0)])
def test_an_impossible_control_cannot_be_made(field: str, wrong: object) -> None:
    with pytest.raises(ValidationError, match=field):
        Control(**(CONTROL | {field: wrong}))


def test_labels_stand_for_their_texts() -> None:
    labels = Labels.of(["a", "b", "a"])

    assert labels.texts == ("a", "b")
    assert labels.values() == ["a", "b", "a"]
    assert labels.take(np.array([1, 0])).values() == ["b", "a"]
    assert Labels.constant("x", 2).values() == ["x", "x"]


@pytest.mark.parametrize(("name", "kind"), [("verdict", Verdict), ("control", Control), ("page", Page)])
def test_the_committed_schema_is_the_types_own(name: str, kind: type[Verdict] | type[Control] | type[Page]) -> None:
    """Mend it with: python -m tests.test_records."""
    committed = (SCHEMAS / f"{name}.json").read_text("utf-8")

    assert committed == schema_text(kind)


def test_lines_satisfy_the_published_schemas() -> None:
    for name, line in (("verdict", verdict_line(Verdict(**VERDICT))), ("control", control_line(Control(**CONTROL)))):
        schema = json.loads((SCHEMAS / f"{name}.json").read_text("utf-8"))
        jsonschema.Draft202012Validator(schema).validate(json.loads(line))


def schema_text(kind: type[Verdict] | type[Control] | type[Page]) -> str:
    """Return the JSON Schema of a record as it is committed."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema"} | kind.model_json_schema()
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    (SCHEMAS / "verdict.json").write_text(schema_text(Verdict), "utf-8")
    (SCHEMAS / "control.json").write_text(schema_text(Control), "utf-8")
    (SCHEMAS / "page.json").write_text(schema_text(Page), "utf-8")
