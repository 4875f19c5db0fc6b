"""The topics of the live pipeline: made as specified, verified as they are found, never altered."""

import socket
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from kafka.admin import ConfigResource, ConfigResourceType, KafkaAdminClient
from kafka.errors import KafkaConnectionError

from interlock.commands.broker import Broker, free_port
from interlock.errors import Unreachable, UserError
from interlock.protocol import INPUTS, TOPICS
from interlock.streams import topics_admin
from interlock.streams.topics import DAY, Found, Layout, differences, specs
from interlock.streams.topics_admin import create, partitions_of, verify
from tests.processes import ROOT, admin, eventually, interlock

POLICY = ROOT / "examples" / "quickstart" / "policy.yaml"
HOST = "127.0.0.1:9092"


def as_made(layout: Layout) -> dict[str, Found]:
    """Return the topics as a broker has them after they were made."""
    return {name: Found(spec.partitions, dict(spec.settings)) for name, spec in specs(layout, {}).items()}


def said_of(layout: Layout, found: Mapping[str, Found]) -> list[str]:
    """Return the differences between what is wanted and what is found, in the way of `verify`."""
    wanted = specs(layout, {name: one.partitions for name, one in found.items()})
    return [line for spec in wanted.values() for line in differences(spec, found.get(spec.topic), HOST)]


@pytest.fixture
def prefix() -> str:
    """Return a prefix of this test alone."""
    return f"t{uuid.uuid4().hex[:8]}."


def settings_of(broker: Broker, topic: str) -> dict[str, str]:
    with admin(broker.bootstrap) as client:
        found = client.describe_configs([ConfigResource(ConfigResourceType.TOPIC, topic)], config_filter="all")
    return {name: one["value"] for name, one in found["topic"][topic].items()}


def make(broker: Broker, topic: str, partitions: int, **settings: str) -> None:
    configs = {name.replace("_", "."): value for name, value in settings.items()}
    new = {topic: {"num_partitions": partitions, "replication_factor": 1, "configs": configs}}
    with admin(broker.bootstrap) as client:
        client.create_topics(new, wait_for_metadata=True)


def test_every_topic_of_the_protocol_has_a_specification_under_its_prefix() -> None:
    assert list(specs(Layout("acme."), {})) == [f"acme.{name}" for name in TOPICS]


@given(st.integers(1, 64), st.integers(1, 8))
def test_what_was_made_is_what_is_expected_also_without_saying_how_many_partitions(n: int, tallies: int) -> None:
    made = as_made(Layout("x.", n, tallies))

    assert said_of(Layout("x.", n, tallies), made) == []
    assert said_of(Layout("x."), made) == []
    assert [made[f"x.{name}"].partitions for name in (*INPUTS, "checkpoints")] == [n] * 4
    assert made["x.tallies"].partitions == tallies


def test_order_across_all_records_needs_one_partition() -> None:
    made = as_made(Layout())

    for name in ("verdicts", "commands"):
        (line,) = said_of(Layout(), made | {name: Found(2, made[name].settings)})
        assert line.startswith(f"{name}: found 2 partitions, expected 1 partition; how to mend it: ")


def test_only_what_is_read_by_key_is_compacted_and_no_command_is_ever_forgotten() -> None:
    made = {name: found.settings for name, found in as_made(Layout()).items()}

    assert {name for name, one in made.items() if one["cleanup.policy"] == "compact"} == {"control", "checkpoints"}
    assert made["commands"]["retention.ms"] == made["commands"]["retention.bytes"] == "-1"
    assert {made[name]["retention.ms"] for name in (*INPUTS, "tallies")} == {str(7 * DAY)}


@pytest.mark.parametrize("name", TOPICS)
def test_a_topic_whose_times_producers_set_is_reported_with_the_command_that_mends_it(name: str) -> None:
    made = as_made(Layout())
    wrong = Found(made[name].partitions, {**made[name].settings, "message.timestamp.type": "CreateTime"})

    (line,) = said_of(Layout(), made | {name: wrong})

    assert line == (
        f"{name}: found message.timestamp.type=CreateTime, expected LogAppendTime; how to mend it: kafka-configs.sh"
        f" --bootstrap-server {HOST} --alter --entity-type topics --entity-name {name}"
        " --add-config message.timestamp.type=LogAppendTime"
    )


