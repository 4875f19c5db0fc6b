"""What explaining a verdict rests on, and how its counts are read."""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from pydantic import ValidationError

from interlock.policies.context import Context, Learned
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.machine_never import NeverMachine
from interlock.policies.machines import build
from interlock.policies.measures import Measure
from interlock.policies.model import Policy
from interlock.policies.model_slo import INDICATORS, Slo
from interlock.policies.planning import make_plan
from interlock.policies.scalars import show_duration
from interlock.records import Control, Count, Verdict
from interlock.scopes import read_slice

_KEY = re.compile(r"(?P<kind>\S+)(?: by (?P<by>\S+))?(?P<rest>.*)", re.DOTALL)

Counts = Sequence[Count] | None


@dataclass(frozen=True, slots=True)
class Key:
    """The name of a series, taken apart: `rest` is what limits its events."""

    text: str
    kind: str
    by: tuple[str, ...]
    rest: str

    @classmethod
    def of(cls, text: str) -> "Key":
        """Read it."""
        found = _KEY.fullmatch(text)
        if found is None:
            return cls(text, text, (), "")
        return cls(text, found["kind"], tuple((found["by"] or "").split(",")) if found["by"] else (), found["rest"])


@dataclass(frozen=True)
class Case:
    """A verdict and all that is known around it.

    `path` are the last verdicts of its scope, oldest first, itself included; `controls` all transitions of its SLO;
    `asked` the control or page by which it was asked for. `policy` is None where no file was given; `window` and
    `stretch` are counts over the verdict's window and over the stretch that speaks most for a breach, None where no
    tallies are kept.
    """

    verdict: Verdict
    newest: Verdict
    path: Sequence[Verdict]
    controls: Sequence[Control]
    asked: Control | None = None
    policy: Policy | None = None
    learned: Learned | None = None
    window: Counts = None
    stretch: Counts = None

    @cached_property
    def scope(self) -> Mapping[str, str]:
        """The scope that the evidence is about: a control's of one endpoint, else the verdict's."""
        return self.asked.scope if self._led and self.asked else self.verdict.scope

    @cached_property
    def evidence(self) -> Mapping[str, Any]:
        """The evidence of that scope."""
        return self.asked.evidence if self._led and self.asked else self.verdict.evidence

    @cached_property
    def _led(self) -> bool:
        asked = self.asked
        return asked is not None and asked.slo == self.verdict.slo and dict(asked.scope) != dict(self.verdict.scope)

    @cached_property
    def stretched(self) -> Mapping[str, Any]:
        """The stretch of the evidence; empty if it names none."""
        found = self.evidence.get("stretch")
        return found if isinstance(found, Mapping) else {}

    @property
    def endpoints(self) -> bool:
        """Whether it is about many endpoints, of which each has evidence and a control of its own."""
        return "endpoints" in self.evidence

    @cached_property
    def judged_by(self) -> Policy | None:
        """The policy: the file's, or as far as the verdict tells of it; None if that does not say what was measured."""
        return self.policy or told(self.verdict)

    @cached_property
    def slo(self) -> Slo | None:
        """The SLO; None where it is not known."""
        slos = self.judged_by.slos if self.judged_by else ()
        return next((one for one in slos if one.name == self.verdict.slo), None)

    @cached_property
    def context(self) -> Context | None:
        """What judging it rested on."""
        if self.judged_by is None or self.slo is None:
            return None
        learned = self.learned or Learned({}, audit_probabilities=_audited(self.verdict))
        return Context(self.judged_by, self.slo, self.verdict.model, learned)

    @cached_property
    def measure(self) -> Measure | None:
        """How its counts are read; None for never-events, which count rules."""
        if self.context is None:
            return None
        machine = build(self.context)
        return None if isinstance(machine, NeverMachine | DriftMachine) else machine.measure

    @cached_property
    def kind(self) -> str | None:
        """The kind of its series."""
        if self.context is None or self.measure is None:
            return None
        return next(iter(self._keys), Key("", "", (), "")).kind or None

    @cached_property
    def _keys(self) -> tuple[Key, ...]:
        """The series of the SLO by the policy at hand."""
        if self.judged_by is None or self.slo is None:
            return ()
        plan = make_plan(self.judged_by)
        places = plan.of_slo[self.judged_by.slos_in_force.index(self.slo)]
        return tuple(Key.of(plan.series[place].key) for place in places)

    @cached_property
    def key(self) -> Key | None:
        """The series that it was judged on, of those that were counted; None if that cannot be told."""
        seen = {Key.of(one.series) for one in self.window or ()}
        if self.policy is not None:
            return next((key for key in self._keys if key in seen), None)
        fits = [key for key in seen if key.kind == self.kind and self._fits(key)]
        return fits[0] if len(fits) == 1 else None

    def _fits(self, key: Key) -> bool:
        """Return whether a series is split as the verdict's scope says."""
        names = tuple(path.rsplit(".", 1)[-1] for path in key.by)
        text = self.scope.get("slice")
        if text is not None:
            pairs = read_slice(text)
            return bool(names) if pairs is None else names == tuple(pairs)
        return not names or self.verdict.slo.startswith("decision_ece_p95")

    def key_beside(self) -> Key | None:
        """Return a series of the same events that is split by slices, for one that is not."""
        own = self.key
        seen = sorted({one.series for one in self.window or ()})
        keys = [Key.of(text) for text in seen]
        return next((k for k in keys if own and k.by and (k.kind, k.rest) == (own.kind, own.rest)), None)


