"""A cut of `make chaos`: real workers on a Kafka of three nodes are killed and worse, and every event counts once."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from benchmarks.chaos import campaign, mutated
from benchmarks.chaos.children import Nursery
from benchmarks.chaos.cluster import Cluster
from interlock.commands.broker import Broker
from interlock.commands.broker_jars import jars, java
from interlock.streams.topics import Layout
from interlock.streams.topics_admin import create, partitions_of
from tests.servers import needed

pytestmark = [pytest.mark.integration, pytest.mark.slow]

KILLS, SEED, MESSAGES = 10, 8, 20_000


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    needed(java)
    needed(jars)
    with Cluster.start(tmp_path_factory.mktemp("cluster")) as made:
        yield made


def test_whatever_is_killed_every_event_counts_once_and_what_is_said_is_the_replays(
    cluster: Cluster, tmp_path: Path
) -> None:
    with Nursery() as nursery:
        report = campaign.run((cluster, nursery), tmp_path / "run", SEED, KILLS)
    found = report.findings

    assert report.kills >= KILLS
    assert found.said == []
    assert (found.unsent, found.lost, found.doubled, found.wrong) == (0, 0, 0, 0)
    assert found.verdicts > 400
    assert found.controls >= 4


def test_topics_are_found_while_one_of_three_brokers_is_down(cluster: Cluster) -> None:
    assert not create(cluster.bootstrap, Layout("away.", 2, 1, 3)).differences
    expected = partitions_of(cluster.bootstrap, "away.")
    node = cluster.nodes[0]
    node.kill()
    try:
        found = [partitions_of(cluster.bootstrap, "away.") for _ in range(6)]
    finally:
        cluster.restart(node)
        cluster.until_whole()

    assert found == [expected] * 6


def test_mutated_messages_stop_no_worker_and_each_is_counted_or_a_dead_letter(kafka: Broker, tmp_path: Path) -> None:
    found = mutated.compare(kafka.bootstrap, tmp_path / "mutated", SEED, MESSAGES)
    print(f"speed on mutated messages: {found.ratio:.2f} of that on good ones")

    assert (found.good.exit_code, found.mutated.exit_code) == (0, 0)
    assert (found.good.unaccounted, found.mutated.unaccounted) == (0, 0)
    assert found.good.counters["dead_letters"] == 0
    assert found.mutated.counters["dead_letters"] > MESSAGES / 2
