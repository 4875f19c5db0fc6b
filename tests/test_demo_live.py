"""The live demo: every incident is told, live equals replay, and whatever ends it leaves no process behind."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from interlock.commands.broker_jars import jars, java
from interlock.demo.compare import compare
from interlock.demo.events import read_days
from interlock.demo.rig import Health
from interlock.demo.screen import Counting, Scene, picture, serving_words
from interlock.demo.sender import Step
from interlock.demo.serving import Report, Slice
from interlock.demo.watch import Sending, Watch
from interlock.errors import UserError
from interlock.records import Control, Verdict, control_line, verdict_line
from tests.processes import ROOT, environment, eventually
from tests.servers import needed

Change = Callable[[list[bytes]], list[bytes]]

DAYS = "8-9,21,27"
"""Days with the three incidents, and one before the first."""


INTERRUPTED = "demo: interrupted; everything that it had started is stopped\n"


def fields(**changed: object) -> dict[str, object]:
    verdict = {"verdict_id": "v1", "ts": 1000, "state": "met"}
    return verdict | changed


def written(
    folder: Path, verdicts: Sequence[dict[str, object]], controls: Sequence[dict[str, object]]
) -> dict[str, list[bytes]]:
    """Write a replay's outputs; return the same as records of topics."""
    lines = {"verdicts": verdicts, "control": controls}
    texts = {name: [json.dumps(one).encode() for one in some] for name, some in lines.items()}
    for name, some in texts.items():
        (folder / f"{name}.jsonl").write_bytes(b"".join(line + b"\n" for line in some))
    return texts


CONTROL: dict[str, object] = {
    "control_id": "c",
    "epoch": 1,
    "state": "engaged",
    "verdict_id": "v1",
    "ts": 1000,
    "issued_at": 1,
}


def test_live_equals_a_replay_whatever_the_order_the_time_of_issue_and_early_controls(tmp_path: Path) -> None:
    live = written(tmp_path, [fields(), fields(ts=2000), fields(ts=9000)], [CONTROL])
    live["verdicts"] = live["verdicts"][1::-1]
    early = CONTROL | {"verdict_id": "", "evidence": {}}
    live["control"] = [json.dumps(one).encode() for one in (CONTROL | {"issued_at": 5}, early)]
    found = compare(live, tmp_path, judged=2000)

    assert (found.verdicts, found.controls, found.beyond, found.differences) == (2, 1, 1, [])


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("verdicts", lambda lines: lines[1:], "verdict, replay only: "),
        ("verdicts", lambda lines: [*lines, b'{"verdict_id":"x","ts":1}'], "verdict, live only: "),
        ("verdicts", lambda lines: [lines[0].replace(b"met", b"breached"), *lines[1:]], "verdict, live only: "),
        ("control", lambda _: [], "control c/1/engaged is missing live"),
        ("control", lambda lines: [lines[0].replace(b"1000", b"1001")], "control c/1/engaged is {"),
    ],
    ids=["missing", "more", "other", "no control", "other control"],
)
def test_whatever_differs_between_live_and_replay_is_a_line(
    tmp_path: Path, name: str, change: Change, said: str
) -> None:
    live = written(tmp_path, [fields(), fields(ts=2000)], [CONTROL])
    live[name] = change(live[name])

    assert any(line.startswith(said) for line in compare(live, tmp_path, judged=2000).differences)


def test_the_cause_is_the_first_step_that_reached_its_time_and_rates_are_those_of_late() -> None:
    sending = Sending([Step(10 * n, 1000 * n, n * 500_000_000, n * 500) for n in range(1, 11)])
    slow = Step(0, 0, -60_000_000_000, 0)

    assert sending.first_at(2500) == sending.steps[2]
    assert sending.first_at(3000) == sending.steps[2]
    assert sending.first_at(10_001) is None
    assert sending.reached(2_000_000_000) == 3000
    assert Sending([slow, *sending.steps]).rate() == sending.rate() == pytest.approx(20)


@pytest.mark.parametrize("first", ["control", "report"])
def test_a_delay_is_from_the_sending_of_the_cause_to_the_guard_whichever_is_heard_of_first(first: str) -> None:
    told = CONTROL | {
        "model": "m", "scope": {}, "action": "kill_switch", "mode": "killed", "parameters": {}, "slo": "s",
        "cause": "c", "evidence": {}, "policy_digest": "d", "verdict_id": "",
    }  # fmt: skip
    line = control_line(Control.model_validate(told))
    watch = Watch([Slice({"office": "lynn"}, "1")])
    watch.sending.steps += [Step(1, 999, 1_000_000, 5), Step(2, 1000, 2_000_000, 6)]
    if first == "control":
        watch.control(line, 9)
    watch.report(Report(7_500_000, 12, [(0, "normal", "killed")], "c", "engaged", [0]))
    if first == "report":
        watch.control(line, 9)

    assert watch.delay(watch.sightings["c", "engaged"]) == (3, 5.5)
    assert watch.modes == ["killed"]


@pytest.mark.parametrize(
    ("modes", "said"),
    [
        ("nnnn", "normal everywhere"),
        ("hhhh", "human_review everywhere"),
        ("knkn", "killed for version 1, else normal"),
        ("khkn", "killed for version 1, human_review for office a, else normal"),
        ("khkh", "killed for version 1, human_review everywhere else"),
        ("nhnn", "human_review for 1 more slices, else normal"),
        ("", "not ready"),
    ],
)
def test_modes_are_told_by_the_widest_names_that_hold(modes: str, said: str) -> None:
    watch = Watch([Slice({"office": office}, version) for office in "ab" for version in "12"])
    names = {"n": "normal", "h": "human_review", "k": "killed"}
    watch.modes = [names[letter] for letter in modes] or watch.modes

    assert serving_words(watch) == said


