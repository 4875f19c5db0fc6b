"""Three years of the census against a reference of the year before: accuracy, calibration, pages; and with new codes.

The people of a year are spread evenly over it in file order, since their year is the only time that the survey gives.
"""

import importlib.util
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from benchmarks.evidence.registry import Size
from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.policies.pages import page_of
from interlock.policies.pages_text import when
from interlock.policies.planning import make_plan
from interlock.records import Control, Page, Verdict
from interlock.streams.files import Reader
from interlock.streams.fit import learn
from interlock.streams.fit_files import feature_names, gather
from interlock.streams.outputs import Outputs
from interlock.streams.reference import Reference
from interlock.streams.replay import Inputs, replay

DAY = 86_400_000
ROOT = Path(__file__).resolve().parents[2]
POLICY = Path(__file__).with_name("census.yaml")
SPAN = {Size.FULL: ("2016-01-01", "2019-01-01"), Size.SMALL: ("2017-05-01", "2017-09-01")}
"""The small form is a cut of four months."""
OFFICE, FEATURE, CODE, SHARE, FROM = "springfield", "CIT", "ZX-9", 0.05, "2017-07-01"
FROM_MS = int(np.datetime64(FROM, "ms").astype(np.int64))
"""What is injected: 5 % of one office's people have a citizenship code that nobody has seen, from a day on."""


@dataclass(frozen=True, slots=True)
class Told:
    """What Interlock said of a stretch of the traffic: all verdicts, and the pages with the controls they are of."""

    verdicts: list[Verdict]
    pages: list[tuple[Control, Page]]


@cache
def _example() -> ModuleType:
    """Return the census example's own script, which knows its files and offices."""
    path = ROOT / "examples" / "census" / "prepare.py"
    spec = importlib.util.spec_from_file_location("census_prepare", path)
    if spec is None or spec.loader is None:
        raise RuntimeError(f"{path} cannot be read")
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


def _ms(day: str) -> int:
    return int(np.datetime64(day, "ms").astype(np.int64))


def _times(year: np.ndarray) -> np.ndarray:
    """Return when each person comes (ms): those of a year evenly over it, in file order."""
    ts = np.empty(len(year), np.int64)
    for one in np.unique(year).tolist():
        of = np.flatnonzero(year == one)
        start, end = _ms(f"{one}-01-01"), _ms(f"{one + 1}-01-01")
        ts[of] = start + np.arange(len(of)) * (end - start) // len(of)
    return ts


@cache
def _events(name: str) -> tuple[pa.Table, pa.Table]:
    """Return predictions and outcomes of one of the example's two populations, in the order of time."""
    census = _example()
    people = census.read_people(census.DATA, name)
    year = pq.read_table(census.DATA / f"employment_MA_{name}.parquet", columns=["year"])["year"].to_numpy()
    events: dict[str, Any] = census.predictions(people, 0) | {"ts": pa.array(_times(year))}
    outcomes = census.outcomes(events, people, np.zeros(len(year), np.bool_))
    order = pc.sort_indices(events["ts"])
    return pa.table(events).take(order), pa.table(outcomes).take(order)


def _injected(events: pa.Table) -> pa.Table:
    """Return the predictions with the new code in a share of one office's events; which ones, their place decides."""
    place = np.arange(len(events))
    hit = (events["segment.office"].to_numpy() == OFFICE) & (events["ts"].to_numpy() >= FROM_MS)
    hit &= _example().uniform(place, 4) < SHARE
    column = f"features.{FEATURE}"
    changed = pc.if_else(pa.array(hit), CODE, events[column])
    return events.set_column(events.schema.get_field_index(column), column, changed)


@cache
def _reference() -> Reference:
    """Learn what `interlock fit` would of the people of 2015."""
    with TemporaryDirectory() as name:
        made, told = (_written(table, Path(name) / f"{i}.parquet") for i, table in enumerate(_events("reference")))
        read, read_outcomes = Reader("predictions", 0), Reader("outcomes", 0)
        return learn(gather(feature_names(read([made])), read([made]), read_outcomes([told])).rows, 0.01)


def _written(table: pa.Table, path: Path) -> Path:
    pq.write_table(table, path, row_group_size=65_536)
    return path


def run(size: Size, *, injected: bool) -> Told:
    """Replay the traffic as `interlock replay` does."""
    start, end = map(_ms, SPAN[size])
    made, told = _events("analysis")
    ts = made["ts"].to_numpy()
    rows = np.flatnonzero((ts >= start) & (ts < end))
    made = _injected(made) if injected else made
    policy = load_policy(POLICY.read_bytes(), POLICY.name)
    with TemporaryDirectory() as name:
        folder = Path(name)
        files = {
            "predictions": [_written(made.take(rows), folder / "predictions.parquet")],
            "outcomes": [_written(told.take(rows), folder / "outcomes.parquet")],
        }
        inputs = Inputs(files, end + DAY, None, b"evidence")
        with Outputs(folder / "out", make_plan(policy), clickhouse=False) as outputs:
            summary = replay(policy, _reference(), inputs, outputs, lambda _: None)
        lines = (folder / "out" / "verdicts.jsonl").read_bytes().splitlines()
    return Told([Verdict.model_validate_json(line) for line in lines], _pages(summary.controls, policy))


