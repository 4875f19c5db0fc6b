"""Events to files: the same lines as on the topics, for tests and for `interlock replay`."""

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import BinaryIO, Self

from interlock.outbox import EmitError
from interlock.packing import Event


class Files:
    """Appends events to FOLDER/TOPIC.jsonl; what was accepted is written."""

    failed = 0
    """Nothing is refused."""

    def __init__(self, folder: Path) -> None:
        """Make the folder; a file is made with its first event."""
        folder.mkdir(parents=True, exist_ok=True)
        self.sent = 0
        self._folder = folder
        self._files: dict[str, BinaryIO] = {}
        self._is_closed = False
        self._lock = Lock()

    @property
    def acknowledged(self) -> int:
        """Events written: all that were accepted."""
        return self.sent

    def put(self, events: Sequence[Event], size: int) -> None:  # noqa: ARG002 - nothing waits in memory
        """Append events; EmitError if closed, OSError if they cannot be written."""
        with self._lock:
            if self._is_closed:
                raise EmitError("the emitter is closed")
            for event in events:
                file = self._files.get(event.topic) or self._open(event.topic)
                file.write(event.line + b"\n")
            self.sent += len(events)

    def flush(self, timeout: float | None) -> None:
        """Nothing waits."""

    def close(self, timeout: float | None) -> None:  # noqa: ARG002 - nothing waits
        """Close the files."""
        with self._lock:
            self._is_closed = True
            for file in self._files.values():
                file.close()

    def anew(self) -> Self:
        """Return one that appends to the same files."""
        return type(self)(self._folder)

    def _open(self, topic: str) -> BinaryIO:
        # Unbuffered and appending: what another process or a forked one writes stays whole, line by line.
        file = self._files[topic] = (self._folder / f"{topic}.jsonl").open("ab", buffering=0)
        return file
