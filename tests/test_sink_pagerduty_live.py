"""Pages from a real broker to PagerDuty's interface: once, in order, whatever is away or killed."""

import json
import re
import signal
import socket
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest

from interlock.commands.broker import Broker
from interlock.commands.receiver import Receiver
from interlock.records import Page
from tests.paging import page, told
from tests.sinking import ROUTING_KEY, Sink, Topics, running, wait_until

pytestmark = pytest.mark.integration

NUMBERS = count()


@pytest.fixture
def topics(kafka: Broker) -> Iterator[Topics]:
    with Topics(kafka.bootstrap, f"pd{next(NUMBERS)}.") as made:
        yield made


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path / "receiver") as opened:
        yield opened


def now() -> int:
    return int(time.time() * 1000)  # noqa: TID251 - people are called by the wall clock


def publish(topics: Topics, *pages: Page | bytes) -> None:
    """Publish pages as judges do."""
    topics.send("pages", [one if isinstance(one, bytes) else one.model_dump_json().encode() for one in pages])


def arguments(topics: Topics, receiver: Receiver) -> tuple[object, ...]:
    return (
        "pagerduty", "--bootstrap", topics.bootstrap, "--prefix", topics.prefix,
        "--base-url", receiver.url, "--ca", receiver.ca,
    )  # fmt: skip


def commits(topics: Topics, offset: int) -> None:
    """Wait until the sink has committed an offset."""
    wait_until(lambda: topics.committed("interlock-sink-pagerduty", "pages") == offset, f"offset {offset} committed")


