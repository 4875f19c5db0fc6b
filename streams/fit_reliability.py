"""How often what the model stated came true in the reference."""

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.ece import BINS, micro_bin
from interlock.streams.counting import FIXED
from interlock.streams.fit_rows import Rows
from interlock.streams.labels import NO_CLASS


def learn_reliability(rows: Rows) -> NDArray[np.int64] | None:
    """Return counts per micro-bin, int64[64, 4], as `detectors/reliability.py` reads them; None where nothing can be told.

    Of scores: rows whose label is the positive class or the other one, and positive labels. Of scores and of the likeliest
    class's probabilities: rows whose prediction and label name a class, and those that name the same.
    """
    signed = rows.scored & (rows.p >= 0) & (rows.meant.positive >= 0)
    named = (rows.p >= 0) & (rows.said.name != NO_CLASS) & (rows.meant.name != NO_CLASS)
    masks = (signed, signed & (rows.meant.positive == 1), named, named & (rows.said.name == rows.meant.name))
    bins = micro_bin(np.maximum(rows.p, 0) / float(FIXED))
    table = np.stack([np.bincount(bins[mask], minlength=BINS) for mask in masks], axis=1).astype(np.int64)
    return table if table.any() else None
