"""Silence is news: when nothing comes any more, what the policy asks for engages by the wall clock, and ends with the next event."""

import time
from pathlib import Path

import msgspec
import pytest

from interlock.commands.broker import Broker
from tests.living import Running, send, topics
from tests.replaying import prediction
from tests.story import QUICK, until_published

pytestmark = pytest.mark.integration

POLICY = """
model: m
lateness: 1s
ood: {threshold: 0.9}
slos:
- {name: ood_rate_10m, objective: o, target: "<= 0.10", window: 10m, stale_after: 5s, action_on_breach: notify}
on_unknown: {no_data: {for: 2s, action: route_to_human_review}}
"""


def now() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - silence is measured by the wall


def burst(first: int) -> list[bytes]:
    """Return two hundred predictions of the last minute, so that panes have closed."""
    end = now()
    return [msgspec.json.encode(prediction(first + i, end - 300 * (200 - i))) for i in range(200)]


def test_silence_engages_what_the_policy_asks_for_and_the_next_events_end_it(kafka: Broker, tmp_path: Path) -> None:
    prefix, shards, policy = "silence.", 2, tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    topics(kafka.bootstrap, prefix, shards)
    with Running(policy, kafka.bootstrap, prefix, (*QUICK, "--idle-after", "1")) as worker:
        send(kafka.bootstrap, prefix, {"predictions": burst(0)}, shards)
        fell_silent = now()
        until_published(kafka.bootstrap, prefix, lambda found: len(found) == 1)
        engaged_at, exceptions = now(), worker.status()["exceptions"]
        send(kafka.bootstrap, prefix, {"predictions": burst(200)}, shards)
        controls = until_published(kafka.bootstrap, prefix, lambda found: len(found) > 1)

    assert [(control["slo"], control["state"]) for control in controls] == [
        ("ood_rate_10m.no_data", "engaged"),
        ("ood_rate_10m.no_data", "released"),
    ]
    assert controls[0]["mode"] == "human_review"
    assert fell_silent < controls[0]["ts"] <= engaged_at
    assert "idle" in exceptions
