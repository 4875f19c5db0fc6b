"""The audit plan as a small table: what it takes to notice recalls of several sizes."""

from dataclasses import dataclass

import typer
from rich import box
from rich.table import Table

from interlock.errors import UserError
from interlock.policies.audit_plan import POWER, Need, Traffic, plan
from interlock.policies.model import Policy, Slo
from interlock.policies.scalars import parse_positive_duration, show_duration
from interlock.sinks.console import console
from interlock.streams.reference import Reference

DAY = 86_400_000


@dataclass(frozen=True, slots=True)
class Asked:
    """What is to be noticed: a recall, within a time; `unfamiliar` is the share of traffic that is truly unfamiliar."""

    recall: float = 0.8
    within: str = "7d"
    unfamiliar: float = 0.01


def show_plan(policy: Policy, per_day: float, asked: Asked) -> None:
    """Print what it takes, for each `ood_recall` of a policy.

    Raises:
        UserError: the policy has no such SLO, or the recall asked for is no failure.
    """
    slos = [slo for slo in policy.slos_in_force if slo.resolved_indicator == "ood_recall"]
    if not slos:
        raise UserError("the policy has no ood_recall: nothing needs audits")
    try:
        within = parse_positive_duration(asked.within)
    except ValueError as error:
        raise UserError(f"--within: found {asked.within}; expected {error}") from None
    for slo in slos:
        if asked.recall >= slo.target.value:
            raise UserError(
                f"--recall: found {asked.recall:g}; {slo.name} allows it: expected less than {slo.target.value:g}"
            )
        _show(policy, slo, Traffic(per_day, asked.unfamiliar), (asked.recall, within))


def _show(policy: Policy, slo: Slo, traffic: Traffic, aim: tuple[float, int]) -> None:
    recall, within = aim
    within = min(within, slo.window_ms)
    typer.echo(_title(slo, traffic, within))
    table = Table(box=box.HORIZONTALS)
    for name in ("recall fell to", "audits.rate", "audits/day", "flagged/day"):
        table.add_column(name, justify="right")
    for value in sorted({round(recall / 2, 3), recall, round((recall + slo.target.value) / 2, 3)}):
        table.add_row(*_row(plan(policy, slo, traffic, value, within)))
    console().print(table)
    if policy.audits is not None:
        typer.echo(f"The policy has audits.rate {policy.audits.rate:g}.")


def _title(slo: Slo, traffic: Traffic, within: int) -> str:
    return (
        f"{slo.name}, target {slo.target}: reviews to notice it within {show_duration(within)}, {POWER:.0%} of the time,\n"
        f"at {traffic.per_day:,.0f} predictions a day of which {traffic.unfamiliar:.2%} are truly unfamiliar"
    )


def _row(need: Need) -> tuple[str, str, str, str]:
    if need.rate is None or need.audits is None:
        return f"{need.recall:g}", "not possible", "all", f"{need.flagged:,.0f}"
    return f"{need.recall:g}", f"{need.rate:.3g}", f"{need.audits:,.0f}", f"{need.flagged:,.0f}"


def traffic_of(reference: Reference | None) -> float:
    """Return predictions a day in a reference's history; UserError without one, or if it has no length."""
    if reference is None or reference.span[1] <= reference.span[0]:
        raise UserError("--traffic: no reference says how much traffic there is; expected a rate such as 7000/d")
    return reference.rows * DAY / (reference.span[1] - reference.span[0])
