"""What shards and judges of a live pipeline have in common: one policy, one reference, one layout of topics."""

import hashlib
from collections.abc import Mapping as Table
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import NamedTuple

from interlock.policies.context import Learned
from interlock.policies.model import Policy
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.streams.batch import AbuseReports, Outcomes, Predictions, Wanted
from interlock.streams.decode import Decoder, abuse_decoder, outcome_decoder, prediction_decoder
from interlock.streams.mapping import Mapping
from interlock.streams.pipeline import learned
from interlock.streams.reference import Reference
from interlock.streams.scoring import Scorer

Headers = tuple[tuple[str, bytes], ...]


class Outgoing(NamedTuple):
    """A message to be sent: partition None means that the key decides."""

    topic: str
    value: bytes | None
    key: bytes | None = None
    partition: int | None = None
    headers: Headers = ()


class Layout(NamedTuple):
    """Partitions of the input topics, which are the shards, of `tallies`, which are the judges, and of `control`."""

    shards: int
    judges: int = 1
    controls: int = 1


class Followed(NamedTuple):
    """A policy that follows in mid-stream: its text, the time (ms) from which it counts, and itself."""

    text: str
    since: int
    policy: Policy


def run_of(first: Policy, reference: str) -> str:
    """Return the name under which counts may be added up: 16 hex digits of the first policy and the reference's id."""
    return hashlib.sha256(f"{first.digest}\n{reference}".encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Setup:
    """All that a shard or a judge is a function of, besides its input."""

    policy: Policy
    reference: Reference | None
    layout: Layout
    secret: bytes = b""
    mapping: Mapping | None = None
    takes_unsigned: bool = False
    """Whether commands are obeyed that nobody has signed."""
    changes: tuple[Followed, ...] = ()

    def with_changes(self, changes: Sequence[Followed]) -> "Setup":
        """Return the same with these policies after the first."""
        return replace(self, changes=tuple(changes))

    def policy_of(self, digest: str) -> Policy:
        """Return the policy with a digest; the first one if none has it."""
        return next((one.policy for one in self.changes if one.policy.digest == digest), self.policy)

    def policy_at(self, ts: int) -> Policy:
        """Return the policy that counts at a time (ms)."""
        return next((one.policy for one in reversed(self.changes) if one.since <= ts), self.policy)

    @cached_property
    def plan(self) -> Plan:
        """What is counted."""
        return make_plan(self.policy, [(one.policy, one.since) for one in self.changes])

    @cached_property
    def run(self) -> str:
        """The name under which counts may be added up."""
        return run_of(self.policy, "" if self.reference is None else self.reference.id)

    @cached_property
    def scorer(self) -> Scorer:
        """Scores events against the reference."""
        return Scorer(self.policy, self.reference, self.secret)

    @cached_property
    def learned(self) -> Learned:
        """What judging takes from the reference."""
        return learned(self.plan, self.reference)

    @cached_property
    def decoders(self) -> Table[str, Decoder[Predictions] | Decoder[Outcomes] | Decoder[AbuseReports]]:
        """How each input topic is read."""
        paths, skew = self.plan.paths, self.policy.max_skew
        wanted = self.reference.wanted(paths, self.policy.ood.logits) if self.reference else Wanted(paths=paths)
        embedded = wanted if self.policy.labels.joined_at_source else None
        return {
            "predictions": prediction_decoder(wanted, self.secret).timely(skew),
            "outcomes": outcome_decoder(self.secret, embedded=embedded).timely(skew),
            "abuse": abuse_decoder(Wanted(paths=paths), self.secret).timely(skew),
        }

    @cached_property
    def mappings(self) -> Table[str, Mapping]:
        """The field names of each input topic, where they are not ours."""
        return {} if self.mapping is None else {topic: self.mapping.of(topic) for topic in self.decoders}
