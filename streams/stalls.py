"""Whether reading stands still although there is something to read, and no reason for it: a known failure of Faust."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple, TypeVar

Place = tuple[str, int]
"""A topic and a partition."""

P = TypeVar("P", bound=Place)


class Stall(NamedTuple):
    """A place that was read up to `position` for `seconds`, though the broker has records up to `end`."""

    place: Place
    position: int
    end: int
    seconds: float

    def __str__(self) -> str:
        topic, partition = self.place
        return (
            f"{topic}, partition {partition}, stands at {self.position} for {self.seconds:.0f} s, its end is {self.end}"
        )


@dataclass
class Stalls:
    """Since when each place stands still, in seconds of a clock that only runs while somebody looks."""

    after: float
    """Seconds that a place may stand still with records to read."""
    _since: dict[Place, tuple[int, float]] = field(default_factory=dict)

    def look(self, now: float, reached: Mapping[P, int | None], ends: Mapping[P, int]) -> Stall | None:
        """Return a place that stands still, if one does; who cannot be judged now starts anew.

        `reached` are the offsets that come next, None for a place that waits for a good reason; `ends` are the offsets
        after the last record, by the broker's word, without those that it does not tell.
        """
        found: dict[Place, tuple[int, float]] = {}
        still: list[Stall] = []
        for place, position in reached.items():
            end = ends.get(place, 0)
            if position is not None and position < end:
                before, since = self._since.get(place, (None, now))
                found[place] = (position, since if before == position else now)
                still.append(Stall(place, position, end, now - found[place][1]))
        self._since = found
        return max((one for one in still if one.seconds >= self.after), key=lambda one: one.seconds, default=None)
