"""The command line as a user meets it: one line per mistake, exit codes, lists of files, pipes that end early."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from interlock.commands.command_line import app, spread

ROOT = Path(__file__).resolve().parents[1]
QUICKSTART = ROOT / "examples" / "quickstart"
COMMANDS = sorted(str(one.name or one.callback.__name__) for one in app.registered_commands if one.callback)


def interlock(*arguments: object, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "interlock", *map(str, arguments)]
    environment = os.environ | {"PYTHONPATH": str(ROOT), "COLUMNS": "80", "INTERLOCK_AUDIT_SECRET": "test"}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=300)


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("replay p.yaml --predictions a b c", "replay p.yaml --predictions a --predictions b --predictions c"),
        ("x --predictions a b --outcomes c d", "x --predictions a --predictions b --outcomes c --outcomes d"),
        ("x --abuse=a b --out d e", "x --abuse=a --abuse b --out d e"),
        ("x --predictions a --predictions b c", "x --predictions a --predictions b --predictions c"),
        ("x --predictions a b p.yaml", "x --predictions a --predictions b p.yaml"),
        ("x --predictions a p.yml b", "x --predictions a p.yml b"),
        ("x --predictions a --map m b", "x --predictions a --map m b"),
        ("x --predictions a -o r b", "x --predictions a -o r b"),
        ("x --predictions a - b", "x --predictions a --predictions - --predictions b"),
        ("x --predictions a -- b c", "x --predictions a -- b c"),
        ("check a b", "check a b"),
        ("x --predictions", "x --predictions"),
        ("", ""),
    ],
)
def test_options_of_files_take_several_and_nothing_else_changes(written: str, meant: str) -> None:
    assert spread(written.split()) == meant.split()


def test_writing_each_option_once_per_file_stays_as_it_is() -> None:
    written = ["fit", "--predictions", "a", "--predictions", "b", "--outcomes", "c", "-o", "m.ref"]

    assert spread(written) == written


@pytest.mark.integration
def test_a_replay_takes_several_files_after_one_option(tmp_path: Path) -> None:
    lines = (QUICKSTART / "predictions.jsonl").read_text().splitlines(keepends=True)
    (tmp_path / "1.jsonl").write_text("".join(lines[:200]))
    (tmp_path / "2.jsonl").write_text("".join(lines[200:]))
    files = ["--predictions", tmp_path / "1.jsonl", tmp_path / "2.jsonl", "--outcomes", QUICKSTART / "outcomes.jsonl"]
    result = interlock("replay", *files, QUICKSTART / "policy.yaml", "--out", tmp_path / "out", "--no-clickhouse")

    assert result.returncode == 1, result.stderr
    assert "predictions 400" in result.stdout
    assert "dead_letters 1" in result.stdout
    assert result.stderr == ""
    assert all(len(line) <= 120 for line in result.stdout.splitlines() if not line.startswith("Written"))
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [
        "audits.jsonl", "control.jsonl", "dead-letters.jsonl", "run.json", "verdicts.jsonl",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("bogus", "No such command 'bogus' (see `interlock --help`)"),
        ("replay", "what is to be replayed? Give POLICY and --predictions, or --dead-letters"),
        ("topics", "Missing argument 'POLICY' (see `interlock topics --help`)"),
        ("replay p.yaml --bogus", "No such option: --bogus"),
        ("fit --predictions a -o b --flag-rate many", "Invalid value for '--flag-rate'"),
        ("replay none.yaml --predictions none.jsonl", "none.yaml: cannot be read: No such file or directory"),
        (
            "schema bogus",
            "schema: found bogus; expected one of policy, prediction, outcome, abuse, verdict, control, page",
        ),
    ],
)
def test_a_wrong_use_is_one_line_on_stderr_and_exits_2(arguments: str, said: str) -> None:
    result = interlock(*arguments.split())

    assert (result.returncode, result.stdout) == (2, "")
    assert result.stderr.startswith(said)
    assert result.stderr.count("\n") == 1


def test_no_command_shows_the_help_and_exits_2() -> None:
    result = interlock()

    assert result.returncode == 2
    assert "Usage: interlock" in result.stderr


@pytest.mark.parametrize("command", COMMANDS)
def test_every_commands_help_has_an_example_on_one_line(command: str) -> None:
    result = interlock(command, "--help")
    example = next(line for line in result.stdout.splitlines() if line.startswith("  Example: interlock "))

    assert result.returncode == 0
    assert example.startswith(f"  Example: interlock {command}")
    assert max(map(len, result.stdout.splitlines())) <= 80


def test_the_help_lists_every_command_with_a_whole_sentence_and_the_exit_codes() -> None:
    text = interlock("--help").stdout

    assert "..." not in text.split("Commands:")[1]
    assert all(f"  {command} " in text for command in COMMANDS)
    assert "Exit codes: 0 good" in text


def test_a_reader_that_goes_away_leaves_no_traceback() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "interlock", "schema", "policy"]
    with os.fdopen(writing, "wb") as pipe:
        result = subprocess.run(command, cwd=ROOT, stdout=pipe, stderr=subprocess.PIPE, check=False, timeout=300)

    assert (result.returncode, result.stderr) == (141, b"")


def test_ctrl_c_exits_130_without_a_traceback() -> None:
    script = """
