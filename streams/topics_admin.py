"""Topics on a broker: created where they are missing, verified where they exist, never altered."""

import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaConnectionError, KafkaError, KafkaTimeoutError, NodeNotReadyError, for_code

from interlock.errors import Unreachable, UserError
from interlock.streams.reach import connects
from interlock.streams.topics import Found, Layout, Spec, differences, specs

PAUSES = (0.0, 1.5, 2.5)
"""Seconds before each attempt to reach a broker."""

FIRST_ANSWER, PATIENCE = 5_000, 10_000
"""Milliseconds for the first answer of a broker that listens, and for a request."""

FAILOVER, AGAIN = 15.0, 0.5
"""Seconds in which a cluster has noticed that a broker has died, and between two attempts until then."""

ALREADY_THERE = 36
"""Kafka's code for a topic that another process has created since we looked."""

_NO_ANSWER = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError)
T = TypeVar("T")

_LEGAL = re.compile(r"[A-Za-z0-9._-]{0,200}")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What `create` did: the topics that it made, and how those that exist differ, a line each."""

    created: tuple[str, ...]
    differences: tuple[str, ...]


class _Client(KafkaAdminClient):  # type: ignore[misc]
    """A client that leaves no thread and no socket behind when nobody answers."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except KafkaError:
            self._closed = False  # it is set last, and `close` does nothing without
            self.close()
            raise


def create(bootstrap: str, layout: Layout) -> Outcome:
    """Create the topics that are missing, then verify all.

    Raises:
        Unreachable: No broker answers at `bootstrap` (`host:port`, several by commas).
        UserError: A broker refuses, or an argument is malformed.
    """

    def work(admin: KafkaAdminClient) -> Outcome:
        there = _partitions(admin)
        wanted = specs(layout, there)
        missing = [spec for spec in wanted.values() if spec.topic not in there]
        _create(admin, missing, layout.replication)
        return Outcome(tuple(spec.topic for spec in missing), tuple(_verify(admin, wanted, bootstrap)))

    return _done(work, bootstrap, layout.prefix)


def verify(bootstrap: str, layout: Layout = Layout()) -> list[str]:  # noqa: B008 - it is frozen
    """Return how the topics differ from what they must be, a line each; nothing is changed. Raises as `create`."""
    return _done(lambda admin: _verify(admin, specs(layout, _partitions(admin)), bootstrap), bootstrap, layout.prefix)


def partitions_of(bootstrap: str, prefix: str = "") -> dict[str, int]:
    """Return the number of partitions of every topic that exists, by full name. Raises as `create`."""
    wanted = specs(Layout(prefix), {})
    there = _done(_partitions, bootstrap, prefix)
    return {topic: count for topic, count in there.items() if topic in wanted}


def _done(work: Callable[[KafkaAdminClient], T], bootstrap: str, prefix: str) -> T:
    """Return what is done with a client; done anew where one broker does not answer and others do.

    Kafka's client goes to any broker that the cluster names, and for seconds that includes one that has just died.
    """
    deadline = time.monotonic() + FAILOVER
    while True:
        try:
            with _admin(bootstrap, prefix) as admin:
                return work(admin)
        except Unreachable as error:
            if not _others_may(error, bootstrap) or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN)


def _others_may(error: Unreachable, bootstrap: str) -> bool:
    """Return whether another broker may answer than the one that did not."""
    servers = _servers(bootstrap)
    refused = isinstance(error.__cause__, KafkaConnectionError)
    return (refused or len(servers) > 1) and any(connects(host, port) for host, port in servers)


@contextmanager
def _admin(bootstrap: str, prefix: str) -> Iterator[KafkaAdminClient]:
    """Open a client once something listens; what Kafka raises becomes one line."""
    if not _LEGAL.fullmatch(prefix):
        raise UserError(f"--prefix: found {prefix!r}; expected up to 200 of A-Z a-z 0-9 . _ -")
    servers = _servers(bootstrap)
    _wait_for_one(servers, bootstrap)
    try:
        admin = _Client(
            bootstrap_servers=[f"{host}:{port}" for host, port in servers],
            bootstrap_timeout_ms=FIRST_ANSWER,
            request_timeout_ms=PATIENCE,
        )
        try:
            yield admin
        finally:
            admin.close()
    except _NO_ANSWER as error:
        raise Unreachable(f"no Kafka answers at {bootstrap}: {error}") from error
    except KafkaError as error:
        raise UserError(f"Kafka at {bootstrap} refuses: {error}") from error


def _servers(bootstrap: str) -> list[tuple[str, int]]:
    """Return the hosts and ports of `host:port,host:port`."""
    servers = []
    for one in bootstrap.split(","):
        host, _, port = one.strip().rpartition(":")
        if not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 1 << 16:
            raise UserError(f"--bootstrap: found {bootstrap!r}; expected host:port, several by commas")
        servers.append((host.removeprefix("[").removesuffix("]"), int(port)))
    return servers


def _wait_for_one(servers: list[tuple[str, int]], bootstrap: str) -> None:
    for pause in PAUSES:
        time.sleep(pause)
        if any(connects(host, port) for host, port in servers):
            return
    raise Unreachable(f"no Kafka answers at {bootstrap} in {len(PAUSES)} attempts; `interlock kafka start` starts one")


def _partitions(admin: KafkaAdminClient) -> dict[str, int]:
    """Return the number of partitions of every topic on the broker."""
    return {topic["name"]: len(topic["partitions"]) for topic in admin.describe_topics() if not topic["error_code"]}


def _create(admin: KafkaAdminClient, missing: list[Spec], replication: int) -> None:
    if not missing:
        return
    new = {
        spec.topic: {
            "num_partitions": spec.partitions,
            "replication_factor": replication,
            "configs": dict(spec.settings),
        }
        for spec in missing
    }
    for answer in admin.create_topics(new, raise_errors=False)["topics"]:
        if answer["error_code"] not in {0, ALREADY_THERE}:
            raise UserError(f"{answer['name']}: cannot be created: {_reason(answer)}")
    admin.wait_for_topics(list(new))


def _reason(answer: Mapping[str, object]) -> str:
    said = answer.get("error_message")
    return str(said).rstrip(".") if said else str(for_code(answer["error_code"]).__name__)


def _verify(admin: KafkaAdminClient, wanted: Mapping[str, Spec], bootstrap: str) -> list[str]:
    counts = {topic: count for topic, count in _partitions(admin).items() if topic in wanted}
    settings = _settings(admin, list(counts))
    found = {topic: Found(counts[topic], settings[topic]) for topic in counts}
    return [line for spec in wanted.values() for line in differences(spec, found.get(spec.topic), bootstrap)]


def _settings(admin: KafkaAdminClient, topics: list[str]) -> dict[str, dict[str, str]]:
    """Return all settings of topics, defaults included."""
    if not topics:
        return {}
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    described = admin.describe_configs(resources, config_filter="all")["topic"]
    return {topic: {name: str(one["value"]) for name, one in described[topic].items()} for topic in topics}