def _pages(controls: list[Control], policy: Policy) -> list[tuple[Control, Page]]:
    written = [(control, page_of(control, policy)) for control in controls]
    return [(control, page) for control, page in written if page is not None]


def told(size: Size) -> str:
    """Return the part of docs/evidence.md that tells both stories."""
    plain, injected = run(size, injected=False), run(size, injected=True)
    return (
        "\n".join(
            [
                _head(size),
                _months(plain),
                _paged(plain.pages),
                _drift(drifted(plain.verdicts), "Which streams drifted when"),
                *_codes(injected, plain),
            ]
        )
        + "\n"
    )


def _head(size: Size) -> str:
    start, end = SPAN[size]
    return (
        "## Three years of the census\n\n"
        "The people of 2015 in examples/census are the reference, those that follow are the traffic "
        f"({start} to {end}, a year's people spread evenly over it in file order, labels after 6 hours), judged by "
        "benchmarks/evidence/census.yaml: accuracy at least .80 and calibration error at most .05 over 30 days, flagged and "
        "unseen values of each of eight offices at most .05 and .01; one false page a year for all of it. "
        "A month is thus a stretch of the file, and no season.\n"
    )


def _months(of: Told) -> str:
    """Return accuracy and ECE over the 30 days before the end of each month, as the verdicts have them."""
    rows = {slo: _by_month(of.verdicts, slo) for slo in ("accuracy_30d", "decision_ece_30d")}
    lines = ["| month | accuracy | verdict | ECE | verdict |", "| --- | --: | --- | --: | --- |"]
    for month in sorted(rows["accuracy_30d"]):
        cells = [cell for slo in rows for cell in _shown(rows[slo].get(month))]
        lines.append("| " + " | ".join([month, *cells]) + " |")
    return "\n".join(lines) + "\n"


def _by_month(verdicts: list[Verdict], slo: str) -> dict[str, Verdict]:
    """Return an SLO's last verdict of each month."""
    found: dict[str, Verdict] = {}
    for verdict in sorted((one for one in verdicts if one.slo == slo), key=lambda one: one.ts):
        found[datetime.fromtimestamp((verdict.ts - 1) / 1000, UTC).strftime("%Y-%m")] = verdict
    return found


def _shown(verdict: Verdict | None) -> tuple[str, str]:
    if verdict is None:
        return "", ""
    return ("" if verdict.value is None else f"{verdict.value:.3f}"), verdict.state


def _paged(pages: list[tuple[Control, Page]]) -> str:
    """Return every page as a row."""
    if not pages:
        return "What Interlock paged: nothing.\n"
    lines = [
        "What Interlock paged:",
        "",
        "| when | SLO | scope | stretch since | page |",
        "| --- | --- | --- | --- | --- |",
    ]
    for control, page in pages:
        stretch = control.evidence.get("stretch") or {}
        since = when(stretch["from"]) if "from" in stretch else ""
        cells = (when(page.ts), page.slo, ", ".join(page.scope.values()), since, f"{page.action}: {page.summary}")
        lines.append("| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def drifted(verdicts: list[Verdict]) -> list[tuple[str, str, str, str]]:
    """Return every stream that a drift ticket named: when it was found, which, since when, and how it is said."""
    found: dict[tuple[int, str], tuple[str, str, str, str]] = {}
    for verdict in (one for one in verdicts if one.slo == "drift_30d"):
        for stream in (one for one in verdict.evidence.get("streams", ()) if one["drifted"]):
            told = when(stream["found"]), stream["stream"], when(stream["since"]), stream["says"]
            found.setdefault((stream["found"], stream["stream"]), told)
    return [found[key] for key in sorted(found)]


def _drift(rows: list[tuple[str, str, str, str]], what: str) -> str:
    """Say which streams drifted when."""
    if not rows:
        return f"{what}: none was found.\n"
    lines = [f"{what} (tickets; nobody is woken):", "", "| found | stream | since | how |", "| --- | --- | --- | --- |"]
    return "\n".join([*lines, *("| " + " | ".join(row) + " |" for row in rows)]) + "\n"


def _codes(of: Told, plain: Told) -> list[str]:
    """Tell the story with the new code, with the first page about it word for word."""
    head = (
        "## The same with a code that nobody has seen\n\n"
        f"From {FROM}, {SHARE:.0%} of the people of office {OFFICE} have `{FEATURE}={CODE}`; nothing else is changed.\n"
    )
    before = drifted(plain.verdicts)
    new = [row for row in drifted(of.verdicts) if row not in before]
    drift = _drift(new, "Drift that was not found without it")
    about = [page for _, page in of.pages if page.slo == "unseen_rate_30d" and page.action == "trigger"]
    if not about:
        return [head, _paged(of.pages), drift, "No page is about it: a miss."]
    page = about[0]
    text = "\n".join([page.summary, "", *(f"{name}: {said}" for name, said in page.details.items())])
    return [head, _paged(of.pages), drift, f"The first page about it:\n\n```text\n{text}\n```"]
