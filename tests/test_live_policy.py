"""A policy that follows in mid-stream, on a real broker: verdicts and controls are those of a replay that is told of it."""

from pathlib import Path

import msgspec
import pytest

from interlock.commands.broker import Broker
from interlock.policies.changes import when
from interlock.policies.load import load_policy
from tests.events import HOUR, history
from tests.living import Running, records, send, topics, until
from tests.replaying import command, lines
from tests.test_laws import POLICY
from tests.test_laws_changes import AT, TIGHTER, WITHOUT
from tests.test_live_laws import Slice, assert_equal_to_replay, judged, owned

pytestmark = pytest.mark.integration

OPTIONS = (
    "--accept-unsigned-commands",
    "--session-timeout",
    "2",
    "--checkpoint-every",
    "0.3",
    "--idle-after",
    "600",
    "--stall-after",
    "0",
)
BACK = AT + 6 * HOUR


@pytest.fixture(scope="module")
def changing(tmp_path_factory: pytest.TempPathFactory) -> Slice:
    folder = tmp_path_factory.mktemp("changing")
    past = history(seed=7, hours=24, per_hour=120)
    events = {"predictions": past.predictions, "outcomes": past.outcomes}
    for name, text in (("first", POLICY), ("without", WITHOUT), ("tighter", TIGHTER)):
        (folder / f"{name}.yaml").write_text(text)
    files = [lines(folder / f"{topic}.jsonl", some) for topic, some in events.items()]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("INTERLOCK_AUDIT_SECRET", "interlock-demo")
        code, _, err = command(
            "replay", folder / "first.yaml", "--predictions", files[0], "--outcomes", files[1], "--out", folder / "out",
            "--policy-change", f"{folder}/without.yaml@{AT}", "--policy-change", f"{folder}/tighter.yaml@{when(BACK)}",
            "--no-clickhouse",
        )  # fmt: skip
    assert code == 1, err
    return Slice(folder / "first.yaml", events, folder / "out")


def between(one: Slice, start: int, end: int) -> dict[str, list[bytes]]:
    """Return the events of a span of time."""
    return {
        topic: [line for line in some if start <= msgspec.json.decode(line)["ts"] < end]
        for topic, some in one.events.items()
    }


def apply(kafka: Broker, prefix: str, policy: Path, since: int) -> tuple[int, str, str]:
    return command(
        "policy", "apply", policy, "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--from", when(since)
    )  # fmt: skip


def known(worker: Running) -> int:
    return len(worker.status().get("policies", []))


