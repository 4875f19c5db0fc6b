"""Where `interlock` begins: it loads the command line, for a second or two, in which Ctrl-C ends it in a line, too."""

import os
import signal
import sys
from types import FrameType

INTERRUPTED = 130


def main() -> None:
    """Load the command line, and run a command of it."""
    waited = signal.getsignal(signal.SIGINT) is signal.default_int_handler  # else whoever started us ignores it
    if waited:
        signal.signal(signal.SIGINT, _leave)
    from interlock.commands.command_line import main as run  # noqa: PLC0415 - while it loads, Ctrl-C is ours

    if waited:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    run()


def _leave(_: int, __: FrameType | None) -> None:
    """End at once: there is nothing to put away yet, and an exception in the middle of an import may be swallowed."""
    os.write(sys.stderr.fileno(), b"interrupted\n")
    os._exit(INTERRUPTED)


if __name__ == "__main__":
    main()
