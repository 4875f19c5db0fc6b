"""What was written, read back as records: from a replay's files, and its counts from the ClickHouse beside them."""

from collections.abc import Iterator
from pathlib import Path
from typing import Protocol, TypeVar

import msgspec
from pydantic import BaseModel, ValidationError

from interlock.errors import UserError
from interlock.records import Control, Count, Verdict


class _Head(msgspec.Struct, frozen=True):
    """What tells verdicts apart; the rest of a line is not read."""

    verdict_id: str
    model: str
    slo: str
    scope: dict[str, str]
    ts: int

    @property
    def about(self) -> tuple[str, str, tuple[tuple[str, str], ...]]:
        """What it is about."""
        return self.model, self.slo, tuple(sorted(self.scope.items()))


class Tallies(Protocol):
    """Where counts are kept."""

    def counts(self, verdict: Verdict, kind: str, start: int, *, cohorts: bool) -> list[Count] | None:
        """Return the counts of a kind of series from `start` (ms) to a verdict's window's end, as it knew them."""


R = TypeVar("R", bound=BaseModel)


class StoredFiles:
    """Verdicts and controls of `verdicts.jsonl` and `control.jsonl`; every method raises UserError for a bad line."""

    def __init__(self, folder: Path, tallies: Tallies | None) -> None:
        """Read a replay's folder; without `tallies` there are no counts."""
        self._verdicts, self._controls = folder / "verdicts.jsonl", folder / "control.jsonl"
        self._tallies = tallies

    def ids(self, prefix: str, most: int) -> list[str]:
        """Return the first ids of verdicts that begin so, sorted."""
        return sorted({head.verdict_id for head, _ in self._heads() if head.verdict_id.startswith(prefix)})[:most]

    def verdict(self, verdict_id: str) -> Verdict | None:
        """Return a verdict by its whole id."""
        found = [line for head, line in self._heads() if head.verdict_id == verdict_id]
        return self._read(found[-1:])[0] if found else None

    def path(self, verdict: Verdict, most: int) -> list[Verdict]:
        """Return the last verdicts of the same SLO and scope up to a verdict, oldest first."""
        return self._read(self._same(verdict, verdict.ts)[-most:])

    def newest(self, verdict: Verdict) -> Verdict:
        """Return the last verdict of the same SLO and scope."""
        return self._read(self._same(verdict, None)[-1:])[0]

    def latest(self) -> list[Verdict]:
        """Return the last verdict of every SLO and scope."""
        last = {head.about: line for head, line in self._heads()}
        return self._read([last[about] for about in sorted(last)])

    def controls(self) -> list[Control]:
        """Return all transitions of controls, by event time."""
        found = [_record(Control, line, self._controls) for line in _lines(self._controls)]
        return sorted(found, key=lambda one: (one.ts, one.issued_at, one.epoch, one.state))

    def counts(self, verdict: Verdict, kind: str, start: int, *, cohorts: bool) -> list[Count] | None:
        """Return the counts of a kind of series from `start` (ms) to a verdict's window's end; None without any."""
        return None if self._tallies is None else self._tallies.counts(verdict, kind, start, cohorts=cohorts)

    def _same(self, verdict: Verdict, until: int | None) -> list[bytes]:
        about = (verdict.model, verdict.slo, tuple(sorted(verdict.scope.items())))
        kept = {h.verdict_id: (h.ts, h.verdict_id, line) for h, line in self._heads() if h.about == about}
        return [line for ts, _, line in sorted(kept.values()) if until is None or ts <= until]

    def _heads(self) -> Iterator[tuple[_Head, bytes]]:
        decoder = msgspec.json.Decoder(_Head)
        for number, line in enumerate(_lines(self._verdicts), 1):
            try:
                yield decoder.decode(line), line
            except msgspec.MsgspecError as error:
                raise UserError(f"{self._verdicts}:{number}: not a verdict: {error}") from error

    def _read(self, lines: list[bytes]) -> list[Verdict]:
        return [_record(Verdict, line, self._verdicts) for line in lines]


def _record(kind: type[R], line: bytes, path: Path) -> R:
    try:
        return kind.model_validate_json(line)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = ".".join(map(str, first["loc"])) or "the line"
        raise UserError(f"{path}: not a {kind.__name__.lower()}: {where}: {first['msg']}") from error


def _lines(path: Path) -> Iterator[bytes]:
    try:
        with path.open("rb") as file:
            yield from file
    except OSError as error:
        raise UserError(f"{path}: cannot be read: {error.strerror}; expected what `interlock replay` writes") from error
