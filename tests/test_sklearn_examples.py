"""The multi-class and the regression example: both find their incident, where and when it is, and nothing else."""

import importlib.util
import json
import shutil
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.replaying import Ran, command

EXAMPLES = Path(__file__).parent.parent / "examples"
HOUR = 3_600_000
PLACES = {"digits": "scanner", "diabetes": "clinic"}
FIRST = {"digits": ("ood_rate_24h", 3), "diabetes": ("range_violations_24h", 3)}
"""What engages first, without labels, and after how many hours at most."""

LABELLED = {"digits": ("accuracy_24h", 6 + 4), "diabetes": ("mae_24h", 12 + 6)}
"""What labels say, and after how many hours of the incident at most: their delay, and a few."""


def script(name: str) -> ModuleType:
    """The example's script as a module."""
    spec = importlib.util.spec_from_file_location(f"example_{name}", EXAMPLES / name / "prepare.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@cache
def told(name: str, folder: Path) -> tuple[Ran, dict[str, Any]]:
    """Do what the README says; return the replay and the incident."""
    out = folder / name
    script(name).prepare(out)
    shutil.copy(EXAMPLES / name / "policy.yaml", out)
    known = [part for kind in ("predictions", "outcomes") for part in (f"--{kind}", out / f"reference-{kind}.jsonl")]
    events = [part for kind in ("predictions", "outcomes") for part in (f"--{kind}", out / f"{kind}.jsonl")]
    fitted = command("fit", *known, "-o", out / f"{name}.ref")
    assert fitted[0] == 0, fitted[2]
    code, said, err = command("replay", out / "policy.yaml", *events, "--out", out / "run", "--no-clickhouse")
    assert code == 1, err  # something was engaged
    return Ran(code, said, err, out / "run"), json.loads((out / "incident.json").read_text("utf-8"))


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder for both."""
    made: Path = tmp_path_factory.mktemp("sklearn")
    return made


@pytest.fixture(params=sorted(PLACES))
def example(request: pytest.FixtureRequest, folder: Path) -> tuple[str, Ran, dict[str, Any]]:
    """Each example's name, replay and incident."""
    return (request.param, *told(request.param, folder))


def test_the_incident_is_found_where_it_is_and_nothing_before_or_elsewhere(
    example: tuple[str, Ran, dict[str, Any]],
) -> None:
    name, ran, incident = example
    controls = ran.lines("control")
    engaged = {c["slo"]: c["ts"] - incident["from"] for c in reversed(controls) if c["state"] == "engaged"}

    assert {json.dumps(c["scope"]) for c in controls} == {
        json.dumps({"slice": f"{PLACES[name]}={incident[PLACES[name]]}"})
    }
    assert min(c["ts"] for c in controls) > incident["from"]
    for slo, hours in (FIRST[name], LABELLED[name]):
        assert 0 < engaged[slo] <= hours * HOUR
    assert min(engaged, key=lambda slo: engaged[slo]) == FIRST[name][0]


def test_each_incident_ends_by_proof_after_its_end(example: tuple[str, Ran, dict[str, Any]]) -> None:
    _, ran, incident = example
    released = [c for c in ran.lines("control") if c["state"] == "released"]

    assert len(released) == len({c["slo"] for c in ran.lines("control")})
    assert min(c["ts"] for c in released) > incident["until"]


def test_every_promise_is_kept_before_the_incident(example: tuple[str, Ran, dict[str, Any]]) -> None:
    """What has a day of labels by then is proven; nothing is at risk for long enough to be the last word."""
    _, ran, incident = example
    last = {
        (v["slo"], json.dumps(v["scope"])): v["state"] for v in ran.lines("verdicts") if v["ts"] <= incident["from"]
    }

    assert len(last) > 10
    assert set(last.values()) == {"met"}


def test_the_readme_says_the_commands_that_this_test_runs() -> None:
    for name in PLACES:
        text = (EXAMPLES / name / "README.md").read_text("utf-8")
        assert f"python examples/{name}/prepare.py out/{name}" in text
        assert f"-o out/{name}/{name}.ref" in text
        assert f"interlock replay out/{name}/policy.yaml" in text
