"""docs/protocol.md says what the code does: its examples are read, hashed and held against requests."""

import ast
import re
from pathlib import Path
from typing import Any

import pytest
from msgspec import json as msgspec_json

from interlock.control_state import ControlState
from interlock.emit import Emitter
from interlock.guard import Guard
from interlock.partitions import murmur2, partition_of
from interlock.protocol import control_key, in_force, lease_key, read_control, read_lease
from interlock.scopes import Request, differs, read_scope
from tests.guarding import control

PAGE = (Path(__file__).resolve().parents[1] / "docs" / "protocol.md").read_text("utf-8")


def blocks(kind: str) -> list[bytes]:
    return [text.encode() for text in re.findall(rf"^```{kind}\n(.*?)\n^```$", PAGE, re.MULTILINE | re.DOTALL)]


def rows(heading: str) -> list[list[str]]:
    """Return the cells in backquotes of the table that begins with this heading."""
    table = PAGE[PAGE.index(heading) :].split("\n\n", 1)[0].splitlines()[2:]
    return [re.findall(r"`([^`]+)`", line) for line in table]


def test_the_keys_of_the_page_are_those_of_its_records() -> None:
    (said,), (lease,) = blocks("control"), blocks("lease")

    assert blocks("key") == [control_key(read_control(said)), lease_key(read_lease(lease).model)]


def test_the_digest_of_the_page_is_that_of_its_controls() -> None:
    (said,), (lease,), (text,) = blocks("control"), blocks("lease"), blocks("digest")
    engaged = [tuple(pair) for pair in msgspec_json.decode(text)]
    first = read_control(said)

    assert (first.control_id, first.epoch) in engaged
    assert read_lease(lease).in_force == in_force(reversed(engaged))
    assert in_force([]) in PAGE


def test_a_guard_that_reads_the_page_is_missing_the_control_that_the_page_does_not_show() -> None:
    control_key_, lease_key_ = blocks("key")
    (said,), (lease,) = blocks("control"), blocks("lease")
    state = ControlState(lambda: 1_700_000_003_000.0)
    state.read([(control_key_, said), (lease_key_, lease)])

    assert dict(state.counts) == {"control": 1, "mismatch": 1}


@pytest.mark.parametrize("line", rows("| Key | murmur2 |"), ids=lambda line: line[0])
def test_keys_live_where_the_page_says(line: list[str]) -> None:
    (number, partition) = re.findall(rf"\| `{line[0]}` \| (\d+) \| (\d+) \|", PAGE)[0]

    assert (murmur2(line[0].encode()), partition_of(line[0].encode(), 4)) == (int(number), int(partition))


@pytest.mark.parametrize("cells", rows("| Scope, parameters | Request |"))
def test_a_control_is_about_the_requests_that_the_page_says(cells: list[str]) -> None:
    scope, parameters, segment = (ast.literal_eval(cell) for cell in cells)
    asked = Request(segment)
    (answer,) = re.findall(re.escape("| `" + cells[2] + "` | ") + r"(yes|no) \|", _line_of(cells))

    assert differs(read_scope(control(scope=scope, parameters=parameters)), asked) == (answer == "no")


def _line_of(cells: list[str]) -> str:
    return next(line for line in PAGE.splitlines() if all(f"`{cell}`" in line for cell in cells))


def test_the_python_of_the_page_runs(tmp_path: Path) -> None:
    (program,) = blocks("python")
    lines = program.decode().splitlines()
    opened = next(number for number, line in enumerate(lines) if line.startswith("emit, guard ="))
    names: dict[str, Any] = {"emit": Emitter.to_file(tmp_path), "guard": Guard.static("human_review")}
    exec("\n".join([*lines[:opened], *lines[opened + 1 :]]), names)  # noqa: S102 - our own page
    names["emit"].close()
    (written,) = (tmp_path / "predictions.jsonl").read_bytes().splitlines()

    assert msgspec_json.decode(written)["route"] == "human"
