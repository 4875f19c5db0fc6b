"""What benchmarks are compared with and must not be installed beside us: a venv each under build/apart, made when it is asked for."""

import subprocess
import sys
from pathlib import Path

BUILD = Path(__file__).resolve().parents[1] / "build" / "apart"
INSTALL = 240
"""Seconds that an installation may take."""


class AbsentError(Exception):
    """A peer that is not here, and why in a few words."""


def python(requirements: Path) -> Path:
    """Return the interpreter of the venv that holds these pinned requirements; it is made if need be.

    Raises:
        AbsentError: they cannot be installed, or not in time.
    """
    folder = BUILD / requirements.stem.removeprefix("requirements-")
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != requirements.read_text():
        commands: tuple[list[str | Path], ...] = (
            [sys.executable, "-m", "venv", "--clear", folder],
            [folder / "bin" / "pip", "install", "-q", "-r", requirements],
        )
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, timeout=INSTALL)
        except subprocess.TimeoutExpired as error:
            raise AbsentError(f"not installed within {INSTALL} s") from error
        except (OSError, subprocess.CalledProcessError) as error:
            raise AbsentError("not installed: no package index answered, or it has no such version") from error
        stamp.write_text(requirements.read_text())
    return folder / "bin" / "python"
