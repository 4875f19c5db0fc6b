"""The demo's processes: each on a leash, with a log of its own; one that ends by itself ends the demo in one clear line."""

import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import NoReturn, Self

from interlock.commands.broker_process import Running, on_leash
from interlock.errors import UserError
from interlock.streams.settings_read import VARIABLES

GRACE = 30.0
"""Seconds that a process has to end by itself when it is told to."""

LAST = 6
"""Lines of a log that are shown."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@contextmanager
def interruptible() -> Iterator[None]:
    """Let signals that want us to end interrupt us as Ctrl-C does; those that are ignored, as under nohup, stay so."""

    def interrupt(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    heeded = [number for number in SIGNALS if signal.getsignal(number) != signal.SIG_IGN]
    before = {number: signal.signal(number, interrupt) for number in heeded}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextmanager
def undisturbed() -> Iterator[Callable[[], None]]:
    """Yield what puts interruption off from then on, up to the end of the context: for what has to be put away."""
    before = {number: signal.getsignal(number) for number in SIGNALS}
    noted: list[object] = []

    def put_off() -> None:
        for number in SIGNALS:
            signal.signal(number, lambda number, _: noted.append(number))

    try:
        yield put_off
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
        if noted:
            raise KeyboardInterrupt


class Child:
    """A process of ours that runs a module of Python; what it says is in `log`."""

    def __init__(self, name: str, log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> None:
        """Start it.

        Raises:
            UserError: it could not be started.
        """
        self.name, self.log = name, log
        pid, self._leash = on_leash([sys.executable, "-m", *arguments], log, environment)
        self._running: Running | None = None
        with suppress(ProcessLookupError):
            self._running = Running(pid)

    def ended(self, within: float = 0.0) -> bool:
        """Whether it has ended, or does so within some seconds."""
        return self._running is None or self._running.ended(within)

    def check(self) -> None:
        """Raise UserError if it has ended: nobody told it to."""
        if self.ended():
            raise UserError(f"demo: the {self.name} ended by itself{_how(self._code())}; {last_lines(self.log)}")

    def finished(self) -> bool:
        """Whether it has ended well; UserError if it has ended otherwise."""
        if not self.ended():
            return False
        if self._code():
            self.check()
        return True

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal; nothing if it has ended."""
        if self._running is not None:
            self._running.signal(number)

    def stop(self) -> None:
        """Tell it to end, and wait until it has.

        Raises:
            UserError: it did not, or not well.
        """
        self.check()
        self.signal(signal.SIGTERM)
        if not self.ended(GRACE):
            raise UserError(f"demo: the {self.name} does not end; {last_lines(self.log)}")
        if self._code():
            self.check()

    def gone(self) -> None:
        """Wait until nothing of it is left; it was killed, or has ended."""
        self._leash.communicate(timeout=GRACE)

    def _code(self) -> int:
        """Return its exit code; it must have ended."""
        return self._leash.wait(GRACE)


class Children:
    """All of them; as a context manager none outlives it."""

    def __init__(self, logs: Path, environment: Mapping[str, str]) -> None:
        """Keep the logs in a folder; `environment` is what is added to ours, less what says which Kafka to use."""
        ours = {name: value for name, value in os.environ.items() if name not in VARIABLES}
        self._logs, self._environment = logs, {**ours, **environment}
        self._all: list[Child] = []

    def start(self, name: str, *arguments: str, **environment: str) -> Child:
        """Start one."""
        log = self._logs / f"{name.replace(' ', '-')}.log"
        child = Child(name, log, arguments, {**self._environment, **environment})
        self._all.append(child)
        return child

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for child in self._all:
            child.signal(signal.SIGKILL)
        for child in self._all:
            child.gone()


class Tail:
    """Reads what is appended to a log, line by line."""

    def __init__(self, path: Path) -> None:
        """Start at its beginning."""
        self._path, self._at = path, 0

    def read(self) -> list[bytes]:
        """Return the lines that are new and whole."""
        with self._path.open("rb") as file:
            file.seek(self._at)
            text = file.read()
        whole = text[: text.rfind(b"\n") + 1]
        self._at += len(whole)
        return whole.splitlines()


def last_lines(log: Path) -> str:
    """Return the end of a log, as an error shows it."""
    lines = log.read_text("utf-8", "replace").splitlines()
    return f"{log} ends with:\n" + "\n".join(lines[-LAST:]) if lines else f"{log} is empty"


def _how(code: int) -> str:
    """Return how a process ended; the leash says it as a shell does."""
    if code <= 128:  # noqa: PLR2004 - above it, codes of shells are signals
        return f" (exit code {code})"
    with suppress(ValueError):
        return f" ({signal.Signals(code - 128).name})"
    return f" (exit code {code})"
