"""Topics on a broker: created where they are missing, verified where they exist, altered by nothing but `grow`."""

import logging
import time
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import (
    CoordinatorNotAvailableError,
    KafkaConnectionError,
    KafkaError,
    KafkaTimeoutError,
    NodeNotReadyError,
    SaslAuthenticationFailedError,
    UnsupportedSaslMechanismError,
    for_code,
)

from interlock.connection import Connection, plain
from interlock.errors import Unreachable, UserError
from interlock.reaching import reach, refused, settings_of
from interlock.rights import lacks
from interlock.streams.reach import connects, silence
from interlock.streams.topics import Found, Layout, Spec, creation, differences, specs

PAUSES = (0.0, 1.5, 2.5)
"""Seconds before each attempt to reach a broker."""

FIRST_ANSWER, PATIENCE = 5_000, 10_000
"""Milliseconds for the first answer of a broker that listens, and for a request."""

FAILOVER, AGAIN = 30.0, 0.5
"""Seconds in which a cluster has noticed that a broker has died, and between two attempts until then."""

ALREADY_THERE = 36
"""Kafka's code for a topic that another process has created since we looked."""

HIDDEN, DENIED = 29, (29, 31)
"""Kafka's codes for a topic that we may not see; for one that we may not make, by rights on topics or on the cluster."""

T = TypeVar("T")

_NO_ANSWER = (KafkaConnectionError, KafkaTimeoutError, NodeNotReadyError)


@dataclass(frozen=True, slots=True)
class Outcome:
    """What was done and seen: topics that were made, how others differ, what cannot be seen; the latter two a line each."""

    created: tuple[str, ...] = ()
    differences: tuple[str, ...] = ()
    unseen: tuple[str, ...] = ()


@dataclass(slots=True)
class Seen:
    """What the broker lets us see: partitions of topics, and the topics that it hides."""

    counts: dict[str, int]
    hidden: set[str]


class _Client(KafkaAdminClient):  # type: ignore[misc]
    """A client that leaves no thread and no socket behind when nobody answers."""

    def __init__(self, **settings: Any) -> None:
        try:
            super().__init__(**settings)
        except KafkaError:
            self._closed = False  # it is set last, and `close` does nothing without
            self.close()
            raise


def create(where: str | Connection, layout: Layout) -> Outcome:
    """Create the topics that are missing, as far as we may, then verify all.

    Raises:
        Unreachable: No broker answers at `where`.
        UserError: A broker refuses, or an argument is malformed.
    """

    def work(admin: KafkaAdminClient) -> Outcome:
        seen = _look(admin, layout)
        wanted = specs(layout, seen.counts)
        missing = [spec for spec in wanted.values() if spec.topic not in seen.counts and spec.topic not in seen.hidden]
        denied = _create(admin, missing, layout.replication)
        outcome = _verify(admin, layout, plain(where).bootstrap, denied)
        return replace(outcome, created=tuple(spec.topic for spec in missing if spec.topic not in denied))

    return _done(work, where, layout.prefix)


def verify(where: str | Connection, layout: Layout = Layout()) -> Outcome:  # noqa: B008 - it is frozen
    """Say how the topics differ from what they must be; nothing is changed. Raises as `create`."""
    return _done(lambda admin: _verify(admin, layout, plain(where).bootstrap, ()), where, layout.prefix)


def partitions_of(where: str | Connection, prefix: str = "") -> dict[str, int]:
    """Return the number of partitions of every topic that exists, by full name. Raises as `create`."""
    return _done(lambda admin: _look(admin, Layout(prefix)).counts, where, prefix)


def grow(where: str | Connection, prefix: str, after: Mapping[str, int]) -> None:
    """Give topics, by full name, so many partitions; those that have as many stay as they are. Raises as `create`."""

    def work(admin: KafkaAdminClient) -> None:
        counts = _look(admin, Layout(prefix)).counts
        fewer = {topic: count for topic, count in after.items() if counts[topic] < count}
        if fewer:
            admin.create_partitions(fewer)

    _done(work, where, prefix)


def members(where: str | Connection, prefix: str, groups: Sequence[str]) -> dict[str, int]:
    """Return how many consumers each group has at this moment. Raises as `create`."""

    def work(admin: KafkaAdminClient) -> dict[str, int]:
        logging.getLogger("kafka.admin").setLevel(logging.ERROR)  # Faust's words about a member are none that it knows
        deadline = time.monotonic() + FAILOVER
        while True:
            try:
                told = admin.describe_groups(list(groups))
            except CoordinatorNotAvailableError:  # a Kafka that is new, or has just lost a broker
                if time.monotonic() > deadline:
                    raise
                time.sleep(AGAIN)
            else:
                return {group: len(told[group]["members"]) for group in groups}

    return _done(work, where, prefix)


def _done(work: Callable[[KafkaAdminClient], T], where: str | Connection, prefix: str) -> T:
    """Return what is done with a client; done anew where one broker does not answer and others may.

    Kafka's client goes to any broker that the cluster names, and for seconds that includes one that has just died.
    """
    deadline = time.monotonic() + FAILOVER
    while True:
        try:
            with administering(where, prefix) as admin:
                return work(admin)
        except Unreachable as error:
            if not _others_may(error, plain(where).servers) or time.monotonic() > deadline:
                raise
        time.sleep(AGAIN)