def told(verdict: Verdict) -> Policy | None:
    """Return the policy as far as a verdict tells of it; None if its SLO's name does not say the indicator."""
    width = verdict.window_end - verdict.window_start
    never = verdict.slo.startswith("never_event_violations")
    promise = {
        "name": verdict.slo,
        "objective": "not stored",
        "target": verdict.target,
        "window": "rolling" if never else show_duration(width),
        "action_on_breach": "notify",
        "dispersion": verdict.evidence.get("dispersion"),
        **_bounds(verdict),
        **_mode(verdict),
    }
    try:
        policy = Policy.model_validate({"slos": [promise]})
    except ValidationError:
        return None
    known = policy.slos[0].resolved_indicator in INDICATORS
    return policy if known and (policy.slos[0].spec.kind != "mean" or 0 < policy.slos[0].limit < 1) else None


def _bounds(verdict: Verdict) -> dict[str, object]:
    """Return the bounds of a mean as a policy writes them: its range, or the cap of its losses."""
    ends = verdict.evidence.get("range")
    if not isinstance(ends, list):
        return {}
    return {"range": ends} if verdict.slo.startswith("mean") else {"cap": ends[1]}


def _mode(verdict: Verdict) -> dict[str, object]:
    """Return how it was proven, as far as the evidence shows."""
    told = verdict.evidence
    variants = list(told["variants"]) if isinstance(told.get("variants"), dict) else []
    if len(variants) == 2:  # noqa: PLR2004 - the judged one and the other
        return {"compare": {"variant": verdict.scope.get("variant", variants[0]), "to": _other(verdict, variants)}}
    return {"evidence": told["rule"]} if told.get("rule") == "threshold" else {}


def _other(verdict: Verdict, variants: Sequence[str]) -> str:
    return next(name for name in variants if name != verdict.scope.get("variant"))


def _audited(verdict: Verdict) -> tuple[float, ...]:
    """Return the audit probability that a recall was weighted with; without misses any gives the same value."""
    hits, missed, value = verdict.evidence.get("hits"), verdict.evidence.get("audited_misses"), verdict.value
    if not isinstance(missed, int) or not isinstance(hits, int):
        return ()
    known = missed > 0 and hits > 0 and value is not None and value < 1
    return (min(1.0, missed * value / (hits * (1 - value))),) if known and value is not None else (1.0,)


def number(value: object) -> float | None:
    """Return a stored number; None for what is none."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None
