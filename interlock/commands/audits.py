"""`interlock audits export | import`: what people must review, to their table and back."""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import msgspec
import typer

from interlock.commands.audit_plan_show import Asked, show_plan, traffic_of
from interlock.commands.connecting import Bootstrap, File, Prefix, Sets, Told, settings_for
from interlock.commands.inputs import read_policy
from interlock.connection import Connection
from interlock.emit import Emitter
from interlock.errors import FindingError, UserError
from interlock.outbox import EmitError
from interlock.policies.scalars import RATE_WORDS, parse_rate
from interlock.streams.due import Due
from interlock.streams.replay import load_reference
from interlock.streams.reviews import Settled, moment, read_table, still_due, write_table

DONE = Path("reviews") / "outcomes.jsonl"
"""Where in a replay's folder imported reviews are kept."""

audits = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode=None,
    help="Move what is due for review to reviewers and back."
    "\n\nExample: interlock audits export --replay out/replay -o todo.csv",
)

Replay = Annotated[Path | None, typer.Option(metavar="DIR", help="What a replay wrote; instead of a Kafka.")]
Outcomes = Annotated[
    list[Path] | None,
    typer.Option(metavar="FILE", help="Outcomes known already, beside what was imported; for --replay."),
]


@dataclass(frozen=True, slots=True)
class Source:
    """Where due reviews are, and where answers go."""

    replay: Path | None
    connection: Connection | None
    outcomes: list[Path]

    def read(self) -> tuple[list[Due], Settled]:
        """Return what was ever due, and what is reviewed."""
        from interlock.streams import review_sources  # noqa: PLC0415 - Kafka's client takes half a second to load

        if self.connection is not None:
            return review_sources.of_topics(self.connection)
        folder = self.replay or Path()
        known = [*self.outcomes, *([done] if (done := folder / DONE).exists() else [])]
        return review_sources.due_of_replay(folder), review_sources.settled_in_files(known)

    def emitter(self) -> Emitter:
        """Return what publishes outcomes."""
        if self.connection is not None:
            return Emitter(connection=self.connection)
        return Emitter.to_file(((self.replay or Path()) / DONE).parent)


@audits.command()
def plan(
    policy: Annotated[Path, typer.Argument(metavar="POLICY", help="Policy file.")],
    traffic: Annotated[
        str | None,
        typer.Option(metavar="RATE", help="Predictions of one scope, such as 7000/d. [default: the reference's]"),
    ] = None,
    recall: Annotated[float, typer.Option(min=0.0, max=1.0, help="The recall that must be noticed.")] = 0.8,
    within: Annotated[str, typer.Option(metavar="TIME", help="How soon, such as 7d.")] = "7d",
    unfamiliar: Annotated[
        float, typer.Option(min=1e-6, max=1.0, help="Share of predictions that is truly unfamiliar.")
    ] = 0.01,
) -> None:
    """Say how many unflagged events must be reviewed a day to notice that recall has fallen.

    Example: interlock audits plan policy.yaml --traffic 7000/d
    """
    loaded = read_policy(policy)
    try:
        per_day = None if traffic is None else parse_rate(traffic).per_day
    except ValueError:
        raise UserError(f"--traffic: found {traffic}; expected {RATE_WORDS}") from None
    if per_day is None:
        per_day = traffic_of(load_reference(loaded, policy.parent))
    show_plan(loaded, per_day, Asked(recall, within, unfamiliar))


@audits.command()
def export(  # noqa: PLR0913, PLR0917 - the options of a command
    output: Annotated[Path, typer.Option("-o", "--output", metavar="TABLE", help="The table: .csv or .jsonl.")],
    replay: Replay = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    outcomes: Outcomes = None,
    now: Annotated[str | None, typer.Option(metavar="TIME", help="What is overdue then; default now.")] = None,
    settings: File = None,
    sets: Sets = None,
) -> None:
    """Write what is due and not reviewed, the most urgent first.

    Says how much of it is overdue. Reviewers fill in `confirmed_ood`, and `label` where they know it.

    Example: interlock audits export --bootstrap localhost:9092 -o todo.csv
    """
    source = _source(replay, Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings), outcomes)
    at = _clock() if now is None else moment(now)
    due, settled = source.read()
    rows = still_due(due, settled)
    write_table(output, rows, at)
    flagged = sum(one.why == "flagged" for one in rows)
    overdue = sum(one.due < at for one in rows)
    typer.echo(f"{output}: {len(rows):,} to review: {flagged:,} flagged, {len(rows) - flagged:,} audits")
    typer.echo(f"overdue: {overdue:,}; reviewed already: {len({one.event_id for one in due}) - len(rows):,}")


@audits.command("import")
def import_(  # noqa: PLR0913, PLR0917 - the options of a command
    table: Annotated[Path, typer.Argument(metavar="TABLE", help="The table, filled in: .csv or .jsonl.")],
    source: Annotated[str, typer.Option(metavar="TEXT", help="Who reviewed; stands in each outcome's `source`.")],
    replay: Replay = None,
    bootstrap: Bootstrap = None,
    prefix: Prefix = None,
    outcomes: Outcomes = None,
    reviewed_at: Annotated[
        str | None,
        typer.Option(metavar="TIME", help="When, for rows that do not say; `due`: when each was due. [default: now]"),
    ] = None,
    settings: File = None,
    sets: Sets = None,
) -> None:
    """Publish what reviewers found as outcomes.

    Rows not filled in are left for later, bad rows refused with their line, rows imported before (same event and revision) passed over. With --replay it appends to DIR/reviews/outcomes.jsonl, for `interlock replay --outcomes`. Exit code 1 if a row was refused.

    Example: interlock audits import todo.csv --source fraud-desk --bootstrap localhost:9092
    """
    if not source.strip():
        raise UserError("--source: found nothing; expected who reviewed")
    where = _source(replay, Told({"bootstrap": bootstrap, "prefix": prefix}, sets, settings), outcomes)
    at = _clock() if reviewed_at is None else None if reviewed_at == "due" else moment(reviewed_at)
    due, settled = where.read()
    read = read_table(table, {one.event_id: one for one in due}, source, at)
    fresh = [one for one in read.outcomes if (one.event_id, int(one.revision or 0)) not in settled]
    _publish(where, [msgspec.to_builtins(one) for one in fresh])
    known = len(read.outcomes) - len(fresh)
    typer.echo(f"{len(fresh):,} published, {known:,} known already, {read.blank:,} not filled in")
    if read.refused:
        raise FindingError(read.refused)


def _publish(where: Source, rows: list[Mapping[str, object]]) -> None:
    if not rows:
        return
    try:
        with where.emitter() as emitter:
            emitter.send_many("outcomes", rows)
    except (EmitError, OSError) as error:
        raise UserError(f"not all was published; import the table again: {error}") from None


def _source(replay: Path | None, asked: Told, outcomes: list[Path] | None) -> Source:
    if replay is not None and asked.flags["bootstrap"] is not None:
        raise UserError("give one of --replay and --bootstrap")
    if outcomes and replay is None:
        raise UserError("--outcomes is for --replay: a live pipeline's outcomes stand on its topic")
    return Source(replay, None if replay is not None else settings_for(asked).connection, list(outcomes or ()))


def _clock() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - a command: what is overdue now
