"""The demo's events: real people, a fixed calendar, and three incidents that are said to be injected."""

import hashlib
import importlib.util
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from numpy.typing import NDArray

from interlock.policies.load import load_document
from interlock.streams.decode import prediction_decoder
from interlock.streams.files import Reader
from interlock.streams.fit import learn
from interlock.streams.fit_files import feature_names, gather

EXAMPLES = Path(__file__).parent.parent / "examples"
DAY = 86_400_000


def load_script(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(f"example_{path.parent.name}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


CENSUS = load_script(EXAMPLES / "census" / "prepare.py")


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    out: Path = tmp_path_factory.mktemp("census")
    CENSUS.prepare(CENSUS.DATA, out)
    return out


@pytest.fixture(scope="module")
def predictions(prepared: Path) -> pa.Table:
    return pq.read_table(prepared / "predictions.parquet")


@pytest.fixture(scope="module")
def people() -> Any:
    return CENSUS.read_people(CENSUS.DATA, "analysis")


def array(table: pa.Table, name: str) -> Any:
    return table[name].to_numpy()


def test_preparing_twice_writes_the_same_bytes(prepared: Path, tmp_path: Path) -> None:
    CENSUS.prepare(CENSUS.DATA, tmp_path)
    digests = [
        {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in out.iterdir()}
        for out in (prepared, tmp_path)
    ]

    assert digests[0] == digests[1]
    assert len(digests[0]) == 5


def test_there_are_208892_predictions_in_order_each_with_its_outcome_six_hours_later(
    prepared: Path, predictions: pa.Table
) -> None:
    outcomes = pq.read_table(prepared / "outcomes.parquet")
    ts = array(predictions, "ts")

    assert len(predictions) == len(outcomes) == 208_892
    assert predictions["event_id"].equals(outcomes["event_id"])
    assert (np.diff(ts) > 0).all()
    assert (ts[0], (ts[-1] - ts[0]) // DAY) == (CENSUS.START, 29)
    assert (array(outcomes, "ts") - ts == 6 * 3_600_000).all()


def test_the_reference_ends_before_the_traffic_begins(prepared: Path) -> None:
    reference = pq.read_table(prepared / "reference-predictions.parquet")

    assert len(reference) == 68_785
    assert array(reference, "ts").max() < CENSUS.START
    assert not array(pq.read_table(prepared / "reference-outcomes.parquet"), "confirmed_ood").any()


def test_outside_the_incidents_nothing_of_the_survey_is_changed(
    prepared: Path, predictions: pa.Table, people: Any
) -> None:
    clean = CENSUS.predictions(people, CENSUS.START)
    confident = (array(predictions, "ts") >= CENSUS.CONFIDENT_START) & (array(predictions, "ts") < CENSUS.CONFIDENT_END)
    unfamiliar = array(pq.read_table(prepared / "outcomes.parquet"), "confirmed_ood")
    changed = {
        name: np.flatnonzero(array(predictions, name) != clean[name].to_numpy(zero_copy_only=False)) for name in clean
    }

    assert set(changed["score"]) <= set(changed["model_version"]) == set(np.flatnonzero(confident))
    assert set(changed["features.CIT"]) == set(changed["features.MIG"]) == set(np.flatnonzero(unfamiliar))
    assert len(changed["decision"]) == 1
    assert not any(len(changed[name]) for name in clean if name not in {
        "score", "model_version", "decision", "features.CIT", "features.MIG",
    })  # fmt: skip


def test_new_codes_reach_one_office_only_for_twelve_hours(prepared: Path, predictions: pa.Table) -> None:
    hit = array(pq.read_table(prepared / "outcomes.parquet"), "confirmed_ood")
    ts, office = array(predictions, "ts"), array(predictions, "segment.office")
    during = (ts >= CENSUS.CODES_START) & (ts < CENSUS.CODES_END) & (office == "springfield")

    assert set(office[hit]) == {"springfield"}
    assert hit[during].sum() == hit.sum()
    assert 0.5 < hit[during].mean() < 0.7
    assert set(array(predictions, "features.CIT")[hit]) == {"ZX-9"}


def test_over_confidence_costs_calibration_and_changes_no_decision(prepared: Path, predictions: pa.Table) -> None:
    label = array(pq.read_table(prepared / "outcomes.parquet"), "label")
    score, version = array(predictions, "score"), array(predictions, "model_version")
    errors = {v: calibration_error(score[version == v], label[version == v]) for v in ("1.0", "1.1")}

    assert errors["1.0"] < 0.02
    assert 0.12 < errors["1.1"] < 0.15
    assert ((score >= 0.5) == array(predictions, "prediction")).all()


def calibration_error(score: NDArray[np.float64], label: NDArray[np.bool_]) -> float:
    group = np.searchsorted(np.quantile(score, np.arange(1, 15) / 15), score)
    return sum(abs(float((score - label)[group == g].sum())) for g in range(15)) / len(score)


def test_one_child_is_decided_by_a_machine_and_the_survey_has_none(predictions: pa.Table, people: Any) -> None:
    violation = (
        (array(predictions, "decision") == "employed")
        & (array(predictions, "features.AGEP") < 16)
        & (array(predictions, "route") == "automatic")
    )

    assert violation.sum() == 1
    assert array(predictions, "ts")[violation][0] >= CENSUS.NEVER_START
    assert ((people.score >= 0.5) & (people.age < 16)).sum() == 0


def test_every_office_has_hundreds_of_events_a_day_and_every_endpoint_a_thousand(predictions: pa.Table) -> None:
    for name, least in (("segment.office", 500), ("segment.endpoint", 1300)):
        _, counts = np.unique(array(predictions, name).astype(str), return_counts=True)

        assert counts.min() / 30 >= least


@pytest.fixture(scope="module")
def flagged(prepared: Path) -> NDArray[np.bool_]:
    read, read_outcomes = Reader("predictions", 0), Reader("outcomes", 0)
    past = [prepared / "reference-predictions.parquet"]
    gathered = gather(feature_names(read(past)), read(past), read_outcomes([prepared / "reference-outcomes.parquet"]))
    reference = learn(gathered.rows, 0.01)
    decode = prediction_decoder(reference.wanted([]), b"")
    flags = []
    for chunk in read([prepared / "predictions.parquet"]):
        batch, dead = decode(chunk)
        assert not dead
        scores = reference.ood.score(batch.numbers, batch.categories)
        flags.append(scores >= reference.calibration.threshold(0.01))
    return np.concatenate(flags)


def test_the_survey_itself_stays_well_within_the_ood_target_in_every_office_every_day(
    flagged: NDArray[np.bool_], prepared: Path, predictions: pa.Table
) -> None:
    familiar = ~array(pq.read_table(prepared / "outcomes.parquet"), "confirmed_ood")
    office = array(predictions, "segment.office")
    day = (array(predictions, "ts") - CENSUS.START) // DAY
    rates = [flagged[familiar & (office == o) & (day == d)].mean() for o in CENSUS.OFFICES for d in range(30)]

    assert flagged[familiar].mean() < 0.012
    assert max(rates) < 0.045


def test_events_with_two_new_codes_are_flagged(flagged: NDArray[np.bool_], prepared: Path) -> None:
    unfamiliar = array(pq.read_table(prepared / "outcomes.parquet"), "confirmed_ood")

    assert flagged[unfamiliar].mean() > 0.95


def test_the_incidents_are_recorded_as_injected_in_the_order_of_the_calendar(prepared: Path) -> None:
    records = json.loads((prepared / "incidents.json").read_text())

    assert [record["name"] for record in records] == ["over_confident_version", "never_event", "unseen_codes"]
    assert all(record["injected"] and record["events"] for record in records)
    assert [record["first"][:10] for record in records] == ["2026-10-09", "2026-10-21", "2026-10-27"]
    assert records[2]["offices"] == ["springfield"]


def test_each_record_says_how_to_find_its_events_and_which_slo_must_see_them(
    prepared: Path, predictions: pa.Table
) -> None:
    policy = load_document((EXAMPLES / "census" / "policy.yaml").read_bytes(), "policy.yaml").policy
    for record in json.loads((prepared / "incidents.json").read_text()):
        found = [array(predictions, column) == value for column, value in record["where"].items()]

        assert np.logical_and.reduce(found).sum() == record["events"]
        assert record["slo"] in {slo.name for slo in policy.slos}


def test_the_last_seven_days_hold_confirmed_unfamiliar_events(prepared: Path, predictions: pa.Table) -> None:
    unfamiliar = array(pq.read_table(prepared / "outcomes.parquet"), "confirmed_ood")
    ts = array(predictions, "ts")

    assert ts[unfamiliar].min() >= ts[-1] - 7 * DAY


@pytest.mark.parametrize("example", ["census", "diabetes", "digits", "quickstart"])
def test_the_examples_policies_are_valid_and_name_their_schema(example: str) -> None:
    text = (EXAMPLES / example / "policy.yaml").read_bytes()

    assert text.startswith(b"# yaml-language-server: $schema=../../docs/schemas/policy.json\n")
    assert load_document(text, "policy.yaml").policy.slos


def test_the_quickstart_has_400_claims_one_bad_line_and_one_violation() -> None:
    lines = (EXAMPLES / "quickstart" / "predictions.jsonl").read_text().splitlines()
    good = [json.loads(line) for line in lines if line.endswith("}")]
    denied = [e for e in good if e["decision"] == "deny" and e["features"]["amount"] > 50_000]

    assert (len(lines), len(good)) == (401, 400)
    assert [(e["event_id"], e["route"]) for e in denied] == [("claim-0300", "automatic")]


def test_the_quickstart_is_what_its_script_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    script = load_script(EXAMPLES / "quickstart" / "make.py")
    monkeypatch.setattr(script, "HERE", tmp_path)
    script.main()

    for name in ("predictions.jsonl", "outcomes.jsonl"):
        assert (tmp_path / name).read_bytes() == (EXAMPLES / "quickstart" / name).read_bytes()
