"""What the live demo reads while it runs: topics of the broker, the lines of its processes, and what PagerDuty was sent."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec
from kafka import KafkaConsumer, TopicPartition
from kafka.admin import KafkaAdminClient
from kafka.errors import KafkaError

from interlock.demo.processes import Tail
from interlock.demo.rig import Rig
from interlock.demo.sender import Step
from interlock.demo.serving import Report
from interlock.demo.watch import Watch
from interlock.reaching import consumer
from interlock.records import Page
from interlock.rights import SINK_GROUP
from interlock.sinks.pagerduty import event

TOPICS = ("verdicts", "control", "pages")
"""Each has one partition."""

LEASE = b'["lease"'


class Follower:
    """Reads into a watch; use it as a context manager."""

    def __init__(self, rig: Rig, watch: Watch) -> None:
        """Begin at the beginning."""
        self._rig, self._watch = rig, watch
        self._consumer: KafkaConsumer = consumer(
            bootstrap_servers=rig.broker.bootstrap,
            group_id=None,
            enable_auto_commit=False,
            auto_offset_reset="earliest",
        )
        self._places = [TopicPartition(topic, 0) for topic in TOPICS]
        self._consumer.assign(self._places)
        self._logs: dict[str, Tail] = {}
        self._received = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._consumer.close()

    def look(self, seconds: float) -> None:
        """Take in what is new; wait so long if the topics have nothing."""
        for place, records in self._consumer.poll(timeout_ms=int(seconds * 1000)).items():
            lines = [record.value for record in records]
            if place.topic == "verdicts":
                self._watch.verdicts(lines)
            elif place.topic == "pages":
                self._page(lines)
            else:
                for record in records:
                    if not record.key.startswith(LEASE):
                        self._watch.control(record.value, record.timestamp)
        for line in self._lines("sender"):
            self._watch.sending.steps.append(msgspec.json.decode(line, type=Step))
        for line in self._lines("serving process"):
            self._watch.report(msgspec.json.decode(line, type=Report))
        self._receive()

    def catch_up(self) -> None:
        """Take in everything that stands on the topics now."""
        ends = self._consumer.end_offsets(self._places)
        while any((self._consumer.position(place) or 0) < ends[place] for place in self._places):
            self.look(0.1)

    def _lines(self, name: str) -> list[bytes]:
        """Return what a process has said in JSON; other lines are for people."""
        child = self._rig.running.get(name)
        if child is None:
            return []
        tail = self._logs.setdefault(name, Tail(child.log))
        return [line for line in tail.read() if line.startswith(b"{")]

    def _page(self, lines: Sequence[bytes]) -> None:
        """Take in published pages. Where the real PagerDuty is sent them, that is all that can be seen of them here."""
        self._watch.lines["pages"] += lines
        if self._rig.receiver is None:
            for page in map(Page.model_validate_json, lines):
                action = "resolve" if page.action == "resolve" else "trigger"
                self._watch.page({"event_action": action, "dedup_key": page.incident, **event(page)})

    def _receive(self) -> None:
        """Take in what the receiver has accepted."""
        if self._rig.receiver is not None:
            accepted = self._rig.receiver.accepted
            for told in accepted[self._received :]:
                self._watch.page(told)
            self._received = len(accepted)


def delivered(bootstrap: str, sink: str, topics: Sequence[str]) -> bool:
    """Whether a sink has delivered all that stands on its topics, which have one partition each."""
    places = [TopicPartition(topic, 0) for topic in topics]
    with closing(KafkaConsumer(bootstrap_servers=bootstrap, group_id=None)) as client:
        ends = client.end_offsets(places)
    with closing(KafkaAdminClient(bootstrap_servers=bootstrap)) as admin:
        try:
            found = admin.list_group_offsets({SINK_GROUP + sink: places})[SINK_GROUP + sink]
        except KafkaError:  # a group that has not committed yet may have no coordinator
            return False
    return all(ends[place] <= max(0, found[place].offset if place in found else 0) for place in places)


def keep(watch: Watch, folder: Path) -> None:
    """Write the records of the topics as JSON lines."""
    for topic, lines in watch.lines.items():
        (folder / f"{topic}.jsonl").write_bytes(b"".join(line + b"\n" for line in lines))
