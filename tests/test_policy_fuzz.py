"""Whatever bytes come, a policy loads or is refused with located lines; nothing else is ever raised."""

import json
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.load import PolicyErrors, load_policy
from interlock.policies.model import Policy

FOLDER = Path(__file__).parent / "policies"
SEEDS = [path.read_bytes() for path in sorted(FOLDER.glob("good/*.yaml"))]
SEEDS += [path.read_bytes() for path in sorted(FOLDER.glob("bad/*.yaml"))]
PIECES = [b"[", b"]", b"{", b"}", b": ", b"- ", b"\n", b"\t", b"&a ", b"*a", b"!!", b"---\n", b"...", b"? ", b"|", b">"]
PIECES += [b'"', b"'", b"\\U", b"%YAML 9.9\n", b"\x00", b"\xff", b"\xef\xbb\xbf", b"~", b".nan", b"1e999", b"<<", b"#"]
PIECES += [
    b"0.05",
    b"slos",
    b"null",
    b"true",
    b"-1",
    b"9" * 40,
    b"24h",
    b"slice",
    b"\r",
    b"\xe2\x80\xa8",
    b"@",
    b"`",
    b",",
]
KEYS = [*Policy.model_fields, "name", "target", "window", "per", "where", "indicator", "by", "x-a", "for", "when"]


def outcome(text: bytes) -> Policy | PolicyErrors:
    try:
        return load_policy(text, "f")
    except PolicyErrors as error:
        return error


def refused_or_loaded(text: bytes) -> None:
    found = outcome(text)
    if isinstance(found, Policy):
        assert found.digest
        assert all(found.slice_set(slo) in (None, *found.slices) for slo in found.slos_in_force)
        return
    assert found.lines
    assert all(one.line >= 1 and one.column >= 1 for one in found.found)
    assert all("\n" not in line for line in found.lines)


@given(st.binary(max_size=300))
def test_random_bytes(text: bytes) -> None:
    refused_or_loaded(text)


@given(st.lists(st.sampled_from(PIECES), max_size=40).map(b"".join))
def test_random_yaml_pieces(text: bytes) -> None:
    refused_or_loaded(text)


@given(
    st.sampled_from(SEEDS),
    st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 30), st.sampled_from(PIECES)), min_size=1, max_size=4),
)
def test_mutated_policies(text: bytes, edits: list[tuple[int, int, bytes]]) -> None:
    for start, length, piece in edits:
        at = start % (len(text) + 1)
        text = text[:at] + piece + text[at + length :]

    refused_or_loaded(text)


VALUES = st.recursive(
    st.sampled_from(
        [None, True, 0, -1, 0.5, 7, "a", "24h", "<= 0.05", "rolling", "slice", "ood_rate_24h", "route == "]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(KEYS), inner, max_size=4),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=5))
def test_any_json_under_known_keys(data: dict[str, object]) -> None:
    refused_or_loaded(json.dumps(data).encode())
