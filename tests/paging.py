"""Pages for tests, and what a receiver made of them."""

from typing import Any

from interlock.records import Page

TS = 1_790_000_000_000


def page(number: int, action: str = "trigger", incident: str = "a", **more: Any) -> Page:
    """The page `p{number}` of an incident."""
    fields: dict[str, Any] = {
        "page_id": f"p{number}",
        "action": action,
        "incident": f"interlock/v1/{incident}",
        "severity": "info" if action == "resolve" else "error",
        "summary": f"page {number}",
        "model": "claims",
        "slo": "ood_rate_24h",
        "scope": {"slice": "tenant=acme"},
        "control_id": incident,
        "epoch": 1,
        "mode": "human_review",
        "verdict_id": "v",
        "ts": TS + number,
        "details": {"where": "tenant=acme", "what_broke": "it broke"},
        "links": [{"href": "https://runbooks.example/claims", "text": "Runbook"}],
        "issued_at": TS + number,
    }
    return Page.model_validate(fields | more)


def told(bodies: list[dict[str, Any]]) -> list[tuple[str, str]]:
    """Return action and summary (of a resolve: its incident) of events as they came."""
    return [
        (body["event_action"], body["payload"]["summary"] if "payload" in body else body["dedup_key"])
        for body in bodies
    ]
