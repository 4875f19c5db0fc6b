"""The events of a run, and what is true of them: known before anything is sent, and not from Interlock."""

import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np

from interlock.partitions import partition_of
from interlock.protocol import CONTENT_TYPE, JSON_LINES

POLICY = """
model: m
max_skew: 5m
lateness: 1m
labels: {join_ttl: 6h, orphan_ttl: 30m, maturity: 30m}
ood: {threshold: 0.9}
slices: [{by: [tenant], max: 3}]
slos:
- {name: ood_rate_1h, objective: o, target: "<= 0.10", window: 1h, action_on_breach: route_to_human_review, per: tenant}
- {name: decision_ece_2h, objective: o, target: "<= 0.08", window: 2h, min_events: 100, action_on_breach: notify}
- {name: never_event_violations, objective: o, target: "== 0", window: rolling, action_on_breach: kill_switch}
never_events: [{name: denial, when: "decision == 'deny'"}]
"""
CHANGES = (
    POLICY.replace('"<= 0.10"', '"<= 0.05"'),
    POLICY.replace('"<= 0.08"', '"<= 0.12"')
    .replace("name: ood_rate_1h", "name: ood_rate_2h")
    .replace("1h, action", "2h, action"),
)
"""Policies that follow it in mid-stream: another target, then another window and another target again."""

LATENESS = 60_000
"""What the policy grants, in ms."""

SECOND, MINUTE, HOUR, DAY = 1_000, 60_000, 3_600_000, 86_400_000
SPARSE, SPAN = 5 * SECOND, 12 * HOUR
"""Between two predictions at the most, and from the first to the last at the most."""

DELAY = 10 * MINUTE
"""From a prediction to its outcome."""

JITTER = 50 * SECOND
"""How far events overtake each other: less than the policy's lateness, so that no count may depend on it."""

FLUSH = 3 * HOUR
"""How far after the last event those come that close all panes."""

AWAY = 4 * HOUR
"""How long before the wall clock the events end: what comes after them is in the past too."""

TENANTS = ("north", "south", "west")
CYCLE, EXCURSION = 150 * MINUTE, 40 * MINUTE
"""Every tenant's events are out of distribution for so long once in a cycle, one tenant after the other."""

PACK = 10

POISON = (
    b"nonsense",
    b"\xff\xfe\x00\x01",
    b'{"event_id": 5, "ts": 1700000000000, "model": "m"}',
    b'{"event_id": "x", "ts": "yesterday", "model": "m"}',
    b'{"event_id": "", "ts": 1700000000000, "model": "m", "label": true}',
    b'{"event_id": "x", "ts": 1700000000, "model": "m", "label": true}',
    b'{"event_id": "x", "model": "m"}',
    b'{"event_id": "x", "ts": 1e400, "model": "m"}',
    b"null",
    b"[1, 2, 3]",
    b'{"event_id": "x", "ts": 1700000000000, "model": "m", "score": NaN, "label": []}',
    b'{"a":' * 3000,
)
"""Lines of either topic that cannot be read, whatever is done."""


class Line(NamedTuple):
    """An event as it is sent: `kind` says what must become of it, `ts` is its time in ms."""

    kind: str
    ts: int
    value: bytes
    event_id: str = ""
    tenant: str = ""


class Packet(NamedTuple):
    """A message: lines for one partition of a topic."""

    topic: str
    partition: int
    lines: tuple[Line, ...]

    @property
    def value(self) -> bytes:
        """The message's value."""
        return b"\n".join(line.value for line in self.lines)


HEADERS = [(CONTENT_TYPE, JSON_LINES.encode())]


@dataclass(frozen=True)
class Stream:
    """All messages of a run in the order in which they are sent, and those that come at last, to close all panes."""

    packets: Sequence[Packet]
    flush: Sequence[Packet]
    end: int
    """The event time (ms) up to which all must be judged once the flush has been read."""

    def expected(self) -> Counter[str]:
        """Return how many lines there are of each kind."""
        return Counter(line.kind for packet in (*self.packets, *self.flush) for line in packet.lines)


