"""Which scores may still be decided automatically where people review: what calibration proves (VERDICTS.md §2)."""

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from interlock.detectors.review import Promise, Sides, by_group, ranges
from interlock.policies.context import Context
from interlock.policies.controls import Cause, Controls, Describe, Owner, Scope, ScopeKey, scope_key
from interlock.policies.measures_ece import OF_TOP, EceMeasure
from interlock.policies.model_parts import Review
from interlock.policies.succession import Left, Place
from interlock.records import Control

Ints = NDArray[np.int64]

STANDING = "thresholds"
"""The review thresholds that stand before any breach are controls of `SLO.thresholds`."""


class Proof:
    """From the counts of a slot to the groups of scores whose decisions have few enough errors."""

    def __init__(self, context: Context, measure: EceMeasure) -> None:
        """Take the error rate from `review`, by default the SLO's target."""
        self.review = context.policy.review or Review()
        self.rate = self.review.error_rate or context.slo.target.value
        self._promise = Promise(self.rate, 1 - self.review.confidence, context.dispersion)
        self._coverage, self._measure = context.coverage, measure

    def groups(self, row: Ints) -> tuple[int, ...]:
        """Return the groups that one slot's counts prove, the most confident first; none where labels are missing."""
        due, found = (int(labels[0]) for labels in self._measure.labels(row[None]))
        if found < self._coverage * due:
            return ()
        sides = Sides(self.review.boundary, one_sided=bool(row[OF_TOP]))
        n, _, y = (part[0] for part in self._measure.bins(row[None]))
        of = self._measure.groups
        return self._promise.automatic(by_group(n, of), by_group(sides.errors(n, y), of), sides.order(of))

    def parameters(self, groups: Iterable[int]) -> dict[str, object]:
        """Return what a control says of them: the ranges of scores, and what is promised of them."""
        found = [list(one) for one in ranges(tuple(groups), self._measure.groups)]
        return {"automatic": found, "error_rate": self.rate, "confidence": self.review.confidence}


class Frozen:
    """The ranges of engaged controls: fixed when a breach engages one, and from then on only ever narrower."""

    def __init__(self, proof: Proof) -> None:
        """Start with nothing engaged."""
        self._proof = proof
        self._groups: dict[ScopeKey, tuple[int, ...]] = {}

    def freeze(self, scope: Scope, row: Ints) -> None:
        """Fix the ranges of a scope, from the counts of the stretch that breaks the target."""
        self._groups[scope_key(scope)] = self._proof.groups(row)

    def narrow(self, scope: Scope, row: Ints) -> bool:
        """Take away what newer counts no longer prove; whether anything was."""
        key = scope_key(scope)
        held, proven = self._groups.get(key, ()), self._proof.groups(row) if self._groups.get(key) else ()
        self._groups[key] = tuple(group for group in held if group in proven)
        return self._groups[key] != held

    def thaw(self, scope: Scope) -> None:
        """Forget a scope whose control has ended."""
        self._groups.pop(scope_key(scope), None)

    def parameters(self, scope: Scope) -> dict[str, object]:
        """Return what the scope's control says of automatic decisions: nothing where none is engaged."""
        groups = self._groups.get(scope_key(scope))
        return {} if groups is None else self._proof.parameters(groups)

    def snapshot(self) -> list[Any]:
        """Return the state as plain values."""
        return list(self._groups.items())

    def restore(self, saved: Iterable[Any]) -> None:
        """Take over a snapshot."""
        self._groups = {_key(key): tuple(groups) for key, groups in saved}


