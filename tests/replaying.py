"""Replays for tests: the command itself, in this process, on files in a folder of their own."""

import io
import json
from collections.abc import Mapping, Sequence
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from interlock.commands.command_line import _run, spread

Event = dict[str, Any]

START = 1_790_000_000_000 - 1_790_000_000_000 % 86_400_000
HOUR = 3_600_000

POLICY = """
model: m
max_skew: 5m
lateness: 5m
labels: {join_ttl: 2d, orphan_ttl: 30m, maturity: 3h}
ood: {threshold: 0.9}
slices: [{by: [tenant], max: 3}]
slos:
- {name: ood_rate_6h, objective: o, target: "<= 0.10", window: 6h, action_on_breach: route_to_human_review, per: tenant}
- {name: decision_ece_6h, objective: o, target: "<= 0.08", window: 6h, action_on_breach: notify}
"""


@dataclass(frozen=True)
class Ran:
    """What a replay left: its exit code, what it printed, its folder."""

    code: int
    out: str
    err: str
    folder: Path

    def lines(self, name: str) -> list[Event]:
        """Return the records of one output."""
        return [json.loads(line) for line in (self.folder / f"{name}.jsonl").read_bytes().splitlines()]

    def said(self) -> tuple[bytes, bytes]:
        """Return the bytes of verdicts and controls."""
        return (self.folder / "verdicts.jsonl").read_bytes(), (self.folder / "control.jsonl").read_bytes()

    def run(self) -> dict[str, Any]:
        """Return run.json."""
        found: dict[str, Any] = json.loads((self.folder / "run.json").read_bytes())
        return found

    def counted(self, name: str) -> int:
        """Return one counter, 0 if it is not there."""
        return int(self.run()["counters"].get(name, 0))

    def dead(self) -> list[str]:
        """Return the reasons of the dead letters, in order."""
        return [letter["reason"] for letter in self.lines("dead-letters")]


def command(*arguments: object) -> tuple[int, str, str]:
    """Run a command line in this process; return its exit code and what it printed on both streams."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = _run(spread([str(argument) for argument in arguments]))
    return code, out.getvalue(), err.getvalue()


def replayed(
    folder: Path,
    files: Mapping[str, Sequence[Path]],
    policy: str = POLICY,
    options: Sequence[object] = (),
    out: str = "out",
) -> Ran:
    """Replay files of the three topics by a policy's text, without ClickHouse unless `options` say so."""
    (folder / "policy.yaml").write_text(policy, "utf-8")
    given: list[object] = [part for topic, paths in files.items() if paths for part in (f"--{topic}", *paths)]
    options = options or ("--no-clickhouse",)
    code, said, err = command("replay", folder / "policy.yaml", *given, "--out", folder / out, *options)
    return Ran(code, said, err, folder / out)


def lines(path: Path, events: Sequence[Event | bytes]) -> Path:
    """Write JSON lines; what is bytes already stays as it is."""
    path.write_bytes(b"".join((e if isinstance(e, bytes) else msgspec.json.encode(e)) + b"\n" for e in events))
    return path


def replay_lines(
    folder: Path,
    predictions: Sequence[Event | bytes],
    outcomes: Sequence[Event | bytes] | None = None,
    policy: str = POLICY,
    options: Sequence[object] = (),
) -> Ran:
    """Replay events from JSON lines; it must succeed, and every event must be accounted for."""
    files = {"predictions": [lines(folder / "p.jsonl", predictions)]}
    if outcomes is not None:
        files["outcomes"] = [lines(folder / "o.jsonl", outcomes)]
    ran = replayed(folder, files, policy, ("--no-clickhouse", *options))

    assert ran.code in (0, 1, 4), ran.err
    assert_all_accounted(ran, len(predictions) + len(outcomes or ()))
    return ran


ENDS = (
    "predictions", "outcomes", "abuse", "duplicate", "revised", "revision_ignored", "other_model", "not_sampled", "dead_letters"
)  # fmt: skip


def assert_all_accounted(ran: Ran, events: int) -> None:
    """Every event read is a prediction, an outcome, a report, a repeat, a correction, another model's, not asked for or dead, once."""
    assert sum(ran.counted(name) for name in ENDS) == events, ran.run()["counters"]
    assert ran.counted("dead_letters") == len(ran.dead())
    waited = sum(ran.counted(name) for name in ("joined", "orphan", "waiting_outcomes"))
    assert waited == ran.counted("outcomes"), ran.run()["counters"]


def prediction(i: int, at: int | None = None, **fields: Any) -> Event:
    """Return a good prediction: one a minute from START unless told; `...` leaves a field out."""
    event = {
        "event_id": f"e{i}", "ts": START + i * 60_000 if at is None else at, "model": "m", "model_version": "1",
        "segment": {"tenant": "acme"}, "score": 0.75, "ood_score": 0.1, "decision": "pay",
    } | fields  # fmt: skip
    return {name: value for name, value in event.items() if value is not ...}


def outcome(i: int, at: int | None = None, **fields: Any) -> Event:
    """Return the outcome of `prediction(i)`, ten minutes later unless told; three of four come true."""
    ts = START + i * 60_000 + 600_000 if at is None else at
    return {"event_id": f"e{i}", "ts": ts, "label": i % 4 != 0} | fields
