"""Known changes that `accept_drift` silences: a stream, everywhere or in a slice, until a date."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from interlock.policies.model_parts import AcceptDrift

Mask = NDArray[np.bool_]


class Accepted:
    """Which streams are silenced as of an event time; the others are judged as before."""

    def __init__(self, entries: Sequence[AcceptDrift], streams: Sequence[str]) -> None:
        """Silence by these entries; `streams` are the names in the order of the reference."""
        places = {name: place for place, name in enumerate(streams)}
        self._known = [(one, places[one.name]) for one in entries if one.name in places]

    def mask(self, ts: int, slices: Mapping[int, str], shape: tuple[int, ...]) -> Mask:
        """Return which streams are silenced as of `ts` (ms), bool[S, F]; `slices` names the slots in use."""
        found = np.zeros(shape, np.bool_)
        for one, place in self._known:
            if ts <= one.until:
                for slot, name in slices.items():
                    found[slot, place] |= one.slice in (None, name)
        return found

    def any(self, ts: int) -> bool:
        """Return whether anything is silenced as of `ts` (ms)."""
        return any(ts <= one.until for one, _ in self._known)

    def told(self, ts: int, name: str) -> list[dict[str, object]]:
        """Return what a verdict of the slice `name` as of `ts` (ms) says of it."""
        return [
            {"stream": one.name, "until": one.until, "reason": one.reason}
            for one, _ in self._known
            if ts <= one.until and one.slice in (None, name)
        ]
