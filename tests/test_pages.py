"""Pages: what on-call reads of real controls, who is woken and who is not, and which pages are the same page."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.court import Court, decisions, make_context, make_policy, promise
from interlock.policies.controls import Cause, Controls, Owner
from interlock.policies.load import load_policy
from interlock.policies.machine_never import NeverMachine
from interlock.policies.model import Policy
from interlock.policies.pages import page_of
from interlock.policies.plan import DECIDED, VIOLATION
from interlock.policies.said import Moment
from interlock.policies.scalars import DAY, HOUR
from interlock.records import Control, Page, page_line
from tests.replaying import POLICY, command, prediction, replay_lines

QUICKSTART = Path(__file__).resolve().parents[1] / "examples" / "quickstart"
TS = 1_790_000_000_000

OBEYED = "Who obeys is told by the acks of the serving systems and by the route of the traffic, not by this page."


def page(control: Control, policy: Policy) -> Page:
    """The page of a control that has one."""
    found = page_of(control, policy)
    assert found is not None
    return found


def rates(**more: Any) -> Policy:
    """A policy of one OOD rate."""
    return make_policy(promise("ood_rate_24h", "<= 0.05", "24h"), **more)


def controls(policy: Policy, name: str = "ood_rate_24h", action: str = "route_to_human_review") -> Controls:
    """The controls of an SLO of model m."""
    return Controls(Owner("m", name, action, policy.digest))  # type: ignore[arg-type]


def cause(ts: int, **evidence: object) -> Cause:
    return Cause(ts, f"v{ts}", "ood_rate_24h misses <= 0.05", evidence)


def test_a_never_events_page_says_what_happened_where_when_and_who_may_release(tmp_path: Path) -> None:
    policy = (QUICKSTART / "policy.yaml").read_text("utf-8") + "owners: {risk: model-risk}\n"
    (tmp_path / "policy.yaml").write_text(policy, "utf-8")
    files = ("--predictions", QUICKSTART / "predictions.jsonl", "--no-clickhouse", "--out", tmp_path / "out")
    command("replay", tmp_path / "policy.yaml", *files)
    (line,) = (tmp_path / "out" / "control.jsonl").read_bytes().splitlines()
    control = Control.model_validate_json(line)
    found = page(control, load_policy(policy.encode(), "policy.yaml"))

    assert (found.action, found.severity, found.incident) == (
        "trigger", "critical", f"interlock/v1/{control.control_id}",
    )  # fmt: skip
    assert found.summary == (
        "claims-triage: never-event large_denial_without_person in version 2.3, at 2026-10-01 17:30:00 UTC. "
        "Published: killed."
    )
    assert found.details == {
        "what_broke": "Large claims are denied by people only. Never-event large_denial_without_person happened. "
        "1 violation in 307 events that it could decide. "
        "It forbids: decision == 'deny' && features.amount > 50000 && route == 'automatic'",
        "where": "version 2.3",
        "since": "2026-10-01 17:30:00 UTC (event time)",
        "causes": "never-event large_denial_without_person",
        "events": "claim-0300",
        "done": f"Published: killed (the model serves nothing) for version 2.3 (action kill_switch, control "
        f"{control.control_id}, epoch 1). {OBEYED}",
        "next": "It stands until a person releases it: model-risk.",
    }


def test_an_ood_rates_page_has_the_stretch_that_broke_it_and_its_causes_by_name(tmp_path: Path) -> None:
    text = POLICY + "human_goal: Pay valid claims.\nrunbook_url: https://runbooks.example/m\nowners: {on_call: sre}\n"
    events = [prediction(i, ood_score=0.95 if i > 400 and i % 2 else 0.1) for i in range(900)]
    ran = replay_lines(tmp_path, events, None, text)
    control = Control.model_validate(ran.lines("control")[0])
    found = page(control, load_policy(text.encode(), "policy.yaml"))

    assert found.summary == (
        "m: ood_rate_6h misses <= 0.1 in tenant=acme: 0.5, since 2026-09-21 06:40:00 UTC. Published: human_review."
    )
    assert (found.severity, [link.href for link in found.links]) == ("error", ["https://runbooks.example/m"])
    assert found.details == {
        "what_broke": "o. Promised: ood_rate <= 0.1 over 6h. "
        "In the stretch from 2026-09-21 06:40:00 UTC it was 0.5 (15 of 30 events).",
        "where": "tenant=acme",
        "since": "2026-09-21 06:40:00 UTC (event time)",
        "causes": "of 15 events flagged in tenant=acme: ood_score (15)",
        "events": "e427, e425, e429, e421, e423, e419, e417, e415",
        "done": f"Published: human_review (people decide) for tenant=acme (action route_to_human_review, control "
        f"{control.control_id}, epoch 1). {OBEYED}",
        "next": "It ends by proof that the target is kept, 2h without a warning included; or a person releases it: "
        "the policy names nobody. Runbook: https://runbooks.example/m. On call: sre.",
        "goal": "Pay valid claims.",
    }


def test_an_eces_page_says_what_was_stated_and_what_came_true() -> None:
    policy = make_policy(
        promise("decision_ece_24h", "<= 0.05", "24h", objective="A probability means what it says."),
        operators=[{"group": "model-risk", "may": ["release"], "approvals": 2}, {"group": "sre", "may": ["engage"]}],
    )
    labelled = decisions(np.random.default_rng(1), 50, 0.2, (200, 1))
    (control,) = Court(policy).judge(200, labelled.made(), labelled.joined(6)).controls
    found = page(control, policy)

    assert found.summary == (
        "m: decision_ece_24h misses <= 0.05 in the whole model: 0.177, since 2024-03-18 00:10:00 UTC. "
        "Published: human_review."
    )
    assert found.details["what_broke"] == (
        "A probability means what it says. Promised: decision_ece <= 0.05 over 24h. "
        "In the stretch from 2024-03-18 00:10:00 UTC it was 0.177 "
        "(428 labels; 0.719 was stated on average and 0.54 came true)."
    )
    assert found.details["next"].endswith("or a person releases it: model-risk (2 approvals).")


def test_a_recalls_page_has_its_reviews_and_audits() -> None:
    policy = make_policy(promise("ood_recall_7d", ">= 0.9", "7d"), audits={"rate": 0.05})
    counts = {"flagged": 1200, "reviewed": 1200, "hits": 300, "audits_due": 60, "audits_settled": 59}
    stretch = {"from": TS, "value": 0.6, "audited_misses": 10} | counts
    told = cause(TS, stretch=stretch)
    found = page(controls(policy, "ood_recall_7d").engage({}, told), policy)

    assert "1,200 flagged, 1,200 of them reviewed, 300 truly so; 59 of 60 audits settled, 10 found" in str(
        found.details["what_broke"]
    )


def test_a_never_events_early_control_and_its_panes_record_are_the_same_page() -> None:
    rule = {"name": "bad", "when": "decision == 'deny'"}
    slo = promise("never_event_violations", "== 0", "rolling", action_on_breach="kill_switch")
    context = make_context(slo, never_events=[rule])
    machine = NeverMachine(context)
    (early,) = machine.trigger("2", (TS, "e1", "bad"))
    counts = np.zeros((1, 3), np.int64)
    counts[0, VIOLATION], counts[0, DECIDED] = 1, 9
    machine.judge(3000, {"2": counts})
    (canonical,) = machine.conclude(Moment(3000, 3000)).controls
    first, second = page(early, context.policy), page(canonical, context.policy)

    assert (early.verdict_id, first.action) == ("", "trigger")
    assert canonical.verdict_id
    assert (first.page_id, first.incident, first.action) == (second.page_id, second.incident, second.action)
    assert first.details["events"] == "e1"
    assert "Never-event bad happened." in first.details["what_broke"]


def test_a_never_event_is_news_also_on_the_day_of_its_release() -> None:
    slo = promise("never_event_violations", "== 0", "rolling", action_on_breach="kill_switch")
    policy = make_policy(slo, never_events=[{"name": "bad", "when": "decision == 'deny'"}])
    kept = controls(policy, "never_event_violations", "kill_switch")
    kept.engage({}, cause(TS))
    kept.release({}, cause(TS + HOUR))
    again = page(kept.engage({}, cause(TS + 2 * HOUR)), policy)

    assert (again.action, again.severity) == ("trigger", "critical")


@pytest.mark.parametrize(("gap", "action", "severity"), [(DAY, "update", "warning"), (DAY + 1, "trigger", "error")])
def test_a_re_engagement_wakes_somebody_only_if_a_day_has_passed_since_the_release(
    gap: int, action: str, severity: str
) -> None:
    policy = rates()
    kept = controls(policy)
    first = page(kept.engage({}, cause(TS)), policy)
    kept.release({}, cause(TS + HOUR))
    resumed = controls(policy)
    resumed.restore(kept.snapshot())
    again = page(resumed.engage({}, cause(TS + HOUR + gap)), policy)

    assert (again.action, again.severity) == (action, severity)
    assert again.incident != first.incident
    assert ("again within a day of its release" in again.summary) == (action == "update")


def test_each_event_of_an_engagement_is_a_page_of_its_own_in_one_incident() -> None:
    policy = rates(operators=[{"group": "risk", "may": ["release"]}])
    kept = controls(policy)
    told = [
        kept.engage({}, cause(TS)),
        kept.update({}, cause(TS + 7 * DAY)),
        kept.update({}, cause(TS + 8 * DAY)),
        kept.release({}, cause(TS + 9 * DAY)),
    ]
    pages = [page(control, policy) for control in told]

    assert [p.action for p in pages] == ["trigger", "update", "update", "resolve"]
    assert [p.severity for p in pages] == ["error", "error", "error", "info"]
    assert len({p.page_id for p in pages}) == 4
    assert len({p.incident for p in pages}) == 1
    assert "A person must decide: let it stand, or release it: risk." in pages[1].details["next"]
    assert pages[3].details["done"].startswith("Published: human_review is no longer asked for in the whole model")


def test_a_page_is_the_same_page_whenever_it_is_issued() -> None:
    policy = rates()
    control = controls(policy).engage({}, cause(TS))
    later = control.model_copy(update={"issued_at": TS + DAY})

    assert page(later, policy) == page(control, policy).model_copy(update={"issued_at": TS + DAY})


@pytest.mark.parametrize(
    ("slo", "action", "severity", "pages"),
    [
        ("ood_rate_24h", "route_to_human_review", "ticket", False),
        ("ood_rate_24h", "notify", "page", True),
        ("ood_rate_24h.no_data", "route_to_human_review", "page", True),
        ("ood_rate_24h.no_data", "notify", "page", False),
        ("ood_rate_24h.no_data", "route_to_human_review", "ticket", False),
    ],
)
def test_who_is_woken(slo: str, action: str, severity: str, pages: bool) -> None:
    policy = make_policy(promise("ood_rate_24h", "<= 0.05", "24h", severity=severity))
    kept = controls(policy, slo, action)
    both = [kept.engage({}, cause(TS)), kept.release({}, cause(TS + HOUR))]

    assert [page_of(control, policy) is not None for control in both] == [pages, pages]


def test_a_page_of_the_unknown_says_since_when_nothing_is_known() -> None:
    policy = rates()
    told = Cause(TS + HOUR, "v", "ood_rate_24h is no_data for 1h in the whole model: no predictions", {"since": TS})
    found = page(controls(policy, "ood_rate_24h.no_data").engage({}, told), policy)

    assert found.severity == "error"
    assert found.details["what_broke"] == (
        "a test. Whether that holds is unknown: ood_rate_24h is no_data for 1h in the whole model: no predictions."
    )
    assert found.details["since"] == "2026-09-21 14:13:20 UTC (event time)"


def test_what_a_dropped_slo_had_opened_still_closes_and_opens_no_more() -> None:
    kept = controls(rates(), "an_older_slo")
    engaged, released = kept.engage({}, cause(TS)), kept.release({}, cause(TS + HOUR))

    assert page_of(engaged, rates()) is None
    assert page(released, rates()).action == "resolve"


def test_safe_mode_names_the_baseline_that_serves() -> None:
    slo = promise("ood_rate_24h", "<= 0.05", "24h", action_on_breach="degrade_to_safe_mode")
    policy = make_policy(slo, safe_mode={"serve": "rules@1.9"})
    found = page(controls(policy, action="degrade_to_safe_mode").engage({}, cause(TS)), policy)

    assert found.severity == "critical"
    assert found.details["done"].startswith("Published: safe_mode (rules@1.9 serves) for the whole model")


def test_a_page_that_moves_no_mode_says_so() -> None:
    policy = make_policy(promise("ood_rate_24h", "<= 0.05", "24h", action_on_breach="notify"))
    found = page(controls(policy, action="notify").engage({}, cause(TS)), policy)

    assert found.details["done"].startswith("No mode was moved in the whole model: the policy only notifies")
    assert "next" not in found.details


@given(st.text(max_size=3000), st.lists(st.text(max_size=900), max_size=8))
def test_whatever_slices_and_events_are_called_a_page_is_short_plain_text(name: str, events: list[str]) -> None:
    policy = rates()
    told = Cause(TS, "v", f"ood_rate_24h misses <= 0.05 in {name}", {"events": events})
    found = page(controls(policy).engage({"slice": name}, told), policy)

    assert len(found.summary) <= 1024
    assert found.summary.endswith("Published: human_review.")
    assert all(text.isprintable() and len(text) <= 2000 for text in (found.summary, *found.details.values()))
    assert Page.model_validate_json(page_line(found)) == found
