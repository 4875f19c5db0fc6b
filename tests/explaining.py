"""A replay whose verdicts are explained, and the archives that it can be read from."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from interlock.commands.inputs import read_policy
from interlock.policies.model import Policy
from interlock.policies.why import explain
from interlock.records import canonical_json
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.stored import StoredTables
from interlock.sinks.stored_files import StoredFiles
from interlock.streams.why import Archive, case_of
from tests.replaying import START, Event, command, lines, outcome, prediction

POLICY = """
model: m
max_skew: 5m
lateness: 30s
labels: {join_ttl: 2h, orphan_ttl: 30m, maturity: 30m}
ood: {threshold: 0.9}
endpoint: segment.endpoint
slices: [{by: [tenant], max: 3}]
release: {hold: 20m}
slos:
- {name: ood_rate_1h, objective: Odd ones go to people., target: "<= 0.10", window: 1h, action_on_breach: throttle, per: tenant}
- {name: ood_rate_2h, objective: o, target: "<= 0.10", window: 2h, min_events: 20, action_on_breach: notify}
- {name: decision_ece_2h, objective: o, target: "<= 0.08", window: 2h, min_events: 100, action_on_breach: notify}
- {name: decision_ece_p95_2h, objective: o, target: "<= 0.08", window: 2h, min_events: 100, action_on_breach: notify}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""

MINUTE, HOUR = 60_000, 3_600_000
EVENTS, EVERY = 1600, 20_000
TENANTS = ("acme", "it's \\,=", "zen")


@dataclass(frozen=True)
class Told:
    """A replay with a ClickHouse directory, and its policy's file."""

    folder: Path
    policy: Path

    @property
    def judged_by(self) -> Policy:
        """The policy."""
        return read_policy(self.policy)

    @contextmanager
    def archives(self) -> Iterator[tuple[Archive, Archive]]:
        """Open its files, and its tables."""
        with ClickHouseSink.connect(directory=self.folder / "clickhouse", lay=False) as sink:
            tables = StoredTables(sink)
            yield StoredFiles(self.folder, tables), tables

    def why(self, *arguments: object) -> tuple[int, str, str]:
        """Run the command on the folder."""
        return command("why", *arguments, "--replay", self.folder)


def stream() -> dict[str, list[Event]]:
    """Return predictions and outcomes: acme is odd in hours 3 and 4, labels lie in hours 5 to 6, one denial in hour 8."""
    made, said = [], []
    for i in range(EVENTS):
        at = START + i * EVERY
        hour, tenant = (at - START) / HOUR, TENANTS[i % 3]
        odd = tenant == "acme" and 3 <= hour < 4.5 and i % 2
        deny = i == 8 * HOUR // EVERY
        segment = {"tenant": tenant, "endpoint": f"/{i % 2}"}
        fields = {"ood_score": 0.95 if odd else 0.1, "decision": "deny" if deny else "pay", "segment": segment}
        version = "2" if 5 <= hour < 6.5 else "1"
        made.append(prediction(i, at, model_version=version, **fields))
        said.append(outcome(i, at + 10 * MINUTE, **({"label": False} if version == "2" else {})))
    return {"predictions": made, "outcomes": said}


def replayed(folder: Path) -> Told:
    """Replay the stream into a folder."""
    (folder / "policy.yaml").write_text(POLICY, "utf-8")
    given = [part for name, some in stream().items() for part in (f"--{name}", lines(folder / f"{name}.jsonl", some))]
    code, _, err = command("replay", folder / "policy.yaml", *given, "--out", folder / "out")
    assert code == 1, err
    return Told(folder / "out", folder / "policy.yaml")


def explained(archive: Archive, asked: str, policy: Policy | None = None) -> dict[str, Any]:
    """Return an explanation as plain values."""
    return explain(case_of(archive, asked, policy, None)).plain()


def as_json(plain: Mapping[str, Any]) -> str:
    """Return it as the command prints it."""
    return canonical_json(plain)
