"""What outcomes say: a label, a review, or both. Each fact of an event counts once, whichever outcome brings it."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.columns import MISSING, NULL
from interlock.policies.plan import Plan
from interlock.streams.batch import Outcomes
from interlock.streams.clock import Times
from interlock.streams.counting_labels import count_labels, count_reviews
from interlock.streams.join import FACTS, LABEL, REVIEW, Join, Pairs
from interlock.streams.remembering import labelled, remember_labels, remember_reviews, reviewed, slices_of
from interlock.streams.store import Rows
from interlock.streams.tally import OpenCounts

Mask = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Told:
    """What n outcomes brought: `new` bool[n], a fact that counts; `known` bool[n], one that is known; and who they met."""

    new: Mask
    known: Mask
    pairs: Mapping[int, Pairs]


def take_in(join: Join, plan: Plan, batch: Outcomes, times: Times) -> Told:
    """Remember what is new in outcomes, and match it with the predictions that are there."""
    bears = {LABEL: (batch.label.kind != MISSING) & (batch.label.kind != NULL), REVIEW: batch.confirmed_ood >= 0}
    counts: dict[int, Mask] = {}
    pairs: dict[int, Pairs] = {}
    for fact in FACTS:  # labels first: reviews ask whether their outcome's label counts
        counts[fact] = np.zeros(batch.rows(), np.bool_)
        places = np.flatnonzero(bears[fact])
        if not len(places):
            continue
        told = batch if len(places) == batch.rows() else batch.take(places)
        admitted = join.admit_outcomes(fact, told.ids, times if told is batch else times.take(bears[fact]))
        told, places = (told, places) if admitted.fresh.all() else (told.take(admitted.fresh), places[admitted.fresh])
        if fact == LABEL:
            remember_labels(join, plan, told, admitted.rows)
        else:
            remember_reviews(join, told, admitted.rows, counts[LABEL][places])
        pairs[fact], late = join.meet_predictions(fact, admitted.rows)
        counts[fact][places[~np.isin(admitted.rows, late)]] = True
    known = [bears[fact] & ~counts[fact] for fact in FACTS]
    return Told(counts[LABEL] | counts[REVIEW], known[0] | known[1], pairs)


def waited_for(join: Join, predictions: Rows) -> Mapping[int, Pairs]:
    """Match predictions just entered with what was told of them before they came."""
    return {fact: join.meet_outcomes(fact, predictions) for fact in FACTS}


def count(join: Join, plan: Plan, pairs: Mapping[int, Pairs], into: OpenCounts) -> int:
    """Count what pairs tell; return how many outcomes that were."""
    outcomes = 0
    for fact, met in pairs.items():
        if len(met.prediction):
            outcomes += int(join.first(fact, met.outcome).sum())
            slices = slices_of(join, plan, met)
            if fact == LABEL:
                count_labels(plan, labelled(join, plan, met), slices, into)
            else:
                count_reviews(plan, reviewed(join, plan, met), slices, into)
    return outcomes
