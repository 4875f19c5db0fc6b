"""How much memory the stores of a worker may take: beyond it, their oldest records go to disk."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Protocol

from interlock.errors import Exhausted
from interlock.streams.cold import Pages

STEP = 16
"""A spill frees this part of the budget beyond what is too much."""


class Spilling(Protocol):
    """What can move records to disk."""

    @property
    def resident(self) -> int:
        """Bytes of the records that it holds in memory."""

    def spill(self, size: int) -> int:
        """Move about so many bytes to disk, the oldest first; return how many moved. OSError if that fails."""


@dataclass(slots=True)
class Budget:
    """Bytes of records in memory, None for no limit, and where to put the rest. Indexes come on top: 12 bytes a row."""

    limit: int | None = None
    shelf: Callable[[], Pages] | None = None
    rows: int | None = None
    """Rows of a block, where tests want few."""
    failures: int = 0
    failing: str | None = None
    """Why nothing goes to disk at the moment."""
    _stores: list[Spilling] = field(default_factory=list)
    _again: int = 0

    def join(self, store: Spilling) -> None:
        """Count a store's records from now on."""
        if self.shelf is not None:
            self._stores.append(store)

    def leave(self, store: Spilling) -> None:
        """Count a store's records no more."""
        self._stores = [one for one in self._stores if one is not store]

    @property
    def resident(self) -> int:
        """Bytes of all records in memory."""
        return sum(store.resident for store in self._stores)

    def settle(self) -> None:
        """Bring memory below the limit.

        Raises:
            Exhausted: the disk takes nothing more, and twice the limit is in memory.
        """
        if self.limit is None or not self._stores or self.resident <= max(self.limit, self._again):
            return
        try:
            self._spill(self.limit - self.limit // STEP)
            self.failing, self._again = None, 0
        except OSError as error:  # nothing is lost: it all stays in memory until the disk takes it
            self.failures, self.failing = self.failures + 1, str(error)
            self._again = self.resident + self.limit // STEP
            if self.resident > 2 * self.limit:
                raise Exhausted(
                    f"--state-dir takes nothing more ({error}), and {self.resident >> 20} MiB of pending events are in memory, "
                    f"twice what --memory allows: make room on that disk; nothing is lost, the next start goes on"
                ) from error

    def _spill(self, target: int) -> None:
        while (excess := self.resident - target) > 0:
            largest = max(self._stores, key=lambda store: store.resident)
            if not largest.spill(excess):
                return
