"""Lost services and signals: one line where nothing can be done, else the worker comes back by itself and law 3 holds."""

import re
import signal
import time

import pytest
from kafka import KafkaProducer, TopicPartition

from interlock.commands.broker import Broker, free_port
from interlock.streams import wire
from tests.living import Running, records, send, topics, until
from tests.processes import admin, interlock
from tests.story import QUICK, Story, assert_equal_to_replay, day, judged, lag, told, until_judged
from tests.test_live_bad_input import producing

pytestmark = pytest.mark.integration

AWAY = 8.0
"""Seconds that the broker is away: longer than a session, and than the producers' first attempts."""

STAMP = r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} "


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("lost") / "story", day())


def lines_without_log(said: str) -> list[str]:
    """Return what a worker said, its log left out."""
    return [line for line in said.splitlines() if not re.match(STAMP, line)]


def test_no_broker_at_the_address_is_one_line_and_exit_3(story: Story) -> None:
    address = f"127.0.0.1:{free_port()}"
    ended = interlock("worker", story.policy, "--bootstrap", address)

    assert (ended.returncode, ended.stdout) == (3, "")
    assert ended.stderr == f"no Kafka answers at {address} in 3 attempts; `interlock kafka start` starts one\n"


def test_missing_topics_are_a_line_each_and_exit_1(story: Story, kafka: Broker) -> None:
    ended = interlock("worker", story.policy, "--bootstrap", kafka.bootstrap, "--prefix", "none.")
    said = ended.stderr.splitlines()

    assert (ended.returncode, ended.stdout, len(said)) == (1, "", 12)
    assert all(
        re.fullmatch(r"none\.[a-z-]+: found no such topic, .*`interlock topics` creates it", line) for line in said
    )


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_with_a_checkpoint_at_the_end(story: Story, kafka: Broker, how: signal.Signals) -> None:
    prefix = f"{how.name.lower()}."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.2))
    with Running(story.policy, kafka.bootstrap, prefix, ("--checkpoint-every", "3600")) as worker:
        until(lambda: lag(worker) == 0, "all to be read")
        until_judged([worker], judged([worker]))
        positions = worker.status()["shards"]["0"]["positions"]
        began = time.monotonic()
        code = worker.end(how)
        took, said = time.monotonic() - began, worker.said()
    with Running(story.policy, kafka.bootstrap, prefix) as worker:
        until(lambda: worker.status().get("shards"), "a restart")
        went_on = re.findall(r"shard 0 (.*)", worker.said())

    assert (code, lines_without_log(said)) == (0, [])
    assert took < 6
    assert went_on == [f"goes on from {positions}"]


def test_a_broker_that_is_away_for_a_while_is_waited_for_and_nothing_is_lost(story: Story, own_kafka: Broker) -> None:
    topics(own_kafka.bootstrap, "")
    send(own_kafka.bootstrap, "", story.part(0, 0.5))
    with Running(story.policy, own_kafka.bootstrap, "", QUICK) as worker:
        until(lambda: judged([worker]), "something to be judged")
        own_kafka.kill()
        began = time.monotonic()
        until(lambda: worker.status().get("status") == "failing", "it to say that it is failing")
        until(lambda: time.monotonic() - began > AWAY, "an outage")
        alive = worker.process is not None and worker.process.poll() is None
        own_kafka.restart()
        send(own_kafka.bootstrap, "", story.part(0.5, 1))
        end = until_judged([worker], story.end())
        until(lambda: worker.status().get("status") == "ok", "it to say that it is well")
        code = worker.end(signal.SIGTERM)

    assert alive
    assert code == 0
    assert_equal_to_replay(story, own_kafka.bootstrap, "", end)


def test_a_broker_that_dies_before_a_worker_has_joined_is_one_line_and_exit_3(story: Story, own_kafka: Broker) -> None:
    topics(own_kafka.bootstrap, "")
    with Running(story.policy, own_kafka.bootstrap, "", QUICK) as worker:
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        own_kafka.kill()
        worker.process.send_signal(signal.SIGCONT)
        code = worker.process.wait(60)
        (line,) = lines_without_log(worker.said())

    assert code == 3
    assert line.startswith(f"no Kafka answers at {own_kafka.bootstrap}: ")


