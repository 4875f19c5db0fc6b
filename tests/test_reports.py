"""`abuse_rate` finds what is reported and hides what is too little; `label_staleness` knows how old labels are."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.policies.measures_abuse import AbuseMeasure
from tests.replaying import HOUR, START, Event, Ran, command, lines, outcome, prediction

MINUTE = 60_000
BASIS = {"objective": "o", "window": "6h", "action_on_breach": "notify"}


def policy(name: str, target: str, head: Event | None = None, **more: Any) -> str:
    """A policy of one SLO."""
    slo = {"name": f"{name}_6h", "target": target, **BASIS, **more}
    labels = {"maturity": "1h", "join_ttl": "2d"}
    return json.dumps(
        {"model": "m", "labels": labels, "slices": [{"by": ["tenant"], "max": 5}], **(head or {}), "slos": [slo]}
    )


def replayed(folder: Path, text: str, topics: dict[str, list[Event]]) -> Ran:
    """Replay events of some topics."""
    folder.mkdir(exist_ok=True)
    (folder / "policy.yaml").write_text(text)
    given = [part for topic, made in topics.items() for part in (f"--{topic}", lines(folder / f"{topic}.jsonl", made))]
    code, out, err = command("replay", folder / "policy.yaml", *given, "--out", folder / "out", "--no-clickhouse")
    assert code in (0, 1, 4), err
    return Ran(code, out, err, folder / "out")


def report(i: int, **fields: Any) -> Event:
    """A report of `prediction(i)`, five minutes later."""
    basis = {"event_id": f"e{i}", "ts": START + (i + 5) * MINUTE, "model": "m", "category": "spam"}
    return basis | {"segment": {"tenant": "acme"}} | fields


def reported(folder: Path, text: str, told: Callable[[int], bool], events: int = 1200, **fields: Any) -> Ran:
    """Replay one prediction a minute, some of them reported."""
    reports = [report(i, **fields) for i in range(events) if told(i)]
    return replayed(folder, text, {"predictions": [prediction(i) for i in range(events)], "abuse": reports})


def last(ran: Ran, **scope: str) -> Event:
    """The last verdict of a scope."""
    return [v for v in ran.lines("verdicts") if v["scope"] == scope][-1]


def test_reports_break_the_rate_when_they_become_more(tmp_path: Path) -> None:
    text = policy("abuse_rate", "<= 30")
    good = reported(tmp_path / "a", text, lambda i: i % 100 == 0)
    bad = reported(tmp_path / "b", text, lambda i: i % (8 if i > 600 else 100) == 0)

    assert last(good)["state"] in ("met", "insufficient")
    assert good.lines("control") == []
    assert last(bad)["state"] == "breached"
    assert last(bad)["value"] == pytest.approx(125, abs=3)
    assert last(bad)["lower"] < 125 < last(bad)["upper"]
    assert min(c["ts"] for c in bad.lines("control")) > START + 600 * MINUTE


def test_no_report_at_all_is_proof_and_no_secret(tmp_path: Path) -> None:
    ran = reported(tmp_path, policy("abuse_rate", "<= 30"), lambda _: False)

    assert (last(ran)["state"], last(ran)["value"]) == ("met", 0.0)


def test_fewer_reports_than_k_are_neither_shown_nor_judged(tmp_path: Path) -> None:
    """Four reports of a small slice: far above the target, and told of nowhere."""
    made = [prediction(i, segment={"tenant": "tiny" if i % 20 == 0 else "acme"}) for i in range(1200)]

    def judged(count: int, **head: int) -> Ran:
        told = [report(i, segment={"tenant": "tiny"}) for i in range(900, 900 + 20 * count, 20)]
        text = policy("abuse_rate", "<= 2", head | {"false_pages_per_year": 300}, per="tenant", min_events=10)
        return replayed(tmp_path / f"{count}{head}", text, {"predictions": made, "abuse": told})

    few, enough, open_ = judged(4), judged(5), judged(4, k_anonymity=1)
    seen = [
        v for v in few.lines("verdicts") if v["scope"] == {"slice": "tenant=tiny"} and v["evidence"].get("fewer_than")
    ]

    assert len(seen) > 2
    assert {(v["state"], v["value"], v["lower"], v["upper"]) for v in seen} == {("insufficient", None, None, None)}
    assert not any("reports" in v["evidence"] for v in seen)
    assert seen[-1]["evidence"]["reason"].startswith("fewer than 5 reports")
    assert few.lines("control") == []
    assert len(enough.lines("control")) == len(open_.lines("control")) == 1


def test_a_report_that_is_repeated_counts_once_and_other_categories_do_not_count(tmp_path: Path) -> None:
    made = [prediction(i) for i in range(600)]
    told = [report(i, category="harm" if i % 2 else "spam") for i in range(100, 140) for _ in range(3)]
    told.sort(key=lambda one: one["ts"])
    ran = replayed(tmp_path, policy("abuse_rate", "<= 500", category="harm"), {"predictions": made, "abuse": told})
    counts = [v["evidence"]["reports"] for v in ran.lines("verdicts") if "reports" in v["evidence"]]

    assert max(counts) == 20
    assert ran.counted("duplicate") == 80
    assert ran.counted("abuse") == 40


def test_where_limits_both_predictions_and_reports(tmp_path: Path) -> None:
    made = [prediction(i, segment={"tenant": "acme" if i % 2 else "zenith"}) for i in range(600)]
    told = [report(i, segment={"tenant": "acme" if i % 2 else "zenith"}) for i in range(100, 140)]
    text = policy("abuse_rate", "<= 500", where="segment.tenant == 'acme'")
    ran = replayed(tmp_path, text, {"predictions": made, "abuse": told})

    assert max(v["evidence"].get("reports", 0) for v in ran.lines("verdicts")) == 20
    assert last(ran)["n"] <= 180


def test_a_report_knows_no_score(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text(policy("abuse_rate", "<= 5", where="score > 0.5"))
    code, out, err = command("check", tmp_path / "p.yaml")

    assert code == 1
    assert "found score, which reports of abuse do not have; expected fields under segment only" in out + err


@pytest.mark.parametrize("name", ["abuse_rate", "label_staleness"])
def test_without_the_other_topic_time_still_passes(tmp_path: Path, name: str) -> None:
    ran = replayed(
        tmp_path,
        policy(name, "<= 15" if name == "abuse_rate" else "<= 5"),
        {"predictions": [prediction(i) for i in range(600)]},
    )

    assert last(ran)["state"] == ("met" if name == "abuse_rate" else "breached")


def test_what_is_held_back_of_a_slot_is_forgotten_with_it() -> None:
    measure = AbuseMeasure(5.0, 1.0, 5, 2)
    measure.log_bad(0, np.array([[10, 4, 0], [10, 4, 0]]))
    measure.restart(np.array([False, True]))
    told = measure.log_bad(1, np.array([[10, 1, 0], [10, 1, 0]]))

    assert told[0].max() > 0
    assert not told[1].any()


def labelled(stops: int, starts: int, events: int = 1200) -> dict[str, list[Event]]:
    """One prediction a minute with a label ten minutes later; those made from `stops` to `starts` never get one."""
    return {
        "predictions": [prediction(i) for i in range(events)],
        "outcomes": [outcome(i) for i in range(events) if not stops <= i < starts],
    }


def test_labels_that_stop_are_known_by_their_age_and_released_when_they_come_again(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("label_staleness", "<= 2", {"release": {"hold": "30m"}}), labelled(500, 800))
    controls = {c["state"]: (c["ts"] - START) / MINUTE for c in ran.lines("control")}
    verdicts = [v for v in ran.lines("verdicts") if v["value"] is not None]

    assert 500 + 120 <= controls["engaged"] <= 500 + 120 + 25
    assert 810 <= controls["released"] <= 810 + 180
    assert verdicts[20]["state"] == "met"
    assert verdicts[20]["value"] == pytest.approx(1 / 6, abs=0.1)
    assert all(v["lower"] == v["value"] == v["upper"] for v in verdicts)


def test_labels_that_come_in_time_never_break_it(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("label_staleness", "<= 2"), labelled(0, 0))

    assert ran.lines("control") == []
    assert last(ran)["state"] == "met"
    assert last(ran)["evidence"]["too_old"] == 0


def test_labels_that_never_came_are_as_old_as_the_traffic(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("label_staleness", "<= 2"), labelled(0, 1200))

    assert 2 * HOUR <= ran.lines("control")[0]["ts"] - START <= 2.5 * HOUR


def test_an_outcome_without_a_label_is_no_label(tmp_path: Path) -> None:
    topics = labelled(0, 0)
    for event in topics["outcomes"][300:]:
        del event["label"]
        event["confirmed_ood"] = False
    ran = replayed(tmp_path, policy("label_staleness", "<= 2"), topics)

    assert 300 + 120 <= (ran.lines("control")[0]["ts"] - START) / MINUTE <= 300 + 150
