"""Means of losses and of fields, and the AUROC: each breaks by what it is about, and whatever comes ends in a state."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.labelling import Two, replayed
from tests.meaning import EVENTS, LABELLED, NUMERIC, draws, final, guessed, policy, scored
from tests.replaying import START, Event, Ran, command


def test_losses_and_auroc_break_when_labels_flip_and_hold_while_scores_are_sharp(tmp_path: Path) -> None:
    good = replayed(tmp_path / "good", policy(*LABELLED), scored(4.0))
    bad = replayed(tmp_path / "bad", policy(*LABELLED), scored(2.5))
    first = {control["slo"]: control["ts"] - START for control in reversed(bad.lines("control"))}

    assert {name: final(good, name)["state"] for name in LABELLED} == dict.fromkeys(LABELLED, "met")
    assert good.lines("control") == []
    assert {name: final(bad, name)["state"] for name in LABELLED} == dict.fromkeys(LABELLED, "breached")
    assert set(first) == {f"{name}_6h" for name in LABELLED}
    assert min(first.values()) > 600 * 60_000


def test_errors_of_a_regression_and_a_mean_of_a_field_break_when_they_grow(tmp_path: Path) -> None:
    names = (*NUMERIC, "mean")
    good = replayed(tmp_path / "good", policy(*names), guessed(4.0))
    bad = replayed(tmp_path / "bad", policy(*names), guessed(16.0))

    assert {name: final(good, name)["state"] for name in names} == dict.fromkeys(names, "met")
    assert {name: final(bad, name)["state"] for name in names} == dict.fromkeys(names, "breached")
    assert min(control["ts"] - START for control in bad.lines("control")) > 600 * 60_000


def test_a_mean_may_be_kept_from_falling(tmp_path: Path) -> None:
    text = policy("mean", target=">= 6")
    rng = draws(4)

    def event(i: int, low: float) -> tuple[Event, None]:
        return {"features": {"amount": float(rng.uniform(low, 10 + low))}}, None

    assert final(replayed(tmp_path / "a", text, lambda i: event(i, 3)), "mean")["state"] == "met"
    assert (
        final(replayed(tmp_path / "b", text, lambda i: event(i, 3 if i < 600 else -3)), "mean")["state"] == "breached"
    )


def test_values_are_those_of_the_textbook(tmp_path: Path) -> None:
    rng = draws(5)
    p, y = np.round(rng.random(EVENTS), 3), rng.random(EVENTS) < 0.5
    guess, truth = np.round(rng.normal(50, 10, (2, EVENTS)), 2)
    events: Two = lambda i: ({"score": float(p[i])}, {"label": bool(y[i])})  # noqa: E731 - as short as it is
    errors: Two = lambda i: ({"prediction": float(guess[i])}, {"label": float(truth[i])})  # noqa: E731
    labelled, numeric = (
        replayed(tmp_path / "a", policy(*LABELLED), events),
        replayed(tmp_path / "b", policy(*NUMERIC), errors),
    )
    last = final(labelled, "brier")
    rows = slice((last["window_start"] - START) // 60_000, (last["window_end"] - START) // 60_000)
    said, meant, gap = p[rows], y[rows].astype(float), np.abs(guess - truth)[rows]
    pairs = np.sign(said[meant == 1][:, None] - said[meant == 0][None]) / 2 + 0.5
    expected = {
        "brier": np.mean((said - meant) ** 2),
        "log_loss": -np.mean(np.log(np.where(meant == 1, said, 1 - said))),
        "mae": np.mean(np.minimum(gap, 50)),
        "rmse": np.sqrt(np.mean(np.minimum(gap, 20) ** 2)),
    }

    assert len(said) == last["n"] == 360
    for name, value in expected.items():
        assert final(labelled if name in LABELLED else numeric, name)["value"] == pytest.approx(value, abs=1e-7)
    assert final(labelled, "auroc")["value"] == pytest.approx(pairs.mean(), abs=0.02)  # scores of one bin are tied


@pytest.mark.parametrize(
    ("name", "said", "label"),
    [
        ("mae", {"prediction": "50"}, 50.0),
        ("mae", {"prediction": None}, 50.0),
        ("mae", {}, 50.0),
        ("rmse", {"prediction": 50.0}, "fifty"),
        ("rmse", {"prediction": True}, True),
        ("brier", {"score": ...}, True),
        ("auroc", {"score": ...}, True),
        ("mean", {"features": {"amount": "12"}}, None),
        ("mean", {"features": {}}, None),
    ],
)
def test_what_is_no_number_is_undecided_and_never_green(tmp_path: Path, name: str, said: Event, label: Any) -> None:
    ran = replayed(tmp_path, policy(name), lambda _: (said, {"label": label} if label is not None else None), 900)
    last = final(ran, name)

    assert (last["state"], last["value"], last["n"]) == ("unidentified", None, 0)
    assert last["evidence"]["undecided"] > 300


def test_numbers_beyond_all_bounds_are_clipped_and_counted(tmp_path: Path) -> None:
    def event(i: int) -> tuple[Event, Event]:
        far = 1e308 if i % 2 else -1e308
        return {"prediction": far, "score": float(i % 2), "features": {"amount": far}}, {"label": -far}

    ran = replayed(tmp_path, policy(*NUMERIC, "mean"), event, 900)

    assert {name: final(ran, name)["value"] for name in (*NUMERIC, "mean")} == {"mae": 50, "rmse": 20, "mean": 50}
    assert {final(ran, name)["state"] for name in (*NUMERIC, "mean")} == {"breached"}
    assert [final(ran, name)["evidence"]["clipped"] for name in (*NUMERIC, "mean")] == [360] * 3


def test_an_infinite_log_loss_counts_as_the_cap(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("log_loss"), lambda i: ({"score": 1.0}, {"label": i % 3 > 0}), 900)
    last = final(ran, "log_loss")

    assert last["value"] == pytest.approx(10 / 3)
    assert (last["state"], last["evidence"]["clipped"]) == ("breached", 120)


@pytest.mark.parametrize("broken", ["NaN", "Infinity", "1e999"])
def test_a_number_that_json_does_not_have_is_a_dead_letter_or_no_number(tmp_path: Path, broken: str) -> None:
    line = b'{"event_id": "x", "ts": %d, "model": "m", "prediction": %s}' % (START, broken.encode())
    (tmp_path / "p.jsonl").write_bytes(line + b"\n")
    (tmp_path / "policy.yaml").write_text(policy("mae"))
    code, _, err = command(
        "replay",
        tmp_path / "policy.yaml",
        "--predictions",
        tmp_path / "p.jsonl",
        "--out",
        tmp_path / "out",
        "--no-clickhouse",
    )
    run = json.loads((tmp_path / "out" / "run.json").read_bytes())

    assert code in (0, 1, 4), err
    assert "Traceback" not in err
    assert sum(run["counters"].get(name, 0) for name in ("dead_letters", "predictions")) == 1


def test_one_class_alone_has_no_auroc(tmp_path: Path) -> None:
    ran = replayed(tmp_path, policy("auroc"), lambda _: ({"score": 0.5}, {"label": True}), 900)
    last = final(ran, "auroc")

    assert (last["state"], last["value"]) == ("insufficient", None)
    assert last["evidence"]["reason"] == "0 effective events of 100"


def test_three_events_are_insufficient(tmp_path: Path) -> None:
    """One slice has three events among a thousand of another."""

    def event(i: int) -> tuple[Event, Event]:
        return {"score": 0.9, "segment": {"tenant": "rare" if i in (500, 600, 700) else "acme"}}, {"label": i % 9 > 0}

    made = json.loads(policy(*LABELLED, per="tenant", window="1d"))
    ran = replayed(tmp_path, json.dumps(made | {"slices": [{"by": ["tenant"], "max": 3}]}), event, 1000)
    rare = {
        (v["slo"], v["state"], v["n"]) for v in ran.lines("verdicts")[-6:] if v["scope"] == {"slice": "tenant=rare"}
    }

    assert rare == {(f"{name}_1d", "insufficient", 3) for name in LABELLED}


def classes(i: int, wrong: bool) -> tuple[Event, Event]:
    """Three classes in turn, by probabilities that do not sum to one; while wrong, cats are a class never seen, birds cats."""
    word = ("cat", "dog", "bird")[i % 3]
    said = {name: 0.95 if name == word else 0.3 for name in ("cat", "dog", "bird")}
    return {"score": ..., "probabilities": said}, {
        "label": {"cat": "cow", "bird": "cat"}.get(word, word) if wrong else word
    }


def test_a_named_class_is_judged_by_its_own_probability_and_others_are_not(tmp_path: Path) -> None:
    names = ("brier", "log_loss", "auroc", "decision_ece")
    targets = {"decision_ece": {"target": "<= 0.3", "min_events": 100}}
    made = json.loads(policy("brier", "log_loss", "auroc", window="1d"))
    ece = made["slos"][0] | {"name": "decision_ece_1d"} | targets["decision_ece"]

    def states(named: str) -> set[str]:
        text = json.dumps(made | {"slos": [slo | {"class": named} for slo in (*made["slos"], ece)]})
        ran = replayed(tmp_path / named, text, lambda i: classes(i, i > 600), 2400)
        return {final(ran, name, "1d")["state"] for name in names}

    assert states("cat") == {"breached"}
    assert states("dog") == {"met"}


def test_without_a_class_the_likeliest_is_judged(tmp_path: Path) -> None:
    good = replayed(tmp_path / "a", policy("brier"), lambda i: classes(i, False))
    bad = replayed(tmp_path / "b", policy("brier"), lambda i: classes(i, i > 600))

    assert final(good, "brier")["value"] == pytest.approx(0.0025)
    assert final(bad, "brier")["state"] == "breached"


def test_a_revised_label_moves_the_value_and_is_counted(tmp_path: Path) -> None:
    """STREAM.md: it is a difference; of 300 labels 50 say the contrary in the end."""
    events: Two = lambda _: ({"score": 0.9}, {"label": True})  # noqa: E731
    plain = replayed(tmp_path / "a", policy("brier"), events, 300)
    (tmp_path / "b").mkdir()
    flipped = (tmp_path / "a" / "o.jsonl").read_text().splitlines()
    again = [json.dumps(json.loads(line) | {"label": False, "revision": 1}) for line in flipped[:50]]
    (tmp_path / "b" / "o.jsonl").write_text("\n".join([*flipped, *again]) + "\n")
    (tmp_path / "b" / "policy.yaml").write_text(policy("brier"))
    made = (tmp_path / "a" / "p.jsonl").read_text().splitlines()
    last = json.loads(made[-1])
    made.append(json.dumps(last | {"event_id": "last", "ts": last["ts"] + 45 * 60_000}))  # so that a verdict follows
    (tmp_path / "b" / "p.jsonl").write_text("\n".join(made) + "\n")
    code, _, err = command(
        *("replay", tmp_path / "b" / "policy.yaml", "--predictions", tmp_path / "b" / "p.jsonl"),
        *("--outcomes", tmp_path / "b" / "o.jsonl", "--out", tmp_path / "b" / "out", "--no-clickhouse"),
    )
    ran = Ran(code, "", err, tmp_path / "b" / "out")

    assert final(plain, "brier")["value"] == pytest.approx(0.01)
    assert final(ran, "brier")["value"] == pytest.approx((250 * 0.01 + 50 * 0.81) / 300)
    assert (ran.counted("revised"), ran.counted("revision_ignored")) == (50, 0)
