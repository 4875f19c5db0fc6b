"""`interlock fit`: learn what familiar traffic looks like."""

import json
import sys
from collections.abc import Iterable, Iterator
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich import box
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn
from rich.table import Table

from interlock.commands.audit_plan_show import Asked, show_plan, traffic_of
from interlock.commands.inputs import read_mapping, read_policy
from interlock.detectors.cycle import DAY
from interlock.detectors.surprisal import SCALE
from interlock.errors import UserError
from interlock.policies.pages_text import plain
from interlock.streams.batch import Chunk, Frame, Lines
from interlock.streams.files import Reader
from interlock.streams.fit import learn
from interlock.streams.fit_files import Gathered, feature_names, gather
from interlock.streams.fit_logits import LEAST_ROWS
from interlock.streams.fit_rows import Rows
from interlock.streams.reference import Reference, Vocabulary, save

COMMONEST = 3
"""Values of a category that the table shows."""
_APPENDED = 0  # of no consequence here: only shards compare an event's time with its append time


def fit(  # noqa: PLR0913, PLR0917 - the options of a command
    predictions: Annotated[list[Path], typer.Option(metavar="FILE", help="Predictions; one or more files.")],
    output: Annotated[Path, typer.Option("-o", "--output", metavar="REF", help="Where to write the reference.")],
    outcomes: Annotated[
        list[Path] | None, typer.Option(metavar="FILE", help="Their outcomes; one or more files.")
    ] = None,
    map_file: Annotated[
        Path | None, typer.Option("--map", metavar="FILE", help="YAML: our field names to those of your logs.")
    ] = None,
    model: Annotated[str | None, typer.Option(help="The model, if the files hold several.")] = None,
    flag_rate: Annotated[
        float, typer.Option(min=1e-6, max=0.5, help="Share of familiar events that may be flagged; for display.")
    ] = 0.01,
    policy: Annotated[
        Path | None,
        typer.Option(metavar="POLICY", help="The policy that it is for: an error where it cannot do what that asks."),
    ] = None,
    audit_plan: Annotated[
        Path | None,
        typer.Option(metavar="POLICY", help="Also say how many audits a day its ood_recall needs at this traffic."),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Learn a reference from predictions that you trust.

    Their outcomes tell how late labels are and which groups ECE has. It needs 500 predictions; 5000 and more make rare values and thresholds reliable. The same events give the same
    reference, in any order.

    Example: interlock fit --predictions may*.jsonl --outcomes labels.csv -o m.ref
    """
    asked, plan = (read_policy(one) if one else None for one in (policy, audit_plan))
    mapping = read_mapping(map_file)
    read = Reader("predictions", _APPENDED, mapping)
    read_outcomes = Reader("outcomes", _APPENDED, mapping)
    names = feature_names(_shown(read(predictions), "features"))
    gathered = gather(
        names, _shown(read(predictions), "predictions"), _shown(read_outcomes(outcomes or []), "outcomes")
    )
    with _learning():
        reference = learn(_of_one_model(gathered.rows, model), flag_rate)
    for file, one in ((policy, asked), (audit_plan, plan)):
        if one is not None and one.ood.logits is not None and not reference.classes:
            raise UserError(_without_logits(str(file), one.ood.logits, gathered.rows))
    save(reference, output)
    for warning in _warnings(gathered, reference):
        typer.echo(f"warning: {warning}", err=True)
    _print_json(output, reference) if as_json else _print_lines(output, reference)
    if plan is not None and not as_json:
        show_plan(plan, traffic_of(reference), Asked())


def _shown(chunks: Iterable[Chunk], what: str) -> Iterator[Chunk]:
    """Yield the chunks; on a terminal, show how many events have passed."""
    if not sys.stderr.isatty():
        yield from chunks
        return
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task, seen = progress.add_task(f"reading {what}", total=None), 0
        for chunk in chunks:
            yield chunk
            seen += _events(chunk)
            progress.update(task, description=f"reading {what}: {seen:,} events")


def _learning() -> AbstractContextManager[object]:
    """Show, on a terminal, that learning is under way."""
    return Console(stderr=True).status("learning") if sys.stderr.isatty() else nullcontext()


def _events(chunk: Chunk) -> int:
    if isinstance(chunk, Frame):
        return int(chunk.batch.num_rows)
    return len(chunk.values) if isinstance(chunk, Lines) else len(chunk)


def _of_one_model(rows: Rows, model: str | None) -> Rows:
    models = sorted({rows.names[code] for code in set(rows.model.tolist())})
    if model is not None and model not in models:
        raise UserError(f"--model: no prediction of {model}; the files have {', '.join(models) or 'none at all'}")
    if model is None and len(models) > 1:
        raise UserError(f"the files have predictions of {', '.join(models[:10])}; choose one with --model")
    return rows if model is None else rows.of_model(model)


def _without_logits(policy: str, score: str, rows: Rows) -> str:
    """Return why a reference cannot be what a policy asks for."""
    known = int((rows.logits.lengths > 0).sum())
    have = f"only {known} predictions have `logits` of one length or another" if known else "no prediction has `logits`"
    return f"{policy}: ood.logits is {score}, and {have}; it needs {LEAST_ROWS} of one length, or leave it out"


def _warnings(gathered: Gathered, reference: Reference) -> list[str]:
    unreadable = [f"{count} events could not be read: {reason}" for reason, count in gathered.unreadable.most_common()]
    return [*unreadable, *reference.warnings]


def _print_lines(output: Path, reference: Reference) -> None:
    first, last = (_time(ms) for ms in reference.span)
    versions = ", ".join(reference.versions) or "no version"
    lines = {
        "reference": f"{output} {reference.id}",
        "rows": f"{reference.rows:,} predictions of {reference.model} ({versions}), {first} to {last}",
        "ood score": _ood(reference),
        "new values": f"at most {reference.unseen_upper():.2%} of familiar events bring one",
        "ranges": f"about {reference.outside_expected():.2%} of familiar events leave one, or fewer",
        "ece groups": f"{len(set(reference.ece_groups.tolist()))} of about equal mass",
        "labels": _labels(reference),
        "dispersion": ", ".join(f"{name} {phi:.2f}" for name, phi in sorted(reference.dispersion.items())) or "unknown",
        "cycles": _cycles(reference),
    }
    for name, text in lines.items():
        typer.echo(f"{name:<11} {text}")
    Console(soft_wrap=True).print(_features(reference))


def _cycles(reference: Reference) -> str:
    """Return which streams drift compares with the same hour of the reference."""
    told = [
        f"{plain(one.name, 60)} by hour of the {'day' if len(hours.counts) == DAY else 'week'} ({hours.explained:.0%} explained)"
        for one in reference.drift
        if (hours := one.bins.hours) is not None
    ]
    return ", ".join(told) or "none: drift compares every stream with all hours"


def _features(reference: Reference) -> Table:
    """Return what was learned of each feature."""
    table = Table("feature", "learned", "values", box=box.SIMPLE_HEAD, pad_edge=False)
    scorer = reference.scorer
    for place, name in enumerate(reference.numbers):
        low, high = reference.ranges[place]
        known = f"mean {scorer.means[place]:.4g}, standard deviation {scorer.sds[place]:.4g}"
        table.add_row(escape(plain(name, 60)), known, f"{low:.6g} to {high:.6g}")
    for name, part in reference.vocabularies.items():
        known = f"{len(part.values):,} values, new ones in at most {part.unseen_upper():.2%}"
        shown = ", ".join(f"{plain(value, 30)} {count / reference.rows:.0%}" for value, count in _commonest(part))
        table.add_row(
            escape(plain(name, 60)), known, escape(shown) + (f"; missing {part.missing:,}" if part.missing else "")
        )
    return table


def _commonest(part: Vocabulary) -> list[tuple[str, int]]:
    return list(zip(part.values[:COMMONEST], part.counts[:COMMONEST].tolist(), strict=True))


def _ood(reference: Reference) -> str:
    """Return how events are scored, and from where on they are flagged."""
    threshold = reference.calibration.threshold(reference.flag_rate) / SCALE
    flagged = f"flagged from {threshold:.2f} nats: {reference.flag_rate:.2%} of {len(reference.calibration.scores):,} calibration scores"
    space = None if reference.parts is None else reference.parts.numbers
    how = f"surprisal and distance to {len(space.prototypes.centres)} prototypes" if space else "surprisal"
    logits = f"; {reference.classes} logits, where the policy counts them (ood.logits)" if reference.classes else ""
    return f"{how}; {flagged}{logits}"


def _print_json(output: Path, reference: Reference) -> None:
    age = reference.label_age
    found = {
        "file": str(output),
        "id": reference.id,
        "model": reference.model,
        "versions": reference.versions,
        "rows": reference.rows,
        "span": reference.span,
        "numbers": reference.numbers,
        "logits": reference.classes,
        "categories": {name: len(part.values) for name, part in reference.vocabularies.items()},
        "unseen_upper": reference.unseen_upper(),
        "outside_expected": reference.outside_expected(),
        "label_age_ms": None if age is None else {"p50": age.p50, "p95": age.p95, "p99": age.p99},
        "dispersion": dict(reference.dispersion),
        "warnings": reference.warnings,
    }
    typer.echo(json.dumps(found, ensure_ascii=False))


def _labels(reference: Reference) -> str:
    age = reference.label_age
    if age is None:
        return "none"
    return f"half came within {_hours(age.p50)}, 99 % within {_hours(age.p99)} (the default maturity)"


def _hours(milliseconds: int) -> str:
    return f"{milliseconds / 3_600_000:.4g}h"


def _time(milliseconds: int) -> str:
    return datetime.fromtimestamp(milliseconds / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
