"""An explanation as people read it, within 120 columns."""

import textwrap
from collections.abc import Sequence

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from interlock.policies.why import Done, Explanation, Step
from interlock.policies.why_parts import Ranking
from interlock.policies.why_words import many, odds, place, span, when
from interlock.records import Control, Verdict, canonical_json
from interlock.sinks.console import COLOURS, WIDTH, interval_text, number_text, table

STEPS, PARTS, CONTROLS, LISTED = 8, 10, 8, 40
"""Rows that are printed of the path, of a ranking, of the controls, and of what can be asked for."""

PREFIX = 12
"""Letters of an id that are listed: the beginning is enough to ask for it."""

BARS = "▁▂▃▄▅▆▇█"

MODES = {"slice": "Slices", "version": "Model versions", "score": "Score ranges"}


def show(screen: Console, told: Explanation) -> None:
    """Print an explanation."""
    _what(screen, told)
    heading(screen, "Evidence")
    for line in told.evidence.lines or ["None is stored."]:
        paragraph(screen, line)
    heading(screen, "How it came to this")
    _path(screen, told.path)
    heading(screen, "Who contributes")
    for ranking in told.contributions:
        _ranking(screen, ranking, told)
    for note in told.notes:
        paragraph(screen, f"{note[:1].upper()}{note[1:]}.")
    heading(screen, "What would clear it")
    for line in told.clears:
        paragraph(screen, line)
    heading(screen, "What was done")
    _controls(screen, told.done)


def show_ids(screen: Console, latest: Sequence[Verdict], controls: Sequence[Control], *, as_json: bool) -> None:
    """Print what can be asked for: the latest verdict of every scope, and the controls."""
    ordered = sorted(latest, key=lambda one: (one.model, one.slo, sorted(one.scope.items())))
    if as_json:
        typer.echo(canonical_json({"verdicts": [v.verdict_id for v in ordered], "controls": _ids(controls)}))
        return
    made = table("Latest verdicts and controls", ("id", "SLO", "scope", "what", "when"))
    for verdict in ordered[:LISTED]:
        _row(made, verdict.verdict_id[:PREFIX], verdict.slo, place(verdict.scope), verdict.state, when(verdict.ts))
    for control in controls[-LISTED:]:
        said = f"{control.state} {control.mode}"
        _row(made, control.control_id[:PREFIX], control.slo, place(control.scope), said, when(control.ts))
    screen.print(made if made.row_count else "Nothing is stored there.")


def _ids(controls: Sequence[Control]) -> list[str]:
    return list(dict.fromkeys(control.control_id for control in controls))


def _what(screen: Console, told: Explanation) -> None:
    """Print what the verdict is."""
    about = told.about
    title = Text(f"{about.slo} in {place(about.scope)}: ", style="bold")
    screen.print(title.append(about.state, style=COLOURS.get(about.state, "")))
    if told.asked:
        paragraph(screen, f"Asked for: control {told.asked['control_id']}, {_moved(told.asked)}.")
    if about.objective:
        paragraph(screen, f"Objective: {about.objective}")
    paragraph(screen, f"{_value(told)}; target {about.target}.")
    width = span(about.window_end - about.window_start)
    over = f"Over {when(about.window_start)} to {when(about.window_end)} ({width})"
    rolling = told.evidence.rules is not None
    paragraph(screen, f"{'Since the last release' if rolling else over}, as of {when(about.ts)}.")
    for warning in told.warnings:
        paragraph(screen, warning)
    now = about.newest
    if now["verdict_id"] != about.verdict_id:
        paragraph(screen, f"Since then: {now['state']} at {when(now['ts'])}, value {number_text(now['value'])}.")
    paragraph(screen, f"Model {about.model}; verdict {about.verdict_id}.")
    paragraph(screen, f"Policy {about.policy_digest}.")


def _moved(asked: dict[str, str]) -> str:
    return f"{asked['state']} {asked['mode'].replace('normal', 'notify')} in {asked['in']}"


def _value(told: Explanation) -> str:
    """Return the value with all that it rests on."""
    about = told.about
    interval = interval_text(about.lower, about.upper)
    inside = "" if interval == "-" else f" ({interval} at 95 %)"
    labels = "" if about.label_coverage is None else f", {about.label_coverage:.1%} of the labels due"
    return f"Value {number_text(about.value)}{inside} from {many(about.n, 'event')}{labels}"


