"""How long labels took in the reference, by the outcome that they told."""

import numpy as np

from interlock.policies.arrivals import (
    RIGHT_NEGATIVE,
    RIGHT_POSITIVE,
    WRONG_NEGATIVE,
    WRONG_POSITIVE,
    Delays,
    curves,
)
from interlock.streams.counting import FIXED
from interlock.streams.fit_rows import Rows


def learn_delays(rows: Rows) -> Delays | None:
    """Return the reporting-delay curves of rows of one model; None where they cannot be told.

    Only mature predictions count, so old when the last label came that 99 % of labels would be there: of younger ones
    the slow labels are missing, and with them the outcomes that are reported slowly. A prediction says the positive
    class from a score of one half on; without a positive label among them, scores are of something else.
    """
    labelled = (rows.y >= 0) & (rows.age >= 0) & (rows.p >= 0)
    if not labelled.any() or not (rows.y == 1).any():
        return None
    ages = np.sort(rows.age[labelled])
    longest = int(ages[-(-len(ages) * 99 // 100) - 1])
    mature = labelled & (rows.ts + longest <= int((rows.ts + rows.age)[labelled].max()))
    said, y = rows.p[mature] >= FIXED // 2, rows.y[mature] == 1
    outcome = np.where(
        y, np.where(said, RIGHT_POSITIVE, WRONG_POSITIVE), np.where(said, WRONG_NEGATIVE, RIGHT_NEGATIVE)
    )
    found = curves(rows.age[mature], outcome.astype(np.int64))
    return found if (found.ages[:, 0] >= 0).any() else None
