"""docs/evidence.md says of every acceptance test what was measured; and the census story, in small, is what it tells."""

import re
from pathlib import Path

import pytest

from benchmarks.chaos import pages
from benchmarks.evidence import census
from benchmarks.evidence.__main__ import FAULTS, choose, replaced, row
from benchmarks.evidence.registry import Acceptance, Measured, Size, every

ROOT = Path(__file__).resolve().parents[1]
PAGE = (ROOT / "docs" / "evidence.md").read_text("utf-8")
CELLS = {
    found[0]: found[1:]
    for found in re.findall(r"^\| (A\d+\w*) \| (.*) \| (.*) \| (.*) \| (.*) \| (.*) \|$", PAGE, re.MULTILINE)
}


@pytest.mark.parametrize("one", every(), ids=lambda one: one.name)
def test_every_acceptance_test_has_its_row_with_its_own_claim_and_target(one: Acceptance) -> None:
    """`python -m benchmarks.evidence --only NAME` makes the row of a new one."""
    claim, target, figure, held, day = CELLS[one.name]

    assert (claim, target) == (one.claim.replace("|", "\\|"), one.target.replace("|", "\\|"))
    assert re.search(r"\d", figure)
    assert held in ("yes", "**no**")
    assert re.fullmatch(r"\d{4}-\d\d-\d\d", day)


def test_the_page_has_no_row_that_nothing_measures() -> None:
    assert set(CELLS) == {one.name for one in every()}


def test_a_row_that_is_measured_again_takes_the_place_of_the_old_one_and_nothing_else_changes() -> None:
    one = choose("A6")[0]

    missed = row(one, Measured("9 of 9", held=False), "2099-01-01")
    page = replaced(PAGE, {"A6": missed})

    assert missed.endswith("| 9 of 9 | **no** | 2099-01-01 |\n")
    assert page.replace(missed, "") == re.sub(r"^\| A6 \|.*\n", "", PAGE, count=1, flags=re.MULTILINE)
    assert (
        replaced(page, {"A6": next(line for line in PAGE.splitlines(keepends=True) if line.startswith("| A6 |"))})
        == PAGE
    )


def test_the_page_keeps_what_the_last_campaign_of_faults_left_and_another_takes_its_place_alone() -> None:
    section = pages.KEPT.read_text("utf-8")
    other = pages.kept(["another"])

    assert section in PAGE
    assert FAULTS == pages.KEPT
    assert pages.replaced(PAGE, other) == PAGE.replace(section, other)
    assert pages.replaced(pages.replaced(PAGE, other), section) == PAGE


def test_every_test_that_the_table_of_streams_names_is_there() -> None:
    table = (ROOT / "benchmarks" / "evidence" / "streams.md").read_text("utf-8")
    files = set(re.findall(r"\b(test_guarantees_\w+)", table))
    texts = {name: (ROOT / "tests" / f"{name}.py").read_text("utf-8") for name in files}
    named = set(re.findall(r"`([a-z_0-9]+)`", table))
    laws = "\n".join(texts.values())

    assert table.strip() in PAGE
    assert named
    assert sorted(name for name in named if f"def test_{name}" not in laws) == []


@pytest.mark.statistical
def test_new_codes_in_one_office_are_paged_by_name_and_nothing_is_paged_before() -> None:
    """On four months of the census: 5 % of one office's people have a code that nobody has seen, from July on."""
    found = census.run(Size.SMALL, injected=True)
    first = found.pages[0][1]

    assert not [page for _, page in found.pages if page.scope != {"slice": f"office={census.OFFICE}"}]
    assert first.slo == "unseen_rate_30d"
    assert first.action == "trigger"
    assert 0 < first.ts - census.FROM_MS < 21 * census.DAY
    assert f"{census.FEATURE}={census.CODE}" in first.details["causes"]
    assert f"office={census.OFFICE}" in first.summary


@pytest.mark.statistical
def test_the_census_as_it_is_pages_nothing_in_these_months() -> None:
    assert not census.run(Size.SMALL, injected=False).pages
