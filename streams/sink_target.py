"""Where a sink sends what it reads, and what it is given."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Message(NamedTuple):
    """A message as targets read it: `topic` is its whole name, `ts` its Kafka timestamp in ms."""

    topic: str
    partition: int
    offset: int
    key: bytes | None
    value: bytes | None
    ts: int


class Target(Protocol):
    """Where a sink sends what it reads."""

    @property
    def name(self) -> str:
        """What the group is named after."""

    @property
    def counted(self) -> Mapping[str, int]:
        """What became of what it took, by name."""

    @property
    def topics(self) -> Sequence[str]:
        """The topics, without prefix."""

    @property
    def most(self) -> int:
        """Messages given at a time; offsets are committed after each time."""

    @property
    def linger(self) -> float:
        """Seconds that messages are gathered before they are given."""

    @property
    def recalls(self) -> bool:
        """Whether it must be told of earlier messages, which it took in another life."""

    def recall(self, message: Message) -> None:
        """Remember a message that was taken before."""

    def take(self, messages: Sequence[Message]) -> None:
        """Take messages of one partition, in order; what cannot be read is skipped and counted.

        Raises:
            Unreachable: the target is away; they are given again.
        """

    def close(self) -> None:
        """Let go of the target."""
