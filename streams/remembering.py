"""What the join remembers of predictions and of outcomes, and what it tells of both once they have met."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.policies.plan import JOINED, Kind, Plan
from interlock.streams.batch import Outcomes
from interlock.streams.classes import Classes, signs_of
from interlock.streams.counting import Chunk, Counted
from interlock.streams.counting_labels import Labelled, Reviewed
from interlock.streams.join import LABEL, REVIEW, Join, Kept
from interlock.streams.labels import NO_CLASS, class_hashes, positives, top_classes
from interlock.streams.means import numbers, stated
from interlock.streams.revisions import Pairs
from interlock.streams.tally import Ints

FLAGGED, SELECTED = 1, 2
"""Bits of a remembered prediction's `marks`."""

NOWHERE = Classes(np.zeros(0, np.int8), np.zeros(0, np.uint64))
"""The classes of a plan that asks for none."""

NONE = np.zeros(0)
"""The numbers of a plan that asks for none."""


def kept(plan: Plan) -> Kept:
    """Return what a plan needs remembered."""
    joined = [(place, series) for place, series in enumerate(plan.series) if series.kind in JOINED]
    return Kept(
        tuple(place for place, _ in joined),
        classes=plan.classifies,
        numbers=plan.regresses,
        stated=tuple(place for place, series in joined if series.stated),
        facts=_facts({series.kind for _, series in joined}),
        sampled=plan.sampled and plan.awaits,
    )


def _facts(kinds: set[Kind]) -> int:
    return LABEL * bool(kinds - {Kind.EVENTS, Kind.RECALL}) | REVIEW * (Kind.RECALL in kinds)


def slices_in(needs: Kept, counted: Counted, rows: int) -> dict[int, Ints]:
    """Return the slice codes of n predictions by joined series; -1 where one does not count there."""
    nowhere = np.full(rows, -1, np.int64)
    return {
        p: np.where(counted.inside[p], counted.slices[p], -1) if p in counted.inside else nowhere for p in needs.slices
    }


def remember(join: Join, plan: Plan, chunk: Chunk, rows: Ints, slices: Mapping[int, Ints]) -> None:
    """Remember a chunk of predictions in these rows, -1: not; `slices` are their slice codes per joined series, -1: not counted."""
    scores = chunk.scores
    columns: dict[str, NDArray[Any]] = {
        "version": chunk.version,
        "p": chunk.p,
        "top": top_classes(chunk.batch.top, chunk.rows(), ~np.isnan(chunk.batch.score)),
        "marks": FLAGGED * scores.flagged + SELECTED * scores.selected,
        "level": scores.level,
    }
    if chunk.classes is not None:
        columns |= {"says": chunk.classes.positive, "said": chunk.classes.name}
    if plan.regresses:
        columns["guess"] = numbers(chunk.batch.columns.get("prediction"), chunk.rows())
    for place in kept(plan).stated:
        columns[f"stated{place}"] = stated(plan.series[place], chunk.batch.columns, chunk.p)
    for place, codes in slices.items():
        columns[f"slice{place}"] = codes
    awaited = rows >= 0
    join.predictions.fill(rows[awaited], {name: column[awaited] for name, column in columns.items()})


def remember_labels(join: Join, plan: Plan, batch: Outcomes, rows: Ints) -> None:
    """Remember the labels of outcomes in these rows."""
    words = plan.policy.labels.positive_values
    columns: dict[str, NDArray[Any]] = {"y": positives(batch.label, words), "label": class_hashes(batch.label)}
    if plan.classifies:
        columns["means"] = signs_of(batch.label, words)
    if plan.regresses:
        columns["truth"] = numbers(batch.label, batch.rows())
    join.told[LABEL].fill(rows, columns)


def remember_reviews(join: Join, batch: Outcomes, rows: Ints, along: NDArray[np.bool_]) -> None:
    """Remember the reviews of outcomes in these rows; `along` bool[n]: their label counts too."""
    join.told[REVIEW].fill(rows, {"ood": batch.confirmed_ood, "along": along})


def slices_of(join: Join, plan: Plan, pairs: Pairs) -> dict[int, Ints]:
    """Return the slice code of each pair's prediction per joined series."""
    made = join.predictions.take(pairs.prediction)
    return {place: made[f"slice{place}"].astype(np.int64) for place in kept(plan).slices}


def reviewed(join: Join, plan: Plan, pairs: Pairs) -> Reviewed:
    """Return what m pairs of predictions and reviews tell."""
    made, said = join.predictions.take(pairs.prediction), join.told[REVIEW].take(pairs.outcome)
    return Reviewed(
        np.maximum(made["e"], said["e"]) // plan.tick,
        made["e"] // plan.tick,
        made["version"].astype(np.int64),
        join.first(REVIEW, pairs.outcome),
        said["ood"] == 1,
        (made["marks"] & FLAGGED) != 0,
        (made["marks"] & SELECTED) != 0,
        made["level"],
    )


def labelled(join: Join, plan: Plan, pairs: Pairs) -> Labelled:
    """Return what m pairs of predictions and labels tell."""
    made, said = join.predictions.take(pairs.prediction), join.told[LABEL].take(pairs.outcome)
    top, label = made["top"], said["label"]
    needs = kept(plan)
    return Labelled(
        np.maximum(made["e"], said["e"]) // plan.tick,
        made["e"] // plan.tick,
        made["version"].astype(np.int64),
        join.first(LABEL, pairs.outcome),
        np.ascontiguousarray(made["p"]),
        np.where((top == NO_CLASS) | (label == NO_CLASS), said["y"], top == label).astype(np.int8),
        Classes(made["says"], made["said"]) if needs.classes else NOWHERE,
        Classes(said["means"] if needs.classes else NOWHERE.positive, label),
        made["guess"] if needs.numbers else NONE,
        said["truth"] if needs.numbers else NONE,
        {place: made[f"stated{place}"] for place in needs.stated},
        top != NO_CLASS,
    )
