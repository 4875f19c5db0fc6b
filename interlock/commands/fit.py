"""`interlock fit`: learn what familiar traffic looks like."""

import json
import sys
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from textwrap import fill
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

from interlock.commands.audit_plan_show import Asked, show_plan, traffic_of
from interlock.commands.inputs import read_mapping, read_policy
from interlock.detectors.surprisal import SCALE
from interlock.errors import UserError
from interlock.streams.batch import Chunk, Frame, Lines
from interlock.streams.files import Reader
from interlock.streams.fit import learn
from interlock.streams.fit_files import Gathered, feature_names, gather
from interlock.streams.fit_rows import Rows
from interlock.streams.reference import Reference, save

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
    mapping = read_mapping(map_file)
    read = Reader("predictions", _APPENDED, mapping)
    read_outcomes = Reader("outcomes", _APPENDED, mapping)
    names = feature_names(_shown(read(predictions), "features"))
    gathered = gather(
        names, _shown(read(predictions), "predictions"), _shown(read_outcomes(outcomes or []), "outcomes")
    )
    reference = learn(_of_one_model(gathered.rows, model), flag_rate)
    save(reference, output)
    for warning in _warnings(gathered, reference):
        typer.echo(f"warning: {warning}", err=True)
    _print_json(output, reference) if as_json else _print_lines(output, reference)
    if audit_plan is not None and not as_json:
        show_plan(read_policy(audit_plan), traffic_of(reference), Asked())


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


def _warnings(gathered: Gathered, reference: Reference) -> list[str]:
    unreadable = [f"{count} events could not be read: {reason}" for reason, count in gathered.unreadable.most_common()]
    return [*unreadable, *reference.warnings]


def _print_lines(output: Path, reference: Reference) -> None:
    first, last = (_time(ms) for ms in reference.span)
    versions = ", ".join(reference.versions) or "no version"
    categories = (f"{name} ({len(part.values)})" for name, part in reference.vocabularies.items())
    threshold = reference.calibration.threshold(reference.flag_rate) / SCALE
    held = len(reference.calibration.scores)
    lines = {
        "reference": f"{output} {reference.id}",
        "rows": f"{reference.rows:,} predictions of {reference.model} ({versions}), {first} to {last}",
        "numbers": _list(reference.numbers),
        "categories": _list(tuple(categories)),
        "ood score": f"flagged from {threshold:.2f} nats: {reference.flag_rate:.2%} of {held:,} calibration scores",
        "new values": f"at most {reference.unseen_upper():.2%} of familiar events bring one",
        "ranges": f"about {reference.outside_expected():.2%} of familiar events leave one, or fewer",
        "ece groups": f"{len(set(reference.ece_groups.tolist()))} of about equal mass",
        "labels": _labels(reference),
        "dispersion": ", ".join(f"{name} {phi:.2f}" for name, phi in sorted(reference.dispersion.items())) or "unknown",
    }
    for name, text in lines.items():
        typer.echo(_wrapped(f"{name:<11} ", text) if name in ("numbers", "categories") else f"{name:<11} {text}")


def _wrapped(name: str, text: str) -> str:
    """Return a long list on several lines."""
    indent = " " * len(name)
    return fill(
        text, 118, initial_indent=name, subsequent_indent=indent, break_long_words=False, break_on_hyphens=False
    )


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


def _list(names: tuple[str, ...]) -> str:
    return f"{len(names)}: {', '.join(names)}" if names else "none"
