"""The judge of a run: what stands on the topics beside what was sent, and beside what a replay says of it."""

import heapq
import json
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.chaos.counts import Told, compared, true_counts
from benchmarks.chaos.stream import Packet, Stream
from interlock.policies.load import load_policy
from interlock.policies.planning import make_plan
from interlock.streams.checkpoints import Found, Owner
from tests.living import records
from tests.replaying import command

INPUTS = ("predictions", "outcomes")

BECOMES = {
    "predictions": ("prediction",),
    "outcomes": ("outcome", "orphan"),
    "duplicate": ("again",),
    "dead_letters": ("poison", "ahead"),
    "orphan": ("orphan",),
}
"""Counters of the shards, and the kinds of lines that are counted there."""

EXCEPTIONS = ("late", "evicted", "slice_overflow", "version_overflow", "other_model", "revision_ignored")
"""Counters that must be zero: nothing that was sent belongs there, or law 3 would grant a difference."""

Control = dict[str, Any]


@dataclass
class Findings:
    """What a run did to events, verdicts and controls; all but `events`, `repeats` and `said` must be zero."""

    events: int = 0
    unsent: int = 0
    """Messages that are not on the topic once, in order: Kafka's, or the driver's, fault."""
    lost: int = 0
    doubled: int = 0
    wrong_counts: int = 0
    """Panes told twice and not the same, gaps, counters that are not as they must be, differences from the replay's."""
    wrong_verdicts: int = 0
    missing_controls: int = 0
    doubled_controls: int = 0
    wrong_controls: int = 0
    verdicts: int = 0
    controls: int = 0
    repeats: int = 0
    """Records that stand on a topic twice, the same to the byte: their identity makes them one."""
    said: list[str] = field(default_factory=list)
    """What is wrong, in words."""

    @property
    def wrong(self) -> int:
        """How many things are wrong, of any kind."""
        return (
            self.wrong_counts
            + self.wrong_verdicts
            + self.missing_controls
            + self.doubled_controls
            + self.wrong_controls
        )

    @property
    def held(self) -> bool:
        """Whether nothing is wrong."""
        return not (self.unsent or self.lost or self.doubled or self.wrong)


@dataclass(frozen=True)
class Place:
    """Where a run was: its brokers, its topics' prefix, how many partitions, a folder with its policy, and those that followed."""

    bootstrap: str
    prefix: str
    partitions: int
    folder: Path
    changes: Sequence[str] = ()
    """Each as `interlock replay --policy-change` takes it."""

    @property
    def policy(self) -> Path:
        """The policy's file."""
        return self.folder / "policy.yaml"


def judge(place: Place, stream: Stream, run: str) -> Findings:
    """Read all topics and compare."""
    found = Findings(events=stream.expected().total())
    inputs = {topic: records(place.bootstrap, place.prefix + topic) for topic in INPUTS}
    sent = _by_partition((*stream.packets, *stream.flush))
    found.unsent = _unsent(inputs, sent)
    _count(place, stream, found)
    _balance(place, stream, run, found)
    _letters(place, stream, found)
    replayed = _replay(place, {topic: _in_order(some, topic, sent) for topic, some in inputs.items()}, found, stream)
    _verdicts(place, replayed, stream.end, found)
    _controls(place, replayed, stream.end, found)
    return found


def _by_partition(packets: Sequence[Packet]) -> dict[tuple[str, int], list[Packet]]:
    found: dict[tuple[str, int], list[Packet]] = {}
    for packet in packets:
        found.setdefault((packet.topic, packet.partition), []).append(packet)
    return found


def _unsent(inputs: Mapping[str, Sequence[Any]], sent: Mapping[tuple[str, int], Sequence[Packet]]) -> int:
    there: dict[tuple[str, int], list[bytes]] = {}
    for topic, some in inputs.items():
        for record in some:
            there.setdefault((topic, record.partition), []).append(record.value)
    return sum(there.get(key) != [packet.value for packet in packets] for key, packets in sent.items())


