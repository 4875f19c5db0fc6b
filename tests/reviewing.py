"""Streams in which some events are unfamiliar, for tests of audits: their policy, their events, and their reviewers."""

import csv
from pathlib import Path

from tests.replaying import HOUR, START, Event, Ran, command, prediction, replay_lines

RATE = 0.25
EVENTS = 2400

POLICY = f"""
model: m
labels: {{join_ttl: 4d, maturity: 3h}}
ood: {{threshold: 0.9}}
audits: {{rate: {RATE}}}
slices: [{{by: [tenant], max: 3}}]
slos:
- {{name: recall_24h, objective: o, target: ">= 0.5", window: 24h, action_on_breach: notify, per: tenant}}
""".replace("recall_24h", "ood_recall_24h")


def odd(i: int) -> bool:
    """Whether event i is truly unfamiliar."""
    return i % 10 == 0


def flagged(i: int) -> bool:
    """Whether the serving system says so: of ten unfamiliar events it misses one."""
    return odd(i) and i % 100 != 0


def events(count: int = EVENTS) -> list[Event]:
    """One event a minute."""
    return [prediction(i, ood_score=0.95 if flagged(i) else 0.2) for i in range(count)]


def reviewed(table: Path, *, late: int = HOUR) -> Path:
    """Fill in a table as reviewers do who look at each event an hour after it came."""
    with table.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        i = int(row["event_id"].removeprefix("e"))
        row["confirmed_ood"], row["reviewed_at"] = "yes" if odd(i) else "no", str(START + i * 60_000 + late)
    with table.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, rows[0], lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return table


def replayed(folder: Path, outcomes: Path | None = None) -> Ran:
    """Replay the events, with reviews if there are any."""
    said = None if outcomes is None else outcomes.read_bytes().splitlines()
    return replay_lines(folder, events(), said, POLICY)


def export(folder: Path, name: str = "todo.csv", *options: object) -> tuple[int, str, str]:
    """Export what a replay found due."""
    return command("audits", "export", "--replay", folder / "out", "-o", folder / name, *options)


def take(folder: Path, table: Path, *options: object) -> tuple[int, str, str]:
    """Import a table."""
    return command("audits", "import", table, "--source", "desk", "--replay", folder / "out", *options)