@given(st.dictionaries(st.sampled_from([*INPUTS, "checkpoints"]), st.integers(1, 9), min_size=4))
def test_topics_of_a_shard_that_differ_in_partitions_are_never_good(counts: dict[str, int]) -> None:
    made = as_made(Layout())
    found = made | {name: Found(count, made[name].settings) for name, count in counts.items()}

    inputs, states = {counts[name] for name in INPUTS}, counts["checkpoints"]
    assert bool(said_of(Layout(), found)) == (
        len(inputs) > 1 or states < max(inputs)
    )  # which grow before the inputs do


def test_more_partitions_are_asked_for_in_whole_multiples() -> None:
    four = as_made(Layout(partitions=4))

    assert all(f"topics POLICY --bootstrap {HOST} --grow 8" in line for line in said_of(Layout(partitions=8), four))
    assert all("--prefix x. --grow 8" in line for line in said_of(Layout("x.", 8), as_made(Layout("x.", 4))))
    assert ["do not grow: ask for 1" in line for line in said_of(Layout("", 4, 2), four)] == [True]
    assert all("ask for 4 or 8" in line for line in said_of(Layout(partitions=6), four))
    assert all("Kafka never removes partitions" in line for line in said_of(Layout(partitions=2), four))


@pytest.mark.parametrize("address", ["", "host", "host:", ":9092", "host:0", "host:65536", "host:x", "a:1,", "a:²"])
def test_a_malformed_address_is_one_line(address: str) -> None:
    with pytest.raises(UserError, match=r"bootstrap: found .*; expected host:port, several by commas"):
        verify(address)


@pytest.mark.parametrize("prefix", ["a b", "ä", "x" * 201, "a/"])
def test_a_prefix_that_no_topic_may_have_is_one_line(prefix: str) -> None:
    with pytest.raises(UserError, match=r"prefix: found .*; expected up to 200 of A-Z a-z 0-9 \. _ -"):
        create(HOST, Layout(prefix))


@pytest.mark.integration
def test_no_broker_is_one_line_and_exit_code_3() -> None:
    address = f"127.0.0.1:{free_port()}"
    result = interlock("topics", POLICY, "--bootstrap", address)

    assert result.returncode == 3
    assert result.stderr == f"no Kafka answers at {address} in 3 attempts; `interlock kafka start` starts one\n"


@pytest.mark.integration
def test_a_server_that_is_no_kafka_is_the_same() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        address = f"127.0.0.1:{silent.getsockname()[1]}"
        result = interlock("topics", POLICY, "--bootstrap", address)

    assert result.returncode == 3
    assert result.stderr.startswith(f"no Kafka answers at {address}: ")
    assert result.stderr.count("\n") == 1


