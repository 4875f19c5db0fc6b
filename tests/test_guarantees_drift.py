"""What drift promises, simulated through its machine: false tickets within the budget, slices that come and go."""

import numpy as np
import pytest

from interlock.detectors.drift import BINS, KNOWN, Bins
from interlock.policies.context import Context, Learned
from interlock.policies.load import load_policy
from interlock.policies.machine_drift import DriftMachine
from interlock.policies.said import Moment

pytestmark = pytest.mark.statistical

POLICY = """
model: m
false_pages_per_year: %g
slices: [{by: [tenant], max: 4}]
slos:
- {name: drift_7d, objective: o, target: "== 0", window: 7d, action_on_breach: notify, severity: ticket, per: tenant}
"""
KNOWN_BINS = BINS - KNOWN
ROWS = 20_000


def machine(rng: np.random.Generator, budget: float, streams: int = 5) -> DriftMachine:
    """Return a machine whose references are estimates of 20,000 rows of equal bins."""
    labels = ("missing", "outside", *(str(i) for i in range(KNOWN_BINS)))
    bins = tuple(
        Bins(f"f{i}", labels, (0, 0, *rng.multinomial(ROWS, np.full(KNOWN_BINS, 1 / KNOWN_BINS)).tolist()), True, 3e-4)
        for i in range(streams)
    )
    policy = load_policy((POLICY % budget).encode(), "p")
    return DriftMachine(Context(policy, policy.slos[0], "m", Learned({}, reference_id="r", drift=bins)))


def row(rng: np.random.Generator, n: int, streams: int, *, common: bool, tilt: float = 0.0) -> np.ndarray:
    """Return the counts of n events; `common`: all streams are copies of one, as dependent as can be."""
    shares = np.exp(tilt * np.linspace(-1, 1, KNOWN_BINS))
    drawn = rng.multinomial(n, shares / shares.sum(), 1 if common else streams)
    counts = np.zeros((streams, BINS), np.int64)
    counts[:, KNOWN:] = drawn
    return np.concatenate([[n, 0], counts.reshape(-1)])


def tickets(made: DriftMachine, pane: int, slices: dict[str, np.ndarray]) -> list[str]:
    """Judge a pane; return the states of the controls that it yields."""
    made.judge(pane, slices)
    return [one.state for one in made.conclude(Moment(pane, pane)).controls]


@pytest.mark.parametrize("common", [False, True], ids=["independent", "copies"])
def test_quiet_streams_stay_within_the_budget_whatever_their_dependence(common: bool) -> None:
    """A budget of 26 a year is 2.1 in 30 days of hourly panes; six runs may open 12, and open far fewer."""
    opened = 0
    for seed in range(6):
        rng = np.random.default_rng(seed)
        made = machine(rng, 26)
        for pane in range(24 * 30):
            slices = {f'["{t}"]': row(rng, int(rng.poisson(40)) + 1, 5, common=common) for t in "abcd"}
            opened += tickets(made, pane, slices).count("engaged")

    assert opened <= 6 * 26 * 30 / 365.25


def test_slices_that_appear_and_vanish_open_nothing() -> None:
    rng = np.random.default_rng(7)
    made, heard = machine(rng, 1), []
    for pane in range(24 * 40):
        names = {f'["{(pane // 200 * 3 + k) % 11}"]' for k in range(4)}
        heard += tickets(made, pane, {name: row(rng, 30, 5, common=False) for name in sorted(names)})

    assert heard == []


@pytest.mark.parametrize("seed", range(3))
def test_a_real_shift_is_found_in_its_slice_and_ends(seed: int) -> None:
    rng = np.random.default_rng(100 + seed)
    made, heard = machine(rng, 1), []
    for pane in range(24 * 12):
        slices = {
            f'["{t}"]': row(rng, 40, 5, common=False, tilt=0.8 if t == "b" and 72 <= pane < 144 else 0.0) for t in "abc"
        }
        made.judge(pane, slices)
        heard += [(pane, one.state, one.scope["slice"]) for one in made.conclude(Moment(pane, pane)).controls]

    assert {where for _, _, where in heard} == {"tenant=b"}
    assert 72 < heard[0][0] < 84
    assert heard[-1][1] == "released"
    assert 144 < heard[-1][0] < 24 * 10
