"""Rivals that are installed apart, each in a venv of its own, and how they are asked."""

import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from benchmarks.apart import AbsentError, python

HERE = Path(__file__).resolve().parent

Floats = np.ndarray


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


def run(script: str, rival: str, data: Mapping[str, Floats], events: int) -> dict[str, Floats]:
    """Return what a rival says by a script here, in the venv of its package; raises as `python` does, and if it fails."""
    with TemporaryDirectory() as name:
        given, said = Path(name, "in.npz"), Path(name, "out.npz")
        np.savez(given, **data)  # type: ignore[arg-type]
        command: list[str | Path] = [
            python(HERE / f"requirements-{apart(rival)}.txt"),
            HERE / script,
            rival,
            given,
            said,
            str(events),
        ]
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
