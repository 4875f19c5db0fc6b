"""The map of packages, the folders and the links agree; what is installed is `interlock` alone, and it runs."""

import os
import shutil
import subprocess
import sys
import sysconfig
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"


def project() -> dict[str, Any]:
    """Return pyproject.toml."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


def package_folders() -> dict[str, Path]:
    """Return each package that pyproject.toml names, and its folder."""
    tool = project()["tool"]["setuptools"]
    mapped = tool["package-dir"]
    return {name: ROOT / mapped.get(name, name.replace(".", "/")) for name in tool["packages"]}


def test_every_package_of_the_map_is_a_folder_with_an_init_file() -> None:
    missing = [name for name, folder in package_folders().items() if not (folder / "__init__.py").is_file()]

    assert missing == []


def test_every_mapped_folder_has_its_link() -> None:
    mapped = project()["tool"]["setuptools"]["package-dir"]
    links = {path.name: str(path.readlink()) for path in (ROOT / "interlock").iterdir() if path.is_symlink()}

    assert links == {name.removeprefix("interlock."): f"../{folder}" for name, folder in mapped.items()}


def test_every_folder_of_python_files_is_in_the_map() -> None:
    rooms = ["interlock", *project()["tool"]["setuptools"]["package-dir"].values()]
    found = {path.parent for room in rooms for path in (ROOT / room).rglob("*.py")}

    assert found == set(package_folders().values())


def test_versions_are_pinned_with_hashes_and_no_machine_is_named() -> None:
    lock = (ROOT / "requirements.lock").read_text("utf-8")
    entries = [line for line in lock.splitlines() if line and not line.startswith((" ", "#"))]

    assert all("==" in line for line in entries)
    assert lock.count("--hash=sha256:") >= len(entries)
    assert "/" not in lock, "a path or the address of an index"


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, so that nothing is left in the tree."""
    source = tmp_path_factory.mktemp("source")
    for name in ("pyproject.toml", "LICENSE", "README.md"):
        shutil.copy(ROOT / name, source)
    for folder in {path.relative_to(ROOT).parts[0] for path in package_folders().values()}:
        shutil.copytree(ROOT / folder, source / folder, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
    out = source / "dist"
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(source))
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Install the wheel alone in a new environment, which borrows the other packages of this one."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder))
    python = str(folder / "bin" / "python")
    run(sys.executable, "-m", "pip", "--python", python, "install", "--quiet", "--no-deps", str(wheel))
    # A .pth line adds this environment's packages, yet not its .pth files: the editable install stays out.
    site = folder / "lib" / f"python{sysconfig.get_python_version()}" / "site-packages"
    (site / "borrowed.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return folder / "bin" / "interlock"


def run(*command: str, cwd: Path | None = None, accept: tuple[int, ...] = (0,)) -> str:
    """Run a command outside the tree and return what it printed."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, cwd=cwd, env=clean, capture_output=True, text=True, timeout=300, check=False)

    assert done.returncode in accept, f"{command} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.integration
def test_the_wheel_has_only_interlock_at_its_top(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}

    assert {top for top in tops if not top.endswith(".dist-info")} == {"interlock"}
    assert {"interlock/py.typed", "interlock/commands/kafka.lock", "interlock/sinks/schema.sql"} <= set(names)
    assert any(name.endswith("/licenses/LICENSE") for name in names)


@pytest.mark.integration
def test_the_installed_wheel_is_the_one_that_runs(installed: Path, tmp_path: Path) -> None:
    python = str(installed.with_name("python"))
    where = run(python, "-c", "import interlock.sinks.files as f; print(f.__file__)", cwd=tmp_path)

    assert where.startswith(str(installed.parents[1]))


@pytest.mark.integration
def test_the_installed_wheel_checks_a_policy(installed: Path, tmp_path: Path) -> None:
    run(str(installed), "check", str(ROOT / "examples" / "safety-slos.yaml"), cwd=tmp_path)


@pytest.mark.integration
def test_the_installed_wheel_replays_history(installed: Path, tmp_path: Path) -> None:
    files = {name: str(QUICKSTART / f"{name}.jsonl") for name in ("predictions", "outcomes")}
    arguments = [f"--{name}={path}" for name, path in files.items()]
    out = tmp_path / "out"
    run(
        *(str(installed), "replay", str(QUICKSTART / "policy.yaml"), *arguments, f"--out={out}"),
        cwd=tmp_path,
        accept=(0, 1, 4),
    )

    assert (out / "verdicts.jsonl").stat().st_size > 0
