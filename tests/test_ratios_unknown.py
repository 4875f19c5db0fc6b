"""What is unknown of labels and classes is counted, and never green."""

from pathlib import Path

import pytest

from tests.labelling import OF_CLASS, Two, final, policy, replayed, zoo
from tests.replaying import Event

UNCLEAR: list[tuple[str, Event, Event]] = [
    ("", {"prediction": None}, {"label": True}),
    ("", {"prediction": ...}, {"label": True}),
    (", predicted: features.amount > 1.0", {"prediction": True}, {"label": True}),
]
WRONG_WORDS: list[tuple[str, Event, Event]] = [
    ("", {"prediction": "pay"}, {"label": True}),
    ("", {"prediction": True}, {"label": "paid"}),
    (", positive: [default]", {"prediction": 1}, {"label": "default"}),
]


@pytest.mark.parametrize(("labels", "said", "meant"), UNCLEAR + WRONG_WORDS)
def test_a_prediction_or_a_label_that_says_no_class_is_counted_and_never_green(
    tmp_path: Path, labels: str, said: Event, meant: Event
) -> None:
    names = OF_CLASS if (labels, said, meant) in WRONG_WORDS else ("accuracy", *OF_CLASS)
    ran = replayed(tmp_path, policy(*names, labels=labels), lambda _: (said, meant), 900)

    assert ran.code == 4
    assert {final(ran, name)["state"] for name in names} == {"unidentified"}
    assert all(final(ran, name)["evidence"]["undecided"] > 300 for name in names)
    assert "could not be decided" in final(ran, names[0])["evidence"]["reason"]


def test_reviews_without_labels_leave_labels_missing(tmp_path: Path) -> None:
    """A review is no label: none of them is undecided, all of them are still to come."""
    names = ("accuracy", *OF_CLASS)
    said: Two = lambda _: ({"prediction": True}, {"label": None, "confirmed_ood": False})  # noqa: E731 - as above
    ran = replayed(tmp_path, policy(*names), said, 900)

    assert ran.code == 4
    assert {final(ran, name)["state"] for name in names} == {"insufficient"}
    assert final(ran, "accuracy")["evidence"]["reason"].startswith("labels missing")


def test_one_in_ten_predictions_without_a_class_is_too_many_and_one_in_fifty_is_not(tmp_path: Path) -> None:
    names = ("accuracy", *OF_CLASS)

    def states(share: int) -> set[str]:
        def event(i: int) -> tuple[Event, Event]:
            said = (i // share) % 2 == 0
            return {"prediction": ... if i % share == 0 else said}, {"label": said}

        ran = replayed(tmp_path, policy(*names), event)
        return {final(ran, name)["state"] for name in names}

    assert states(10) == {"unidentified"}
    assert states(50) == {"met"}


@pytest.mark.parametrize("name", OF_CLASS)
def test_a_class_that_never_comes_is_not_green(tmp_path: Path, name: str) -> None:
    """A misspelt class: nothing is ever said or meant to be of it, so all errors are absent."""
    ran = replayed(tmp_path, policy(name, **{"class": "cta"}), zoo(), 900)
    told = final(ran, name)

    assert (ran.code, told["state"]) == (4, "insufficient")
    assert told["evidence"]["reason"] == (
        "the class never came: predictions said it 0 times and labels 0 times"
        if name == "false_positive_rate"
        else "0 effective events of 100"
    )


def test_labels_in_other_words_make_no_false_positive_rate_green(tmp_path: Path) -> None:
    """Every label reads as the other class: 2 % said positive would be a rate of 2 %."""
    events: Two = lambda i: ({"prediction": "default" if i % 50 == 0 else "repaid"}, {"label": "REPAID"})  # noqa: E731
    ran = replayed(tmp_path, policy("false_positive_rate", labels=", positive: [default]"), events, 900)
    told = final(ran, "false_positive_rate")

    assert 0.01 < told["value"] < 0.03
    assert told["state"] == "insufficient"
    assert told["evidence"]["reason"].startswith("the class never came: predictions said it ")


def test_an_outcome_without_a_label_is_no_label_of_calibration_either(tmp_path: Path) -> None:
    """A review that only says whether an event was out of distribution says nothing of a class."""
    text = policy("accuracy").replace("accuracy_6h", "decision_ece_6h").replace(">= 0.9", "<= 0.1")
    ran = replayed(
        tmp_path,
        text,
        lambda _: ({"score": ..., "probabilities": {"cat": 0.9, "dog": 0.1}}, {"label": None, "confirmed_ood": False}),
        900,
    )
    told = final(ran, "decision_ece")

    assert (told["state"], told["n"], told["value"]) == ("insufficient", 0, None)
