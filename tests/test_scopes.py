"""Which requests a control is about: all but those that provably differ from its scope."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json as msgspec_json

from interlock.policies.context import slice_text
from interlock.protocol import ControlRecord
from interlock.scopes import Index, Request, differs, read_scope, read_slice
from tests.guarding import MODEL, REQUESTS, control, mode, trusting


@pytest.mark.parametrize(
    ("scope", "request_", "is_about"),
    [
        ({}, Request(), True),
        ({"version": "2"}, Request(version="2"), True),
        ({"version": "2"}, Request(version="1"), False),
        ({"version": "2"}, Request(), True),
        ({"version": "(other)"}, Request(version="1"), True),
        ({"variant": "canary"}, Request(variant="baseline"), False),
        ({"variant": "canary"}, Request(version="1"), True),
        ({"slice": "tenant=acme"}, Request({"tenant": "acme"}), True),
        ({"slice": "tenant=acme"}, Request({"tenant": "zenith"}), False),
        ({"slice": "tenant=acme"}, Request({}), True),
        ({"slice": "tenant=acme"}, Request(), True),
        ({"slice": "tenant=acme,region=eu"}, Request({"tenant": "acme"}), True),
        ({"slice": "tenant=acme,region=eu"}, Request({"region": "us"}), False),
        ({"slice": "tenant=acme,region=eu"}, Request({"tenant": "acme", "region": "eu", "more": "x"}), True),
        ({"slice": "tenant=null"}, Request({"tenant": "acme"}), False),
        ({"slice": "tenant=null"}, Request({}), True),
        ({"slice": r"tenant=a\,b\=c\\d"}, Request({"tenant": r"a,b=c\d"}), True),
        ({"slice": r"tenant=a\,b"}, Request({"tenant": "a"}), False),
        ({"slice": "tenant=a=b"}, Request({"tenant": "zenith"}), True),  # cannot be read
        ({"slice": "tenant"}, Request({"tenant": "zenith"}), True),
        ({"slice": "tenant=a,tenant=b"}, Request({"tenant": "zenith"}), True),
        ({"slice": ""}, Request({"tenant": "zenith"}), True),
        ({"slice": "(other)"}, Request({"tenant": "zenith"}), True),
        ({"slice": "(overflow)"}, Request({"tenant": "zenith"}), True),
        ({"slice": "tenant=acme", "version": "2"}, Request({"tenant": "acme"}, "1"), False),
        ({"slice": "tenant=acme", "moon": "full"}, Request({"tenant": "acme"}), True),  # a key of a later version
    ],
)
def test_a_control_is_about_a_request_unless_that_provably_differs(
    scope: dict[str, str], request_: Request, is_about: bool
) -> None:
    state = trusting(control(scope=scope))

    assert mode(state, request_.segment, version=request_.version, variant=request_.variant) == (
        "human_review" if is_about else "normal"
    )


POOL: dict[str, Any] = {
    "by": ["segment.tenant", "region"],
    "apart": ["tenant=acme,region=eu", r"tenant=a\=b,region=us"],
}


@pytest.mark.parametrize("pool", ["(other)", "(rest)", "(overflow)"])
@pytest.mark.parametrize(
    ("parameters", "segment", "is_in_it"),
    [
        (POOL, {"tenant": "acme", "region": "eu"}, False),
        (POOL, {"tenant": "a=b", "region": "us"}, False),
        (POOL, {"tenant": "acme", "region": "us"}, True),
        (POOL, {"tenant": "acme"}, True),
        (POOL, None, True),
        ({}, {"tenant": "acme", "region": "eu"}, True),
        ({"by": POOL["by"]}, {"tenant": "acme", "region": "eu"}, True),
        ({"apart": POOL["apart"]}, {"tenant": "acme", "region": "eu"}, True),
        (POOL | {"by": "tenant"}, {"tenant": "acme", "region": "eu"}, True),
        (POOL | {"apart": [7, "(other)", "tenant=acme"]}, {"tenant": "acme", "region": "eu"}, True),
        (POOL | {"by": ["region", "tenant"]}, {"tenant": "acme", "region": "eu"}, True),  # other slices than these
        ({"by": ["tenant"], "apart": ["region=acme"]}, {"tenant": "acme"}, True),
        ({"by": ["features.tenant"], "apart": ["tenant=acme"]}, {"tenant": "acme"}, True),  # what a guard never sees
        ({"by": ["features.x", "tenant"], "apart": ["x=1,tenant=acme", "tenant=acme"]}, {"tenant": "acme"}, True),
    ],
)
def test_a_pool_holds_every_request_whose_slice_is_not_provably_apart(
    pool: str, parameters: dict[str, Any], segment: dict[str, str] | None, is_in_it: bool
) -> None:
    state = trusting(control(scope={"slice": pool}, parameters=parameters))

    assert mode(state, segment) == ("human_review" if is_in_it else "normal")


def test_a_slice_whose_path_leads_out_of_the_segment_proves_nothing() -> None:
    state = trusting(control(scope={"slice": "channel=web"}, parameters={"by": ["features.channel"]}))

    assert mode(state, {"channel": "phone", "features.channel": "phone"}) == "human_review"


@given(st.lists(st.text(), min_size=1, max_size=4))
def test_a_slice_is_read_as_the_judge_wrote_it(values: list[str]) -> None:
    paths = [f"segment.key{i}" for i in range(len(values))]

    assert read_slice(slice_text(msgspec_json.encode(values).decode(), paths)) == {
        f"key{i}": value for i, value in enumerate(values)
    }


@given(st.text("a=,\\("))
def test_what_no_judge_writes_is_read_as_nothing_or_writes_itself(text: str) -> None:
    pairs = read_slice(text)

    assert pairs is None or text == slice_text(msgspec_json.encode(list(pairs.values())).decode(), list(pairs))


@given(
    st.sets(st.tuples(st.sampled_from("ab,="), st.sampled_from("ab")), max_size=4),
    st.tuples(st.sampled_from("ab,="), st.sampled_from("ab")),
)
def test_a_request_of_known_slice_is_either_in_one_slice_or_in_the_pool(
    apart: set[tuple[str, str]], own: tuple[str, str]
) -> None:
    paths = ["segment.tenant", "segment.region"]
    texts = [slice_text(msgspec_json.encode(values).decode(), paths) for values in apart]
    pool = control(scope={"slice": "(other)"}, parameters={"by": paths, "apart": texts})
    state = trusting(pool, *(control(scope={"slice": text}) for text in texts))

    found = state.controls(MODEL, Request(dict(zip(("tenant", "region"), own, strict=True))))

    assert len(found) == 1
    assert (found[0] == pool) == (own not in apart)


SCOPES = st.fixed_dictionaries(
    {},
    optional={
        "version": st.sampled_from(["1", "2", "(other)"]),
        "variant": st.sampled_from(["canary", "baseline"]),
        "slice": st.sampled_from(["tenant=a", "tenant=b,region=eu", "region=eu", "(other)", "(rest)", "junk"]),
    },
)
PARAMETERS = st.sampled_from([{}, {"by": ["tenant"], "apart": ["tenant=a"]}, {"by": ["segment.region"], "apart": []}])


@given(
    st.lists(st.builds(lambda scope, parameters: control(scope=scope, parameters=parameters), SCOPES, PARAMETERS)),
    REQUESTS,
)
def test_the_index_finds_what_holding_every_control_against_a_request_finds(
    controls: list[ControlRecord], request_: Request
) -> None:
    found = [entry.control for entry in Index(controls).matching(request_)]
    slowly = [one for one in controls if not differs(read_scope(one), request_)]

    assert sorted(map(str, found)) == sorted(map(str, slowly))
