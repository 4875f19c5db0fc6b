"""Panes divide days, ticks divide panes, and the thresholds of all tests spend exactly the budget of false pages."""

import math
from itertools import pairwise
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.policies.load import load_policy
from interlock.policies.model import Policy
from interlock.policies.panes import NICE, least_threshold, paging, pane_ms, slots, thresholds, tick_ms
from interlock.policies.scalars import DAY, HOUR, MINUTE, SECOND

GOOD = Path(__file__).parent / "policies" / "good"


def slo(name: str, window: str = "24h", target: str = "<= 0.05", **more: str) -> str:
    extra = "".join(f", {key}: {value}" for key, value in more.items())
    return f'- {{name: {name}, objective: o, target: "{target}", window: {window}, action_on_breach: notify{extra}}}\n'


def policy(*slos: str, head: str = "") -> Policy:
    return load_policy((head + "slos:\n" + "".join(slos)).encode(), "f")


NEVER = slo("never_event_violations", "rolling", "== 0")


@pytest.mark.parametrize(
    ("window", "pane"),
    [
        (MINUTE, SECOND),
        (10 * MINUTE, 5 * SECOND),
        (HOUR, 30 * SECOND),
        (DAY, 10 * MINUTE),
        (7 * DAY, HOUR),
        (28 * DAY, 4 * HOUR),
        (366 * DAY, DAY),
        ("rolling", 10 * MINUTE),
    ],
)
def test_known_windows_have_known_panes(window: int | Literal["rolling"], pane: int) -> None:
    assert pane_ms(window) == pane


@given(st.integers(MINUTE, 168 * DAY))
def test_a_pane_is_the_smallest_nice_divisor_of_a_day_from_a_168th_of_the_window(window: int) -> None:
    pane = pane_ms(window)

    assert DAY % pane == 0
    assert pane * 168 >= window
    assert all(smaller * 168 < window for smaller in NICE if smaller < pane)


def test_nice_widths_rise_and_divide_a_day() -> None:
    assert all(a < b for a, b in pairwise(NICE))
    assert all(DAY % width == 0 for width in NICE)


def test_the_tick_divides_every_pane() -> None:
    one = policy(slo("ood_rate_7d", "7d"), slo("unseen_rate_1h", "1h"), NEVER)

    assert tick_ms(one) == 30 * SECOND
    assert tick_ms(policy(slo("ood_rate_7d", "7d"))) == HOUR
    assert tick_ms(policy(slo("ood_rate_10m", "10m"), slo("unseen_rate_4m", "4m"))) == SECOND
    assert all(pane_ms(each.window) % tick_ms(one) == 0 for each in one.slos)


def test_slots_are_one_slices_and_other_or_endpoints_and_rest() -> None:
    slices = "slices: [{by: [tenant], max: 20}]\n"
    ece = slo("decision_ece_p95_24h")
    one = policy(slo("ood_rate_24h", per="slice"), slo("unseen_rate_24h"), ece, head=slices)

    assert [slots(one, each) for each in one.slos] == [21, 1, 1]
    assert slots(policy(ece, head="endpoint: segment.endpoint\n"), one.slos[2]) == 51


@pytest.mark.parametrize("budget", [0.5, 1, 4])
def test_all_tests_together_spend_the_budget(budget: float) -> None:
    one = load_policy((GOOD / "in_force.yaml").read_bytes(), "f").model_copy(update={"false_pages_per_year": budget})
    pages = [each for each in one.slos if each.severity == "page" and each.spec.kind != "never_event"]
    limits = {each: thresholds(one, each) for each in pages}

    spent = sum(slots(one, each) * limits[each].panes_per_year / limits[each].page for each in pages)

    assert paging(one) == len(pages) == 4
    assert math.isclose(spent, budget)


def test_thresholds_of_the_seed(shared: Path) -> None:
    one = load_policy((shared / "data" / "safety-slos.yaml").read_bytes(), "f")
    recall, ece = (thresholds(one, each) for each in one.slos[:2])

    assert (recall.panes_per_year, recall.page, recall.warn, recall.release) == (8766, 17532, 1680, 8766)
    assert (recall.window_panes, recall.hold_panes, recall.pane_ms) == (168, 2, HOUR)
    assert (ece.panes_per_year, ece.page, ece.warn, ece.release) == (52596, 105192, 4383, 52596)
    assert (ece.window_panes, ece.hold_panes, ece.pane_ms) == (144, 12, 10 * MINUTE)


def test_a_ticket_and_a_never_event_spend_nothing() -> None:
    page, ticket = slo("ood_rate_24h"), slo("unseen_rate_24h", severity="ticket")
    alone, both = policy(page), policy(page, ticket, NEVER)

    assert thresholds(both, both.slos[0]) == thresholds(alone, alone.slos[0])
    assert thresholds(both, both.slos[1]) == thresholds(both, both.slos[0])
    assert paging(policy(NEVER)) == 1


def test_what_is_not_judged_spends_nothing() -> None:
    page = slo("ood_rate_24h")
    compared = slo("brier_1m", "1m", indicator="brier", compare="{variant: a, to: b}")
    alone, both = policy(page), policy(page, compared)

    assert thresholds(both, both.slos[0]) == thresholds(alone, alone.slos[0])
    assert tick_ms(both) == tick_ms(alone)


@given(st.integers(1, 1000), st.sampled_from(["1m", "10m", "1h", "24h", "7d", "366d"]))
def test_a_loaded_policy_warns_before_it_pages(budget: float, window: str) -> None:
    text = f"false_pages_per_year: {budget}\nslos:\n" + slo("ood_rate_24h", window)
    wide = load_policy(("slos:\n" + slo("ood_rate_24h", window)).encode(), "f") if window != "366d" else None
    most = wide and thresholds(wide, wide.slos[0]).page / least_threshold(wide.slos[0])

    if most and budget <= most:
        one = load_policy(text.encode(), "f")
        assert thresholds(one, one.slos[0]).page >= least_threshold(one.slos[0])
    else:
        with pytest.raises(Exception, match="false_pages_per_year: found"):
            load_policy(text.encode(), "f")


def test_a_shorter_hold_than_a_pane_is_one_pane() -> None:
    one = policy(slo("ood_rate_7d", "7d"), head="release: {hold: 1m}\n")

    assert thresholds(one, one.slos[0]).hold_panes == 1
