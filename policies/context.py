"""What judging one SLO of one model rests on: policy, widths and thresholds, names of its scopes."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

from interlock.detectors.drift import Bins
from interlock.detectors.reliability import Reliability
from interlock.policies.arrivals import CLASSES, Delays, Unlabelled
from interlock.policies.controls import Owner, identity, scope_key
from interlock.policies.model import Policy, Slo
from interlock.policies.panes import Thresholds, pane_ms, thresholds
from interlock.policies.plan import slo_paths

BLOCKS = 24
"""Verdicts are written at least this often per window."""


ASIDE = (
    *("human_goal", "proxies", "owners", "runbook_url", "false_pages_per_year", "rollout", "safe_mode", "lease"),
    *("blast_radius", "operators", "slos", "slices", "never_events", "accept_drift"),
)
"""Keys of a policy on which no SLO's evidence rests, or not as a whole: what an SLO needs of these is compared apart."""


@dataclass(frozen=True, slots=True)
class Learned:
    """What a reference contributes: dispersions, ECE groups of 64 micro-bins, label age (ms), probabilities of audit.

    `drift` are the streams that drift watches, `reliability` how often what was stated came true. `scores_ood` says whether OOD can be scored at all, by the reference or by the serving system's own score; `ranges`,
    whether the reference knows ranges of numbers.
    """

    dispersion: dict[str, float]
    groups: tuple[int, ...] | None = None
    maturity: int | None = None
    audit_probabilities: tuple[float, ...] = ()
    scores_ood: bool = False
    reference_id: str = ""
    ranges: bool = False
    delays: Delays | None = None
    drift: tuple[Bins, ...] = ()
    reliability: Reliability | None = None
    later: tuple["Learned", ...] = ()
    """The same under the policies that follow in mid-stream."""


@dataclass(frozen=True)
class Context:
    """One SLO of one model."""

    policy: Policy
    slo: Slo
    model: str
    learned: Learned

    @cached_property
    def thresholds(self) -> Thresholds:
        """Pane widths and thresholds."""
        return thresholds(self.policy, self.slo)

    @cached_property
    def pane_ms(self) -> int:
        """Width of the SLO's panes."""
        return pane_ms(self.slo.window)

    @cached_property
    def window_panes(self) -> int:
        """Panes in the window."""
        return self.thresholds.window_panes

    @cached_property
    def block(self) -> int:
        """Panes between verdicts when nothing changes."""
        return max(1, -(-self.window_panes // BLOCKS))

    @cached_property
    def stale_panes(self) -> int:
        """Panes of silence after which the verdict is `no_data`."""
        return max(1, -(-self.slo.stale_after_ms // self.pane_ms))

    @cached_property
    def maturity_panes(self) -> int:
        """Age in panes at which a cohort is judged: the policy's, else the reference's, else a day; by arrival, none."""
        if self.by_arrival:
            return 0
        asked = self.policy.labels.maturity
        age = asked if asked is not None else self.learned.maturity
        return max(0, -(-(24 * 3_600_000 if age is None else age) // self.pane_ms))

    @cached_property
    def by_arrival(self) -> bool:
        """Whether labels are judged in the panes of their arrival, as if delay told nothing of the outcome."""
        delay_itself = self.slo.resolved_indicator in ("label_coverage", "label_staleness")
        return self.policy.labels.judge_on == "arrival" and self.slo.spec.chain == "joined" and not delay_itself

    @cached_property
    def unlabelled(self) -> Unlabelled:
        """How predictions without a label count: as the policy says, where that can be done."""
        asked = self.policy.labels.on_unlabelled
        if self.by_arrival or self.slo.resolved_indicator not in CLASSES:
            return "exclude"
        weighs = self.slo.compare is None and self.slo.evidence == "per_event"
        return asked if weighs or asked != "ipw" else "exclude"

    @cached_property
    def arriving(self) -> tuple[float, float] | None:
        """The shares of right and of wrong predictions whose label is there when they are judged; None if not known."""
        if self.learned.delays is None:
            return None
        return self.learned.delays.shares(self.slo.resolved_indicator, self.maturity_panes * self.pane_ms)

    @cached_property
    def coverage(self) -> float:
        """Share of due labels below which a pane gives no evidence; 0 where it does not depend on them."""
        asked = self.policy.labels.coverage
        if self.by_arrival or self.unlabelled in ("hit", "miss"):
            return 0.0
        if self.unlabelled == "ipw":
            return asked * min(self.arriving or (1.0,))
        return asked

    @cached_property
    def dispersion(self) -> float:
        """What counts are divided by: the policy's, else the reference's, else 1."""
        asked, learned = self.slo.dispersion, self.learned.dispersion
        return asked if asked is not None else learned.get(self.slo.resolved_indicator.removesuffix("_p95"), 1.0)

    @cached_property
    def cap(self) -> int:
        """Slices, or endpoints, that get a slot of their own."""
        if not slo_paths(self.policy, self.slo):
            return 0
        chosen = self.policy.slice_set(self.slo)
        return 50 if chosen is None else chosen.max

    @cached_property
    def owner(self) -> Owner:
        """Whose controls its controls are."""
        return Owner(self.model, self.slo.name, self.slo.action_on_breach, self.policy.digest)

    @cached_property
    def asked(self) -> dict[str, object]:
        """All that the SLO's evidence rests on: where it is equal, evidence goes on under another policy.

        The share of the budget of false pages is not in it: a threshold may move.
        """
        policy, slo = self.policy, self.slo
        chosen = policy.slice_set(slo)
        rules = policy.never_events if slo.spec.kind == "never_event" else ()
        accepted = policy.accept_drift if slo.spec.kind == "drift" else ()
        return {
            "slo": slo.model_dump(mode="json", exclude={"objective"}),
            "slices": None if chosen is None else chosen.model_dump(mode="json"),
            "rules": [one.model_dump(mode="json") for one in (*rules, *accepted)],
            "audits": self.learned.audit_probabilities,
            "rest": policy.model_dump(mode="json", exclude=set(ASIDE)),
        }

    def scope(self, name: str | None, *, pool: str) -> dict[str, str]:
        """Return the scope of a slice by its name as counted, the whole model if the SLO is not split; of its variant."""
        arm = {"variant": self.slo.compare.variant} if self.slo.compare else {}
        if not self.cap:
            return arm
        return {"slice": pool if name is None else slice_text(name, slo_paths(self.policy, self.slo))} | arm

    def verdict_id(self, scope: dict[str, str], pane: int) -> str:
        """Return `H(policy digest, model, slo, scope, as-of arrival pane)` (VERDICTS.md §3)."""
        return identity(self.policy.digest, self.model, self.slo.name, scope_key(scope), pane * self.pane_ms)


def slice_text(name: str, paths: Sequence[str]) -> str:
    r"""Return a slice as people write it: `tenant=acme,region=eu`; `,`, `=` and `\` in values are escaped."""
    if not name.startswith("["):
        return name
    parts = zip(paths, json.loads(name), strict=True)
    return ",".join(f"{path.rsplit('.', 1)[-1]}={_value(value)}" for path, value in parts)


def _value(value: object) -> str:
    if isinstance(value, str):
        return value.replace("\\", "\\\\").replace(",", "\\,").replace("=", "\\=")
    return json.dumps(value)
