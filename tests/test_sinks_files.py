"""Files of JSON lines are whole or absent."""

from pathlib import Path

import pytest

from interlock.errors import UserError
from interlock.sinks.files import JsonLines


def test_a_file_has_its_name_only_when_it_is_complete(tmp_path: Path) -> None:
    path = tmp_path / "new" / "verdicts.jsonl"
    with JsonLines(path) as sink:
        sink.write(b"{}\n")
        during = path.exists()

    assert not during
    assert path.read_bytes() == b"{}\n"
    assert list(path.parent.iterdir()) == [path]
    assert sink.lines == 1


def test_a_run_that_fails_leaves_the_former_file(tmp_path: Path) -> None:
    path = tmp_path / "control.jsonl"
    path.write_bytes(b'{"old":1}\n')
    with pytest.raises(ValueError, match="newline"):
        write_to(path, b"{}\n", b"not a line")

    assert path.read_bytes() == b'{"old":1}\n'
    assert path.with_name("control.jsonl.partial").read_bytes() == b"{}\n"


def write_to(path: Path, *lines: bytes) -> None:
    with JsonLines(path) as sink:
        for line in lines:
            sink.write(line)


def test_the_next_run_starts_from_nothing(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.with_name("a.jsonl.partial").write_bytes(b"left over\n")
    with JsonLines(path):
        pass

    assert path.read_bytes() == b""


def test_closing_twice_is_harmless(tmp_path: Path) -> None:
    sink = JsonLines(tmp_path / "a.jsonl")
    sink.close()
    sink.close()

    assert sink.path.exists()


@pytest.mark.parametrize("line", [b"", b"{}", b"{}\n{}\n", b"\n{}"])
def test_what_is_not_one_line_is_refused(tmp_path: Path, line: bytes) -> None:
    with JsonLines(tmp_path / "a.jsonl") as sink, pytest.raises(ValueError, match="newline"):
        sink.write(line)


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")

    with pytest.raises(UserError, match=r"cannot write .*a\.jsonl: "):
        JsonLines(tmp_path / "file" / "a.jsonl")
