"""Rivals that are installed apart: a venv each under build/league, made when it is asked for and an index answers."""

import subprocess
import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

HERE = Path(__file__).resolve().parent
BUILD = HERE.parents[1] / "build" / "league"
INSTALL = 240
"""Seconds that an installation may take."""

Floats = np.ndarray


class AbsentError(Exception):
    """A rival that is not here, and why in a few words."""


def apart(rival: str) -> str:
    """Return the package of a rival that is installed apart; empty for one that is here."""
    packages = (path.stem.removeprefix("requirements-") for path in HERE.glob("requirements-*.txt"))
    return next((package for package in packages if rival.lower().startswith(package)), "")


def pinned() -> list[str]:
    """Return the packages that are installed apart, with their versions."""
    found = []
    for path in sorted(HERE.glob("requirements-*.txt")):
        package = path.stem.removeprefix("requirements-")
        found += [
            f"{package} {line.split('==')[1]}" for line in path.read_text().splitlines() if line.startswith(package)
        ]
    return found


def python(package: str) -> Path:
    """Return the interpreter of a package's venv; it is made if need be.

    Raises:
        AbsentError: the package cannot be installed, or not in time.
    """
    folder, pinned = BUILD / package, HERE / f"requirements-{package}.txt"
    stamp = folder / "installed"
    if not stamp.exists() or stamp.read_text() != pinned.read_text():
        commands: tuple[list[str | Path], ...] = (
            [sys.executable, "-m", "venv", "--clear", folder],
            [folder / "bin" / "pip", "install", "-q", "-r", pinned],
        )
        try:
            for command in commands:
                subprocess.run(command, check=True, capture_output=True, timeout=INSTALL)
        except subprocess.TimeoutExpired as error:
            raise AbsentError(f"not installed within {INSTALL} s") from error
        except (OSError, subprocess.CalledProcessError) as error:
            raise AbsentError("not installed: no package index answered, or it has no such version") from error
        stamp.write_text(pinned.read_text())
    return folder / "bin" / "python"


def run(script: str, rival: str, data: Mapping[str, Floats], events: int) -> dict[str, Floats]:
    """Return what a rival says by a script here, in the venv of its package; raises as `python` does, and if it fails."""
    with TemporaryDirectory() as name:
        given, said = Path(name, "in.npz"), Path(name, "out.npz")
        np.savez(given, **data)  # type: ignore[arg-type]
        command: list[str | Path] = [python(apart(rival)), HERE / script, rival, given, said, str(events)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            raise AbsentError("failed: " + (done.stderr.strip().splitlines() or ["without a word"])[-1])
        with np.load(said) as arrays:
            return dict(arrays)


def versions(*packages: str) -> str:
    """Return the versions of these packages, as far as they are installed."""
    found = []
    for package in packages:
        try:
            found.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join(found)
