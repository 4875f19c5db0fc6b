"""The ratios of labels: each breaks by the errors that it is about and by no others."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from interlock.policies.load import load_policy
from interlock.policies.pages import page_of
from interlock.records import Control
from tests.labelling import OF_CLASS, Two, errors, final, policy, replayed, zoo
from tests.replaying import START, Event, Ran, command


@pytest.mark.parametrize(
    ("wrong", "broken"),
    [
        (errors(positive=2), {"accuracy", "precision", "false_positive_rate"}),
        (errors(negative=2), {"accuracy", "recall", "false_negative_rate"}),
        (errors(positive=60, negative=60), set()),
    ],
)
def test_each_breaks_by_the_errors_that_it_is_about_and_by_no_others(
    tmp_path: Path, wrong: Two, broken: set[str]
) -> None:
    names = ("accuracy", *OF_CLASS, "label_coverage")
    ran = replayed(tmp_path, policy(*names, min_events=50), wrong)

    assert {name: final(ran, name)["state"] for name in names} == {
        name: "breached" if name in broken else "met" for name in names
    }
    assert {control["slo"] for control in ran.lines("control")} == {f"{name}_6h" for name in broken}


@pytest.mark.parametrize(("share", "state"), [(3, "breached"), (60, "met")])
def test_label_coverage_breaks_by_missing_labels_where_others_are_insufficient(
    tmp_path: Path, share: int, state: str
) -> None:
    def event(i: int) -> tuple[Event, Event | None]:
        return {"prediction": True}, None if i > 500 and i % share == 0 else {"label": True}

    ran = replayed(tmp_path, policy("label_coverage", "accuracy"), event)
    missing, told = final(ran, "label_coverage"), final(ran, "accuracy")

    assert missing["state"] == state
    assert missing["evidence"]["hits"] == missing["n"] - missing["n"] // share
    assert told["state"] == ("insufficient" if state == "breached" else "met")
    assert told["evidence"].get("reason", "labels missing").startswith("labels missing")


def test_a_pane_whose_labels_are_all_there_is_judged_before_maturity(tmp_path: Path) -> None:
    whole = replayed(tmp_path / "a", policy("label_coverage"), errors())
    lost = replayed(tmp_path / "b", policy("label_coverage"), lambda i: ({}, None if i % 60 == 0 else {"label": True}))

    def behind(ran: Ran) -> int:
        return max(int(v["ts"] - v["window_end"]) for v in ran.lines("verdicts") if v["n"] > 100)

    assert behind(whole) < 30 * 60_000
    assert behind(lost) >= 55 * 60_000


def test_counts_are_those_of_the_confusion_matrix(tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    said, meant = rng.random(300) < 0.4, rng.random(300) < 0.3
    names = ("accuracy", *OF_CLASS)
    events: Two = lambda i: ({"prediction": bool(said[i])}, {"label": bool(meant[i])})  # noqa: E731 - as short as it is
    ran = replayed(tmp_path, policy(*names), events, 300)
    judged = (final(ran, "accuracy")["window_end"] - START) // 60_000
    said, meant = said[:judged], meant[:judged]
    tp, fp, fn = int((said & meant).sum()), int((said & ~meant).sum()), int((~said & meant).sum())
    tn = judged - tp - fp - fn

    assert judged >= 280
    assert {name: (final(ran, name)["evidence"]["hits"], final(ran, name)["n"]) for name in names} == {
        "accuracy": (tp + tn, judged),
        "precision": (tp, tp + fp),
        "recall": (tp, tp + fn),
        "false_positive_rate": (fp, fp + tn),
        "false_negative_rate": (fn, tp + fn),
    }
    assert (
        final(ran, "precision")["evidence"] | {"due": tp + fp, "found": tp + fp} == final(ran, "precision")["evidence"]
    )
    assert final(ran, "recall")["evidence"] | {"due": judged, "found": judged} == final(ran, "recall")["evidence"]


@pytest.mark.parametrize("field", ["prediction", "probabilities"])
def test_of_many_classes_accuracy_takes_the_one_said_and_the_others_the_class_that_is_named(
    tmp_path: Path, field: str
) -> None:
    def states(name: str, event: Two, **more: Any) -> list[object]:
        ran = replayed(tmp_path, policy(name, **more), event, 1500)
        return [final(ran, name)["state"], len(ran.lines("control"))]

    assert states("accuracy", zoo(cats=1, field=field)) == ["breached", 1]
    assert states("accuracy", zoo(cats=30, dogs=30, field=field)) == ["met", 0]
    assert states("precision", zoo(cats=1, field=field), **{"class": "cat"}) == ["breached", 1]
    assert states("precision", zoo(dogs=2, field=field), **{"class": "cat"}) == ["met", 0]
    assert states("recall", zoo(cats=1, field=field), **{"class": "bird"}) == ["breached", 1]
    assert states("recall", zoo(cats=1, field=field), **{"class": "dog"}) == ["met", 0]


def test_classes_by_name_are_counted_apart_and_what_is_predicted_goes_before_the_likeliest(tmp_path: Path) -> None:
    text = policy("recall", **{"class": "cat"})
    second = text.splitlines()[-1].replace("recall_6h", "precision_6h").replace(': "cat', ': "dog')
    third = second.replace("precision_6h", "recall_of_dogs").replace('{"name"', '{"indicator": "recall", "name"')

    def event(i: int) -> tuple[Event, Event]:
        said: Event = {"probabilities": {"dog": 0.9, "cat": 0.1}}
        return said | ({"prediction": "cat"} if i % 4 else {}), {"label": "cat" if i % 2 else "dog"}

    ran = replayed(tmp_path, f"{text}{second}\n{third}\n", event, 900)

    assert {v["slo"]: v["value"] for v in ran.lines("verdicts")[-3:]} == {
        "recall_6h": 1.0,
        "precision_6h": 1.0,
        "recall_of_dogs": 0.5,
    }


@pytest.mark.parametrize(
    ("labels", "said", "label"),
    [
        ("", {"prediction": 1}, True),
        ("", {"prediction": "1"}, True),
        ("", {"probabilities": {"1": 0.7, "0": 0.3}}, True),
        (", positive: [default, 7]", {"prediction": "default"}, 7),
        (", predicted: score > 0.7", {"prediction": "nonsense"}, True),
        (", positive: [default], predicted: decision == 'pay'", {}, "default"),
    ],
)
def test_what_is_the_positive_class_may_be_said_in_many_ways(
    tmp_path: Path, labels: str, said: Event, label: object
) -> None:
    other: Event = {
        "score": 0.2, "decision": "refer", "prediction": "repaid" if "positive" in labels else False
    }  # fmt: skip
    other_label = "repaid" if "positive" in labels else False
    events: Two = lambda i: (said, {"label": label}) if i % 2 else (other, {"label": other_label})  # noqa: E731
    names = OF_CLASS if "7" in labels else ("accuracy", *OF_CLASS)
    ran = replayed(tmp_path, policy(*names, labels=labels), events, 900)

    assert {final(ran, name)["state"] for name in names} == {"met"}
    assert {final(ran, name)["evidence"]["undecided"] for name in names} == {0}


def test_check_says_how_a_prediction_is_read_unless_the_policy_does(tmp_path: Path) -> None:
    def said(**more: Any) -> str:
        (tmp_path / "p.yaml").write_text(policy("recall", **more))
        code, out, err = command("check", tmp_path / "p.yaml", "--traffic", "5000/d")
        assert code == 0
        return out + err

    assert "no labels.predicted; the field `prediction`" in said()
    assert "no labels.predicted" not in said(labels=", predicted: score > 0.5")
    assert "no labels.predicted" not in said(**{"class": "cat"})
    assert "a share of failures of" in said()


def test_a_page_tells_what_was_counted_by_its_name(tmp_path: Path) -> None:
    text = policy("recall").replace("notify", "route_to_human_review")
    ran = replayed(tmp_path, text, errors(negative=2))
    told = page_of(Control.model_validate(ran.lines("control")[0]), load_policy(text.encode(), "p.yaml"))

    assert told
    assert told.summary.startswith("m: recall_6h misses >= 0.9 in the whole model: 0.6")
    assert "Promised: recall >= 0.9 over 6h. In the stretch from " in told.details["what_broke"]
    assert told.details["what_broke"].endswith(" positive labels).")


def test_a_release_needs_proof_by_labels(tmp_path: Path) -> None:
    """The errors end; the control is released by later labels, within a day."""
    events: Two = lambda i: errors(negative=2)(i) if i < 1000 else errors()(i)  # noqa: E731
    ran = replayed(tmp_path, policy("recall", head="release: {hold: 30m}\n"), events, 2800)
    states = [(control["state"], control["ts"] - START) for control in ran.lines("control")]

    assert [state for state, _ in states] == ["engaged", "released"]
    assert states[1][1] > 1000 * 60_000
