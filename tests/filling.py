"""A process of its own whose disk is full and has room again, three times, while a shelf on it is written and forgotten.

Run in a folder that is a small disk (`benchmarks.chaos.disk.mounting`). Prints after each time that the disk takes writes again.
"""

import sys
from contextlib import suppress
from itertools import count
from pathlib import Path

from interlock.streams.spill import Shelf, Spill

PAGE, AT_ONCE, KEPT = bytes(1600), 20, 1000
TIMES, REFUSED, TAKEN = 3, 300, 100
"""How many writes the disk must refuse, and take again, each time."""


def main(folder: Path) -> None:
    """Fill and free."""
    spill = Spill(folder / "worker", 1 << 20)
    shelf, numbers = spill.shelf(), count(0, AT_ONCE)
    for _ in range(TIMES):
        with (folder / "ballast").open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(1 << 16))
        wait(shelf, numbers, REFUSED, taken=False)
        (folder / "ballast").unlink()
        wait(shelf, numbers, TAKEN, taken=True)
        print("taken again", flush=True)
    spill.close()


def wait(shelf: Shelf, numbers: "count[int]", times: int, *, taken: bool) -> None:
    """Write and forget pages until so many writes were taken, or refused."""
    while times:
        first = next(numbers)
        try:
            shelf.put(first, [PAGE] * AT_ONCE)
            times -= taken
        except OSError:
            times -= not taken
        shelf.drop(first - KEPT)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
