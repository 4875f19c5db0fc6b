"""`make evidence`: measure every acceptance test and write docs/evidence.md.

Usage: python -m benchmarks.evidence [--small] [--only A6,A7] [--story]

`--only` measures some and puts their rows into the page as it is; `--story` tells anew what stands below the table, and
measures nothing; `--small` takes a minute or two, and writes nothing.
"""

import argparse
import os
import re
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.__main__ import machine
from benchmarks.evidence import census
from benchmarks.evidence.registry import Acceptance, Measured, Size, every

PAGE = Path(__file__).resolve().parents[2] / "docs" / "evidence.md"
STREAMS = Path(__file__).with_name("streams.md")
FAULTS = Path(__file__).with_name("faults.md")
"""What the last campaign of faults left: `python -m benchmarks.chaos --write` writes it."""

STREAMS_TITLE = "## Which test covers which stream"
ROW = re.compile(r"^\| (A\d+\w*) \|.*\n", re.MULTILINE)

HEAD = """# Evidence

Written by `make evidence` (`python -m benchmarks.evidence`) on {when}, on {machine}; load {load:.1f} at the start. Rows
may have been measured again since, alone (`--only`), at another time of the day shown and under another load.

## Acceptance tests

Each runs the product's own code on simulated or public data, seeded; the suite runs a smaller form of every one of them.
Where a target is missed, the table says no. Speeds are of a shared virtual machine, and drift with what else it does.

| name | claim | target | measured | holds | day |
| --- | --- | --- | --- | --- | --- |
"""


def row(one: Acceptance, measured: Measured, day: str) -> str:
    """Return a line of the table."""
    held = "yes" if measured.held else "**no**"
    cells = (one.name, one.claim, one.target, measured.figure, held, day)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def measure(chosen: Sequence[Acceptance], size: Size) -> Iterator[tuple[str, str]]:
    """Yield names and rows of the table; each is printed as soon as it is known."""
    for one in chosen:
        start = time.perf_counter()
        measured = one.measure(size)
        held = "holds" if measured.held else "MISSED"
        print(f"{one.name:5}{held:8}{measured.figure}  [{time.perf_counter() - start:.0f} s]", flush=True)
        yield one.name, row(one, measured, today())


def today() -> str:
    """Return the day of the run."""
    return time.strftime("%Y-%m-%d", time.gmtime())


def replaced(page: str, rows: dict[str, str]) -> str:
    """Return a page with these rows in the place of its own, in the order of all acceptance tests."""
    there = {found[1]: found[0] for found in ROW.finditer(page)} | rows
    table = "".join(there[one.name] for one in every() if one.name in there)
    head, _, rest = page.partition("| --- | --- | --- | --- | --- | --- |\n")
    return f"{head}| --- | --- | --- | --- | --- | --- |\n{table}{ROW.sub('', rest)}"


def choose(names: str | None) -> list[Acceptance]:
    """Return the acceptance tests of these names, all without any; KeyError for one that there is not."""
    known = {one.name: one for one in every()}
    return [known[name] for name in names.split(",")] if names else list(known.values())


def main() -> None:
    """Read the command line, measure, write."""
    parser = argparse.ArgumentParser(prog="benchmarks.evidence", description="Measure the acceptance tests.")
    parser.add_argument("--small", action="store_true", help="in the small form that the tests run; write nothing")
    parser.add_argument("--only", metavar="A6,A7", help="measure these alone, and put their rows into the page")
    parser.add_argument("--story", action="store_true", help="write anew what stands below the table")
    asked = parser.parse_args()
    try:
        chosen = choose(asked.only)
    except KeyError as missing:
        parser.error(f"--only: no acceptance test {missing}; there are {', '.join(one.name for one in every())}")
    print(machine(), flush=True)
    if asked.story:
        head = PAGE.read_text("utf-8").partition(f"\n{STREAMS_TITLE}")[0]
        PAGE.write_text(f"{head}\n{below()}", "utf-8")
        return
    if asked.small:
        for _ in measure(chosen, Size.SMALL):
            pass
        return
    page = PAGE.read_text("utf-8") if asked.only and PAGE.exists() else fresh()
    for name, line in measure(chosen, Size.FULL):
        page = replaced(page, {name: line})
        PAGE.write_text(page, "utf-8")  # at once: what minutes have measured is not lost with the next one's error
    print(f"wrote {PAGE.name}")


def fresh() -> str:
    """Return the page without rows."""
    head = HEAD.format(when=today(), machine=machine(), load=os.getloadavg()[0])
    return f"{head}\n{below()}"


def below() -> str:
    """Return what stands below the table."""
    return f"{STREAMS.read_text('utf-8')}\n{FAULTS.read_text('utf-8')}\n{census.told(Size.FULL)}"


if __name__ == "__main__":
    main()
