"""`interlock check`: are these policies valid, and what do they leave open?"""

import json
import sys
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, Any

import typer

from interlock.errors import UserError
from interlock.policies.lint import idle, power, warnings
from interlock.policies.load import Loaded, Located, PolicyErrors, load_document
from interlock.policies.model import Policy
from interlock.policies.positions import MAX_BYTES, Finding
from interlock.policies.scalars import RATE_WORDS, Rate, parse_rate
from interlock.streams.reference import load


@dataclass(slots=True)
class Report:
    """What is to be said about one file."""

    file: str
    errors: tuple[Located, ...] = ()
    warnings: list[Located] = field(default_factory=list)
    power: list[Located] = field(default_factory=list)
    slos: int = 0
    digest: str | None = None


def check(
    files: Annotated[list[Path], typer.Argument(metavar="FILE...", help="Policy files.")],
    traffic: Annotated[
        str | None,
        typer.Option(
            metavar="RATE", help="Events that a slice sees, such as 7000/d: also say what each SLO can prove."
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON object instead of lines.")] = False,
) -> None:
    """Validate policy files, with all errors at once.

    Exit code 1 if a policy is invalid, 2 if a file is missing.

    Example: interlock check examples/safety-slos.yaml --traffic 7000/d
    """
    rate = _rate(traffic)
    reports, missing = [], []
    for file in files:
        try:
            reports.append(_report(_read(file), str(file), rate))
        except OSError as error:
            missing.append(f"{file}: cannot be read: {error.strerror}; expected a policy file")
    _print_json(reports) if as_json else _print_lines(reports)
    for line in missing:
        typer.echo(line, err=True)
    if missing:
        raise typer.Exit(2)
    if any(report.errors for report in reports):
        raise typer.Exit(1)


def _rate(traffic: str | None) -> Rate | None:
    try:
        return None if traffic is None else parse_rate(traffic)
    except ValueError as error:
        raise UserError(f"--traffic: found {traffic}; expected {RATE_WORDS}") from error


def _read(file: Path) -> bytes:
    """Return the file's bytes, or one more than a policy may have."""
    with file.open("rb") as stream:
        return stream.read(MAX_BYTES + 1)


def _report(text: bytes, name: str, rate: Rate | None) -> Report:
    try:
        loaded = load_document(text, name)
    except PolicyErrors as error:
        return Report(name, errors=error.found)
    report = Report(name, slos=len(loaded.policy.slos), digest=loaded.policy.digest)
    _open_ends(report, loaded, rate)
    return report


def _unfit(policy: Policy, folder: Path) -> list[Finding]:
    """Return what the policy asks for that its reference does not know, if that can be read: it may come later."""
    if policy.ood.logits is None or policy.reference is None:
        return []
    try:
        reference = load(folder / policy.reference.file)
    except UserError:
        return []
    told = f"{policy.reference.file} knows no logits: replay and worker will refuse it; fit it on predictions with `logits`"
    return [] if reference.classes else [Finding(("ood", "logits"), told)]


def _open_ends(report: Report, loaded: Loaded, rate: Rate | None) -> None:
    found = warnings(loaded.policy) + _unfit(loaded.policy, Path(report.file).parent)
    if rate is not None:
        found += idle(loaded.policy, rate.per_day)
        report.power = [loaded.locate(finding) for finding in power(loaded.policy, rate.per_day)]
    report.warnings = sorted(loaded.locate(finding) for finding in found)


def _print_lines(reports: list[Report]) -> None:
    for report in reports:
        for error in report.errors:
            typer.echo(error.show(report.file), err=True)
        if report.errors:
            continue
        count = f"{report.slos} SLO" + "s" * (report.slos != 1)
        typer.echo(f"{report.file}: valid, {count}, digest {report.digest}")
        for warning in report.warnings:
            typer.echo(warning.show(report.file, "warning: "))
        for line in report.power:
            typer.echo(line.show(report.file, "power: "))


def _print_json(reports: list[Report]) -> None:
    files: list[dict[str, Any]] = [{"valid": not report.errors, **asdict(report)} for report in reports]
    json.dump({"files": files}, sys.stdout, ensure_ascii=False, indent=2)
    sys.stdout.write("\n")
