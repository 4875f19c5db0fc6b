"""Acceptance tests A1-A19: every figure holds its target, here in small; `make evidence` measures them in full."""

import pytest

from benchmarks.evidence.registry import Acceptance, Size, every

pytestmark = pytest.mark.statistical


@pytest.mark.parametrize("one", every(), ids=lambda one: one.name)
def test_the_figure_holds_its_target(one: Acceptance) -> None:
    measured = one.measure(Size.SMALL)

    assert measured.held, f"{one.name}: {one.claim} Target {one.target}; measured {measured.figure}"