def _path(screen: Console, path: Sequence[Step]) -> None:
    """Print the last verdicts as a line of bars and as a table."""
    values = [step.value for step in path]
    known = [value for value in values if value is not None]
    if known:
        low, high = min(known), max(known)
        paragraph(screen, f"value    {spark(values)}  {number_text(low)} to {number_text(high)}")
    logs = [None if step.log_e is None else max(step.log_e, 0.0) for step in path]
    if any(logs):
        highest = max(one for one in logs if one is not None)
        paragraph(screen, f"evidence {spark(logs)}  up to {odds(highest)}")
    made = table("", ("as of (UTC)", "state", "value", "n", "evidence"), right=("value", "n"))
    made.title = None
    for step in path[-STEPS:]:
        state = Text(step.state, style=COLOURS.get(step.state, ""))
        evidence = "-" if step.log_e is None else odds(step.log_e)
        made.add_row(when(step.ts).removesuffix(" UTC"), state, number_text(step.value), f"{step.n:,}", evidence)
    screen.print(made)


def spark(values: Sequence[float | None]) -> str:
    """Return a line of bars, the lowest value the lowest bar; a point where there is no value."""
    known = [value for value in values if value is not None]
    low, high = min(known, default=0.0), max(known, default=0.0)
    steps = len(BARS) - 1
    return "".join(
        "·" if one is None else BARS[round((one - low) / (high - low) * steps) if high > low else 0] for one in values
    )


def _ranking(screen: Console, ranking: Ranking, told: Explanation) -> None:
    """Print who contributes, most first; the verdict's own slice is always there."""
    over = f"{when(ranking.start)} to {when(ranking.end)}"
    scores = ranking.by == "score"
    names = (ranking.by, "n", *(("true - stated", "gap") if scores else ("value", "beyond the target")), "share")
    screen.print(Text(f"{MODES.get(ranking.by, ranking.by)}, {over}", style="italic"))
    made = table("", names, right=names[1:])
    made.title = None
    shown = [part for place_, part in enumerate(ranking.parts) if place_ < PARTS or part.own]
    for part in shown:
        name = Text(part.name or "(none)", style="bold" if part.own else "")
        name.append(" <- this verdict" if part.own else "")
        share = f"{part.share:.0%}" if part.share else "-"
        value = f"{part.value:+.3f}" if scores and part.value is not None else number_text(part.value)
        made.add_row(name, f"{part.n:,}", value, f"{part.beyond:,.1f}" if scores else f"{part.beyond:+,.1f}", share)
    screen.print(made)
    left = ranking.left_off + len(ranking.parts) - len(shown)
    if left:
        paragraph(screen, f"... and {left:,} more")
    paragraph(screen, _beyond(ranking, told.about.target))


def _beyond(ranking: Ranking, target: str) -> str:
    if ranking.by == "score":
        return "Gap: n times |true - stated|; over all labels they add up to the plain ECE."
    return f"Beyond the target: n times what the value is worse than {target}; below zero there is room left."


def _controls(screen: Console, done: Sequence[Done]) -> None:
    if not done:
        paragraph(screen, "Nothing: no control of this SLO was moved here.")
        return
    for one in done[-CONTROLS:]:
        begun = when(one.engaged_at) if one.engaged_at is not None else "a time that is not stored"
        end = f"until {when(one.released_at)}" if one.released_at is not None else "still in force"
        mark = " (moved by this verdict)" if one.of_this else ""
        what = "notified only, no mode was moved," if one.mode == "normal" else one.mode
        where = f"{what} in {place(one.scope)}"
        paragraph(screen, f"{where}: from {begun}, {end}{mark}.")
        paragraph(screen, f"  {one.slo}, {one.action}, epoch {one.epoch}; control {one.control_id}.")
        paragraph(screen, f"  {one.cause}.")
    if len(done) > CONTROLS:
        paragraph(screen, f"... and {len(done) - CONTROLS:,} earlier.")


def _row(made: Table, *cells: str) -> None:
    made.add_row(*(Text(cell) for cell in cells))


def heading(screen: Console, text: str) -> None:
    """Print what a part is about."""
    screen.print(f"\n{text}", style="bold", markup=False)


def paragraph(screen: Console, text: str) -> None:
    """Print a paragraph; what does not fit into a line goes on indented."""
    width = max(40, min(screen.width, WIDTH))
    folded = textwrap.wrap(text, width, subsequent_indent="  ", break_long_words=False, break_on_hyphens=False)
    screen.print("\n".join(folded), markup=False, soft_wrap=True)
