"""Live shards and judges without Kafka: messages in, messages out; killed, repeated, restored, they say what a pipeline says."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache

import msgspec
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from interlock.partitions import partition_of
from interlock.policies.load import load_policy
from interlock.protocol import read_control, read_lease
from interlock.streams import checkpoint, wire
from interlock.streams.batch import Message
from interlock.streams.live import Layout, Outgoing, Setup
from interlock.streams.live_judge import LiveJudge
from interlock.streams.live_shard import LiveShard
from tests.events import History, history
from tests.test_laws import POLICY, SECRET, Cut, run

NOW = 1_900_000_000_000
MINUTE = 60_000


@cache
def past() -> History:
    return history(5, 36, 60)


@cache
def setup(shards: int) -> Setup:
    return Setup(load_policy(POLICY.encode(), "laws.yaml"), None, Layout(shards), SECRET)


@dataclass
class Log:
    """Topics as lists: what was sent stays, and readers have positions."""

    topics: dict[str, list[Outgoing]] = field(default_factory=dict)
    judged: int = 0
    repeats: int = 0

    def send(self, messages: Sequence[Outgoing]) -> None:
        for message in messages:
            self.topics.setdefault(message.topic, []).append(message)

    def values(self, topic: str) -> list[bytes]:
        return [message.value or b"" for message in self.topics.get(topic, [])]


def messages(lines: Sequence[bytes], shard: int, shards: int, pack: int) -> list[Message]:
    """Return what stands on a shard's partition, packed as the SDK packs."""
    own = [line for line in lines if partition_of(msgspec.json.decode(line)["event_id"].encode(), shards) == shard]
    packs = [own[at : at + pack] for at in range(0, len(own), pack)]
    return [Message(b"\n".join(some), offset, past().end) for offset, some in enumerate(packs)]


def chunks(found: Sequence[Message], rng: np.random.Generator) -> Iterator[Sequence[Message]]:
    at = 0
    while at < len(found):
        size = int(rng.integers(1, 9))
        yield found[at : at + size]
        at += size


def live(shards: int, seed: int, *, kills: bool, pack: int = 7) -> Log:
    """Run the history through live shards and a judge; with kills, either goes back to an older state now and then."""
    rng, log, made = np.random.default_rng(seed), Log(), setup(shards)
    for number in range(shards):
        _run_shard(LiveShard(number, made), shards, pack, log, rng if kills else None)
    _run_judge(LiveJudge(0, made), list(_mixed(log, shards, rng)), log, rng if kills else None)
    return log


def _mixed(log: Log, shards: int, rng: np.random.Generator) -> Iterator[bytes]:
    """Yield the shards' records, each shard's in its order, with signs of life in between."""
    own = [[m.value or b"" for m in log.topics["tallies"] if m.key == str(n).encode()] for n in range(shards)]
    turn = 0
    while any(own):
        if turn % 40 == 0:
            yield from beats(shards)
        yield own[int(rng.choice([n for n, some in enumerate(own) if some]))].pop(0)
        turn += 1
    yield from beats(shards)


def beats(shards: int, fresh: int = NOW) -> list[bytes]:
    return [wire.encode(wire.Beat(setup(shards).run, n, 1, fresh)) for n in range(shards)]


def _run_shard(shard: LiveShard, shards: int, pack: int, log: Log, kills: np.random.Generator | None) -> None:
    rng = kills or np.random.default_rng(1)
    sources = {t: messages(getattr(past(), t), shard.number, shards, pack) for t in ("predictions", "outcomes")}
    saved = checkpoint.encode(shard.snapshot())
    log.send(shard.greeting())
    while any(shard.positions[topic] < len(some) for topic, some in sources.items()):
        topic = str(rng.choice([t for t, some in sources.items() if shard.positions[t] < len(some)]))
        at = shard.positions[topic]
        again = max(0, at - int(rng.integers(0, 3)))  # a chunk that overlaps what was read changes nothing
        log.send(shard.read(topic, sources[topic][again : at + int(rng.integers(1, 60))]))
        if kills is not None and rng.random() < 0.08:
            shard = LiveShard(shard.number, shard.setup)
            shard.restore(checkpoint.decode(saved))
        elif rng.random() < 0.1:
            saved = checkpoint.encode(shard.snapshot())
    log.repeats += shard.shard.counters["duplicate"]


def _run_judge(judge: LiveJudge, tallies: Sequence[bytes], log: Log, kills: np.random.Generator | None) -> None:
    records = list(enumerate(tallies))
    rng, saved = kills or np.random.default_rng(1), checkpoint.encode(judge.snapshot())
    while judge.position < len(records):
        log.send(judge.read(records[max(0, judge.position - 2) : judge.position + int(rng.integers(1, 60))], NOW))
        if kills is not None and rng.random() < 0.1:
            judge = LiveJudge(0, judge.setup)
            judge.restore(checkpoint.decode(saved))
            for value in log.values("control"):
                judge.published.found(value)
        elif rng.random() < 0.2:
            saved = checkpoint.encode(judge.snapshot())
    log.send(judge.lease(NOW))
    log.judged = judge.judge.judged()


@cache
def expected() -> tuple[list[bytes], list[bytes]]:
    """Return the verdicts and controls of a pipeline in one process."""
    ran = run(past(), Cut())
    return ran.verdicts.splitlines(), ran.controls.splitlines()


