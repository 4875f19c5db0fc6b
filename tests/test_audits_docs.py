"""docs/audits.md, executed as written."""

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "audits.md").read_text("utf-8")

pytestmark = pytest.mark.integration


def test_the_commands_of_the_page_print_what_the_page_says(tmp_path: Path) -> None:
    commands = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    shown = re.findall(r"^```\n(ood_recall.*?|out/audits.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    (tmp_path / "examples").symlink_to(ROOT / "examples")
    environment = os.environ | {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "COLUMNS": "300"}
    environment.pop("INTERLOCK_AUDIT_SECRET", None)
    script = "\n".join(commands)
    done = subprocess.run(
        ["bash", "-c", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr
    said = [" ".join(line.split()) for line in done.stdout.splitlines()]
    lines = [" ".join(line.split()) for block in shown for line in block.splitlines()]
    assert len(lines) == 4
    assert [line for line in lines if line not in said] == []
