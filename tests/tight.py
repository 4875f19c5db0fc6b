"""A worker with small buffers, as a process: `python -m tests.tight worker POLICY ...`."""

from interlock.commands import command_line
from interlock.streams import app


def main() -> None:
    """Run the command line."""
    app.FETCHED, app.BUFFERED = 64 << 10, 4
    command_line.main()


if __name__ == "__main__":
    main()
