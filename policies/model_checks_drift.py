"""What the types of a policy cannot say of drift: it is a ticket, and what is accepted names one stream."""

from collections.abc import Iterator

from interlock.policies.model import Policy, Slo
from interlock.policies.positions import Finding, Loc


def ticket(loc: Loc, slo: Slo) -> Iterator[Finding]:
    """Yield what makes drift more than a ticket: real streams drift all the time, and harm has indicators of its own."""
    if slo.severity != "ticket":
        text = f"found {slo.severity}; expected severity: ticket, since drift as such wakes nobody"
        yield Finding((*loc, "severity"), text)
    if slo.action_on_breach != "notify":
        text = f"found {slo.action_on_breach}; expected notify, since drift as such changes nothing in serving"
        yield Finding((*loc, "action_on_breach"), text)


def check_accepted(policy: Policy) -> list[Finding]:
    """Return the entries of `accept_drift` that do not name one stream."""
    found = []
    for i, one in enumerate(policy.accept_drift):
        if (one.feature is None) == (one.stream is None):
            both = "both" if one.feature else "neither"
            text = f"found {both} of feature and stream; expected one of them: what has changed"
            found.append(Finding(("accept_drift", i), text))
    return found
