"""Operations: what the page tells to type parses, its tables are the product's, its core procedures lose nothing."""

import re
import shlex
import signal
from contextlib import ExitStack
from typing import Any

import pytest
import yaml
from typer.main import get_command

from interlock.commands.broker import Broker
from interlock.commands.command_line import app, spread
from interlock.streams.topics import COMPACTED, DAY, RETENTION
from tests.living import Running, records, send, topics, until
from tests.processes import ROOT, admin, eventually, interlock
from tests.story import QUICK, Story, assert_equal_to_replay, counted, day, judged, told, until_judged
from tests.test_health import page

PAGE = (ROOT / "docs" / "operations.md").read_text("utf-8")
RULES = yaml.safe_load((ROOT / "examples" / "prometheus" / "alerts.yaml").read_text("utf-8"))["groups"][0]["rules"]
FENCES = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
LINES = sorted({
    found.strip()
    for block in FENCES
    for line in block.splitlines()
    for found in re.findall(r"(?:^| )(interlock [^;&|>]+)", re.sub(r"\d?>\S+", "", line))
})  # fmt: skip


def parse(line: str) -> None:
    """Parse a command line as the program does, and run nothing."""
    command: Any = get_command(app)
    words = spread(shlex.split(line.replace("$", ""))[1:])
    while getattr(command, "commands", None):
        command, words = command.commands[words[0]], words[1:]
    command.make_context("interlock", words)


@pytest.mark.parametrize("line", LINES)
def test_every_command_line_of_the_page_parses(line: str) -> None:
    parse(line)


def test_the_page_has_command_lines_and_a_wrong_one_would_not_parse() -> None:
    assert len(LINES) >= 15
    with pytest.raises(Exception, match="No such option"):
        parse("interlock topics policy.yaml --partition-count 4")


def kept(name: str) -> str:
    """Return how long a topic is kept, as the page says it."""
    if name in COMPACTED:
        return "compacted"
    return "for ever" if RETENTION[name] < 0 else f"{RETENTION[name] // DAY} days"


def test_the_table_of_retention_is_what_topics_sets() -> None:
    rows = re.findall(r"^\| ((?:`[a-z-]+`(?:, )?)+) \| ([^|]+) \|", PAGE, re.MULTILINE)
    said = {name: time.strip() for names, time in rows for name in re.findall(r"`([a-z-]+)`", names)}

    assert said == {name: kept(name) for name in (*RETENTION, *COMPACTED)}


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_every_metric_of_an_alert_is_one_of_the_product_with_its_labels_and_the_page_says_what_to_do(
    rule: dict[str, Any],
) -> None:
    metrics = {name: told.labels for name, told in page()}
    used = re.findall(r"(interlock_\w+)(?:\{([^}]*)\})?", rule["expr"])

    assert used
    assert {name for name, _ in used} <= set(metrics)
    for name, matchers in used:
        assert set(re.findall(r"(\w+)[=!]", matchers)) <= set(re.findall(r"\w+", metrics[name]))
    assert rule["labels"]["severity"] in {"page", "ticket"}
    assert f"`{rule['alert']}`" in PAGE


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("operations") / "story", day())


def owners(workers: list[Running]) -> list[set[str]]:
    """Return the shards that each worker has."""
    return [set(worker.status().get("shards", {})) for worker in workers]


@pytest.mark.integration
def test_workers_that_are_rolled_one_by_one_lose_and_double_nothing(story: Story, kafka: Broker) -> None:
    prefix, options = "roll.", ("--checkpoint-every", "3600", "--idle-after", "600")
    topics(kafka.bootstrap, prefix, 2)
    with ExitStack() as stack:

        def start() -> Running:
            return stack.enter_context(Running(story.policy, kafka.bootstrap, prefix, options))

        workers = [start(), start()]
        until(lambda: all(owners(workers)), "both to have a shard")
        send(kafka.bootstrap, prefix, story.part(0, 0.5), 2)
        until(lambda: counted(workers, "outcomes") == 1200, "half to be counted")
        codes = []
        for _ in range(2):
            codes.append(workers.pop(0).end(signal.SIGTERM))
            until(lambda: owners(workers) == [{"0", "1"}], "the other to have both shards")
            seen = [counted(workers, what) for what in ("predictions", "outcomes", "duplicate")]
            assert seen == [1200, 1200, 0]
            workers.append(start())
            until(lambda: workers[1].status().get("generation", -1) >= 0, "the new one to have joined")
        send(kafka.bootstrap, prefix, story.part(0.5, 1), 2)
        end = until_judged(workers, story.end(2))

    assert codes == [0, 0]
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


@pytest.mark.integration
def test_a_group_without_its_checkpoints_is_rebuilt_from_the_topics_and_says_what_it_said(
    story: Story, kafka: Broker
) -> None:
    prefix = "nothing."
    topics(kafka.bootstrap, prefix, 2)
    send(kafka.bootstrap, prefix, story.events, 2)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        end = until_judged([worker], story.end(2))
    before = {record.value for record in records(kafka.bootstrap, prefix + "verdicts")}
    with admin(kafka.bootstrap) as client:
        client.delete_topics([prefix + "checkpoints"])
        assert eventually(lambda: prefix + "checkpoints" not in client.list_topics())
    made = interlock("topics", story.policy, "--bootstrap", kafka.bootstrap, "--prefix", prefix)
    assert (made.returncode, made.stdout.splitlines()[0]) == (0, f"{prefix}checkpoints: created")
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        until(lambda: judged([worker]) >= end, "all to be judged again")
        until_judged([worker], end)
        counts = [counted([worker], what) for what in ("predictions", "outcomes", "joined", "orphan")]
        said = worker.said()

    assert len(re.findall(r"(?:shard \d|judge 0) starts anew", said)) == 3
    assert counts == [2400, 2400, 2400, 0]
    assert {record.value for record in records(kafka.bootstrap, prefix + "verdicts")} == before
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)
