"""How long each side of the join is remembered (STREAM.md §2)."""

from dataclasses import dataclass
from typing import Self

from interlock.policies.model import Policy


@dataclass(frozen=True, slots=True)
class Horizons:
    """How long each side is remembered, in milliseconds of event time."""

    join: int
    orphan: int
    predictions: int
    outcomes: int
    repeat: int

    @classmethod
    def of(cls, policy: Policy, *, joins: bool) -> Self:
        """Derive the horizons of a policy.

        A prediction's id is remembered for as long as an outcome may still find it, not for `dedup_ttl` alone: a second
        prediction of the id would give the outcome two candidates, and which it met would hang on the interleaving.
        An outcome is remembered for as long as a correction of it may still find its prediction. Where outcomes carry
        their predictions, nothing is sought, and both are remembered as long as they may come twice.
        """
        labels, repeat = policy.labels, policy.dedup_ttl
        if labels.joined_at_source:
            return cls(labels.join_ttl, labels.orphan_ttl, repeat, repeat, repeat)
        longest = max(repeat, labels.join_ttl) if joins else repeat
        told = labels.orphan_ttl + (labels.join_ttl if joins else 0)
        return cls(labels.join_ttl, labels.orphan_ttl, longest, max(repeat, told), repeat)
