"""The local Kafka: fetched once and verified, keeps its data, never outlives whoever holds it, never signals another."""

import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from kafka import KafkaConsumer, KafkaProducer, TopicPartition

from interlock.commands.broker import Broker, free_port
from interlock.commands.broker_jars import VERSION, jars, locked
from interlock.commands.broker_settings import read_port, write_settings
from interlock.commands.cache import VARIABLE, kept
from interlock.errors import UserError
from tests.processes import PATIENCE, admin, ends, environment, eventually, interlock
from tests.servers import needed

HOLDER = """
import signal, sys
from pathlib import Path
from interlock.commands.broker import Broker
with Broker.start(Path(sys.argv[1])) as broker:
    print(broker.pid, flush=True)
    signal.pause()
"""
"""A program that holds a broker until it is interrupted."""

FILLER = """
import sys
from pathlib import Path
from interlock.commands.cache import kept
def fill(folder):
    with Path(sys.argv[2]).open("a") as log:
        log.write("filled\\n")
    for name in "abcdefgh":
        (folder / name).write_bytes(name.encode() * 1_000_000)
folder = kept(Path(sys.argv[1]), fill)
print(sum(file.stat().st_size for file in folder.iterdir()))
"""


def write(broker: Broker, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(bootstrap_servers=broker.bootstrap, acks="all")
    for value in values:
        producer.send(topic, value, partition=0).get(timeout=PATIENCE)
    producer.close()


def read(broker: Broker, topic: str, count: int) -> list[tuple[bytes, int]]:
    """Return the first records of a partition: value and kind of timestamp."""
    consumer = KafkaConsumer(bootstrap_servers=broker.bootstrap, auto_offset_reset="earliest", group_id=None)
    partition = TopicPartition(topic, 0)
    consumer.assign([partition])
    found: list[tuple[bytes, int]] = []

    def enough() -> bool:
        found.extend((record.value, record.timestamp_type) for record in consumer.poll(500).get(partition, []))
        return len(found) >= count

    eventually(enough)
    consumer.close()
    return found


def create(broker: Broker, topic: str) -> None:
    with admin(broker.bootstrap) as client:
        client.create_topics({topic: {"num_partitions": 1, "replication_factor": 1}}, wait_for_metadata=True)


@contextmanager
def holder(folder: Path) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """Run a process that holds a broker, in a process group of its own; return it and the broker's id."""
    process = subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(folder)],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    try:
        assert process.stdout is not None
        yield process, int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def fetched() -> Path:
    """Return the folder of jars, or skip where they cannot be had."""
    return needed(jars)


def test_the_lock_names_the_broker_its_clients_and_its_log_with_their_checksums() -> None:
    lock = locked()

    assert {f"kafka_2.13-{VERSION}.jar", f"kafka-clients-{VERSION}.jar", "log4j-slf4j-impl-2.25.4.jar"} <= set(lock)
    assert all(re.fullmatch("[0-9a-f]{64}", digest) for digest in lock.values())


