"""From an engagement to the events behind it: fetched from a real broker, frozen once, whoever is killed."""

import json
import signal
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest
from kafka import KafkaAdminClient, TopicPartition

from interlock.commands.broker import Broker
from interlock.connection import Connection
from interlock.sinks.clickhouse import ClickHouseSink
from interlock.sinks.evidence import EvidenceFiles, Frozen, wall
from interlock.sinks.evidence_tables import EvidenceTable
from interlock.streams import wire
from interlock.streams.shard import Trigger
from interlock.streams.sink_evidence import EvidenceTarget, Keeping, Store
from tests.living import Running, send, topics
from tests.replaying import command
from tests.sinking import Sink, Topics, running, wait_until
from tests.story import QUICK, Story, day, published, told, until_judged
from tests.tabling import control, keyed, messages

pytestmark = pytest.mark.integration

PREFIX, DAY = "frozen.", 86_400_000


@dataclass(frozen=True)
class Lived:
    """A day that workers have judged on a broker: what was sent, and the engagements by the ids they name."""

    bootstrap: str
    story: Story
    named: dict[str, set[str]]

    def sent(self, event_id: str) -> Any:
        """Return an event as it was sent."""
        every = map(msgspec.json.decode, self.story.events["predictions"])
        return next(one for one in every if one["event_id"] == event_id)


def ids(one: dict[str, Any]) -> set[str]:
    """Return the ids that a control names."""
    evidence = one["evidence"]
    first = [evidence["first"]["event"]] if "first" in evidence else []
    return {*evidence.get("events", []), *first, *([evidence["event"]] if "event" in evidence else [])}


@pytest.fixture(scope="module")
def lived(kafka: Broker, tmp_path_factory: pytest.TempPathFactory) -> Lived:
    story = told(tmp_path_factory.mktemp("frozen"), day())
    topics(kafka.bootstrap, PREFIX, 2)
    with Running(story.policy, kafka.bootstrap, PREFIX, QUICK) as worker:
        send(kafka.bootstrap, PREFIX, story.events, 2)
        until_judged([worker], story.end(2))
    named: dict[str, set[str]] = {}
    for one in published(kafka.bootstrap, PREFIX):
        if one["state"] == "engaged":
            named.setdefault(one["control_id"], set()).update(ids(one))
    return Lived(kafka.bootstrap, story, {control: some for control, some in named.items() if some})


def frozen(folder: Path) -> dict[str, dict[str, Frozen]]:
    """Return what a directory holds, by control and event."""
    rows = {
        path.stem: msgspec.json.decode(path.read_bytes(), type=list[Frozen]) for path in sorted(folder.glob("*.json"))
    }
    return {name: {row.event_id: row for row in some} for name, some in rows.items()}


def test_each_engagement_has_exactly_its_events_frozen_also_when_the_sink_is_killed(
    lived: Lived, tmp_path: Path
) -> None:
    assert sum(map(len, lived.named.values())) > 8
    folder, log = tmp_path / "evidence", tmp_path / "log"
    at = ("evidence", "--bootstrap", lived.bootstrap, "--prefix", PREFIX, "--directory", folder)
    with Sink(log, *at) as sink:
        wait_until(lambda: bool(list(folder.glob("*.json"))), "a file")
        sink.stop(signal.SIGKILL)
    before = frozen(folder)
    with running(log, *at):
        wait_until(lambda: set(frozen(folder)) == set(lived.named), "every control")
        wait_until(lambda: all(len(some) == len(lived.named[c]) for c, some in frozen(folder).items()), "every event")
    after = frozen(folder)

    assert {name: set(some) for name, some in after.items()} == lived.named, log.read_text()
    for some in after.values():
        for event_id, row in some.items():
            assert (row.state, json.loads(row.payload)) == ("frozen", lived.sent(event_id))
    assert {name: after[name] | before[name] for name in before} == {name: after[name] for name in before}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in folder.iterdir()} == {0o600}

    name = next(control for control, some in lived.named.items() if len(some) > 1)
    code, out, err = command("why", name, "--replay", lived.story.replayed, "--events", "--evidence", folder)
    assert code == 0, err
    for event_id in lived.named[name]:
        assert f"{event_id}, " in out
        assert f'  event_id: "{event_id}"' in out
    assert "  ood_score: 0.95" in out

    for missing in lived.named[name]:
        (folder / f"{name}.json").unlink(missing_ok=True)
        out = command("why", name, "--replay", lived.story.replayed, "--events", "--evidence", folder)[1]
        assert f"{missing}: not frozen, or its time is over." in out
    folder.chmod(0o755)
    code, _, err = command("why", name, "--replay", lived.story.replayed, "--events", "--evidence", folder)
    assert (code, err.count("\n")) == (2, 1)
    code, _, err = command("why", name, "--replay", lived.story.replayed, "--events")
    assert (code, "--evidence DIR" in err) == (2, True)


