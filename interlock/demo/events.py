"""The demo's events: made by the example's own script, cut to some days if asked, and where everything lies."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from interlock.demo.serving import Slice
from interlock.errors import UserError
from interlock.sinks.console import when

EXAMPLE = Path("examples") / "census"

DAY = 86_400_000

Spans = Sequence[tuple[float, float]]
"""Days since the first event, from and to."""


@dataclass(frozen=True, slots=True)
class Folder:
    """Where the demo keeps its files."""

    out: Path
    is_cut: bool = False

    @property
    def events(self) -> Path:
        """The event files, and what was injected into them."""
        return self.out / "events"

    @property
    def predictions(self) -> Path:
        """The predictions of the stream."""
        return self.out / ("cut" if self.is_cut else "events") / "predictions.parquet"

    @property
    def outcomes(self) -> Path:
        """The outcomes of the stream."""
        return self.predictions.with_name("outcomes.parquet")

    @property
    def policy(self) -> Path:
        """The example's policy, beside the reference that it names."""
        return self.out / "policy.yaml"

    @property
    def live(self) -> Path:
        """What came of the stream live; each run begins it anew."""
        return self.out / "live"

    @property
    def replay(self) -> Path:
        """What came of its replay."""
        return self.out / "replay"

    @property
    def files(self) -> dict[str, list[Path]]:
        """The stream as a replay takes it."""
        return {"predictions": [self.predictions], "outcomes": [self.outcomes]}

    def total(self) -> int:
        """Return how many events the stream has."""
        return sum(int(pq.read_metadata(path).num_rows) for path in (self.predictions, self.outcomes))


def prepare(folder: Folder, spans: Spans) -> None:
    """Write the event files by the example's own script, and put the policy beside the reference that it names.

    Raises:
        UserError: this is not a checkout, the script fails, or the events would lie in the future.
    """
    script = EXAMPLE / "prepare.py"
    if not script.is_file():
        raise UserError(f"{script} is not here: run `interlock demo` in a checkout of Interlock")
    command = [sys.executable, str(script), str(folder.events)]
    made = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 - our own script
    if made.returncode:
        raise UserError(f"{script} failed: {(made.stderr.strip() or 'no reason given').splitlines()[-1]}")
    shutil.copyfile(EXAMPLE / "policy.yaml", folder.policy)
    if spans:
        _cut(folder, spans)
    _check_the_clock(folder)


def read_days(text: str) -> Spans:
    """Return the spans of days that a text such as `9,21,27-28` names; UserError if it names none."""
    spans = []
    for part in text.split(",") if text else []:
        first, _, last = part.partition("-")
        if not (first.isdecimal() and (last or first).isdecimal() and 0 < int(first) <= int(last or first)):
            raise UserError(f"--days: found {text!r}; expected days of the month, such as 9,21,27-28")
        spans.append((float(int(first) - 1), float(int(last or first))))
    return spans


def _cut(folder: Folder, spans: Spans) -> None:
    """Keep the predictions of some days, and the outcomes of just these."""
    predictions = pq.read_table(folder.events / "predictions.parquet")
    ts = predictions["ts"].to_numpy()
    days = (ts - ts[0]) / DAY
    kept = predictions.filter(pa.array(np.any([(days >= first) & (days < last) for first, last in spans], axis=0)))
    if not len(kept):
        raise UserError("--days: there are no events on these days; the month has 30")
    outcomes: Any = pq.read_table(folder.events / "outcomes.parquet")
    compute: Any = pc
    folder.predictions.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(kept, folder.predictions)
    pq.write_table(outcomes.filter(compute.is_in(outcomes["event_id"], kept["event_id"])), folder.outcomes)


def _check_the_clock(folder: Folder) -> None:
    """Refuse events of the future: Interlock would, one by one."""
    last = int(pq.read_table(folder.outcomes, columns=["ts"])["ts"].to_numpy().max())
    now = time.time_ns() // 1_000_000
    if now < last:
        raise UserError(
            f"the demo's events go up to {when(last)} UTC; this machine's clock says {when(now)}, which is before"
        )


def slices(predictions: Path) -> tuple[str, list[Slice]]:
    """Return the model of the predictions, and every combination of their segments and versions, in order."""
    names = [name for name in pq.read_schema(predictions).names if name.startswith("segment.")]
    table: Any = pq.read_table(predictions, columns=["model", *names, "model_version"])
    rows = table.group_by(table.column_names).aggregate([]).to_pylist()
    found = {json.dumps({name.partition(".")[2]: row[name] for name in names}) for row in rows}
    versions = sorted({row["model_version"] for row in rows})
    return rows[0]["model"], [Slice(json.loads(one), version) for one in sorted(found) for version in versions]
