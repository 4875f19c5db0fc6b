"""Ids that `interlock why` takes, and what it says of those that it does not know."""

import json
import re
from pathlib import Path

import pytest

from interlock.policies.pages import page_ids, page_of
from interlock.records import Control, control_line
from tests.explaining import Told, replayed
from tests.replaying import command

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return replayed(tmp_path_factory.mktemp("ids"))


def controls(told: Told) -> list[Control]:
    return [Control.model_validate_json(line) for line in (told.folder / "control.jsonl").read_bytes().splitlines()]


def verdict_ids(told: Told) -> list[str]:
    return [json.loads(line)["verdict_id"] for line in (told.folder / "verdicts.jsonl").read_bytes().splitlines()]


def leads_to(told: Told, asked: str) -> str:
    code, out, err = told.why(asked, "--json")
    assert code == 0, err
    return str(json.loads(out)["about"]["verdict_id"])


def refused(told: Told, *asked: object) -> str:
    """Return the one line with which it is refused."""
    code, out, err = told.why(*asked)

    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert "Traceback" not in err
    return err.strip()


def test_a_unique_beginning_is_enough_in_either_case_of_letters(told: Told) -> None:
    ids = verdict_ids(told)
    for one in ids[::200]:
        unique = next(one[:n] for n in range(1, 33) if sum(x.startswith(one[:n]) for x in set(ids)) == 1)

        assert leads_to(told, one) == leads_to(told, one.upper()) == one
        assert leads_to(told, unique + one[len(unique) : 12]) == one


def test_controls_pages_and_incidents_lead_to_their_verdict(told: Told) -> None:
    found = controls(told)
    paged = [(control, page) for control in found if (page := page_of(control, told.judged_by))]

    assert {page.action for _, page in paged} == {"trigger", "resolve"}
    for control, page in paged:
        engaged = next(x for x in found if x.control_id == control.control_id and x.verdict_id)
        assert leads_to(told, page.page_id) == control.verdict_id
        assert leads_to(told, control.control_id) == leads_to(told, page.incident) == engaged.verdict_id


def test_what_was_moved_without_a_verdict_leads_to_the_verdict_that_moved_it_first(told: Told, tmp_path: Path) -> None:
    never = next(x for x in controls(told) if x.slo == "never_event_violations")
    early = never.model_copy(update={"verdict_id": "", "ts": never.ts - 1})
    ended = never.model_copy(update={"verdict_id": "", "ts": never.ts + 1, "state": "released"})
    (tmp_path / "verdicts.jsonl").write_bytes((told.folder / "verdicts.jsonl").read_bytes())
    copy = Told(tmp_path, told.policy)
    (tmp_path / "control.jsonl").write_bytes(b"".join(map(control_line, (early, never, ended))))

    assert leads_to(copy, never.control_id) == never.verdict_id
    assert all(leads_to(copy, page) == never.verdict_id for page in page_ids(ended))

    (tmp_path / "control.jsonl").write_bytes(control_line(early))
    assert refused(copy, early.control_id) == f"control {early.control_id}: its verdict is not stored yet"


def test_an_ambiguous_beginning_names_what_it_may_mean(told: Told) -> None:
    ids = sorted(set(verdict_ids(told)))
    first = ids[0][:1]
    line = refused(told, first)

    assert line.startswith(f"{first} is the beginning of several ids: verdict {ids[0]} (")
    assert "and more" in line


def test_a_misspelt_id_names_the_one_that_is_meant(told: Told) -> None:
    for meant in (verdict_ids(told)[-1], controls(told)[0].control_id):
        assert meant in refused(told, meant[:-1] + ("0" if meant[-1] != "0" else "1"))
        assert meant in refused(told, ("0" if meant[0] != "0" else "1") + meant[1:])


@pytest.mark.parametrize(
    "asked", ["", "   ", "nonsense", "%", "'; DROP TABLE x", "\\", "é", "a" * 5000, "x\ny\x1b[31m"]
)
def test_what_is_no_id_is_one_clear_line(told: Told, asked: str) -> None:
    line = refused(told, asked)

    assert len(line) < 200
    assert line.isprintable()


def test_without_an_id_it_lists_what_can_be_asked_for(told: Told) -> None:
    code, out, _ = told.why()
    _, as_json, _ = told.why("--json")
    listed = [line.split()[0] for line in out.splitlines()[3:] if line.strip()]

    assert code == 0
    assert len(listed) > 8
    assert all(leads_to(told, one) for one in listed)
    assert {one[:12] for part in json.loads(as_json).values() for one in part} == set(listed)


def test_a_policy_without_the_slo_is_a_mistake(told: Told, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(
        'slos: [{name: ood_rate_7d, objective: o, target: "<= 0.1", window: 7d, action_on_breach: notify}]\n'
    )

    assert "it has no SLO" in refused(told, verdict_ids(told)[0], "--policy", other)


def test_where_to_look_must_be_one_place_that_is_there(
    told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLOCK_CLICKHOUSE_URL", raising=False)

    assert "where are the verdicts?" in command("why", "ab")[2]
    assert "no such file" in command("why", "ab", "--replay", tmp_path / "none")[2]
    assert "no such directory" in command("why", "ab", "--directory", tmp_path / "none")[2]
    assert not (tmp_path / "none").exists()
    assert "give one of" in command("why", "ab", "--directory", tmp_path, "--replay", told.folder)[2]
    assert command("why", "ab", "--url", "http://127.0.0.1:9")[0] == 3


def test_by_default_it_looks_where_replay_writes(told: Told, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "replay").symlink_to(told.folder)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("INTERLOCK_CLICKHOUSE_URL", raising=False)
    asked = verdict_ids(told)[0]

    assert command("why", asked)[1] == told.why(asked)[1]


def test_a_damaged_line_is_named_with_its_place(told: Told, tmp_path: Path) -> None:
    whole = (told.folder / "verdicts.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "control.jsonl").write_bytes(b"")
    (tmp_path / "verdicts.jsonl").write_bytes(b"".join([*whole[:2], whole[2][:40] + b"\n", *whole[3:]]))

    assert "verdicts.jsonl:3: not a verdict" in refused(Told(tmp_path, told.policy), "ab")


def test_the_quickstart_of_the_docs_is_what_it_prints(tmp_path: Path) -> None:
    root = Path(__file__).resolve().parents[1]
    example, page = root / "examples" / "quickstart", (root / "docs" / "why.md").read_text("utf-8")
    files = ("--predictions", example / "predictions.jsonl", "--outcomes", example / "outcomes.jsonl")
    command("replay", example / "policy.yaml", *files, "--out", tmp_path / "out")
    control = controls(Told(tmp_path / "out", example / "policy.yaml"))[0].control_id
    _, out, _ = command("why", control, "--replay", tmp_path / "out")
    shown = page.rsplit("\n```\n", 2)[1]

    assert _without_ids(out) == _without_ids(shown)


def _without_ids(text: str) -> list[str]:
    """Return the lines; ids depend on the policy's digest, which a new key of its grammar changes."""
    return [re.sub("[0-9a-f]{32,64}", "ID", line).rstrip() for line in text.strip().splitlines()]
