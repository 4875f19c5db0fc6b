"""Which slices of an SLO have a place of their own: admitted at pane close, from merged counts (STREAM.md §3)."""

from collections.abc import Mapping
from typing import Any

OTHER = "(other)"
"""The place of every slice that got none: judged like the rest."""

REST = "(rest)"
"""The same for endpoints: those with too few labels to be judged alone."""

POOL = 0
"""The slot of `(other)` or `(rest)`; the only slot where an SLO is judged as a whole."""


class Slots:
    """Slot numbers of slices. Slot 0 pools what has no slot; with `cap` 0 it is the whole."""

    def __init__(self, cap: int) -> None:
        """Start with the pool alone; `cap` slices may be admitted."""
        self.names: list[str | None] = [None] * (cap + 1)
        self.numbers: dict[str, int] = {}
        self.last: list[int | None] = [None] * (cap + 1)
        self._free = list(range(cap, 0, -1))

    def __len__(self) -> int:
        return len(self.names)

    def admit(self, counts: Mapping[str, int]) -> None:
        """Give free slots to new slices, the largest first, equals by name."""
        new = sorted((name for name in counts if name not in self.numbers), key=lambda name: (-counts[name], name))
        for name in new[: len(self._free)]:
            slot = self._free.pop()
            self.names[slot], self.numbers[name] = name, slot

    def slot(self, name: str) -> int:
        """Return the slot that a slice counts in."""
        return self.numbers.get(name, POOL)

    def seen(self, slot: int, pane: int) -> None:
        """Remember that a slot had events in this pane."""
        last = self.last[slot]
        self.last[slot] = pane if last is None else max(pane, last)

    def free(self, slot: int) -> None:
        """Take a slot from its slice."""
        name = self.names[slot]
        if name is None:
            raise ValueError(f"slot {slot} is free")
        del self.numbers[name]
        self.names[slot] = self.last[slot] = None
        self._free.append(slot)
        self._free.sort(reverse=True)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        return {"names": list(self.names), "last": list(self.last)}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of as many slots."""
        self.names, self.last = list(saved["names"]), list(saved["last"])
        self.numbers = {name: slot for slot, name in enumerate(self.names) if name is not None}
        self._free = [slot for slot in range(len(self.names) - 1, POOL, -1) if self.names[slot] is None]

    def taken(self) -> list[int]:
        """Return the slots in use: the pool too, if it is the whole or anything has counted in it."""
        pool = [POOL] if len(self.names) == 1 or self.last[POOL] is not None else []
        return [*pool, *sorted(self.numbers.values())]