def test_a_page_arrives_once_and_in_order_through_429_500_and_a_hang(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.script([429, 429, 500, "hang", 202])
    publish(topics, page(1), page(2, incident="b"), page(3, "resolve"))
    with running(tmp_path / "log", *arguments(topics, receiver)):
        arrived = receiver.wait(lambda r: len(r.accepted) == 3, 90)
        commits(topics, 3)

    assert arrived, receiver.received
    assert told(receiver.accepted) == [("trigger", "page 1"), ("trigger", "page 2"), ("resolve", "interlock/v1/a")]
    assert [one.answer for one in receiver.received] == [429, 429, 500, "hang", 202, 202, 202]
    assert {one.body["dedup_key"] for one in receiver.received[:5]} == {"interlock/v1/a"}


def test_a_page_that_judges_publish_again_is_not_sent_again_by_this_process_or_its_successor(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    """A trigger sent again after its resolve would open a false incident."""
    with running(tmp_path / "log", *arguments(topics, receiver)) as first:
        publish(topics, page(1), page(2, "resolve"), page(1), page(3, incident="b"))
        assert receiver.wait(lambda r: len(r.accepted) == 3)
        commits(topics, 4)
    with running(tmp_path / "log", *arguments(topics, receiver)):
        publish(topics, page(1), page(2, "resolve"), page(3, incident="b"), page(4, "resolve", "b"))
        assert receiver.wait(lambda r: len(r.accepted) == 4)
        commits(topics, 8)

    assert told(receiver.accepted) == [
        ("trigger", "page 1"), ("resolve", "interlock/v1/a"), ("trigger", "page 3"), ("resolve", "interlock/v1/b"),
    ]  # fmt: skip
    assert "3 sent, 1 repeated" in first.said
    assert "1 sent, 3 repeated" in first.said


def test_a_sink_killed_again_and_again_loses_no_page_and_opens_none_anew(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    """Killed between an answer and its commit, it sends that page again, which PagerDuty knows; never an earlier one."""
    pages = [page(2 * i + j, ("trigger", "resolve")[j], f"i{i}") for i in range(6) for j in range(2)]
    publish(topics, *pages)
    for killed_after in (1, 3, 4):
        with Sink(tmp_path / "log", *arguments(topics, receiver)) as sink:
            before = len(receiver.accepted)
            assert receiver.wait(lambda r, n=before + killed_after: len(r.accepted) >= n), sink.said  # type: ignore[misc]
            sink.kill()
    with running(tmp_path / "log", *arguments(topics, receiver)):
        commits(topics, len(pages))

    sent = [(body["event_action"], body["dedup_key"]) for body in receiver.accepted]
    once = [one for i, one in enumerate(sent) if one != sent[i - 1]]
    assert once == [(one.action, one.incident) for one in pages]
    assert len(sent) <= len(once) + 3


def test_a_refused_page_is_logged_and_the_next_goes_on(topics: Topics, receiver: Receiver, tmp_path: Path) -> None:
    receiver.script([400, 401])
    publish(topics, page(1), page(2, incident="b"), page(3, incident="c"))
    with running(tmp_path / "log", *arguments(topics, receiver)) as sink:
        commits(topics, 3)

    assert told(receiver.accepted) == [("trigger", "page 3")]
    lost = [line for line in sink.said.splitlines() if " is lost: " in line]
    assert len(lost) == 2
    assert "page p1 of interlock/v1/a (page 1) is lost: PagerDuty refused it with 400" in lost[0]
    assert "1 sent, 0 repeated, 2 refused, 0 old, 0 unreadable" in sink.said
    assert ROUTING_KEY not in sink.said


def test_junk_on_the_topic_is_skipped_counted_and_logged(topics: Topics, receiver: Receiver, tmp_path: Path) -> None:
    wrong = page(9).model_dump_json().replace('"trigger"', '"shout"').encode()
    topics.send("pages", [None])
    publish(topics, b"\xff\x00", b"{}", wrong, page(1))
    with running(tmp_path / "log", *arguments(topics, receiver)) as sink:
        commits(topics, 5)

    assert told(receiver.accepted) == [("trigger", "page 1")]
    assert "1 sent, 0 repeated, 0 refused, 0 old, 4 unreadable" in sink.said
    assert f"skipped {topics.prefix}pages-0 at offset 0: no page: Invalid JSON" in sink.said
    assert "at offset 3: no page: action: Input should be 'trigger', 'update' or 'resolve' (4 so far)" in sink.said


def test_pagerduty_away_for_a_while_is_waited_for_and_said_once_in_a_while(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.close()
    publish(topics, page(1), page(2, "resolve"))
    with running(tmp_path / "log", *arguments(topics, receiver)) as sink:
        wait_until(lambda: "attempt 4" in sink.said, "four attempts")
        receiver.open()
        commits(topics, 2)

    assert told(receiver.accepted) == [("trigger", "page 1"), ("resolve", "interlock/v1/a")]
    away = [line.split(" ", 2)[2] for line in sink.said.splitlines() if "does not answer" in line]
    assert away[:3] == [
        f"PagerDuty does not answer: ConnectError (attempt {n}; again in {wait:g} s)"
        for n, wait in ((1, 0.5), (2, 1), (4, 4))
    ]
    assert "back after" in sink.said


def test_a_sink_that_waits_for_pagerduty_stops_when_asked_and_delivers_when_started_again(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    receiver.script([503] * 5)  # the fifth, if the signal comes after it has begun to wait: it tries once more
    publish(topics, page(1))
    with Sink(tmp_path / "log", *arguments(topics, receiver)) as sink:
        assert receiver.wait(lambda r: len(r.received) == 4)
        code = sink.stop(signal.SIGINT)
    committed = topics.committed("interlock-sink-pagerduty", "pages")
    with running(tmp_path / "log", *arguments(topics, receiver)):
        commits(topics, 1)

    assert (code, committed) == (0, 0)
    assert told(receiver.accepted) == [("trigger", "page 1")]


def test_a_broker_that_goes_away_is_waited_for(own_kafka: Broker, receiver: Receiver, tmp_path: Path) -> None:
    with Topics(own_kafka.bootstrap, "") as before:
        publish(before, page(1))
    with running(tmp_path / "log", *arguments(before, receiver)) as sink:
        assert receiver.wait(lambda r: len(r.accepted) == 1), sink.said
        own_kafka.kill()
        wait_until(lambda: "no Kafka broker answers" in sink.said, "the broker missed")
        own_kafka.restart()
        with Topics(own_kafka.bootstrap, "") as after:
            publish(after, page(2, incident="b"))
            assert receiver.wait(lambda r: len(r.accepted) >= 2, 90), sink.said
            commits(after, 2)

    assert told(receiver.accepted) == [("trigger", "page 1"), ("trigger", "page 2")]


def asked(sink: Sink, path: str) -> tuple[int, str]:
    """Return what a page about a sink says, once it is there."""
    wait_until(lambda: "http://" in sink.said, "an address")
    address = re.findall(r"http://(\S+)/health", sink.said)[-1]
    try:
        with urllib.request.urlopen(f"http://{address}/{path}", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode()


def test_its_pages_say_how_far_it_is_and_why_it_waits(topics: Topics, receiver: Receiver, tmp_path: Path) -> None:
    receiver.script([202, *[503] * 3])
    publish(topics, page(1), page(2, incident="b"), b"{}")
    with running(tmp_path / "log", *arguments(topics, receiver), "--listen", "127.0.0.1:0") as sink:
        wait_until(lambda: asked(sink, "health")[0] == 503, "it to say that it waits")
        failing = json.loads(asked(sink, "health")[1])
        commits(topics, 3)
        wait_until(lambda: asked(sink, "health")[0] == 200, "it to say that it is well")
        well = json.loads(asked(sink, "health")[1])
        metrics = asked(sink, "metrics")[1]
        nowhere = asked(sink, "")[0]

    assert failing["failing"].startswith("PagerDuty")
    assert failing["lag"][f"{topics.prefix}pages/0"] > 0
    assert well["lag"] == {f"{topics.prefix}pages/0": 0}
    assert well["counted"] == {"sent": 2, "repeated": 0, "refused": 0, "old": 0, "unreadable": 1}
    assert well["failures"] == {"pagerduty": 3, "kafka": 0}
    assert well["last_sent"] > 0
    assert 'interlock_sink_failures_total{service="pagerduty"} 3.0' in metrics
    assert f'interlock_sink_lag{{partition="0",topic="{topics.prefix}pages"}} 0.0' in metrics
    assert nowhere == 404


def test_a_new_group_on_an_old_topic_calls_nobody_for_incidents_of_long_ago(
    topics: Topics, receiver: Receiver, tmp_path: Path
) -> None:
    day = 86_400_000
    topics.date_by_producer("pages")
    old = (page(1), page(2, "update"), page(3, "resolve"), page(4, incident="b"))
    topics.send("pages", [one.model_dump_json().encode() for one in old], ts=now() - 2 * day)
    publish(topics, page(5, "update", "b"), page(6, "resolve", "c"), page(7, incident="d"))
    with running(tmp_path / "log", *arguments(topics, receiver)) as sink:
        commits(topics, 7)

    assert told(receiver.accepted) == [("resolve", "interlock/v1/c"), ("trigger", "page 7")]
    assert "2 sent, 0 repeated, 0 refused, 5 old, 0 unreadable" in sink.said
    assert (
        "trigger of interlock/v1/a was published more than 86400 s ago and is passed over (1 so far): page 1"
        in sink.said
    )


def test_no_broker_at_the_start_is_one_line_and_exit_code_3(receiver: Receiver, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        given = ("pagerduty", "--bootstrap", address, "--base-url", receiver.url, "--ca", receiver.ca)
        with Sink(tmp_path / "log", *given) as sink:
            code = sink.ended()

    assert code == 3
    assert sink.said == f"no Kafka broker answers at {address} (tried for 15 s)\n"


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--bootstrap", "here"), "flag --bootstrap: bootstrap: found 'here'; expected host:port, several by commas"),
        (("--bootstrap", "h:1", "--key-file", "missing"), "missing: No such file or directory"),
        (("--bootstrap", "h:1", "--base-url", "http://h"), "found http://h; expected a URL that begins with https://"),
    ],
)
def test_a_wrong_use_is_one_line_and_exit_code_2(tmp_path: Path, more: tuple[str, ...], said: str) -> None:
    with Sink(tmp_path / "log", "pagerduty", *more) as sink:
        code = sink.ended()

    assert (code, sink.said) == (2, said + "\n")


def test_a_sink_without_a_routing_key_says_where_it_comes_from(tmp_path: Path) -> None:
    with Sink(tmp_path / "log", "pagerduty", "--bootstrap", "h:1", INTERLOCK_PAGERDUTY_ROUTING_KEY="") as sink:
        code = sink.ended()

    assert code == 2
    assert sink.said == "no routing key: set INTERLOCK_PAGERDUTY_ROUTING_KEY, or name a file with --key-file\n"
