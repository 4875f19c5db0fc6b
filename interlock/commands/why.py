"""`interlock why`: what a verdict rests on, who contributes, what would clear it, and what was done."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import typer

from interlock.commands.inputs import read_policy
from interlock.commands.sink import URL
from interlock.commands.why_events import Evidence, frozen_events, plain_events, show_events
from interlock.commands.why_show import show, show_ids
from interlock.errors import UserError
from interlock.policies.model import Policy
from interlock.policies.why import explain
from interlock.records import canonical_json
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.console import console
from interlock.sinks.evidence import EvidenceFiles
from interlock.sinks.evidence_tables import EvidenceTable
from interlock.sinks.stored import StoredTables
from interlock.sinks.stored_files import StoredFiles
from interlock.streams.reference import Reference
from interlock.streams.replay import load_reference
from interlock.streams.why import Archive, case_of

FOLDERS = (Path("out/replay"), Path("out/demo"))
"""Where `interlock replay` and `interlock demo` write unless told otherwise."""

VERDICTS = "verdicts.jsonl"


@dataclass(frozen=True, slots=True)
class Where:
    """Where to look: a replay's folder, a ClickHouse directory, or a server."""

    replay: Path | None
    directory: Path | None
    url: str | None


def why(  # noqa: PLR0913, PLR0917 - the options of a command
    verdict_id: Annotated[
        str | None,
        typer.Argument(
            metavar="[VERDICT_ID]", help="Its id or the beginning; a control's or a page's too. None: lists the latest."
        ),
    ] = None,
    replay: Annotated[
        Path | None, typer.Option(metavar="DIR", help="What a replay wrote; by default out/replay or out/demo.")
    ] = None,
    url: Annotated[
        str | None, typer.Option(metavar="URL", help=f"http://user:password@host:8123; or set {URL}.")
    ] = None,
    directory: Annotated[
        Path | None, typer.Option(metavar="DIR", help="A ClickHouse (chdb) directory instead of a server.")
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(metavar="FILE", help="The policy that judged: adds its objective and its hold.")
    ] = None,
    events: Annotated[bool, typer.Option("--events", help="Show the events themselves, as they were frozen.")] = False,
    evidence: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Where `sink evidence` froze them. Default: the same ClickHouse.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of text.")] = False,
) -> None:
    """Explain a verdict, in words and numbers.

    What it rests on, who contributes, what would clear it, and what was done.

    Example: interlock why 08d10c9a --replay out/demo
    """
    judged_by = None if policy is None else read_policy(policy)
    reference = None if judged_by is None or policy is None else _reference(judged_by, policy.parent)
    where = _where(replay, directory, url)
    with _archive(where) as archive:
        if verdict_id is None:
            show_ids(console(), archive.latest(), archive.controls(), as_json=as_json)
            return
        told = explain(case_of(archive, verdict_id, judged_by, reference))
    shown = frozen_events(told, _evidence(where, evidence)) if events or evidence else None
    if as_json:
        typer.echo(canonical_json(told.plain() | ({} if shown is None else {"events": plain_events(shown)})))
        return
    show(console(), told)
    if shown is not None:
        show_events(console(), shown)


def _evidence(where: Where, folder: Path | None) -> Evidence:
    """Open where events were frozen; nothing is written there."""
    if folder is not None:
        return EvidenceFiles(folder, make=False)
    if where.replay is not None:
        raise UserError("where were events frozen? Give --evidence DIR, or --url for a ClickHouse that has them")
    return EvidenceTable(lambda: ClickHouseSink.connect(where.directory, where.url, lay=False))


def _reference(policy: Policy, folder: Path) -> Reference | None:
    """Read the policy's reference if it lies beside it: it says how scores are grouped."""
    named = policy.reference
    return load_reference(policy, folder) if named is not None and (folder / named.file).exists() else None


def _where(replay: Path | None, directory: Path | None, url: str | None) -> Where:
    if sum(one is not None for one in (replay, directory, url)) > 1:
        raise UserError("give one of --replay, --directory and --url")
    if replay is None and directory is None and url is None:
        url = os.environ.get(URL) or None
        replay = None if url else next((folder for folder in FOLDERS if (folder / VERDICTS).exists()), None)
    if replay is None and directory is None and url is None:
        raise UserError(f"where are the verdicts? Give --replay, --directory or --url, or set {URL}")
    return Where(replay, directory, url)


@contextmanager
def _archive(where: Where) -> Iterator[Archive]:
    """Open where verdicts are kept; nothing is written there."""
    if where.replay is not None:
        with _files(where.replay) as archive:
            yield archive
        return
    if where.directory is not None and not where.directory.is_dir():
        raise UserError(f"{where.directory}: no such directory; expected what a replay or `interlock sink` has written")
    with ClickHouseSink.connect(where.directory, where.url, lay=False) as sink:
        yield StoredTables(sink)


@contextmanager
def _files(folder: Path) -> Iterator[Archive]:
    """Open a replay's folder; its counts are in the ClickHouse directory beside its files, if that can be read."""
    if not (folder / VERDICTS).exists():
        raise UserError(f"{folder / VERDICTS}: no such file; expected a folder that `interlock replay` has written")
    tables = folder / "clickhouse"
    sink = _opened(tables) if tables.is_dir() else None
    try:
        yield StoredFiles(folder, None if sink is None else StoredTables(sink))
    finally:
        if sink is not None:
            sink.close()


def _opened(tables: Path) -> ClickHouseSink | None:
    try:
        return ClickHouseSink.connect(directory=tables, lay=False)
    except UserError as error:
        typer.echo(f"warning: no counts: {error}", err=True)
        return None
