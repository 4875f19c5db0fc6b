"""What machines with slots by slice leave to an SLO of another policy, and take over from one (policies/succession.py)."""

from interlock.policies.alarm import Alarms
from interlock.policies.controls import Controls, ScopeKey, scope_key
from interlock.policies.slots import POOL, Slots
from interlock.policies.succession import Left


class Slotted:
    """A machine whose scopes are its slots."""

    slots: Slots
    controls: Controls
    alarms: Alarms | None = None
    """What engages a slot, and lets it go by its own evidence; None where tickets alone are opened."""

    def scope_of(self, name: str | None) -> dict[str, str]:
        """Return the scope of a slice by its name as counted; of None, the pool's."""
        raise NotImplementedError

    def held(self) -> list[Controls]:
        """Return the controls that the machine has."""
        return [self.controls]

    def names(self) -> dict[ScopeKey, str | None]:
        """Return what each scope that has a slot is counted as."""
        return {scope_key(self.scope_of(self.slots.names[slot])): self.slots.names[slot] for slot in self.slots.taken()}

    def take_over(self, left: Left, pane: int) -> None:
        """Go on with the controls of an earlier policy: what is engaged stays so, its evidence starts after `pane`."""
        left.give(self.controls, lambda key, name: self.place(key, name, pane))

    def place(self, key: ScopeKey, name: str | None, pane: int) -> bool:
        """Engage the slot of a scope, if it is judged here and there is room."""
        if not self.fits(key, name):
            return False
        if name is not None:
            self.slots.admit({name: 1})
        slot = POOL if name is None else self.slots.numbers.get(name)
        if slot is None or self.alarms is None or slot in self.alarms.engaged:
            return False
        self.slots.seen(slot, pane)
        self.alarms.engage(slot, pane)
        return True

    def fits(self, key: ScopeKey, name: str | None) -> bool:
        """Return whether a scope is one of this SLO's."""
        try:
            return scope_key(self.scope_of(name)) == key
        except ValueError:  # a slice by other fields
            return False
