"""What `check` says of predictions that have no label: which SLOs cannot do what the policy asks."""

from collections.abc import Iterator

from interlock.policies.arrivals import CLASSES
from interlock.policies.model import Policy
from interlock.policies.positions import Finding


def at_source(policy: Policy) -> Iterator[Finding]:
    """Yield what `labels.joined_at_source` asks of outcomes."""
    if not policy.labels.joined_at_source:
        return
    text = "outcomes must carry their `prediction`: one without it is an orphan; corrections (`revision`) are ignored"
    if not any(slo.spec.chain in ("joined", "labels") for slo in policy.slos_in_force):
        text = "no SLO is judged by labels, so nothing is joined, at the source or elsewhere"
    yield Finding(("labels", "joined_at_source"), text)
    if any(slo.resolved_indicator == "ood_recall" for slo in policy.slos_in_force):
        text = (
            "reviews must carry their `prediction` too: those that `interlock audits` takes in do not, and are orphans"
        )
        yield Finding(("labels", "joined_at_source"), text)


def unlabelled(policy: Policy, names: set[str]) -> Iterator[Finding]:
    """Yield what `labels.on_unlabelled` does not do; `names` are the indicators in force."""
    asked, loc = policy.labels.on_unlabelled, ("labels", "on_unlabelled")
    if asked == "exclude":
        return
    if policy.labels.judge_on == "arrival":
        yield Finding(
            loc, "labels are judged as they arrive, so nothing is unlabelled: predictions without one are excluded"
        )
        return
    others = {slo.resolved_indicator for slo in policy.slos_in_force if slo.spec.chain == "joined"} - CLASSES.keys()
    for name in sorted(others & names - {"ood_recall", "label_coverage"}):
        yield Finding(loc, f"{name} leaves out predictions without a label all the same; its verdict shows both bounds")
    if asked == "ipw" and policy.reference is None and names & CLASSES.keys():
        yield Finding(loc, "no reference, so no reporting delays: ratios of labels will stay unidentified")
    plain = [slo for slo in policy.slos_in_force if slo.compare is not None or slo.evidence != "per_event"]
    if asked == "ipw" and any(slo.resolved_indicator in CLASSES for slo in plain):
        yield Finding(loc, "ipw weighs no comparison, and no evidence but per_event: they leave out what is unlabelled")
