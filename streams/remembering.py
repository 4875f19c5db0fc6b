"""What the join remembers of predictions and of outcomes, and what it tells of both once they have met."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from interlock.policies.plan import LABELLED, Kind, Plan
from interlock.streams.batch import Outcomes
from interlock.streams.classes import Classes, signs_of
from interlock.streams.counting import Chunk
from interlock.streams.counting_labels import Labelled, Reviewed
from interlock.streams.join import LABEL, REVIEW, Join, Kept
from interlock.streams.labels import NO_CLASS, class_hashes, positives, top_classes
from interlock.streams.means import numbers, stated
from interlock.streams.revisions import Pairs
from interlock.streams.tally import Ints

FLAGGED, SELECTED = 1, 2
"""Bits of a remembered prediction's `marks`."""

JOINED_KINDS = (Kind.EVENTS, *LABELLED)

NOWHERE = Classes(np.zeros(0, np.int8), np.zeros(0, np.uint64))
"""The classes of a plan that asks for none."""

NONE = np.zeros(0)
"""The numbers of a plan that asks for none."""


def kept(plan: Plan) -> Kept:
    """Return what a plan needs remembered."""
    joined = [(place, series) for place, series in enumerate(plan.series) if series.kind in JOINED_KINDS]
    return Kept(
        tuple(place for place, _ in joined),
        classes=plan.classifies,
        numbers=plan.regresses,
        stated=tuple(place for place, series in joined if series.stated),
        facts=_facts({series.kind for _, series in joined}),
    )


def _facts(kinds: set[Kind]) -> int:
    return LABEL * bool(kinds - {Kind.EVENTS, Kind.RECALL}) | REVIEW * (Kind.RECALL in kinds)


def remember(join: Join, plan: Plan, chunk: Chunk, rows: Ints, slices: Mapping[int, Ints]) -> None:
    """Remember a chunk of predictions in these rows; `slices` are their slice codes per joined series, -1: not counted."""
    store, scores = join.predictions, chunk.scores
    store["version"][rows] = chunk.version
    store["p"][rows] = chunk.p
    store["top"][rows] = top_classes(chunk.batch.top, chunk.rows(), ~np.isnan(chunk.batch.score))
    store["marks"][rows] = FLAGGED * scores.flagged + SELECTED * scores.selected
    store["level"][rows] = scores.level
    if chunk.classes is not None:
        store["says"][rows], store["said"][rows] = chunk.classes.positive, chunk.classes.name
    if plan.regresses:
        store["guess"][rows] = numbers(chunk.batch.columns.get("prediction"), chunk.rows())
    for place in kept(plan).stated:
        store[f"stated{place}"][rows] = stated(plan.series[place], chunk.batch.columns, chunk.p)
    for place, codes in slices.items():
        store[f"slice{place}"][rows] = codes


def remember_labels(join: Join, plan: Plan, batch: Outcomes, rows: Ints) -> None:
    """Remember the labels of outcomes in these rows."""
    store, words = join.told[LABEL], plan.policy.labels.positive_values
    store["y"][rows] = positives(batch.label, words)
    store["label"][rows] = class_hashes(batch.label)
    if plan.classifies:
        store["means"][rows] = signs_of(batch.label, words)
    if plan.regresses:
        store["truth"][rows] = numbers(batch.label, batch.rows())


def remember_reviews(join: Join, batch: Outcomes, rows: Ints, along: NDArray[np.bool_]) -> None:
    """Remember the reviews of outcomes in these rows; `along` bool[n]: their label counts too."""
    store = join.told[REVIEW]
    store["ood"][rows], store["along"][rows] = batch.confirmed_ood, along


def slices_of(join: Join, plan: Plan, pairs: Pairs) -> dict[int, Ints]:
    """Return the slice code of each pair's prediction per joined series."""
    return {place: join.predictions[f"slice{place}"][pairs.prediction].astype(np.int64) for place in kept(plan).slices}


def reviewed(join: Join, plan: Plan, pairs: Pairs) -> Reviewed:
    """Return what m pairs of predictions and reviews tell."""
    p, o = pairs.prediction, pairs.outcome
    made, said = join.predictions, join.told[REVIEW]
    marks = made["marks"][p]
    return Reviewed(
        np.maximum(made["e"][p], said["e"][o]) // plan.tick,
        made["e"][p] // plan.tick,
        made["version"][p].astype(np.int64),
        join.first(REVIEW, o),
        said["ood"][o] == 1,
        (marks & FLAGGED) != 0,
        (marks & SELECTED) != 0,
        made["level"][p],
    )


def labelled(join: Join, plan: Plan, pairs: Pairs) -> Labelled:
    """Return what m pairs of predictions and labels tell."""
    p, o = pairs.prediction, pairs.outcome
    made, said = join.predictions, join.told[LABEL]
    top, label = made["top"][p], said["label"][o]
    needs = kept(plan)
    return Labelled(
        np.maximum(made["e"][p], said["e"][o]) // plan.tick,
        made["e"][p] // plan.tick,
        made["version"][p].astype(np.int64),
        join.first(LABEL, o),
        made["p"][p],
        np.where((top == NO_CLASS) | (label == NO_CLASS), said["y"][o], top == label).astype(np.int8),
        Classes(made["says"][p], made["said"][p]) if needs.classes else NOWHERE,
        Classes(said["means"][o] if needs.classes else NOWHERE.positive, label),
        made["guess"][p] if needs.numbers else NONE,
        said["truth"][o] if needs.numbers else NONE,
        {place: made[f"stated{place}"][p] for place in needs.stated},
        top != NO_CLASS,
    )
