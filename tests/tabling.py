"""What shards and judges publish, as messages for the sink of tables, and what ClickHouse must then hold."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.court import Ints, make_policy, promise
from interlock.policies.plan import Plan
from interlock.policies.planning import make_plan
from interlock.protocol import control_key, lease_key, read_control
from interlock.records import Control, Verdict, control_line, dead_letter_line, verdict_line
from interlock.streams import wire
from interlock.streams.sink_target import Message
from interlock.streams.tally import NO_COHORT, TallyRecord

HOUR, DAY = 3_600_000, 86_400_000
START = 1_704_067_200_000  # 2024-01-01 UTC


def verdict(number: int, **more: Any) -> Verdict:
    """Verdict `v{number}`, an hour after the one before."""
    ts = START + number * HOUR
    fields: dict[str, Any] = {
        "verdict_id": f"v{number}", "model": "claims", "slo": "ood_rate_24h", "scope": {}, "ts": ts,
        "window_start": ts - DAY, "window_end": ts, "state": "met", "value": 0.01, "lower": None, "upper": None,
        "n": number, "label_coverage": None, "target": "<= 0.05", "evidence": {"a": 1}, "policy_digest": "sha256:00",
    }  # fmt: skip
    return Verdict.model_validate(fields | more)


def control(number: int, **more: Any) -> Control:
    """Control `c{number}`, engaged."""
    fields: dict[str, Any] = {
        "control_id": f"c{number}", "epoch": number + 1, "model": "claims", "scope": {}, "action": "kill_switch",
        "mode": "killed", "state": "engaged", "parameters": {}, "slo": "never_event_violations",
        "verdict_id": f"v{number}", "cause": "never-event bad", "evidence": {}, "policy_digest": "sha256:00",
        "ts": START + number * HOUR, "issued_at": START + number * HOUR + 5,
    }  # fmt: skip
    return Control.model_validate(fields | more)


def verdicts(numbers: Sequence[int]) -> list[bytes]:
    """Verdicts as judges publish them."""
    return [verdict_line(verdict(number)) for number in numbers]


def keyed(one: Control) -> tuple[bytes, bytes]:
    """A control's key and value as judges publish them."""
    value = control_line(one)
    return control_key(read_control(value)), value


LEASE = (lease_key("claims"), json.dumps({"model": "claims", "seq": 1}).encode())


@dataclass(frozen=True)
class Letter:
    """A refused event, as decoding yields it."""

    offset: int
    topic: str = "predictions"
    index: int = 0
    reason: str = "not_json"
    detail: str = "expected an object"
    raw: bytes = b"\xff{"
    size: int = 2
    digest: str = "00"


def letters(numbers: Sequence[int], partition: int = 3) -> bytes:
    """Dead letters as shards publish them: lines."""
    return b"".join(dead_letter_line(Letter(number), partition) for number in numbers)


def record(plan: Plan, shard: int, panes: tuple[int, int], count: int = 7) -> TallyRecord:
    """Counts of tenants a and b in panes [first, last] of a shard, in cells 0 and 1 of every series; one count all."""
    first, last = panes
    pane, series, piece, cell = np.meshgrid(
        np.arange(first, last + 1), np.arange(len(plan.series)), np.arange(2), np.arange(2), indexing="ij"
    )
    keys = [pane, np.full_like(pane, NO_COHORT), series, np.zeros_like(pane), piece, cell, np.full_like(pane, count)]
    counts: Ints = np.stack([key.ravel() for key in keys]).astype(np.int64)
    return TallyRecord(shard, "predictions", first - 1, last, counts, (("claims", "2"),), ('["a"]', '["b"]'))


def tallies(plan: Plan, made: TallyRecord, most: int = wire.MOST_BYTES) -> list[bytes]:
    """A tally record as shards publish it."""
    return list(wire.tallies("run", made, plan, most))


def messages(
    topic: str, values: Sequence[bytes | None], first: int = 0, key: bytes | None = None, partition: int = 0
) -> list[Message]:
    """Messages as a consumer reads them, from an offset on."""
    return [Message(topic, partition, first + i, key, value, START + first + i) for i, value in enumerate(values)]


SUMS = """SELECT * FROM (
SELECT 'tallies' AS name, count() AS n, sum(count) AS total FROM interlock.tallies FINAL
UNION ALL SELECT 'verdicts', count(), sum(n) FROM interlock.verdicts FINAL
UNION ALL SELECT 'controls', count(), sum(epoch) FROM interlock.controls FINAL
UNION ALL SELECT 'pages', count(), sum(toUnixTimestamp64Milli(ts)) FROM interlock.pages FINAL
UNION ALL SELECT 'dead_letters', count(), sum(offset) FROM interlock.dead_letters FINAL) ORDER BY name"""
"""Rows and a sum of every table, through FINAL."""

PLAN = make_plan(make_policy(promise("ood_rate_24h", "<= 0.05", "24h"), slices=20))