def _others_may(error: Unreachable, servers: Sequence[tuple[str, int]]) -> bool:
    """Return whether another broker may answer than the one that did not."""
    refused = isinstance(error.__context__, KafkaConnectionError)
    return (refused or len(servers) > 1) and any(connects(host, port) for host, port in servers)


@contextmanager
def administering(where: str | Connection, prefix: str = "") -> Iterator[KafkaAdminClient]:
    """Open a client once something listens; what Kafka raises becomes one line. Raises as `create`."""
    connection = replace(plain(where), prefix=prefix).checked()
    bootstrap = connection.bootstrap
    settings = settings_of(connection) | {
        "bootstrap_timeout_ms": FIRST_ANSWER * (3 if connection.uses_sasl else 1),
        "request_timeout_ms": PATIENCE,
    }
    _wait_for_one(connection)
    try:
        admin = reach(_Client, settings)
        try:
            yield admin
        finally:
            admin.close()
    except (SaslAuthenticationFailedError, UnsupportedSaslMechanismError) as error:
        raise UserError(refused(connection, error)) from None
    except _NO_ANSWER as error:
        silent = [silence(*server, tls=settings.get("ssl_context")) for server in connection.servers]
        if connection.uses_sasl and None in silent and isinstance(error, KafkaTimeoutError):  # TLS loses what it said
            raise UserError(refused(connection, "it ends every connection when we say who we are")) from None
        raise Unreachable(f"no Kafka answers at {bootstrap}: {next(filter(None, silent), error)}") from None
    except KafkaError as error:
        raise UserError(f"Kafka at {bootstrap} refuses: {error}") from error


def _wait_for_one(connection: Connection) -> None:
    for pause in PAUSES:
        time.sleep(pause)
        if any(connects(host, port) for host, port in connection.servers):
            return
    said = f"no Kafka answers at {connection.bootstrap} in {len(PAUSES)} attempts"
    raise Unreachable(f"{said}; `interlock kafka start` starts one")


def _look(admin: KafkaAdminClient, layout: Layout) -> Seen:
    found = admin.describe_topics(list(specs(layout, {})))
    counts = {topic["name"]: len(topic["partitions"]) for topic in found if not topic["error_code"]}
    return Seen(counts, {topic["name"] for topic in found if topic["error_code"] == HIDDEN})


def _create(admin: KafkaAdminClient, missing: Sequence[Spec], replication: int) -> set[str]:
    """Create topics; return those that we may not create."""
    if not missing:
        return set()
    new = {
        spec.topic: {
            "num_partitions": spec.partitions,
            "replication_factor": replication,
            "configs": dict(spec.settings),
        }
        for spec in missing
    }
    answers = admin.create_topics(new, raise_errors=False)["topics"]
    denied = {answer["name"] for answer in answers if answer["error_code"] in DENIED}
    for answer in answers:
        if answer["error_code"] not in {0, ALREADY_THERE, *DENIED}:
            raise UserError(f"{answer['name']}: cannot be created: {_reason(answer)}")
    admin.wait_for_topics([topic for topic in new if topic not in denied])
    return denied


def _reason(answer: Mapping[str, object]) -> str:
    said = answer.get("error_message")
    return str(said).rstrip(".") if said else str(for_code(answer["error_code"]).__name__)


def _verify(admin: KafkaAdminClient, layout: Layout, bootstrap: str, denied: Container[str] = ()) -> Outcome:
    seen = _look(admin, layout)
    settings, unseen = _settings(admin, list(seen.counts))
    found = {topic: Found(count, settings.get(topic, {}), topic in settings) for topic, count in seen.counts.items()}
    lines = []
    for topic, spec in specs(layout, seen.counts).items():
        if topic in seen.hidden:
            lines.append(lacks("Describe", "topic", topic))
        elif topic in denied:
            lines.append(
                f"{lacks('Create', 'topic', topic)}; or have it made: {creation(spec, bootstrap, layout.replication)}"
            )
        else:
            lines += differences(spec, found.get(topic), bootstrap)
    return Outcome(differences=tuple(lines), unseen=tuple(unseen))


def _settings(admin: KafkaAdminClient, topics: Sequence[str]) -> tuple[dict[str, dict[str, str]], list[str]]:
    """Return all settings of topics, defaults included, and a line for each whose settings we may not see."""
    if not topics:
        return {}, []
    resources = [ConfigResource(ConfigResourceType.TOPIC, topic) for topic in topics]
    described = admin.describe_configs(resources, config_filter="all")["topic"]  # empty where it is denied
    found = {
        topic: {name: str(one["value"]) for name, one in told.items()} for topic, told in described.items() if told
    }
    unseen = [topic for topic in topics if topic not in found]
    return found, [f"{lacks('DescribeConfigs', 'topic', topic)}; its settings were not verified" for topic in unseen]
