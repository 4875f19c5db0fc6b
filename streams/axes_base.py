"""What all axes of SLOs do alike: a person's release, and going over to another policy in mid-stream."""

from abc import ABC, abstractmethod
from collections.abc import Mapping
from copy import copy
from typing import Any, Self

from interlock.policies.controls import ReleaseCommand
from interlock.policies.machines import AnyMachine
from interlock.policies.said import Moment, Said
from interlock.records import Control
from interlock.streams.feed import Feed
from interlock.streams.voice import Voice


class SloAxis(ABC):
    """Judges one SLO pane by pane; `_next` is the arrival pane that comes next, `_busy` the last that had counts."""

    def __init__(self, machine: AnyMachine) -> None:
        """Start before the model's first pane."""
        self.voice = Voice(machine)
        self._next: int | None = None
        self._busy = 0

    @abstractmethod
    def feeds(self) -> tuple[Feed, ...]:
        """Return what feeds it."""

    @abstractmethod
    def reached(self, through: int, joined: int) -> int:
        """Return the tick up to which it can judge, of those up to which predictions and the other chain are complete."""

    @abstractmethod
    def _judged(self) -> int:
        """Return the last judged pane of the SLO's own axis."""

    @abstractmethod
    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""

    @abstractmethod
    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO's axis."""

    def release(self, command: ReleaseCommand) -> list[Control]:
        """End the engaged control that a person names; that is news, after which empty panes are judged again."""
        if self._next is None:
            return []
        found = self.voice.release(command, Moment(self._next - 1, self._judged()))
        self._busy = max(self._busy, self._next) if found else self._busy
        return found

    # -- another policy ----------------------------------------------------------------------------------------------

    def begin(self, tick: int) -> None:
        """Start with the pane of a tick, where another policy has stopped."""
        self._next = self._busy = tick // self.feeds()[0].ratio

    def last_word(self) -> list[Said]:
        """Say what it has yet to say of what it has judged: another policy goes on."""
        if self._next is None or not self.voice.machine.pending:
            return []
        return self.voice.say(Moment(self._next - 1, self._judged()), news=True)

    def go_on(self, before: Self) -> None:
        """Become an earlier policy's axis of the same SLO, with what has been counted for this one meanwhile."""
        mine = [copy(feed) for feed in self.feeds()]
        self.restore(before.snapshot())
        for feed, own in zip(self.feeds(), mine, strict=True):
            feed.follow(own)
