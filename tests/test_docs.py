"""README and docs: every command and indicator is there, every link leads somewhere, the capture is what the demo prints."""

import re
from pathlib import Path

import pytest
import yaml
from typer.main import get_command

from interlock import rights
from interlock.commands.command_line import app
from interlock.policies.model_slo import INDICATORS
from interlock.streams import settings

ROOT = Path(__file__).resolve().parents[1]
README = (ROOT / "README.md").read_text("utf-8")
PAGES = [ROOT / name for name in ("README.md", "CONTRIBUTING.md")] + sorted((ROOT / "examples").glob("*/README.md"))
PAGES += sorted((ROOT / "docs").rglob("*.md"))
COMMANDS = sorted(getattr(get_command(app), "commands", {}))


def page_name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def blocks(language: str = "") -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", README, re.MULTILINE | re.DOTALL)


def test_every_command_is_in_the_documents() -> None:
    text = "\n".join(page.read_text("utf-8") for page in PAGES)

    assert COMMANDS
    assert [name for name in COMMANDS if f"interlock {name}" not in text] == []


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_command_that_a_document_names_exists(page: Path) -> None:
    named = re.findall(r"(?:^|`)(?:\.venv/bin/)?interlock ([a-z]+)", page.read_text("utf-8"), re.MULTILINE)

    assert sorted(set(named) - set(COMMANDS)) == []


def test_every_make_target_in_the_readme_exists() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text("utf-8"), re.MULTILINE))
    named = set(re.findall(r"\bmake (demo|test|bench|setup|[a-z]+)(?=[ `]+#?|`)", README))

    assert {"demo", "test", "bench"} <= named <= targets


def test_every_indicator_in_force_has_its_page_and_no_other_has() -> None:
    pages = {path.stem for path in (ROOT / "docs" / "indicators").glob("*.md")}

    assert pages == {name.partition(".")[0] for name in INDICATORS}


@pytest.mark.parametrize("name", sorted({name.partition(".")[0] for name in INDICATORS}))
def test_an_indicators_page_says_what_it_means_how_it_is_made_and_when_it_is_blind(name: str) -> None:
    text = (ROOT / "docs" / "indicators" / f"{name}.md").read_text("utf-8")

    assert text.startswith(f"# {name}\n")
    assert all(f"**{part}.**" in text for part in ("What it means", "Formula", "States", "Where it is blind"))
    assert f"docs/indicators/{name}.md" in README


@pytest.mark.parametrize("page", PAGES, ids=page_name)
def test_every_link_to_a_file_resolves(page: Path) -> None:
    links = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text("utf-8"))
    missing = [link for link in links if "://" not in link and not (page.parent / link).exists()]

    assert missing == []


def test_the_policy_is_explained_key_by_key() -> None:
    policy = yaml.safe_load((ROOT / "examples" / "census" / "policy.yaml").read_text("utf-8"))
    table = README.split("## The policy file, line by line")[1].split("\n## ")[0]
    keys = {*policy, *(key for slo in policy["slos"] for key in slo)} - {"name"}

    assert sorted(key for key in keys if f"`{key}:" not in table) == []


def test_the_mapping_of_the_readme_is_one_that_loads() -> None:
    from interlock.streams.mapping import load  # noqa: PLC0415 - beside its only use

    assert load(next(text for text in blocks("yaml") if "repaid" in text), "map.yaml").sources


def test_a_place_is_kept_for_the_figures_of_the_benchmarks() -> None:
    speed = README.split("## Speed")[1].split("\n## ")[0]

    assert "make bench" in speed


def test_the_evidence_is_in_the_index_of_the_readme() -> None:
    assert "](docs/evidence.md)" in README
    assert "make evidence" in README


def test_the_tables_of_settings_and_rights_are_those_of_the_code() -> None:
    worker, kafka = ((ROOT / "docs" / name).read_text("utf-8") for name in ("worker.md", "kafka.md"))

    assert "\n".join(settings.table()) in worker
    assert "\n".join(rights.table()) in kafka
    assert "\n".join(rights.table()) in README
