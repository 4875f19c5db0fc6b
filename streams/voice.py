"""What an SLO says of a pane: its machine's verdicts and controls, and those of what stays unknown."""

from collections.abc import Mapping
from typing import Any

from interlock.policies.controls import Controls, ReleaseCommand
from interlock.policies.machines import AnyMachine
from interlock.policies.said import Moment, Said
from interlock.policies.succession import Left
from interlock.policies.unknown import Unknowns
from interlock.records import Control


class Voice:
    """Asks a machine for what it has to say of a pane, and does what the policy asks where that stays unknown."""

    def __init__(self, machine: AnyMachine) -> None:
        """Start before the first pane."""
        self.machine, self.context = machine, machine.context
        self.unknowns = Unknowns(machine.context, machine.describe)
        self._begun = False

    def say(self, moment: Moment, *, news: bool) -> list[Said]:
        """Return what is said of an arrival pane: on news, at the end of a block of panes, and of the first."""
        asked = news or not self._begun or (moment.pane + 1) % self.context.block == 0
        self._begun = True
        said = self.machine.conclude(moment) if asked else Said()
        said.ts = (moment.pane + 1) * self.context.pane_ms
        said.controls += self.unknowns.hear(said)
        return [said] if said.verdicts or said.controls else []

    def next(self) -> int | None:
        """Return the arrival pane at whose end something has stayed unknown for long enough."""
        due = self.unknowns.due()
        return None if due is None else -(-due // self.context.pane_ms) - 1

    def release(self, command: ReleaseCommand, now: Moment) -> list[Control]:
        """End the engaged control that a person names; `now` are the last panes that were judged."""
        if command.slo == self.context.slo.name:
            return self.machine.let_go(command, now.judged)
        return self.unknowns.release(command, (now.pane + 1) * self.context.pane_ms)

    def held(self) -> list[Controls]:
        """Return all controls of the SLO."""
        return [*self.machine.held(), *self.unknowns.held()]

    def take_over(self, left: Left, pane: int) -> None:
        """Go on with the controls of an earlier policy; evidence starts after `pane`."""
        self.machine.take_over(left, pane)
        self.unknowns.take_over(left, self.machine.fits)

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values and arrays."""
        return {"machine": self.machine.snapshot(), "unknowns": self.unknowns.snapshot(), "begun": self._begun}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot of the same SLO."""
        self.machine.restore(saved["machine"])
        self.unknowns.restore(saved["unknowns"])
        self._begun = saved["begun"]
