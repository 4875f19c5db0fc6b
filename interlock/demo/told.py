"""What the live demo tells of a control: why, when, how soon it was published and obeyed, and what on-call reads."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from interlock.demo.screen import clock_text
from interlock.demo.serving import Report
from interlock.demo.story import Incident, noticed
from interlock.demo.watch import Sighting, Watch
from interlock.protocol import MODES
from interlock.records import Control
from interlock.sinks.console import scope_text, span, when

PAGED = ("what_broke", "next")
"""What is shown of a page's details."""

MOST = 250
"""Characters of each."""


def told(watch: Watch, sighting: Sighting, found: Sequence[Incident]) -> RenderableType:
    """Return what there is to tell of a transition."""
    control = sighting.control
    engaged = control.state == "engaged"
    head = f"\n{clock_text()}  {control.state} {control.mode}: {scope_text(control.scope)}, {control.slo}"
    grid = Table.grid(padding=(0, 2, 0, 0))
    for name, text in [
        ("why", control.cause),
        ("when", _when(control, found)),
        ("published", _published(watch, sighting)),
        ("obeyed", _obeyed(watch, sighting)),
        *_page(sighting, whole=engaged),
    ]:
        grid.add_row(f"    {name}", Text(text))
    return Group(Text(head, style="bold red" if engaged else "green"), grid)


def soon(watch: Watch, sighting: Sighting) -> str:
    """Return how soon the guard obeyed, in words for a list."""
    delay = watch.delay(sighting)
    return (
        "the guard has not obeyed"
        if delay is None
        else f"the guard obeyed {delay[1]:,.0f} ms after {_cause(sighting)} was sent"
    )


def _when(control: Control, found: Sequence[Incident]) -> str:
    """Return the event time of a control, and its delay since the incident began or ended."""
    text = f"{when(control.ts)} in event time"
    incident = next((one for one in found if one.slo == control.slo and one.times[0] <= control.ts), None)
    if incident is None:
        return text
    if control.state == "engaged":
        return f"{text}: {noticed(incident, control)}"
    return f"{text}: {span(control.ts - incident.times[-1])} after the last injected event"


def _cause(sighting: Sighting) -> str:
    """Return which event is taken for the cause."""
    control = sighting.control
    event = control.evidence.get("event") or control.evidence.get("first", {}).get("event")
    return (
        f"{event} itself" if event else f"the first event past {when(control.ts)[-5:]}, where the deciding pane ends,"
    )


def _published(watch: Watch, sighting: Sighting) -> str:
    delay = watch.delay(sighting)
    if delay is None:
        return clock_text(sighting.at)
    return f"{clock_text(sighting.at)}, {delay[0]:,.0f} ms after {_cause(sighting)} was sent"


def _obeyed(watch: Watch, sighting: Sighting) -> str:
    delay, report = watch.delay(sighting), sighting.obeyed
    if delay is None or report is None:
        return "not yet"
    on = watch.sending.reached(report.clock) - sighting.control.ts
    gone = f"; the stream had gone on for {span(on)} of event time" if on > 0 else ""
    return f"{clock_text(report.at)}, {delay[1]:,.0f} ms after it: {_heeded(watch, sighting.control, report)}{gone}"


def _heeded(watch: Watch, control: Control, report: Report) -> str:
    """Return how many slices a transition moved."""
    if control.state == "engaged":
        least = control.mode if control.mode == MODES[-1] else f"{control.mode} or stronger"
        return f"{len(report.slices)} of {len(watch.slices)} slices are in {least}"
    moves = Counter((old, new) for _, old, new in report.changed)
    moved = ", ".join(
        f"{n} of {len(watch.slices)} slices from {old} to {new}" for (old, new), n in sorted(moves.items())
    )
    return moved or "no slice changes, since other controls hold them"


def _page(sighting: Sighting, *, whole: bool) -> list[tuple[str, str]]:
    """Return what PagerDuty was sent."""
    page = sighting.page
    if page is None:
        return [("page", "none came")]
    if "payload" not in page:
        return [("page", f"{page['event_action']} {page['dedup_key']}")]
    payload = page["payload"]
    head = [("page", f"{page['event_action']}, {payload['severity']}: {payload['summary']}")]
    details = payload["custom_details"]
    return head + [(f"  {name}", _cut(details[name])) for name in PAGED if whole and name in details]


def _cut(text: str) -> str:
    return text if len(text) <= MOST else text[: MOST - 1] + "…"
