"""JSON lines from a file, plain or gzipped, a bounded number at a time."""

import gzip
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, cast

from interlock.errors import UserError

BLOCK_BYTES = 1 << 20
LONGEST_LINE = 64 << 20
BYTE_ORDER_MARK = b"\xef\xbb\xbf"


def read_lines(path: Path, rows: int) -> Iterator[list[bytes]]:
    """Yield the lines that are not blank, at most `rows` at a time."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    pending: list[bytes] = []
    try:
        with opener(path, "rb") as file:
            for lines in _line_blocks(cast(BinaryIO, file), path):
                pending += lines
                for start in range(0, len(pending) - rows + 1, rows):
                    yield pending[start : start + rows]
                pending = pending[len(pending) - len(pending) % rows :]
    except (EOFError, zlib.error) as error:
        raise UserError(f"{path}: cannot be read: {error}") from None
    if pending:
        yield pending


def _line_blocks(file: BinaryIO, path: Path) -> Iterator[list[bytes]]:
    rest = b""
    first = True
    while block := file.read(BLOCK_BYTES):
        *lines, rest = (rest + block).split(b"\n")
        if len(rest) > LONGEST_LINE:
            raise UserError(f"{path}: a line of more than {LONGEST_LINE >> 20} MiB; expected one event per line")
        kept = [line for line in lines if line and not line.isspace()]
        if first and kept:
            kept[0] = kept[0].removeprefix(BYTE_ORDER_MARK)
            _refuse_documents(kept[0], path)
            first = False
        yield kept
    if rest and not rest.isspace():
        if first:
            rest = rest.removeprefix(BYTE_ORDER_MARK)
            _refuse_documents(rest, path)
        yield [rest]


def _refuse_documents(line: bytes, path: Path) -> None:
    if line.strip() == b"{" or line.lstrip().startswith(b"["):
        raise UserError(f"{path}: looks like one JSON document; expected one event per line (jq -c '.[]' makes them)")
