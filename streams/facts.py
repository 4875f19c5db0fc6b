"""What outcomes say: a label, a review, or both. Each fact of an event counts once, whichever outcome brings it.

One of a higher revision counts in the place of the one before: the new counts less the old, in the pane of the correction.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from interlock.columns import MISSING, NULL
from interlock.policies.plan import Plan
from interlock.streams.batch import Outcomes
from interlock.streams.clock import Times
from interlock.streams.counting_labels import count_labels, count_reviews
from interlock.streams.join import FACTS, LABEL, REVIEW, Join
from interlock.streams.remembering import labelled, remember_labels, remember_reviews, reviewed, slices_of
from interlock.streams.revisions import Pairs
from interlock.streams.store import Rows
from interlock.streams.tally import OpenCounts

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Told:
    """What n outcomes brought, bool[n] each, and who they met.

    `new`: a fact that counts; `revised`: one that corrects another; `known`: one that is known.
    """

    new: Mask
    revised: Mask
    known: Mask
    pairs: Mapping[int, Pairs]


def take_in(join: Join, plan: Plan, batch: Outcomes, times: Times, own: Rows | None = None) -> Told:
    """Remember what is new in outcomes, and match it with the predictions that are there.

    `own` int64[n] are the rows of the predictions that they carry, -1 for none: then each is matched with that alone.
    """
    bears = {LABEL: (batch.label.kind != MISSING) & (batch.label.kind != NULL), REVIEW: batch.confirmed_ood >= 0}
    counts = {fact: np.zeros(batch.rows(), np.bool_) for fact in FACTS}
    revised = {fact: np.zeros(batch.rows(), np.bool_) for fact in FACTS}
    pairs: dict[int, Pairs] = {}
    for fact in FACTS:  # labels first: reviews ask whether their outcome's label counts
        places = np.flatnonzero(bears[fact])
        if not len(places):
            continue
        told = batch if len(places) == batch.rows() else batch.take(places)
        # Judged by arrival, a correction would have to change a pane that is not known: there the first fact stands.
        revision = told.revision * (plan.policy.labels.judge_on != "arrival") if own is None else None
        admitted = join.admit_outcomes(fact, told.ids, times if told is batch else times.take(bears[fact]), revision)
        for rows, into in ((admitted.fresh, admitted.rows), (admitted.revised, admitted.corrections)):
            if len(into):
                _remember(
                    join, plan, fact, (told if rows.all() else told.take(rows), into), counts[LABEL][places[rows]]
                )
        if own is None:
            met, late = join.meet_predictions(fact, admitted.rows)
        else:
            met, late = join.meet_own(fact, own[places[admitted.fresh]], admitted.rows)
        pairs[fact] = met.also(join.correct(fact, admitted.corrections)) if len(admitted.corrections) else met
        counts[fact][places[admitted.fresh][~np.isin(admitted.rows, late)]] = True
        revised[fact][places[admitted.revised]] = True
    new, corrects = counts[LABEL] | counts[REVIEW], revised[LABEL] | revised[REVIEW]
    known = [bears[fact] & ~counts[fact] & ~revised[fact] for fact in FACTS]
    return Told(new, corrects & ~new, known[0] | known[1], pairs)


def _remember(join: Join, plan: Plan, fact: int, told: tuple[Outcomes, Rows], along: Mask) -> None:
    if fact == LABEL:
        remember_labels(join, plan, *told)
    else:
        remember_reviews(join, *told, along)


def waited_for(join: Join, predictions: Rows) -> Mapping[int, Pairs]:
    """Match predictions just entered with what was told of them before they came; -1 are those that nothing is awaited of."""
    return {fact: join.meet_outcomes(fact, predictions[predictions >= 0]) for fact in FACTS}


def count(join: Join, plan: Plan, pairs: Mapping[int, Pairs], into: OpenCounts) -> int:
    """Count what pairs tell, less what they correct; return how many outcomes that were."""
    outcomes = 0
    for fact, met in pairs.items():
        if len(met.prediction):
            outcomes += int(join.first(fact, met.outcome).sum())
            _count(join, plan, (fact, met, None), into)
            new, old = met.corrected()
            if len(old.prediction):
                corrected = OpenCounts()
                _count(join, plan, (fact, old, new), corrected)
                into.subtract(corrected)
    return outcomes


def _count(join: Join, plan: Plan, told: tuple[int, Pairs, Pairs | None], into: OpenCounts) -> None:
    """Count pairs, in the arrival panes of others if given: as of a correction, which is no outcome that came."""
    fact, pairs, by = told
    slices = slices_of(join, plan, pairs)
    if fact == LABEL:
        labels = labelled(join, plan, pairs)
        if by is not None:
            labels = replace(
                labels, arrival=labelled(join, plan, by).arrival, first=np.zeros(len(by.outcome), np.bool_)
            )
        count_labels(plan, labels, slices, into)
        return
    reviews = reviewed(join, plan, pairs)
    if by is not None:
        reviews = replace(reviews, arrival=reviewed(join, plan, by).arrival, first=np.zeros(len(by.outcome), np.bool_))
    count_reviews(plan, reviews, slices, into)
