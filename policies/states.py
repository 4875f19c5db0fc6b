"""The state of a verdict: the first of VERDICTS.md §3 that holds, for all slots of an SLO at once."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from interlock.records import State

Mask = NDArray[np.bool_]

STATES: tuple[State, ...] = ("breached", "no_data", "unidentified", "insufficient", "at_risk", "met", "insufficient")


@dataclass(frozen=True, slots=True)
class Facts:
    """What is known of S slots, bool[S] each, in the order in which it decides."""

    breached: Mask
    silent: Mask
    unidentified: Mask
    too_little: Mask
    at_risk: Mask
    proven: Mask


def decide(facts: Facts) -> list[State]:
    """Return the state of each slot: the first fact that holds, else `insufficient`."""
    held = np.stack(
        [
            facts.breached,
            facts.silent,
            facts.unidentified,
            facts.too_little,
            facts.at_risk,
            facts.proven,
            np.ones_like(facts.proven),
        ]
    )
    return [STATES[place] for place in np.argmax(held, axis=0).tolist()]