@pytest.mark.parametrize("partitions", [1, 3])
def test_policies_that_follow_are_taken_up_without_a_restart_and_say_what_a_replay_says(
    changing: Slice, kafka: Broker, partitions: int
) -> None:
    """Killed in between; what starts next may have any of the policies as its file."""
    prefix, folder = f"policy{partitions}.", changing.policy.parent
    topics(kafka.bootstrap, prefix, partitions)
    horizon = changing.horizon(partitions)
    with Running(changing.policy, kafka.bootstrap, prefix, OPTIONS) as first:
        send(kafka.bootstrap, prefix, between(changing, 0, AT - HOUR), partitions)
        until(lambda: owned([first]), "the worker to own something")
        code, out, err = apply(kafka, prefix, folder / "without.yaml", AT)
        assert code == 0, err
        assert when(AT) in out
        until(lambda: known(first) == 2, "the policy to be taken up")
        send(kafka.bootstrap, prefix, between(changing, AT - HOUR, AT + HOUR), partitions)
        until(lambda: judged([first]) >= AT - HOUR, "the judge to come near")
        first.end()
    with Running(folder / "without.yaml", kafka.bootstrap, prefix, OPTIONS) as second:
        code, _, err = apply(kafka, prefix, folder / "tighter.yaml", BACK)
        assert code == 0, err
        until(lambda: known(second) == 3, "the policy to be taken up")
        send(kafka.bootstrap, prefix, between(changing, AT + HOUR, 1 << 62), partitions)
        until(lambda: judged([second]) >= BACK + HOUR, "the judge to come past both")
        second.end()
    with Running(changing.policy, kafka.bootstrap, prefix, OPTIONS) as third:
        until(lambda: judged([third]) >= horizon // 600_000 * 600_000 - 600_000, "the judge to come to the end")
        end = judged([third])
        exceptions = third.status()["exceptions"]

    assert exceptions == []
    assert_equal_to_replay(changing, kafka.bootstrap, prefix, end)


def test_a_worker_takes_up_policy_after_policy_without_a_restart(changing: Slice, kafka: Broker) -> None:
    prefix, folder = "after.", changing.policy.parent
    topics(kafka.bootstrap, prefix)
    with Running(changing.policy, kafka.bootstrap, prefix, OPTIONS) as worker:
        until(lambda: known(worker) == 1, "the worker to be there")
        for count, (name, since) in enumerate((("without", AT), ("tighter", BACK)), 2):
            code, _, err = apply(kafka, prefix, folder / f"{name}.yaml", since)
            assert code == 0, err
            until(lambda count=count: known(worker) == count, "the policy to be taken up")  # type: ignore[misc]


def test_a_worker_of_a_policy_that_never_followed_says_so_in_one_line(changing: Slice, kafka: Broker) -> None:
    prefix, folder = "third.", changing.policy.parent
    topics(kafka.bootstrap, prefix)
    with Running(changing.policy, kafka.bootstrap, prefix, OPTIONS) as worker:
        until(lambda: known(worker) == 1, "the worker to be there")
        code, _, err = command(
            "worker", folder / "tighter.yaml", "--bootstrap", kafka.bootstrap, "--prefix", prefix, "--listen", "127.0.0.1:0"
        )  # fmt: skip

    assert code == 2
    assert "group interlock-claims runs another policy" in err.splitlines()[-1]


def test_what_cannot_follow_is_refused_with_a_line_for_each_reason(changing: Slice, kafka: Broker) -> None:
    prefix, folder = "refused.", changing.policy.parent
    topics(kafka.bootstrap, prefix)
    assert "has no policy yet" in apply(kafka, prefix, folder / "tighter.yaml", AT)[2]
    with Running(changing.policy, kafka.bootstrap, prefix, OPTIONS) as worker:
        until(lambda: known(worker) == 1, "the worker to be there")
        bad = folder / "bad.yaml"
        for text, told in (
            (POLICY.replace("target: ", "tragte: "), "bad.yaml:"),
            (POLICY.replace("lateness: 5m", "lateness: 1m"), "lateness: found 1m, the group has 5m"),
            (POLICY, "runs it already"),
        ):
            bad.write_text(text)
            code, _, err = apply(kafka, prefix, bad, AT)
            assert code == 1
            assert told in err
        code, _, err = apply(kafka, prefix, folder / "without.yaml", AT + 60_000)
        assert (code, "panes of 10m must be whole" in err) == (1, True)
        assert worker.status()["policies"][0]["policy"] == load_policy(POLICY.encode(), "p").digest


def test_a_second_group_of_the_same_policy_on_the_same_topics_is_refused_in_one_line(
    kafka: Broker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("INTERLOCK_AUDIT_SECRET", "interlock-demo")
    policy, other = tmp_path / "policy.yaml", tmp_path / "other.yaml"
    policy.write_text(POLICY)
    other.write_text(TIGHTER)
    topics(kafka.bootstrap, "groups.")
    started = ("worker", policy, "--bootstrap", kafka.bootstrap, "--prefix", "groups.", "--group")
    for one, group in ((policy, "groups-one"), (other, "groups-other")):
        with Running(one, kafka.bootstrap, "groups.", (*OPTIONS, "--group", group)) as worker:
            until(lambda worker=worker: owned([worker]), f"the shards of {group}")  # type: ignore[misc]
    code, _, err = command(*started, "groups-two")

    assert code == 2
    assert "group groups-two: groups-one counts by the same policy and reference" in err
    assert err.count("\n") == 1
    assert b"groups-two" not in b"".join(record.value for record in records(kafka.bootstrap, "groups.commands"))