def _count(place: Place, stream: Stream, found: Findings) -> None:
    """Compare the counts on `tallies` with what was sent, pane by pane."""
    plan = make_plan(load_policy(place.policy.read_bytes(), "policy"))
    told = Told().read(record.value for record in records(place.bootstrap, place.prefix + "tallies"))
    true = true_counts(stream.packets, plan.tick, plan.policy.labels.orphan_ttl)
    lost, doubled = compared(told.counts, true, stream.end // plan.tick)
    found.lost += lost
    found.doubled += doubled
    found.wrong_counts += told.differing + told.gaps
    if told.differing or told.gaps:
        found.said.append(f"tallies: {told.differing} panes told differently, {told.gaps} gaps")


def _balance(place: Place, stream: Stream, run: str, found: Findings) -> None:
    """Compare the shards' counters, as their last checkpoints have them, with what was sent, kind by kind."""
    counters = last_counters(place, run)
    kinds = stream.expected()
    for name, own in BECOMES.items():
        _differ(found, name, counters[name], sum(kinds[kind] for kind in own))
    for name in EXCEPTIONS:
        _differ(found, name, counters[name], 0)


def last_counters(place: Place, run: str) -> Counter[str]:
    """Return the shards' counters, added up, from the states that stand on `checkpoints`."""
    states = Found()
    for record in records(place.bootstrap, place.prefix + "checkpoints"):
        states.put(record.key, record.value)
    total: Counter[str] = Counter()
    for number in range(place.partitions):
        saved = states.furthest(Owner(run, "shard", number))
        if saved is not None:
            total.update(saved.state["shard"]["counters"])
    return total


def _differ(found: Findings, name: str, got: int, expected: int) -> None:
    if got != expected:
        found.wrong_counts += abs(got - expected)
        found.said.append(f"counter {name}: {got}, expected {expected}")


def _letters(place: Place, stream: Stream, found: Findings) -> None:
    """Compare the dead letters, each by where its event stood, with what was sent."""
    letters = records(place.bootstrap, place.prefix + "dead-letters")
    reasons = {letter.key: json.loads(letter.value)["reason"] for letter in letters}
    values = {(letter.key, letter.value) for letter in letters}
    ahead, kinds = sum(reason == "future_ts" for reason in reasons.values()), stream.expected()
    for got, expected in ((ahead, kinds["ahead"]), (len(reasons) - ahead, kinds["poison"])):
        found.lost += max(0, expected - got)
        found.doubled += max(0, got - expected)
    found.wrong_counts += len(values) - len(reasons)
    found.repeats += len(letters) - len(values)


def _in_order(some: Sequence[Any], topic: str, sent: Mapping[tuple[str, int], Sequence[Packet]]) -> Iterator[bytes]:
    """Yield a topic's lines, partitions merged by the event time that each has reached, with their append times."""
    queues = []
    for place in sorted({record.partition for record in some}):
        own = [record for record in some if record.partition == place]
        queues.append(list(_timed(own, sent[topic, place])))
    for _, _, line in heapq.merge(*queues, key=lambda one: one[:2]):
        yield line


def _timed(own: Sequence[Any], packets: Sequence[Packet]) -> Iterator[tuple[int, int, bytes]]:
    reached = 0
    for record, packet in zip(own, packets, strict=False):
        for line in packet.lines:
            if line.kind not in {"poison", "ahead"}:
                reached = max(reached, line.ts)
            stamped = line.value[:-1] + b',"appended_at":%d}' % record.timestamp
            yield reached, record.partition, line.value if line.kind == "poison" else stamped


def _replay(place: Place, lines: Mapping[str, Iterator[bytes]], found: Findings, stream: Stream) -> Path:
    """Replay what stands on the topics; its dead letters and its counters must be the same."""
    given: list[object] = []
    for topic, some in lines.items():
        path = place.folder / f"{topic}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in some))
        given += [f"--{topic}", path]
    given += [word for change in place.changes for word in ("--policy-change", change)]
    out = place.folder / "out"
    code, _, err = command("replay", place.policy, *given, "--out", out, "--no-clickhouse")
    if code not in {0, 1, 4}:
        raise RuntimeError(f"the replay ended with {code}: {err}")
    counters, kinds = json.loads((out / "run.json").read_bytes())["counters"], stream.expected()
    for name, own in BECOMES.items():
        _differ(found, f"{name} of the replay", counters.get(name, 0), sum(kinds[kind] for kind in own))
    return out


def _verdicts(place: Place, replayed: Path, end: int, found: Findings) -> None:
    """Verdicts must be the replay's, to the byte."""
    live = [record.value for record in records(place.bootstrap, place.prefix + "verdicts")]
    lines = (replayed / "verdicts.jsonl").read_bytes().splitlines()
    due = {line for line in lines if json.loads(line)["ts"] <= end}
    extra, missing = set(live) - set(lines), due - set(live)
    found.verdicts, found.repeats = len(due), found.repeats + len(live) - len(set(live))
    found.wrong_verdicts += len(extra | missing)
    found.said += [f"verdict missing: {line.decode()[:300]}" for line in sorted(missing)[:3]]
    found.said += [f"verdict that no replay says: {line.decode()[:300]}" for line in sorted(extra)[:3]]


def _controls(place: Place, replayed: Path, end: int, found: Findings) -> None:
    """Controls must be the replay's but for when they were sent; each is engaged once, and released once at most."""
    topic = records(place.bootstrap, place.prefix + "control")
    live = [json.loads(r.value) for r in topic if r.value and r.key and b'"control"' in r.key]
    said = [json.loads(line) for line in (replayed / "control.jsonl").read_bytes().splitlines()]
    due = {_name(c): _timeless(c) for c in said if c["ts"] <= end}
    final = {_name(c): _timeless(c) for c in live if c["verdict_id"]}
    found.controls = len(due)
    found.missing_controls += len(due.keys() - final.keys())
    found.wrong_controls += sum(final[name] != due.get(name) for name in final)
    found.doubled_controls += sum(_goes_back(states) for states in _states(live).values())
    texts = Counter(json.dumps(_timeless(c), sort_keys=True) for c in live)
    found.repeats += texts.total() - len(texts)
    found.said += [f"control missing: {due[name]}" for name in sorted(due.keys() - final.keys())[:3]]
    found.said += [f"control differs: {final[n]} {due.get(n)}" for n in sorted(final) if final[n] != due.get(n)][:3]


def _name(control: Control) -> tuple[str, str]:
    return control["control_id"], control["state"]


def _timeless(control: Control) -> Control:
    return {name: value for name, value in control.items() if name != "issued_at"}


def _states(live: Sequence[Control]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for control in live:
        found.setdefault(control["control_id"], []).append(control["state"])
    return found


def _goes_back(states: Sequence[str]) -> bool:
    """Return whether an engagement was there again after it had been released."""
    return "engaged" in states[states.index("released") :] if "released" in states else False
