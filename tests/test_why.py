"""`interlock why`: what it says follows from what was counted, and is the same from files and from ClickHouse."""

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from interlock.policies.why import explain
from interlock.policies.why_words import odds
from interlock.sinks.clickhouse import Batch, ClickHouseSink
from interlock.sinks.stored import StoredTables
from interlock.streams.why import Archive, case_of
from tests.explaining import HOUR, MINUTE, Told, as_json, explained, replayed
from tests.replaying import START, command
from tests.servers import ClickHouse
from tests.tabling import verdict

pytestmark = pytest.mark.integration


@pytest.fixture(scope="module")
def told(tmp_path_factory: pytest.TempPathFactory) -> Told:
    return replayed(tmp_path_factory.mktemp("why"))


@pytest.fixture
def files(told: Told) -> Iterator[Archive]:
    with told.archives() as (archive, _):
        yield archive


def lines(told: Told, name: str = "verdicts") -> list[dict[str, Any]]:
    return [json.loads(line) for line in (told.folder / f"{name}.jsonl").read_bytes().splitlines()]


def stretched(told: Told, slo: str) -> list[dict[str, Any]]:
    found = [one for one in lines(told) if one["slo"] == slo and "stretch" in one["evidence"]]
    assert found
    return found[:: max(1, len(found) // 8)]


def ranked(told: dict[str, Any], by: str) -> dict[str, Any]:
    found: dict[str, Any] = next(one for one in told["contributions"] if one["by"] == by)
    return found


def test_files_and_tables_give_the_same_explanation_of_everything_that_can_be_asked(told: Told) -> None:
    asked = [one["verdict_id"] for one in lines(told)[::40]] + [one["control_id"] for one in lines(told, "control")]
    with told.archives() as (files, tables):
        differ = [i for i in asked if as_json(explained(files, i)) != as_json(explained(tables, i))]

        assert len(asked) > 25
        assert differ == []
        assert tables.latest() == files.latest()


def test_hits_of_the_own_slice_are_those_of_the_stretch_and_what_is_beyond_is_hits_less_target(
    told: Told, files: Archive
) -> None:
    for one in stretched(told, "ood_rate_1h"):
        own = next(p for p in ranked(explained(files, one["verdict_id"]), "slice")["parts"] if p["own"])

        assert own["name"] == one["scope"]["slice"]
        assert own["n"] * own["value"] == pytest.approx(one["evidence"]["stretch"]["hits"])
        assert own["beyond"] == pytest.approx(one["evidence"]["stretch"]["hits"] - 0.10 * own["n"])


def test_slices_of_a_whole_model_are_told_by_the_same_events_split_elsewhere(told: Told, files: Archive) -> None:
    one = stretched(told, "ood_rate_2h")[-1]
    ranking = ranked(explained(files, one["verdict_id"]), "slice")

    assert ranking["series"] == "ood by segment.tenant"
    assert ranking["parts"][0]["name"] == "tenant=acme"
    assert sum(p["n"] * p["value"] for p in ranking["parts"]) == pytest.approx(one["evidence"]["stretch"]["hits"])


def test_shares_are_of_what_is_beyond_and_the_most_comes_first(told: Told, files: Archive) -> None:
    for one in lines(told)[::50]:
        for ranking in explained(files, one["verdict_id"])["contributions"]:
            over = [part["beyond"] for part in ranking["parts"]]
            total = sum(max(0.0, each) for each in over)

            assert over == sorted(over, reverse=True)
            assert [p["share"] * total for p in ranking["parts"]] == pytest.approx([max(0.0, x) for x in over])


def test_score_ranges_add_up_to_the_plain_ece_of_the_stretch(told: Told, files: Archive) -> None:
    for one in stretched(told, "decision_ece_2h"):
        ranking = ranked(explained(files, one["verdict_id"]), "score")
        labels = sum(part["n"] for part in ranking["parts"])

        assert labels == one["evidence"]["stretch"]["labels"]
        assert sum(p["beyond"] for p in ranking["parts"]) / labels == pytest.approx(
            one["evidence"]["stretch"]["plugin"]
        )


def test_the_version_that_brought_it_is_named_first(told: Told, files: Archive) -> None:
    first = next(one for one in lines(told) if one["slo"] == "decision_ece_2h" and one["state"] == "breached")

    assert ranked(explained(files, first["verdict_id"]), "version")["parts"][0]["name"] == "2"


def test_evidence_and_path_are_those_of_the_verdicts(told: Told, files: Archive) -> None:
    own = [x for x in lines(told) if x["slo"] == "ood_rate_1h" and x["scope"]["slice"] == "tenant=acme"]
    one = next(x for x in own if x["state"] == "breached")
    plain = explained(files, one["verdict_id"])
    before = [x["verdict_id"] for x in own if x["ts"] <= one["ts"]]

    assert [step["verdict_id"] for step in plain["path"]] == before[-60:]
    assert plain["evidence"]["log_e_page"] == one["evidence"]["log_e_page"]
    assert plain["evidence"]["events"] == one["evidence"]["events"]
    assert f"a page needs {odds(one['evidence']['log_e_page'])}" in " ".join(plain["evidence"]["lines"])
    assert plain["about"]["newest"]["verdict_id"] == own[-1]["verdict_id"]


def test_what_was_done_says_from_when_to_when_and_what_is_still_in_force(told: Told, files: Archive) -> None:
    moves = {(c["control_id"], c["state"]): c["ts"] for c in lines(told, "control")}
    for name in {c["control_id"] for c in lines(told, "control")}:
        done = next(one for one in explained(files, name)["done"] if one["control_id"] == name)

        assert done["engaged_at"] == moves[name, "engaged"]
        assert done["released_at"] == moves.get((name, "released"))
        assert done["of_this"]


def test_the_time_that_recovery_is_said_to_take_is_about_the_time_that_it_took(told: Told, files: Archive) -> None:
    own = [x for x in lines(told) if x["slo"] == "ood_rate_1h" and x["evidence"].get("phase")]
    done = next(x["ts"] for x in own if x["evidence"]["phase"] == "recovering")
    clean = [x for x in own if START + 5.6 * HOUR < x["ts"] < done - 20 * MINUTE]
    for one in clean[::5]:
        said = next(x for x in explained(files, one["verdict_id"])["clears"] if "without a single hit" in x)
        events = int(said.split("about ")[1].split(" further")[0].replace(",", ""))

        assert events == pytest.approx((done - one["ts"]) / MINUTE, rel=0.25)  # an event a minute
    assert clean


def test_a_control_of_one_endpoint_is_explained_by_its_own_evidence(told: Told, files: Archive) -> None:
    control = next(x for x in lines(told, "control") if x["slo"] == "decision_ece_p95_2h")
    case = case_of(files, control["control_id"], None, None)
    assert case.asked is not None
    own = case.asked.model_copy(update={"evidence": control["evidence"] | {"log_e": 1.25}})
    plain = explain(replace(case, asked=own)).plain()

    assert plain["about"]["verdict_id"] == control["verdict_id"]
    assert plain["about"]["scope"] == {}
    assert plain["evidence"]["log_e"] == 1.25
    assert plain["evidence"]["scope"] == control["scope"]
    assert plain["evidence"]["engaged_at"] == control["evidence"]["engaged_at"]


def test_only_a_person_clears_a_never_event(told: Told, files: Archive) -> None:
    control = next(x for x in lines(told, "control") if x["slo"] == "never_event_violations")
    plain = explained(files, control["control_id"])

    assert [line[:28] for line in plain["clears"]] == ["A person who releases the co"]
    assert plain["evidence"]["events"] == [control["evidence"]["first"]["event"]]
    assert plain["evidence"]["rules"]["denial"]["violations"] == 1


def test_a_policy_adds_its_words_and_another_ones_are_warned_of(told: Told, files: Archive) -> None:
    one = stretched(told, "ood_rate_1h")[0]["verdict_id"]
    own = told.judged_by
    other = own.model_copy(update={"false_pages_per_year": 2.0})

    assert explained(files, one)["about"]["objective"] is None
    assert explained(files, one, own)["about"]["objective"] == "Odd ones go to people."
    assert explained(files, one, own)["warnings"] == []
    assert len(explained(files, one, other)["warnings"]) == 1
    assert any("then 20m of judged time" in line for line in explained(files, one, own)["clears"])


def test_no_line_is_wider_than_a_page_and_json_says_the_same(told: Told) -> None:
    for asked in [one["verdict_id"] for one in lines(told)[::150]] + [c["control_id"] for c in lines(told, "control")]:
        code, out, err = told.why(asked)
        _, as_text, _ = told.why(asked, "--json")
        plain = json.loads(as_text)

        assert (code, err) == (0, "")
        assert [line for line in out.splitlines() if len(line) > 120] == []
        flat = " ".join(out.split())
        assert [
            line for line in plain["evidence"]["lines"] + plain["clears"] if " ".join(line.split()) not in flat
        ] == []


def test_without_tallies_all_but_the_contributions_is_told(told: Told, tmp_path: Path) -> None:
    for name in ("verdicts.jsonl", "control.jsonl"):
        (tmp_path / name).write_bytes((told.folder / name).read_bytes())
    bare = Told(tmp_path, told.policy)
    asked = stretched(told, "ood_rate_1h")[1]["verdict_id"]
    code, out, _ = bare.why(asked)
    _, whole, _ = told.why(asked)

    assert code == 0
    assert "Contributions need the tallies, which are kept in ClickHouse only" in out
    assert whole.split("Who contributes")[0] == out.split("Who contributes")[0]
    assert whole.split("What would clear it")[1] == out.split("What would clear it")[1]


HARD = verdict(1, slo="a'b\\n\"{x:String}%s", model="m'; --", scope={"slice": "t=it's \\\\\n\t,ü=`x`"})


def assert_read_back(sink: ClickHouseSink) -> None:
    """Names that queries could stumble over come back as they were written."""
    sink.insert_verdicts([HARD, verdict(2)], Batch("test", "1"))
    tables = StoredTables(sink)

    assert tables.path(HARD, 5) == [HARD]
    assert tables.newest(HARD) == HARD
    assert tables.ids("v'\\", 5) == []
    assert tables.ids("v", 5) == ["v1", "v2"]
    assert tables.counts(HARD, "ood'", 0, cohorts=True) == []


def test_names_that_queries_could_stumble_over_are_read_back_from_a_directory(tmp_path: Path) -> None:
    with ClickHouseSink.connect(directory=tmp_path / "ch") as sink:
        assert_read_back(sink)


def test_a_server_is_read_like_a_directory_and_nothing_is_laid_there(own_clickhouse: ClickHouse) -> None:
    code, out, err = command("why", "v1", "--url", own_clickhouse.url)
    assert (code, out) == (2, "")
    assert err == "no tables of Interlock are in that ClickHouse: nothing was written there yet\n"

    with ClickHouseSink.connect(url=own_clickhouse.url) as sink:
        assert_read_back(sink)
    code, out, _ = command("why", "v2", "--url", own_clickhouse.url)

    assert code == 0
    assert out.startswith("ood_rate_24h in the whole model: met\n")
    assert "No contributions: no tallies of this SLO are kept." in out