class Hand:
    """Topics whose tallies, controls and events a test writes by hand, and a target that freezes them."""

    def __init__(self, topics: Topics) -> None:
        self.topics = topics
        self.connection = Connection(bootstrap=topics.bootstrap, prefix=topics.prefix)
        self.now = wall()

    def tally(self, event_id: str, offset: int, index: int = 0, model: str = "claims") -> None:
        """Let a tally say where an event stands."""
        trigger = Trigger("denial", model, "1", 5, event_id, 0, (offset, index))
        self.topics.send("tallies", [wire.encode(wire.Triggered("run", trigger))])

    def freeze(self, store: Store, event_ids: Sequence[str], keeping: Keeping | None = None, **more: Any) -> None:
        """Engage a control that names events, and freeze them."""
        engaged = control(1, **{"evidence": {"events": list(event_ids)}, "issued_at": self.now, **more})
        key, value = keyed(engaged)
        target = EvidenceTarget(store, self.connection, keeping or Keeping(DAY), lambda: self.now)
        target.take(messages(f"{self.topics.prefix}control", [value], 0, key))
        target.close()


NUMBERS = iter(range(1000))


@pytest.fixture
def hand(kafka: Broker) -> Iterator[Hand]:
    with Topics(kafka.bootstrap, f"hand{next(NUMBERS)}.") as made:
        yield Hand(made)


def event(number: int, **more: Any) -> bytes:
    return json.dumps(
        {"event_id": f"e{number}", "score": 0.5, "features": {"age": number, "zip": "1"}, **more}
    ).encode()


def test_what_cannot_be_fetched_is_said_and_never_guessed(hand: Hand, tmp_path: Path) -> None:
    hand.topics.send("predictions", [event(0), event(1), event(2)])
    admin = KafkaAdminClient(bootstrap_servers=hand.topics.bootstrap)
    admin.delete_records({TopicPartition(f"{hand.topics.prefix}predictions", 0): 1})
    admin.close()
    for event_id, offset in (("e0", 0), ("e1", 1), ("other", 2), ("beyond", 77)):
        hand.tally(event_id, offset)
    hand.tally("nowhere", 2, model="another")
    store = EvidenceFiles(tmp_path / "store")
    hand.freeze(store, ["e0", "e1", "other", "beyond", "nowhere"])
    rows = {row.event_id: row for row in store.read(["c1"], hand.now)}

    assert {name: row.state for name, row in rows.items()} == {
        "e0": "removed", "e1": "frozen", "other": "another", "beyond": "removed", "nowhere": "unknown",
    }  # fmt: skip
    assert [name for name, row in rows.items() if row.payload] == ["e1"]
    assert rows["e1"].reason == "denial"


def test_only_the_allowed_fields_are_kept(hand: Hand, tmp_path: Path) -> None:
    hand.topics.send("predictions", [event(0)])
    hand.tally("e0", 0)
    store = EvidenceFiles(tmp_path / "store")
    hand.freeze(store, ["e0"], Keeping(DAY, ("score", "features.age")))
    [row] = store.read(["c1"], hand.now)

    assert json.loads(row.payload) == {"score": 0.5, "features": {"age": 0}}
    assert b"zip" not in (tmp_path / "store" / "c1.json").read_bytes()


def test_an_event_is_kept_for_its_time_after_the_engagement_and_one_engaged_long_ago_is_not_fetched(
    hand: Hand, tmp_path: Path
) -> None:
    hand.topics.send("predictions", [event(0)])
    hand.tally("e0", 0)
    store = EvidenceFiles(tmp_path / "store")
    hand.freeze(store, ["e0"], Keeping(DAY), issued_at=hand.now - DAY)
    assert list((tmp_path / "store").iterdir()) == []

    hand.freeze(store, ["e0"], Keeping(DAY))
    assert store.read(["c1"], hand.now + DAY - 1) != []
    assert store.read(["c1"], hand.now + DAY) == []
    hand.now += DAY
    hand.freeze(store, [], Keeping(DAY))
    assert list((tmp_path / "store").iterdir()) == []


def test_in_clickhouse_an_event_is_one_row_and_what_was_frozen_stays(hand: Hand, clickhouse_server: str) -> None:
    hand.topics.send("predictions", [event(0), event(1)])
    hand.tally("e0", 0)
    hand.tally("e1", 1)
    store = EvidenceTable(lambda: ClickHouseSink.connect(url=clickhouse_server))
    name = "c1ofclickhouse"
    for _ in range(2):
        hand.freeze(store, ["e0", "e1"], control_id=name)
    once = store.read([name], hand.now)
    hand.now += 1000
    admin = KafkaAdminClient(bootstrap_servers=hand.topics.bootstrap)
    admin.delete_records({TopicPartition(f"{hand.topics.prefix}predictions", 0): 1})
    admin.close()
    hand.freeze(store, ["e0"], control_id=name)

    assert [(row.event_id, json.loads(row.payload)) for row in once] == [
        ("e0", json.loads(event(0))),
        ("e1", json.loads(event(1))),
    ]
    assert store.read([name], hand.now) == once
    assert store.read([name], hand.now + DAY) == []
    store.close()
