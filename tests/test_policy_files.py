"""Every good policy loads; every bad one gets exactly the errors that its first lines expect, at their places."""

import re
from pathlib import Path

import pytest

from interlock.policies.load import PolicyErrors, load_policy

HERE = Path(__file__).parent
ROOT = HERE.parent
GOOD = sorted((HERE / "policies" / "good").glob("*.yaml"))
BAD = sorted((HERE / "policies" / "bad").glob("*.yaml"))
EXPECT = re.compile(rb"# expect: (.*)\n")


def stem(path: Path) -> str:
    return path.stem


def errors(text: bytes) -> list[str]:
    with pytest.raises(PolicyErrors) as caught:
        load_policy(text, "f.yaml")
    return [line.removeprefix("f.yaml:") for line in caught.value.lines]


@pytest.mark.parametrize("path", GOOD, ids=stem)
def test_a_good_policy_loads(path: Path) -> None:
    policy = load_policy(path.read_bytes(), path.name)

    assert policy.slos
    assert re.fullmatch("sha256:[0-9a-f]{64}", policy.digest)


@pytest.mark.parametrize("path", BAD, ids=stem)
def test_a_bad_policy_gets_exactly_its_errors(path: Path) -> None:
    text = path.read_bytes()
    expected = [line.decode() for line in EXPECT.findall(text)]

    found = errors(text)

    assert expected
    assert len(found) == len(expected), found
    for line, start in zip(found, expected, strict=True):
        assert line.startswith(start)


def test_there_are_enough_bad_policies() -> None:
    assert len(BAD) >= 35


def test_errors_say_what_was_found_and_expected_without_jargon() -> None:
    for path in BAD:
        for line in errors(path.read_bytes()):
            assert re.search("found .*; expected |unknown key .*(; did you mean|; expected)", line), line
            assert not re.search("pydantic|Input should|Value error|validat|NoneType|tuple|\bdict\b", line), line


def test_the_seed_loads_as_it_stands() -> None:
    policy = load_policy((ROOT / "examples" / "safety-slos.yaml").read_bytes(), "safety-slos.yaml")

    assert [slo.resolved_indicator for slo in policy.slos] == [
        "ood_recall",
        "decision_ece_p95",
        "never_event_violations",
    ]
    assert policy.slos[0].objective == "在造成损害前检测分布偏移。"
    assert policy.slos[2].window == "rolling"
    assert policy.not_in_force() == ()


def test_a_file_that_is_too_large_is_refused() -> None:
    assert errors(b"#" * (1 << 20) + b"\n") == ["1:1: (file): found 1048577 bytes; expected at most 1048576 (1 MiB)"]


def test_utf_16_is_refused() -> None:
    assert errors("slos: []".encode("utf-16")) == [
        "1:1: (file): found a byte that is not UTF-8; expected UTF-8 text",
    ]


def test_a_byte_order_mark_and_windows_lines_change_nothing() -> None:
    text = (HERE / "policies" / "good" / "in_force.yaml").read_text()
    policy = load_policy(text.encode(), "f")

    assert load_policy(b"\xef\xbb\xbf" + text.encode(), "f") == policy
    assert load_policy(text.replace("\n", "\r\n").encode(), "f") == policy
    assert errors(b"\xef\xbb\xbfslos: 1")[0].startswith("1:7: slos: found 1")


def test_many_flat_values_are_refused_quickly() -> None:
    [line] = errors(b"x-a: [" + b"0," * 200_000 + b"]\n")

    assert "more than 10000 values" in line


def test_nesting_beyond_any_stack_is_an_error_of_the_policy() -> None:
    for opening in (b"[", b"{a: ", b"- ", b"? "):
        [line] = errors(opening * 50_000)

        assert "nesting deeper than 64" in line


def test_aliases_cannot_hide_depth() -> None:
    lines = [b"x-0: &a0 [0]\n"] + [b"x-%d: &a%d [[[*a%d]]]\n" % (i, i, i - 1) for i in range(1, 40)]
    [line] = errors(b"".join(lines))

    assert "nesting deeper than 64" in line


def test_every_error_is_one_short_line_whatever_its_key() -> None:
    lines = errors(b'"a\\nb\\x1b": 1\n"\\ud800": 1\n"\xc2\xa0": 1\n"%s": 2\n"%s": 3\n' % (b"k" * 900, b"k" * 900))

    assert lines[0].startswith("1:1: a\\nb\\x1b: unknown key `a\\nb\\x1b`; expected one of")
    assert lines[2] == "2:1: \\ud800: found half a surrogate pair in a key; expected Unicode text"
    assert all("\n" not in line and len(line) < 600 for line in lines)