@pytest.mark.integration
def test_a_client_that_nobody_answers_leaves_no_thread_behind(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(topics_admin, "FIRST_ANSWER", 300)
    before = threading.active_count()
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(Unreachable):
        verify(f"127.0.0.1:{silent.getsockname()[1]}")

    assert eventually(lambda: threading.active_count() == before)


@pytest.mark.integration
def test_missing_topics_are_created_as_specified_and_the_second_time_changes_nothing(
    kafka: Broker, prefix: str
) -> None:
    arguments = ("topics", POLICY, "--bootstrap", kafka.bootstrap, "--prefix", prefix)
    first = interlock(*arguments, "--partitions", 3, "--tally-partitions", 2)
    second = interlock(*arguments)
    one_each = dict.fromkeys((f"{prefix}{name}" for name in TOPICS), 1)
    shards = dict.fromkeys((f"{prefix}{name}" for name in (*INPUTS, "checkpoints")), 3)

    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert first.stdout.splitlines()[:-1] == [f"{prefix}{name}: created" for name in TOPICS]
    assert second.stdout.splitlines() == first.stdout.splitlines()[-1:]
    assert partitions_of(kafka.bootstrap, prefix) == {**one_each, **shards, f"{prefix}tallies": 2}
    for topic, spec in specs(Layout(prefix), shards).items():
        assert spec.settings.items() <= settings_of(kafka, topic).items()


@pytest.mark.integration
def test_check_creates_nothing(kafka: Broker, prefix: str) -> None:
    result = interlock("topics", POLICY, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--check")

    assert (result.returncode, result.stdout) == (1, "")
    assert [line.split(":")[0] for line in result.stderr.splitlines()] == [f"{prefix}{name}" for name in TOPICS]
    assert partitions_of(kafka.bootstrap, prefix) == {}


@pytest.mark.integration
def test_what_is_missing_joins_what_is_there_with_as_many_partitions(kafka: Broker, prefix: str) -> None:
    make(kafka, f"{prefix}outcomes", 5, message_timestamp_type="LogAppendTime")
    outcome = create(kafka.bootstrap, Layout(prefix))
    counts = partitions_of(kafka.bootstrap, prefix)

    assert f"{prefix}outcomes" not in outcome.created
    assert outcome.differences == ()
    assert {counts[f"{prefix}{name}"] for name in (*INPUTS, "checkpoints")} == {5}


@pytest.mark.integration
def test_a_wrong_topic_is_reported_line_by_line_and_left_as_it_was(kafka: Broker, prefix: str) -> None:
    make(kafka, f"{prefix}predictions", 4, message_timestamp_type="LogAppendTime")
    make(kafka, f"{prefix}outcomes", 2, message_timestamp_type="CreateTime")
    make(kafka, f"{prefix}control", 1, cleanup_policy="delete")
    before = {name: settings_of(kafka, f"{prefix}{name}") for name in ("predictions", "outcomes", "control")}
    result = interlock("topics", POLICY, "--bootstrap", kafka.bootstrap, "--prefix", prefix)
    after = {name: settings_of(kafka, f"{prefix}{name}") for name in before}

    assert result.returncode == 1
    assert [line.split("; how to mend it: ")[0] for line in result.stderr.splitlines()] == [
        f"{prefix}outcomes: found 2 partitions, expected 4 partitions",
        f"{prefix}outcomes: found message.timestamp.type=CreateTime, expected LogAppendTime",
        f"{prefix}control: found cleanup.policy=delete, expected compact",
    ]
    assert list(verify(kafka.bootstrap, Layout(prefix)).differences) == result.stderr.splitlines()
    assert after == before
    assert partitions_of(kafka.bootstrap, prefix)[f"{prefix}outcomes"] == 2


@pytest.mark.integration
def test_more_replicas_than_brokers_is_one_line_in_the_brokers_words(kafka: Broker, prefix: str) -> None:
    result = interlock("topics", POLICY, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--replication", 2)

    assert (result.returncode, result.stderr.count("\n")) == (2, 1)
    assert result.stderr.startswith(f"{prefix}predictions: cannot be created: Unable to replicate the partition 2")


@pytest.mark.integration
def test_an_invalid_policy_is_said_before_any_broker_is_asked(tmp_path: Path) -> None:
    (tmp_path / "p.yaml").write_text("slos: []\n")
    result = interlock("topics", tmp_path / "p.yaml", "--bootstrap", "127.0.0.1:9")

    assert result.returncode == 1
    assert "p.yaml:1" in result.stderr


@pytest.mark.integration
def test_a_broker_that_has_just_died_is_not_the_last_that_is_asked(kafka: Broker) -> None:
    """The cluster names it for seconds, and Kafka's client goes to whichever it likes."""
    tried: list[KafkaAdminClient] = []

    def work(admin: KafkaAdminClient) -> int:
        tried.append(admin)
        if len(tried) == 1:
            raise KafkaConnectionError("111 ECONNREFUSED")
        return len(admin.describe_topics())

    assert topics_admin._done(work, kafka.bootstrap, "") >= 0
    assert len(tried) == 2
