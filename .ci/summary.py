"""Sum the JUnit reports of several pytest runs into one closing line; under CI=true a skipped integration test fails."""

import os
import sys
from pathlib import Path
from xml.etree import ElementTree as ET

COUNTS = ("tests", "failures", "errors", "skipped")


def counts(report: Path) -> tuple[dict[str, int], float]:
    """Return the counts of one report, and its seconds."""
    suites = list(ET.parse(report).getroot().iter("testsuite"))  # noqa: S314 - our own pytest wrote it
    total = {name: sum(int(suite.get(name, 0)) for suite in suites) for name in COUNTS}
    return total, sum(float(suite.get("time", 0)) for suite in suites)


def closing_line(total: dict[str, int], seconds: float) -> str:
    """Return the line as pytest prints it."""
    passed = total["tests"] - total["failures"] - total["errors"] - total["skipped"]
    parts = {"failed": total["failures"], "passed": passed, "skipped": total["skipped"], "errors": total["errors"]}
    shown = ", ".join(f"{count} {name}" for name, count in parts.items() if count)
    return f" {shown or 'no tests ran'} in {seconds:.2f}s ".center(80, "=")


def main() -> int:
    """Print the closing line; return 1 when a test failed, or an integration test was skipped under CI."""
    reports = {path.stem: counts(path) for path in sorted(Path(sys.argv[1]).glob("*.xml"))}
    total = {name: sum(report[name] for report, _ in reports.values()) for name in COUNTS}
    skipped = reports["3-integration"][0]["skipped"]
    forbidden = skipped > 0 and os.environ.get("CI") == "true"
    if forbidden:
        sys.stderr.write(f"{skipped} integration test(s) skipped: in CI all must run (reasons above)\n")
    sys.stdout.write(closing_line(total, sum(seconds for _, seconds in reports.values())) + "\n")
    return int(forbidden or total["failures"] + total["errors"] > 0)


if __name__ == "__main__":
    sys.exit(main())
