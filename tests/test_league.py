"""The league of detectors: in small, every row that needs no venv of its own is there, whole, and says where we lose."""

import re

import numpy as np
import pytest

from benchmarks.league import oddities, ours, rivals, table, tasks, venvs
from benchmarks.league.__main__ import main
from benchmarks.league.playing import Found, Player

pytestmark = pytest.mark.statistical


def test_the_quick_league_has_every_row_and_no_figure_is_nan(capsys: pytest.CaptureFixture[str]) -> None:
    text = main(["--quick", "--here"])
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
    named = {row[0]: row for row in rows}

    assert capsys.readouterr().out.strip() == text.strip()
    assert {*ours.THRESHOLDS, *rivals.DRIFT, *oddities.ODD, "Interlock OOD score"} <= set(named)
    assert text.count("## Change: ") == 4
    assert {name for name, row in named.items() if "not asked for" in row} == {
        name for name in (*rivals.DRIFT, *oddities.ODD) if venvs.apart(name)
    }
    assert "nan" not in re.findall(r"\w+", text)
    assert "## Where Interlock loses" in text


def test_a_rival_that_does_better_is_named_with_its_figures() -> None:
    def player(name: str, delay: float, auroc: float, cost: float) -> Player:
        return Player(name, "", {"task": Found(2.0, {"shift": np.array([delay])})}, {"digits": auroc}, cost)

    sooner, later = player("River ADWIN", 50, 0.9, 3), player("River KSWIN", 200, 0.7, 9)
    own = player("Interlock", 100, 0.8, 5)

    assert table.losses([own, sooner, later], [own, sooner, later]) == [
        "task, shift, median events (false alarms per 100,000): Interlock 100 (2); River ADWIN 50 (2).",
        "digits: AUROC 0.800 of Interlock, River ADWIN 0.900.",
        "Cost, µs an event of 20 features: Interlock 5, River ADWIN 3.",
        "Cost, µs an event of 20 features: Interlock 5, River ADWIN 3.",
    ]
    assert table.losses([own, later], [own, later]) == ["Nowhere in this run."]


def test_delays_are_counted_from_the_change_and_alarms_before_it_are_false() -> None:
    quiet, jump = np.zeros((1, 1, 1000)), np.full((1, 1, 500), 5.0)
    task = {"history": quiet, "quiet": np.concatenate([quiet, jump, quiet], axis=2), "after/jump": jump}
    found = rivals.alarms(*rivals.DRIFT["River ADWIN"][1:2], task, 1)
    still = rivals.alarms(*rivals.DRIFT["River ADWIN"][1:2], {**task, "quiet": quiet}, 1)

    assert found["false"][0] >= 2
    assert still["false"].tolist() == [0, 1000]
    assert 0 < still["after/jump"][0] <= 64


def test_delays_and_misses_are_shown_as_median_and_95th_percentile() -> None:
    assert table.delay(np.array([25.0, 50, 75])) == "50 / 75"
    assert table.delay(np.array([25.0, np.inf, np.inf, np.inf])) == "– / – (75% missed)"


def test_rivals_apart_are_pinned() -> None:
    assert {name.split()[0] for name in venvs.pinned()} == {"frouros", "pyod", "whylogs"}


def test_the_streams_of_river_change_where_they_say() -> None:
    task = tasks.sea(tasks.Size(2, 2000, 1000, 1000))

    assert task["quiet"].mean() + 0.05 < task["after/change"].mean()
    assert set(np.unique(task["history"])) == {0.0, 1.0}
