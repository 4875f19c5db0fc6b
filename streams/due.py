"""What people must look at so that the recall of the flags can be known: the records of the `audits` topic.

A pure function of the predictions (STREAM.md §1): ids, names and probabilities alone, never a feature's value.
"""

from typing import Literal

import numpy as np
from msgspec import Struct
from msgspec import json as msgspec_json

from interlock.policies.context import slice_text
from interlock.policies.plan import Kind, Plan
from interlock.streams.counting import Chunk, Counted
from interlock.streams.names import Names
from interlock.streams.scoring import Scorer
from interlock.streams.tally import Ints

Why = Literal["flagged", "audit"]

DAY = 86_400_000
"""Age (ms) at which a prediction is judged where neither policy nor reference says (VERDICTS.md §1)."""


class Due(Struct, frozen=True, kw_only=True):
    """An event that a person must say `confirmed_ood` of until `due` (ms, event time), when its cohort is judged.

    `why` is flagged, or drawn for audit with `probability` at `level` of the score. `reason` is the feature that made
    it odd; empty for an audit.
    """

    event_id: str
    ts: int
    model: str
    model_version: str
    slice: str
    why: Why
    level: int
    probability: float
    reason: str
    due: int


class DueList:
    """Says which of a shard's predictions are due for review: those that an `ood_recall` counts, flagged or drawn."""

    def __init__(self, plan: Plan, scorer: Scorer, names: Names) -> None:
        """Ask for what the plan's recalls need; nothing is due in a policy without `audits`."""
        recalls = [place for place, series in plan.counted if series.kind is Kind.RECALL]
        self._places = sorted(recalls, key=lambda place: not plan.series[place].by)  # one that is split names the slice
        if plan.policy.audits is None:
            self._places = []
        self._plan, self._scorer, self._names = plan, scorer, names
        asked = plan.policy.labels.maturity
        age = asked if asked is not None else scorer.label_age
        self._age = DAY if age is None else age

    def of(self, chunk: Chunk, ts: Ints, counted: Counted) -> list[Due]:
        """Return what is due of a chunk, in its order; `ts` int64[n] are effective times."""
        place = np.full(chunk.rows(), -1, np.int64)
        wanted = chunk.scores.flagged | chunk.scores.selected
        for one in reversed(self._places):
            place[wanted & counted.inside[one]] = one
        rows = np.flatnonzero(place >= 0)
        if not len(rows):
            return []
        flagged = rows[chunk.scores.flagged[rows]]
        reasons = dict(zip(flagged.tolist(), self._scorer.odd_features(chunk.batch, flagged), strict=True))
        return [
            self._due(chunk, int(ts[row]), (row, self._slice(row, int(place[row]), counted)), reasons.get(row))
            for row in rows.tolist()
        ]

    def _slice(self, row: int, place: int, counted: Counted) -> str:
        by = self._plan.series[place].by
        return slice_text(self._names.values[counted.slices[place][row]], by) if by else ""

    def _due(self, chunk: Chunk, ts: int, at: tuple[int, str], reason: str | None) -> Due:
        row, piece = at
        level = int(chunk.scores.level[row])
        return Due(
            event_id=chunk.batch.ids.text(row),
            ts=ts,
            model=chunk.batch.model.text(row),
            model_version=chunk.batch.version.text(row),
            slice=piece,
            why="audit" if reason is None else "flagged",
            level=level,
            probability=self._scorer.probabilities[level] if reason is None else 1.0,
            reason=reason or "",
            due=ts + self._age,
        )


def due_line(due: Due) -> bytes:
    """Return the JSON of what is due, as it stands on the topic."""
    return msgspec_json.encode(due)


def read_due(line: bytes) -> Due:
    """Return what is due; msgspec.DecodeError if the line is something else."""
    return msgspec_json.decode(line, type=Due)
