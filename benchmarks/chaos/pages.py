"""Where a campaign's figures are kept: docs/chaos.md has all of them, docs/evidence.md the faults'."""

from collections.abc import Mapping, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PAGE, EVIDENCE = ROOT / "docs" / "chaos.md", ROOT / "docs" / "evidence.md"
KEPT = ROOT / "benchmarks" / "evidence" / "faults.md"
"""What `make evidence` puts into its page, so that it writes nothing of a campaign's away."""

MEASURED = "## Measured\n"
TITLE, NEXT = "## What kills and worse do\n", "\n## "


def write(head: str, made: Mapping[str, str]) -> None:
    """Write a campaign down; `head` says how and where it was run, `made` what each of its scenarios found."""
    page = PAGE.read_text("utf-8").partition(MEASURED)[0]
    PAGE.write_text(f"{page}{MEASURED}\n" + "\n".join([head, *made.values()]), "utf-8")
    if "faults" in made:
        KEPT.write_text(kept([head, made["faults"]]), "utf-8")
        EVIDENCE.write_text(replaced(EVIDENCE.read_text("utf-8"), KEPT.read_text("utf-8")), "utf-8")


def kept(parts: Sequence[str]) -> str:
    """Return the section of docs/evidence.md."""
    made = "\n".join(parts).rstrip()
    return f"{TITLE}\n{made}\n\nHow, and what each column means: [chaos.md](chaos.md).\n"


def replaced(page: str, section: str) -> str:
    """Return a page with this section in the place of its own."""
    before, _, rest = page.partition(TITLE)
    _, found, after = rest.partition(NEXT)
    return f"{before}{section}{found}{after}"
