"""What an SLO takes over when the policy changes in mid-stream: all of its state, or its controls alone.

Nothing lowers a mode but proof (DESIGN.md §5): a control that no SLO of the new policy can take over stays engaged until a
person releases it. Only tickets, which move no mode, end with the SLO that opened them.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import astuple, dataclass, field
from typing import Any

from interlock.policies.controls import Cause, Controls, Owner, ReleaseCommand, ScopeKey
from interlock.records import Control

Name = tuple[str, str]
"""The SLO, or its unknown state, and the action."""

Names = Mapping[ScopeKey, str | None]
"""Slices as they are counted, by the scope that they are written as: by it another machine finds them."""

Place = Callable[[ScopeKey, str | None], bool]
"""Takes over what is engaged in a scope, if the SLO judges it; says whether it does."""


@dataclass(slots=True)
class Held:
    """Controls of one name that no machine has, with the slices of what is engaged."""

    controls: Controls
    names: dict[ScopeKey, str | None] = field(default_factory=dict)


class Left:
    """The controls of SLOs that are gone, or that their successors could not take over: epochs, and what stays engaged."""

    def __init__(self) -> None:
        """Start with none."""
        self._held: dict[Name, Held] = {}

    def take(self, gone: Iterable[Controls], names: Names) -> None:
        """Keep the controls of an SLO that is judged no more."""
        for controls in gone:
            held = self._held.setdefault(controls.name, Held(Controls(controls.owner)))
            held.controls.inherit(controls)
            held.controls.engaged |= controls.engaged
            held.names |= {key: names.get(key) for key in controls.engaged}

    def give(self, to: Controls, place: Place) -> None:
        """Let an SLO's controls go on from the epochs that are kept, and take over what it can judge."""
        held = self._held.get(to.name)
        if held is None:
            return
        to.inherit(held.controls)
        for key in sorted(held.controls.engaged):
            if place(key, held.names.get(key)):
                to.engaged[key] = held.controls.engaged.pop(key)

    def tickets(self, ts: int, digest: str) -> list[Control]:
        """End what moves no mode, as of the change at `ts` (ms)."""
        found = []
        for (slo, action), held in sorted(self._held.items()):
            for key in sorted(held.controls.engaged) if action == "notify" else ():
                cause = Cause(ts, "", f"{slo}: the policy changed", {"policy_changed": digest})
                found.append(held.controls.release(dict(key), cause))
        return found

    def epochs(self, name: Name) -> Controls | None:
        """Return the controls of a name, to look at."""
        held = self._held.get(name)
        return held.controls if held else None

    def release(self, command: ReleaseCommand) -> list[Control]:
        """End the engaged control that a person names."""
        for (slo, _), held in sorted(self._held.items()):
            if slo == command.slo and held.controls.named(command):
                return [held.controls.release(command.scope, command.cause)]
        return []

    def snapshot(self) -> list[Any]:
        """Return the state as plain values."""
        return [
            (astuple(held.controls.owner), held.controls.snapshot(), list(held.names.items()))
            for _, held in sorted(self._held.items())
        ]

    def restore(self, saved: Iterable[Any]) -> None:
        """Take over a snapshot."""
        self._held = {}
        for owner, controls, names in saved:
            held = Held(Controls(Owner(*owner)))
            held.controls.restore(controls)
            held.names = {tuple((name, value) for name, value in key): raw for key, raw in names}
            self._held[held.controls.name] = held
