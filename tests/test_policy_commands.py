"""`interlock check` and `interlock schema`: what they print where, and with which exit code."""

import json
import re
from pathlib import Path

import jsonschema
import pytest
import typer
from typer.testing import CliRunner, Result

from interlock.commands.check import check
from interlock.commands.schema import SCHEMAS, policy_schema, schema, schema_text
from interlock.errors import UserError
from interlock.policies.positions import read_document

ROOT = Path(__file__).parent.parent
GOOD = sorted((ROOT / "tests" / "policies" / "good").glob("*.yaml"))
BAD = ROOT / "tests" / "policies" / "bad"
SEED = ROOT / "examples" / "safety-slos.yaml"

app = typer.Typer()
app.command()(check)
app.command()(schema)


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [str(one) for one in arguments])


def stem(path: Path) -> str:
    return path.stem


def test_the_example_is_the_seed_as_it_stands(shared: Path) -> None:
    assert SEED.read_bytes() == (shared / "data" / "safety-slos.yaml").read_bytes()


def test_a_valid_policy_is_said_with_its_digest_and_warnings_on_stdout() -> None:
    result = run("check", SEED)

    lines = result.stdout.splitlines()
    assert result.exit_code == 0
    assert re.fullmatch(f"{SEED}: valid, 3 SLOs, digest sha256:[0-9a-f]{{64}}", lines[0])
    assert len(lines) == 10
    assert all(re.match(rf"{SEED}:\d+:\d+: warning: \S+: ", line) for line in lines[1:])
    assert result.stderr == ""


def test_errors_of_all_files_go_to_stderr_and_exit_1() -> None:
    result = run("check", BAD / "many_at_once.yaml", SEED, BAD / "nan.yaml")

    assert result.exit_code == 1
    assert "many_at_once.yaml:" in result.stderr
    assert "nan.yaml:2:23: false_pages_per_year: found .nan; expected a finite number\n" in result.stderr
    assert "valid" in result.stdout
    assert "error" not in result.stdout


@pytest.mark.parametrize("path", sorted(BAD.glob("*.yaml")), ids=stem)
def test_every_bad_policy_exits_1(path: Path) -> None:
    assert run("check", path).exit_code == 1


def test_a_missing_file_exits_2_and_the_others_are_still_checked(tmp_path: Path) -> None:
    result = run("check", tmp_path / "none.yaml", tmp_path, SEED, BAD / "nan.yaml")

    assert result.exit_code == 2
    assert "none.yaml: cannot be read: No such file" in result.stderr
    assert "Is a directory" in result.stderr
    assert "found .nan" in result.stderr
    assert "valid, 3 SLOs" in result.stdout


def test_a_large_file_is_not_read_whole(tmp_path: Path) -> None:
    path = tmp_path / "large.yaml"
    path.write_bytes(b"#" * (2 << 20))

    assert "expected at most 1048576" in run("check", path).stderr


def test_json_has_places_for_programs() -> None:
    result = run("check", "--json", SEED, BAD / "nan.yaml", "--traffic", "7000/d")

    seed, nan = json.loads(result.stdout)["files"]
    assert (seed["valid"], seed["slos"], len(seed["warnings"]), len(seed["power"])) == (True, 3, 9, 3)
    assert nan["errors"] == [
        {
            "line": 2,
            "column": 23,
            "path": "false_pages_per_year",
            "message": "found .nan; expected a finite number",
        }
    ]
    assert result.exit_code == 1


def test_traffic_says_what_can_be_proven_and_what_never() -> None:
    plenty, little = run("check", SEED, "--traffic", "7000/d").stdout, run("check", SEED, "--traffic", "10/h").stdout

    assert plenty.count("power: ") == 3
    assert "can never leave insufficient" not in plenty
    assert "decision_ece_p95_24h can never leave insufficient: 24h holds 240 events and it needs 1000" in little


def test_a_wrong_traffic_is_one_clear_line() -> None:
    result = run("check", SEED, "--traffic", "many")

    assert isinstance(result.exception, UserError)
    assert str(result.exception) == "--traffic: found many; expected a rate such as 200/h or 7000/d"


@pytest.mark.parametrize("name", sorted(SCHEMAS))
def test_the_committed_schema_is_the_generated_one(name: str) -> None:
    committed = (ROOT / "docs" / "schemas" / f"{name}.json").read_text(encoding="utf-8")

    assert committed == schema_text(name) == run("schema", name).stdout


def test_an_unknown_schema_is_one_clear_line() -> None:
    assert str(run("schema", "polcy").exception).startswith("schema: found polcy; expected one of ")


def validator() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(policy_schema())


def plain(path: Path) -> object:
    return json.loads(json.dumps(read_document(path.read_bytes()).data))


def test_the_schema_is_valid_and_describes_every_key() -> None:
    found = policy_schema()

    jsonschema.Draft202012Validator.check_schema(found)
    parts = [found, *(part for part in found["$defs"].values() if "properties" in part)]
    assert len(parts) > 15
    for part in parts:
        assert part["description"]
        assert all("description" in key or "$ref" in key for key in part["properties"].values()), part["title"]


@pytest.mark.parametrize("path", [*GOOD, SEED], ids=stem)
def test_the_schema_accepts_what_loads(path: Path) -> None:
    assert list(validator().iter_errors(plain(path))) == []


@pytest.mark.parametrize(
    "name",
    [
        "unknown_key",
        "unknown_key_nested",
        "missing_keys",
        "target_percent",
        "target_strict",
        "duration_words",
        "duration_order",
        "bad_action",
        "bad_name",
        "bad_digest",
        "version_2",
        "zero_budget",
        "on_unknown_for",
        "on_unknown_kill_switch",
        "no_slos",
    ],
)
def test_the_schema_refuses_what_editors_can_know(name: str) -> None:
    assert list(validator().iter_errors(plain(BAD / f"{name}.yaml")))