def timeless(line: bytes) -> bytes:
    fields = msgspec.json.decode(line)
    return msgspec.json.encode({**fields, "issued_at": fields["ts"]})


def within(lines: Sequence[bytes], end: int) -> set[bytes]:
    return {line for line in lines if msgspec.json.decode(line)["ts"] <= end}


@pytest.mark.parametrize("kills", [False, True])
@pytest.mark.parametrize("shards", [1, 3])
@settings(max_examples=2)
@given(seed=st.integers(0, 10_000))
def test_live_says_what_a_pipeline_says(shards: int, kills: bool, seed: int) -> None:
    log = live(shards, seed, kills=kills)
    verdicts, controls = expected()
    said = set(log.values("verdicts"))
    final = [timeless(value) for value in log.values("control") if b'"lease_until"' not in value]
    canonical = {line for line in final if msgspec.json.decode(line)["verdict_id"]}

    assert log.repeats == 0
    assert said <= set(verdicts)
    assert within(verdicts, log.judged) <= said
    assert canonical <= set(controls)
    assert within(controls, log.judged) <= canonical
    assert len(canonical) > 5


@settings(max_examples=2)
@given(seed=st.integers(0, 10_000))
def test_a_judge_that_starts_again_brings_back_nothing_that_was_released(seed: int) -> None:
    log = live(2, seed, kills=True)
    over: dict[str, str] = {}
    for value in log.values("control"):
        if b'"lease_until"' in value:
            continue
        control = read_control(value)
        assert over.get(control.control_id) != "released" or control.state == "released"
        over[control.control_id] = control.state
    repeats = Counter((read_control(v).control_id, v) for v in log.values("control") if b'"lease_until"' not in v)

    assert max(repeats.values()) == 1


def test_a_lease_names_what_is_in_force_and_stops_when_counts_are_old() -> None:
    log = live(1, 3, kills=False)
    lease = read_lease(log.topics["control"][-1].value or b"")
    judge = LiveJudge(0, setup(1))
    for value in log.values("control"):
        if b'"lease_until"' not in value:
            judge.published.found(value)
    judge.read(list(enumerate(beats(1))), NOW)
    ttl = 2 * MINUTE

    assert lease.in_force == judge.published.digest("claims")
    assert lease.lease_until - lease.issued_at == ttl
    assert judge.lease(NOW + ttl) != []
    assert judge.lease(NOW + ttl + 1) == []


def test_a_release_waits_until_counts_are_fresh_and_survives_a_restart() -> None:
    made = setup(1)
    shard, judge, log = LiveShard(0, made), LiveJudge(0, made), Log()
    _run_shard(shard, 1, 7, log, None)
    records = list(enumerate(log.values("tallies")))
    log.send(judge.read(records, NOW))
    states = [read_control(value).state for value in log.values("control")]
    again = LiveJudge(0, made)
    again.restore(checkpoint.decode(checkpoint.encode(judge.snapshot())))
    for value in log.values("control"):
        again.published.found(value)
    late = again.read([(len(records), beats(1)[0])], NOW)
    released = [read_control(m.value or b"") for m in late if m.topic == "control"]

    assert set(states) == {"engaged"}
    assert released
    assert {control.state for control in released} == {"released"}


def test_many_violations_of_one_pane_are_one_early_control() -> None:
    made = setup(1)
    judge = LiveJudge(0, made)
    triggers = [m.value or b"" for m in _violations(made, 30)]
    said = judge.read(list(enumerate(triggers)), NOW)

    assert len(triggers) == 30
    assert [read_control(m.value or b"").mode for m in said if m.topic == "control"] == ["killed"]


def _violations(made: Setup, n: int) -> list[Outgoing]:
    event = {
        "ts": past().end - MINUTE, "model": "claims", "model_version": "1", "segment": {"tenant": "acme"},
        "features": {"amount": 950.0}, "decision": "deny", "route": "automatic", "score": 0.5,
    }  # fmt: skip
    lines = [msgspec.json.encode({"event_id": f"v{i}", **event}) for i in range(n)]
    sent = LiveShard(0, made).read("predictions", [Message(b"\n".join(lines), 0, past().end)])
    return [m for m in sent if isinstance(wire.decode(m.value or b""), wire.Triggered)]


def test_counts_of_another_policy_and_junk_are_counted_and_change_nothing() -> None:
    made = setup(1)
    other = Setup(load_policy(POLICY.replace("0.08", "0.07").encode(), "other.yaml"), None, Layout(1), SECRET)
    log, judge = Log(), LiveJudge(0, made)
    _run_shard(LiveShard(0, other), 1, 7, log, None)
    records = list(enumerate([*log.values("tallies"), b"junk", b""]))
    said = judge.read(records, NOW) + judge.read(records, NOW)

    assert said == []
    assert judge.counters["unreadable"] == 2
    assert judge.counters["foreign"] == len(log.values("tallies"))


def test_dead_letters_say_where_they_stood() -> None:
    shard = LiveShard(3, setup(4))
    sent = shard.read("predictions", [Message(b'{"event_id": 5}\nnonsense', 17, past().end)])
    letters = [msgspec.json.decode(m.value or b"") for m in sent if m.topic == "dead-letters"]

    assert [(x["partition"], x["offset"], x["index"]) for x in letters] == [(3, 17, 0), (3, 17, 1)]
    assert shard.shard.counters["dead_letters"] == 2