class Thresholds:
    """Review thresholds before any breach: what is automatic moves by one group at a time, and begins with nothing.

    They are controls like others: engaged in every scope from the first pane on, with newer ranges in the same epoch. A
    new model version, of which nothing is proven, takes all of them back.
    """

    def __init__(self, context: Context, proof: Proof, describe: Describe) -> None:
        """Start with nothing automatic; `describe` gives the parameters of a scope beside the ranges."""
        self.asked = proof.review.thresholds is not None
        self._proof, self._slo = proof, context.slo.name
        self._groups: dict[ScopeKey, tuple[int, ...]] = {}
        self._told: dict[ScopeKey, dict[str, object]] = {}
        owner = Owner(context.model, f"{self._slo}.{STANDING}", "route_to_human_review", context.policy.digest)
        self.controls = Controls(owner, lambda scope: describe(scope) | self._parameters(scope))
        self._describe = describe

    def begun(self) -> bool:
        """Whether any scope has its control."""
        return bool(self._told)

    def move(self, scope: Scope, row: Ints) -> None:
        """Go one group towards what the window's counts prove: give up the least confident, or win the next."""
        key = scope_key(scope)
        held, proven = self._groups.get(key, ()), self._proof.groups(row)
        lost, won = [g for g in held if g not in proven], [g for g in proven if g not in held]
        kept = tuple(g for g in held if g != lost[-1]) if lost else (*held, *won[:1])
        self._groups[key] = kept

    def reset(self) -> None:
        """Take everything back: what was proven was proven of another model version."""
        self._groups = dict.fromkeys(self._groups, ())

    def say(self, scope: Scope, ts: int, verdict_id: str) -> list[Control]:
        """Return the control of a scope if it says something new."""
        key, told = scope_key(scope), self._describe(scope) | self._parameters(scope)
        if self._told.get(key) == told:
            return []
        first = key not in self._told
        self._told[key] = told
        cause = Cause(ts, verdict_id, self._sentence(scope, key), {"target": self._proof.rate})
        return [self.controls.engage(scope, cause) if first else self.controls.update(scope, cause)]

    def leave(self, scope: Scope, ts: int) -> list[Control]:
        """End the control of a scope that is judged no more."""
        key = scope_key(scope)
        if self._told.pop(key, None) is None:
            return []
        self._groups.pop(key, None)
        cause = Cause(ts, "", f"{self._slo} is judged no more in {_where(scope)}", {})
        return [self.controls.release(scope, cause)]

    def take_over(self, left: Left, fits: Place) -> None:
        """Go on with the controls of an earlier policy, of which nothing is automatic any more."""
        if self.asked:
            left.give(self.controls, fits)
            self._told = {key: {} for key in self.controls.engaged}

    def snapshot(self) -> dict[str, Any]:
        """Return the state as plain values."""
        kept = {"groups": list(self._groups.items()), "told": list(self._told.items())}
        return kept | {"controls": self.controls.snapshot()}

    def restore(self, saved: Mapping[str, Any]) -> None:
        """Take over a snapshot."""
        self._groups = {_key(key): tuple(groups) for key, groups in saved["groups"]}
        self._told = {_key(key): dict(told) for key, told in saved["told"]}
        self.controls.restore(saved["controls"])

    def _parameters(self, scope: Scope) -> dict[str, object]:
        return self._proof.parameters(self._groups.get(scope_key(scope), ()))

    def _sentence(self, scope: Scope, key: ScopeKey) -> str:
        held = automatic_text(self._proof.parameters(self._groups.get(key, ()))["automatic"])
        return f"{self._slo}: calibration proves at most {self._proof.rate:g} errors in {_where(scope)} for {held}"


def automatic_text(found: object) -> str:
    """Return score ranges in words, such as `scores below 0.06 and from 0.94 on`."""
    parts = [_range_text(*one) for one in found] if isinstance(found, list) else []
    return "scores " + " and ".join(parts) if parts else "no score"


def _range_text(low: float, high: float) -> str:
    if low <= 0 and high >= 1:
        return "of any value"
    if low <= 0:
        return f"below {high:.3g}"
    return f"from {low:.3g} on" if high >= 1 else f"from {low:.3g} to {high:.3g}"


def _where(scope: Scope) -> str:
    return ", ".join(scope.values()) or "the whole model"


def _key(saved: Iterable[Any]) -> ScopeKey:
    return tuple((name, value) for name, value in saved)
