"""Asked before anything runs: does the broker let this user do what a part of Interlock must do? A line for each right that is missing."""

from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kafka.admin import KafkaAdminClient
from kafka.errors import BrokerResponseError, GroupAuthorizationFailedError

from interlock.connection import Connection
from interlock.errors import FindingError
from interlock.rights import Right, lacks, rights
from interlock.streams.topics_admin import administering

NAMES = {"Read": "READ", "Write": "WRITE", "Alter": "ALTER", "Describe": "DESCRIBE"}
"""What kafka-python calls the operations that are asked for; the others are not needed to run."""

HIDDEN = 29
"""Kafka's code for a topic that we may not see."""

Allowed = Mapping[str, Collection[str] | None]
"""By name, what a broker says that we may do; None where it does not say."""


def check_rights(connection: Connection, part: str, group: str) -> None:
    """See that a part may do what it must; `group` is that of the workers.

    Raises:
        FindingError: rights are missing, a line each.
        Unreachable: no broker answers.
        UserError: it refuses us altogether.
    """
    wanted = [right for right in rights(part, connection.prefix, group) if right.operation in NAMES]
    with administering(connection, connection.prefix) as admin:
        allowed = {
            "transactional-id": {},  # nobody says beforehand
            "topic": _topics(
                admin, sorted({name for right in wanted if right.kind == "topic" for name in right.names})
            ),
            "group": _groups(
                admin, sorted({name for right in wanted if right.kind == "group" for name in right.names})
            ),
        }
    if lines := [line for right in wanted for line in _missing(right, allowed[right.kind])]:
        raise FindingError(lines)


def _missing(right: Right, allowed: Allowed) -> Iterator[str]:
    for name in right.names:
        may = allowed.get(name)
        if may is not None and NAMES[right.operation] not in may:
            yield lacks(right.operation, right.kind, name)


def _topics(admin: KafkaAdminClient, names: list[str]) -> Allowed:
    return {one["name"]: _may(one, one["error_code"] == HIDDEN) for one in admin.describe_topics(names)}


def _groups(admin: KafkaAdminClient, names: list[str]) -> Allowed:
    try:
        described = admin.describe_groups(names) if names else {}
    except GroupAuthorizationFailedError:
        return dict.fromkeys(names, ())
    except BrokerResponseError:
        return {}  # a broker's first group has no coordinator yet: joining will say
    return {name: _may(one, "GroupAuthorizationFailed" in str(one.get("error"))) for name, one in described.items()}


def _may(described: Mapping[str, Any], hidden: bool) -> Collection[str] | None:
    """Return what we may do; None where a broker does not say, as old ones and some services do not."""
    if hidden:
        return ()
    said: Collection[str] | None = described.get("authorized_operations")
    return said or None