def test_a_folder_of_the_cache_is_filled_once_and_whole_by_processes_at_the_same_time(tmp_path: Path) -> None:
    arguments = [sys.executable, "-c", FILLER, str(tmp_path / "cache" / "thing"), str(tmp_path / "log")]
    running = [subprocess.Popen(arguments, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(6)]
    sizes = [process.communicate(timeout=PATIENCE)[0].strip() for process in running]

    assert sizes == ["8000000"] * 6
    assert (tmp_path / "log").read_text() == "filled\n"


def test_a_fill_that_fails_or_was_killed_leaves_nothing_in_the_way_of_the_next(tmp_path: Path) -> None:
    (tmp_path / ".thing.new-killed").mkdir()

    def fail(folder: Path) -> None:
        (folder / "half").write_text("half")
        raise UserError("no network")

    with pytest.raises(UserError, match="no network"):
        kept(tmp_path / "thing", fail)
    made = kept(tmp_path / "thing", lambda folder: (folder / "whole").touch())

    assert [path.name for path in made.iterdir()] == ["whole"]
    assert sorted(path.name for path in tmp_path.iterdir()) == [".thing.lock", "thing"]


def test_a_free_port_is_one_that_no_outgoing_connection_is_lent() -> None:
    first = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    ports = [free_port() for _ in range(20)]

    assert all(10_000 <= port < first for port in ports)


def test_a_folder_of_any_name_reaches_kafka_unharmed(tmp_path: Path) -> None:
    settings = write_settings(tmp_path / "é\\n 🙂", 19092, 19093).read_text("ascii")

    assert rf"log.dirs={tmp_path}/\u00e9\u005cn \ud83d\ude42/data" in settings
    assert read_port(tmp_path / "é\\n 🙂") == 19092


def test_it_listens_on_loopback_only_and_makes_no_topic_by_itself(tmp_path: Path) -> None:
    settings = write_settings(tmp_path, 19092, 19093).read_text("ascii")

    assert set(re.findall(r"//([^:]*):", settings)) == {"127.0.0.1"}
    assert "auto.create.topics.enable=false\n" in settings


@pytest.mark.integration
def test_a_jar_that_differs_from_the_lock_is_refused_in_one_line(fetched: Path, tmp_path: Path) -> None:
    copy = tmp_path / "kafka" / fetched.name
    shutil.copytree(fetched, copy)
    name = f"kafka-clients-{VERSION}.jar"
    with (copy / name).open("ab") as jar:
        jar.write(b"more")
    result = interlock("kafka", "start", "--dir", tmp_path / "broker", **{VARIABLE: str(tmp_path)})

    assert result.returncode == 2
    assert re.fullmatch(rf"kafka: {name}: found sha256 \w+, expected sha256 {locked()[name]}; .*\n", result.stderr)


@pytest.mark.integration
def test_a_download_that_fails_is_one_line_after_bounded_attempts(tmp_path: Path) -> None:
    nowhere = dict.fromkeys(("HTTP_PROXY", "HTTPS_PROXY", "http_proxy", "https_proxy"), "http://127.0.0.1:9")
    result = interlock(
        *("kafka", "start", "--dir", tmp_path / "broker"), **{VARIABLE: str(tmp_path), "NO_PROXY": ""}, **nowhere
    )

    assert result.returncode == 3
    assert re.fullmatch(r"kafka: fetching .*\nkafka: .* could not be downloaded in 3 attempts: .*\n", result.stderr)
    assert [path.name for path in (tmp_path / "kafka").iterdir() if not path.name.endswith(".lock")] == []


@pytest.mark.integration
def test_what_was_acknowledged_survives_kill_stop_and_restart_on_the_same_port(own_kafka: Broker) -> None:
    address, first = own_kafka.bootstrap, own_kafka.pid
    create(own_kafka, "t")
    write(own_kafka, "t", b"1", b"2")
    own_kafka.kill()
    killed = own_kafka.is_running
    own_kafka.restart()
    write(own_kafka, "t", b"3")
    own_kafka.stop()
    own_kafka.stop()
    own_kafka.restart()

    assert not killed
    assert own_kafka.bootstrap == address
    assert own_kafka.pid != first
    assert [value for value, _ in read(own_kafka, "t", 3)] == [b"1", b"2", b"3"]


@pytest.mark.integration
def test_the_broker_stamps_records_itself_and_makes_no_topic_that_nobody_created(kafka: Broker) -> None:
    log_append_time = 1
    create(kafka, "stamped")
    write(kafka, "stamped", b"1")
    with admin(kafka.bootstrap) as client:
        client.describe_topics(["unheard-of"])
        topics = client.list_topics()

    assert read(kafka, "stamped", 1) == [(b"1", log_append_time)]
    assert "unheard-of" not in topics


@pytest.mark.integration
def test_a_broker_dies_with_a_parent_that_is_killed(fetched: Path, tmp_path: Path) -> None:
    with holder(tmp_path) as (parent, pid):
        parent.kill()

        assert ends(pid)


@pytest.mark.integration
def test_a_broker_dies_with_its_leash(fetched: Path, tmp_path: Path) -> None:
    with Broker.start(tmp_path) as broker:
        leash = int(Path(f"/proc/{broker.pid}/status").read_text().split("PPid:\t")[1].split()[0])
        os.kill(leash, signal.SIGKILL)

        assert ends(broker.pid)


@pytest.mark.integration
def test_ctrl_c_stops_the_broker_in_order(fetched: Path, tmp_path: Path) -> None:
    with holder(tmp_path) as (parent, pid):
        os.killpg(parent.pid, signal.SIGINT)

        assert ends(pid)
        assert parent.wait(PATIENCE) != 0
    assert (tmp_path / "data" / ".kafka_cleanshutdown").exists()
    assert not (tmp_path / "pid").exists()


@pytest.mark.integration
def test_the_command_starts_one_that_stays_and_stops_it_and_may_be_repeated(fetched: Path, tmp_path: Path) -> None:
    started = interlock("kafka", "start", "--dir", tmp_path)
    broker = Broker.find(tmp_path)
    assert broker is not None, started.stderr
    try:
        again = interlock("kafka", "start", "--dir", tmp_path)
        elsewhere = interlock("kafka", "start", "--dir", tmp_path, "--port", broker.port + 1)
        stopped = interlock("kafka", "stop", "--dir", tmp_path)
        ended = not broker.is_running
        nothing = interlock("kafka", "stop", "--dir", tmp_path)
    finally:
        broker.kill()

    assert started.stdout == again.stdout == f"bootstrap {broker.bootstrap}\n"
    assert [started.stderr, again.stderr] == [
        f"kafka: {word} in {tmp_path} (pid {broker.pid})\n" for word in ("runs", "already runs")
    ]
    assert (elsewhere.returncode, elsewhere.stderr.count("\n")) == (2, 1)
    assert ended
    assert stopped.stderr == f"kafka: stopped (pid {broker.pid})\n"
    assert (nothing.returncode, nothing.stderr) == (0, f"kafka: none runs in {tmp_path}\n")


@pytest.mark.integration
def test_two_starts_in_one_folder_at_the_same_time_make_one_broker(fetched: Path, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "interlock", "kafka", "start", "--dir", str(tmp_path)]
    running = [subprocess.Popen(command, env=environment(), stdout=subprocess.PIPE, text=True) for _ in range(2)]
    try:
        said = [process.communicate(timeout=PATIENCE)[0] for process in running]
    finally:
        interlock("kafka", "stop", "--dir", tmp_path)

    assert [process.returncode for process in running] == [0, 0]
    assert said[0] == said[1]


@pytest.mark.integration
def test_a_process_that_is_not_the_folders_broker_is_never_signalled(tmp_path: Path) -> None:
    write_settings(tmp_path, 19092, 19093)
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as other:
        (tmp_path / "pid").write_text(f"{other.pid}\n")
        result = interlock("kafka", "stop", "--dir", tmp_path)
        lives = other.poll() is None

    assert lives
    assert (result.returncode, result.stderr) == (0, f"kafka: none runs in {tmp_path}\n")


@pytest.mark.integration
def test_a_broker_that_dies_at_its_start_says_its_last_words(fetched: Path, tmp_path: Path) -> None:
    with Broker.start(tmp_path):
        pass
    identity = tmp_path / "data" / "meta.properties"
    identity.write_text(identity.read_text().replace("node.id=1", "node.id=2"))

    with pytest.raises(UserError, match=r"the broker ended before it answered; .*kafka.log ends with:\n(.*\n)*.*node"):
        Broker.start(tmp_path)
    assert Broker.find(tmp_path) is None


@pytest.mark.integration
def test_a_port_that_is_taken_is_one_line(fetched: Path, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        result = interlock("kafka", "start", "--dir", tmp_path, "--port", port)

    assert result.returncode == 2
    assert result.stderr == f"kafka: port {port} is taken; name another, or none for one that is free\n"


@pytest.mark.integration
def test_a_folder_has_one_broker(own_kafka: Broker) -> None:
    with pytest.raises(UserError, match=rf"already, at {own_kafka.bootstrap} \(pid {own_kafka.pid}\)"):
        Broker.start(own_kafka.folder)
    assert own_kafka.is_running