import os, signal, sys
from interlock.commands import command_line as line
signal.signal(signal.SIGINT, signal.default_int_handler)
line.app.command("wait")(lambda: os.kill(os.getpid(), signal.SIGINT))
sys.argv = ["interlock", "wait"]
line.main()
"""
    result = subprocess.run([sys.executable, "-c", script], cwd=ROOT, capture_output=True, check=False, timeout=300)

    assert result.returncode == 130
    assert b"Traceback" not in result.stderr


@pytest.mark.parametrize("loading", ["typer", "numpy", "msgspec", "pydantic", "interlock.commands.worker"])
def test_ctrl_c_while_the_command_line_loads_is_one_line_and_exit_130(loading: str) -> None:
    script = f"""
import os, runpy, signal, sys

class Interrupter:
    def find_spec(self, name, *_):
        if name == {loading!r}:
            os.kill(os.getpid(), signal.SIGINT)

signal.signal(signal.SIGINT, signal.default_int_handler)
sys.meta_path.insert(0, Interrupter())
runpy.run_module("interlock", run_name="__main__")
"""
    command = [sys.executable, "-c", script, "version"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, check=False, timeout=300)

    assert (result.returncode, result.stdout, result.stderr) == (130, b"", b"interrupted\n")


def test_the_demo_outside_a_checkout_is_one_line(tmp_path: Path) -> None:
    result = interlock("demo", cwd=tmp_path)

    assert (result.returncode, result.stdout) == (2, "")
    assert "run `interlock demo` in a checkout" in result.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.integration
@pytest.mark.slow
def test_the_demo_notices_every_incident(tmp_path: Path) -> None:
    result = interlock("demo", "--offline", "--out", tmp_path / "demo")
    text = result.stdout

    assert (result.returncode, result.stderr) == (0, "")
    assert text.count("  -> human_review for endpoint=") == 3
    assert "  -> killed for version 1.0: on arrival" in text
    assert "  -> human_review for office=springfield: 35 min and 13 events after the first injected event" in text
    assert "only springfield went to human review" in text
    assert "unnoticed" not in text
    assert "That does not prove the target" in text
    assert "no rows" not in text


@pytest.mark.skipif(sys.platform != "linux", reason="Linux tells how many threads a process has")
def test_a_command_leaves_other_cores_to_others() -> None:
    """OpenBLAS starts a thread for each core, and they spin between two products."""
    code = "import interlock.commands.command_line, os; print(*os.listdir('/proc/self/task'))"
    free = {name: value for name, value in os.environ.items() if name != "OPENBLAS_NUM_THREADS"}
    counts = [
        len(
            subprocess.run(
                [sys.executable, "-c", code], cwd=ROOT, env=environment, capture_output=True, check=True
            ).stdout.split()
        )
        for environment in (free, free | {"OPENBLAS_NUM_THREADS": "1"})
    ]

    assert counts[0] == counts[1]