@pytest.mark.parametrize(("rows", "everywhere"), [(50, False), (24, True)])
def test_a_picture_has_the_flow_every_slo_and_the_modes_in_as_much_room_as_there_is(
    rows: int, everywhere: bool
) -> None:
    health = Health("http://127.0.0.1:9/health")
    health.close()
    watch = Watch([Slice({"office": office, "endpoint": "/claim"}, "1.0") for office in ("lynn", "quincy")])
    watch.modes = ["killed", "killed"]
    watch.sending.steps += [Step(0, 0, 0, 0), Step(500, 1000, 1_000_000_000, 1000)]
    verdict = Verdict(
        verdict_id="v", model="m", slo="ood_rate_24h", scope={"slice": "office=lynn"}, ts=0, window_start=0, window_end=0,
        state="breached", value=0.25, lower=0.125, upper=0.5, n=8, label_coverage=None, target="<= 0.05", evidence={},
        policy_digest="d",
    )  # fmt: skip
    watch.verdicts([verdict_line(verdict)])
    console = Console(record=True, width=120, file=StringIO())
    console.print(picture(Scene(watch, health, 1000, Counting()), rows))
    text = console.export_text()

    assert "500 of 1,000 events, 500/s sent" in text
    assert "ood_rate_24h  office=lynn  <= 0.05   0.25  0.125 to 0.5  8  breached" in text
    assert ("killed everywhere" in text) == everywhere
    assert ("lynn    killed" in text) == (not everywhere)
    assert len(text.splitlines()) < rows


def test_days_are_spans_and_anything_else_is_one_line() -> None:
    assert read_days("") == []
    assert read_days("9,27-28") == [(8.0, 9.0), (26.0, 28.0)]
    for wrong in ("0", "9-8", "a", "9,", "1-2-3"):
        with pytest.raises(UserError, match="--days: found"):
            read_days(wrong)


def processes(marked: Path) -> dict[int, bytes]:
    """Return the command lines of all processes whose environment names a folder."""
    found = {}
    for place in Path("/proc").glob("[0-9]*"):
        try:
            if os.fsencode(marked) in (place / "environ").read_bytes():
                found[int(place.name)] = (place / "cmdline").read_bytes()
        except OSError:
            continue
    return found


@contextmanager
def demo(folder: Path) -> Iterator[subprocess.Popen[str]]:
    """Start the demo; whatever happens, it does not outlive the test."""
    needed(java)
    needed(jars)
    temporary = folder / "tmp"
    temporary.mkdir()
    command = [sys.executable, "-m", "interlock", "demo", "--out", str(folder / "out"), "--days", DAYS]
    ours = environment(TMPDIR=str(temporary), INTERLOCK_PAGERDUTY_ROUTING_KEY="")
    with subprocess.Popen(
        command, cwd=ROOT, env=ours, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            yield process
        finally:
            process.kill()
    assert eventually(lambda: not processes(temporary)), processes(temporary)


def read_until(process: subprocess.Popen[str], start: str) -> str:
    """Return what the demo prints up to a line that begins so."""
    assert process.stdout is not None
    text = ""
    for line in process.stdout:
        text += line
        if line.startswith(start):
            return text
    raise AssertionError(text + str(process.communicate()))


@pytest.mark.integration
@pytest.mark.slow
def test_the_demo_tells_every_incident_and_ends_with_live_equal_to_replay(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        out, err = process.communicate(timeout=150)

    assert (process.returncode, err) == (0, "")
    assert "\nequal: " in out
    for told in ("human_review: office=springfield, ood_rate_24h", "killed: version 1.0, never_event_violations"):
        incident = out.split(f"  engaged {told}\n")[1].split("\n\n")[0]
        assert " ms after " in incident.split("    published ")[1]
        assert " of 48 slices are in " in incident.split("    obeyed ")[1]
        assert "    page " in incident
        assert "none came" not in incident
        assert "      what_broke " in incident
    assert out.count("  engaged human_review: ") >= 2
    assert "the guard has not obeyed" not in out
    assert "counted while live" not in out
    assert "SELECT slo, JSONExtractString(scope, 'slice')" in out
    assert "2026-10-21 10:03  -" in out
    assert list((tmp_path / "tmp").iterdir()) == []


@pytest.mark.integration
@pytest.mark.slow
@pytest.mark.parametrize(("number", "code", "said"), [(signal.SIGINT, 130, INTERRUPTED), (signal.SIGKILL, -9, "")])
def test_a_demo_that_is_ended_in_mid_stream_leaves_no_process(
    tmp_path: Path, number: signal.Signals, code: int, said: str
) -> None:
    with demo(tmp_path) as process:
        read_until(process, "ready ")
        running = processes(tmp_path / "tmp")
        process.send_signal(number)
        _, err = process.communicate(timeout=60)

        assert (process.returncode, err) == (code, said)
        assert len(running) >= 11, "the demo, a broker and five children, each on its leash"
        assert eventually(lambda: not processes(tmp_path / "tmp"), 10)


@pytest.mark.integration
@pytest.mark.slow
def test_a_worker_that_is_killed_ends_the_demo_in_one_clear_line(tmp_path: Path) -> None:
    with demo(tmp_path) as process:
        read_until(process, "ready ")
        worker = next(
            pid
            for pid, line in processes(tmp_path / "tmp").items()
            if b"interlock\0worker" in line and b"leash" not in line
        )
        os.kill(worker, signal.SIGKILL)
        _, err = process.communicate(timeout=60)

    assert process.returncode == 2
    assert err.startswith(
        f"demo: the worker ended by itself (SIGKILL); {tmp_path}/out/live/logs/worker.log ends with:\n"
    )
    assert "Traceback" not in err
