"""A worker with small buffers, as a process: `python -m tests.tight worker POLICY ...`."""

from interlock.commands import command_line
from interlock.streams import app, outbox


def main() -> None:
    """Run the command line."""
    app.FETCHED, app.BUFFERED, outbox.FULL = 1 << 20, 4, 10
    command_line.main()


if __name__ == "__main__":
    main()