def test_a_worker_that_was_frozen_while_another_took_its_place_changes_nothing(story: Story, kafka: Broker) -> None:
    prefix = "replaced."
    topics(kafka.bootstrap, prefix)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as zombie:
        send(kafka.bootstrap, prefix, story.part(0, 0.4))
        until(lambda: judged([zombie]), "something to be judged")
        assert zombie.process is not None
        zombie.process.send_signal(signal.SIGSTOP)
        try:
            with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
                send(kafka.bootstrap, prefix, story.part(0.4, 0.7))
                until(lambda: lag(worker) == 0 and judged([worker]), "another to take its place")
                zombie.process.send_signal(signal.SIGCONT)
                send(kafka.bootstrap, prefix, story.part(0.7, 1))
                end = until_judged([zombie, worker], story.end())
        finally:
            zombie.process.send_signal(signal.SIGCONT)
        code = zombie.end(signal.SIGTERM)

    assert code == 0
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


def remove(kafka: Broker, topic: str) -> int:
    """Let a topic's records be gone, as retention would; return the offset that is first now."""
    with admin(kafka.bootstrap) as client:
        gone = client.delete_records({TopicPartition(topic, 0): -1})
    return int(gone[TopicPartition(topic, 0)]["low_watermark"])


def test_records_that_were_removed_while_it_was_away_stop_it_with_one_line(story: Story, kafka: Broker) -> None:
    prefix = "removed."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.2))
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        until(lambda: lag(worker) == 0, "all to be read")
        position = worker.status()["shards"]["0"]["positions"]["predictions"]
    send(kafka.bootstrap, prefix, story.part(0.2, 0.4))
    end = remove(kafka, prefix + "predictions")
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        assert worker.process is not None
        code = worker.process.wait(60)

    assert code == 2
    assert lines_without_log(worker.said()) == [
        (
            f"removed.predictions, partition 0: offsets {position} to {end - 1} are gone, and no checkpoint covers them: "
            "counts would be missing; restore the topic, or start anew with empty checkpoints"
        )
    ]


def damage(kafka: Broker, topic: str) -> None:
    """Write over all that stands on a topic: the last bytes of every value are other ones."""
    with producing(kafka) as producer:
        for record in records(kafka.bootstrap, topic):
            flipped = bytes(byte ^ 0xFF for byte in (record.value or b"")[-9:])
            producer.send(topic, (record.value or b"")[:-9] + flipped, record.key, partition=record.partition)


def test_records_that_only_damaged_checkpoints_cover_stop_it_with_one_line_when_they_are_gone(
    story: Story, kafka: Broker
) -> None:
    """Else it would count from the middle on, as if nothing had been before."""
    prefix = "damaged."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.2))
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        until(lambda: lag(worker) == 0, "all to be read")
    damage(kafka, prefix + "checkpoints")
    end = remove(kafka, prefix + "predictions")
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        assert worker.process is not None
        code = worker.process.wait(60)

    assert code == 2
    assert "shard 0: none of its checkpoints is whole" in worker.said()
    assert lines_without_log(worker.said()) == [
        (
            f"damaged.predictions, partition 0: offsets 0 to {end - 1} are gone, and no checkpoint covers them: "
            "counts would be missing; restore the topic, or start anew with empty checkpoints"
        )
    ]


def test_records_that_were_removed_before_a_slow_worker_read_them_stop_it_with_one_line(
    story: Story, kafka: Broker
) -> None:
    prefix = "outrun."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.2))
    with Running(story.policy, kafka.bootstrap, prefix, ("--session-timeout", "30")) as worker:
        until(lambda: lag(worker) == 0, "all to be read")
        assert worker.process is not None
        position = worker.status()["shards"]["0"]["positions"]["predictions"]
        worker.process.send_signal(signal.SIGSTOP)
        send(kafka.bootstrap, prefix, story.part(0.2, 0.4))
        end = remove(kafka, prefix + "predictions")
        send(kafka.bootstrap, prefix, story.part(0.4, 0.6))
        worker.process.send_signal(signal.SIGCONT)
        code = worker.process.wait(60)

    assert code == 2
    assert lines_without_log(worker.said()) == [
        (
            f"outrun.predictions, partition 0: offsets {position} to {end - 1} were removed by retention before they were"
            " read: counts are missing; keep the topic for longer than a worker may be away"
        )
    ]


def test_counts_of_another_number_of_partitions_stop_it_with_one_line(story: Story, kafka: Broker) -> None:
    prefix = "grown."
    topics(kafka.bootstrap, prefix)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        run = until(lambda: worker.status().get("judges") and worker.status()["run"], "a start")
        producer = KafkaProducer(bootstrap_servers=kafka.bootstrap, acks="all")
        producer.send(prefix + "tallies", wire.encode(wire.Topology(run, 7)), partition=0)
        producer.flush()
        producer.close()
        assert worker.process is not None
        code = worker.process.wait(60)
        said = worker.said()

    assert code == 2
    assert "Traceback" not in said
    (line,) = lines_without_log(said)
    assert line.startswith(
        "the input topics had 1 partitions when this worker was started, counts on tallies are of 7: "
    )
