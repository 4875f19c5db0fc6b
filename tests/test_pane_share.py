"""One pane is one observation: however a pane's events hang together, its factor is expected to be at most 1."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.detectors.fixed import to_nats
from interlock.detectors.pane_share import PaneEvidence

Weights = st.lists(st.floats(0.01, 1), min_size=2, max_size=6)


@given(st.integers(1, 30), Weights, st.floats(0.01, 0.99))
def test_at_the_boundary_any_distribution_of_failures_in_a_pane_is_expected_at_most_at_one(
    n: int, weights: list[float], level: float
) -> None:
    """Shares of any kind with the limit as their mean: of clusters, of panes that fail as a whole, of independent events."""
    failures = np.rint(np.linspace(0, n, len(weights)) * level).astype(np.int64)
    chance = np.array(weights) / sum(weights)
    mean = float(chance @ (failures / n))
    if not 0 < mean < 1:
        return
    evidence = PaneEvidence(mean)
    for tell in (evidence.log_bad, evidence.log_good):
        factors = np.exp(to_nats(tell(failures, np.full(len(failures), n))))

        assert (chance @ factors <= 1 + 1e-12).all()


def test_an_empty_pane_says_nothing_and_a_pane_of_a_million_events_no_more_than_one_of_ten() -> None:
    evidence = PaneEvidence(0.05)
    told = evidence.log_bad(np.array([0, 3, 300_000]), np.array([0, 10, 1_000_000]))

    assert not told[0].any()
    assert (told[1] == told[2]).all()
    assert (evidence.log_good(np.array([0]), np.array([0])) == 0).all()


def test_a_limit_that_is_no_share_is_refused() -> None:
    for limit in (0.0, 1.0, float("nan")):
        with pytest.raises(ValueError, match="need 0 < q0 < 1"):
            PaneEvidence(limit)