@dataclass
class Maker:
    """Makes the events of a seed; `now` is the wall clock (ms), which decides on the hour where they begin."""

    seed: int
    predictions: int
    partitions: int
    now: int
    rng: np.random.Generator = field(init=False)
    start: int = field(init=False)
    every: int = field(init=False)
    """Between two predictions, in ms."""

    def __post_init__(self) -> None:
        """Choose the start."""
        self.rng = np.random.default_rng(self.seed)
        self.every = min(SPARSE, SPAN // self.predictions)
        self.start = (self.now - AWAY - self.predictions * self.every) // HOUR * HOUR

    def stream(self) -> Stream:
        """Return the stream."""
        lines = {"predictions": self._predictions(), "outcomes": self._outcomes()}
        placed = [item for topic, some in lines.items() for item in self._packets(topic, some)]
        packets = [packet for _, packet in sorted(placed, key=lambda one: one[0])]
        end = self.start + self.predictions * self.every
        flush = [Packet(topic, place, (self._last(topic, place, end),)) for topic in lines for place in self._places()]
        return Stream(packets, flush, end + FLUSH - LATENESS)

    def _places(self) -> range:
        return range(self.partitions)

    def _predictions(self) -> list[Line]:
        return [self._prediction(f"e{i}", self.start + i * self.every) for i in range(self.predictions)]

    def _prediction(self, name: str, ts: int, kind: str = "prediction") -> Line:
        tenant = TENANTS[int(self.rng.integers(3))]
        turn, at = divmod(ts - self.start, CYCLE)
        odd = at % CYCLE < EXCURSION and TENANTS[turn % 3] == tenant and self.rng.random() < 0.5
        deny = name == f"e{self.predictions // 2}"
        event = {
            "event_id": name, "ts": ts, "model": "m", "model_version": "1", "segment": {"tenant": tenant},
            "score": 0.75, "ood_score": 0.95 if odd else 0.1, "decision": "deny" if deny else "pay",
        }  # fmt: skip
        return Line(kind, ts, _text(event), name, tenant)

    def _outcomes(self) -> list[Line]:
        made = []
        for i in range(self.predictions):
            ts = self.start + i * self.every + DELAY
            if self.rng.random() < 0.95:
                made.append(Line("outcome", ts, _text(_outcome(f"e{i}", ts, i)), f"e{i}"))
            if self.rng.random() < 0.01:
                made.append(Line("orphan", ts, _text(_outcome(f"nobody{i}", ts, i)), f"nobody{i}"))
        return made

    def _last(self, topic: str, place: int, end: int) -> Line:
        """Return an event of a partition that comes long after all others."""
        name = next(f"last{i}" for i in range(10_000) if partition_of(f"last{i}".encode(), self.partitions) == place)
        ts = end + FLUSH
        if topic == "predictions":
            return self._prediction(name, ts)
        return Line("outcome", ts, _text(_outcome(name, ts, 1)), name)

    def _packets(self, topic: str, lines: Sequence[Line]) -> list[tuple[float, Packet]]:
        """Return the packets of a topic, each with the share of the run at which it is sent."""
        order = np.argsort([line.ts + self.rng.integers(JITTER) for line in lines], kind="stable")
        queues: list[list[Line]] = [[] for _ in self._places()]
        for at in order:
            queues[partition_of(lines[at].event_id.encode(), self.partitions)].append(lines[at])
        made = []
        for place, queue in enumerate(queues):
            packs = [queue[at : at + PACK] for at in range(0, len(queue), PACK)]
            sent = list(self._disturbed(packs))
            made += [((n + 0.5) / len(sent), Packet(topic, place, tuple(some))) for n, some in enumerate(sent)]
        return made

    def _disturbed(self, packs: Sequence[list[Line]]) -> list[list[Line]]:
        """Return packs with what goes wrong at producers: some sent again, some poisoned, some of a clock a day ahead."""
        sent = []
        for n, pack in enumerate(packs):
            sent.append([line for own in pack for line in self._among(own)])
            if self.rng.random() < 0.08:
                again = packs[max(0, n - int(self.rng.integers(3)))]
                sent.append([line._replace(kind="again") for line in again])
        return sent

    def _among(self, line: Line) -> list[Line]:
        chance = self.rng.random()
        if chance < 0.02:
            return [line, Line("poison", 0, POISON[int(self.rng.integers(len(POISON)))])]
        if chance < 0.03:
            event = json.loads(line.value)
            event |= {"ts": event["ts"] + DAY, "event_id": "ahead-" + event["event_id"]}
            return [Line("ahead", event["ts"], _text(event)), line]
        return [line]


def _outcome(name: str, ts: int, i: int) -> dict[str, Any]:
    return {"event_id": name, "ts": ts, "label": i % 4 != 0}


def _text(event: dict[str, Any]) -> bytes:
    return json.dumps(event, separators=(",", ":")).encode()
