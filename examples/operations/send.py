"""Send an archive of input events to Kafka, byte for byte: `python examples/operations/send.py TOPIC=FILE.jsonl… [FROM TO]`.

Keys are event ids, as producers set them, so that an event comes to the partition that it had. Topics take turns at the
pace of their length. FROM and TO are shares of every file (0 and 1: all). Kafka is the one that INTERLOCK_BOOTSTRAP, and
INTERLOCK_PREFIX, name.
"""

import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from interlock.connection import Connection
from interlock.reaching import compression_of, producer, settings_of

EVENT_ID = re.compile(rb'"event_id": ?"([^"]+)"')


def part(file: str, start: float, end: float) -> list[bytes]:
    """Return the lines of a file between two shares of it."""
    lines = Path(file).read_bytes().splitlines()
    return lines[int(len(lines) * start) : int(len(lines) * end)]


def turns(given: Sequence[str], start: float, end: float) -> Iterator[tuple[str, bytes]]:
    """Yield topics and lines, in the order of each file."""
    topics = [(topic, part(file, start, end)) for topic, _, file in (one.partition("=") for one in given)]
    placed = [(n / len(lines), topic, n, line) for topic, lines in topics for n, line in enumerate(lines)]
    for _, topic, _, line in sorted(placed, key=lambda one: one[:3]):
        yield topic, line


def main() -> None:
    """Send what the command line names, and say how much it was."""
    files = [one for one in sys.argv[1:] if "=" in one]
    start, end = map(float, sys.argv[1 + len(files) :] or ("0", "1"))
    kafka = Connection(bootstrap=os.environ["INTERLOCK_BOOTSTRAP"], prefix=os.environ.get("INTERLOCK_PREFIX", ""))
    out = producer(**settings_of(kafka), **compression_of(kafka), acks="all")
    sent = 0
    for topic, line in turns(files, start, end):
        found = EVENT_ID.search(line)
        out.send(kafka.prefix + topic, line, key=found[1] if found else None)
        sent += 1
    out.flush()
    out.close()
    print(f"{sent:,} sent")


if __name__ == "__main__":
    main()
