"""A worker that stands still ends itself, and is whole again when it is started anew; one that has a reason goes on."""

import re
import signal
import time

import pytest

from interlock.commands.broker import Broker
from tests.living import Running, send, topics, until
from tests.story import QUICK, Story, assert_equal_to_replay, counted, day, judged, lag, told, until_judged

pytestmark = pytest.mark.integration

SOON = (*QUICK, "--stall-after", "20")
LONGER = 25.0
"""Seconds; a machine that is busy with other things must not look like a worker that stands still."""


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    return told(tmp_path_factory.mktemp("stalls") / "story", day())


def stalled(worker: Running) -> tuple[int, str]:
    """Return the exit code and the last line of a worker that ends by itself."""
    assert worker.process is not None
    code = worker.process.wait(60)
    return code, worker.said().splitlines()[-1]


def test_a_worker_whose_fetcher_died_in_silence_ends_with_a_line_and_the_next_one_finishes(
    story: Story, kafka: Broker
) -> None:
    prefix = "stalls."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.3))
    with Running(story.policy, kafka.bootstrap, prefix, SOON, program=("tests.stalling", "fetcher")) as worker:
        until(lambda: counted([worker], "predictions"), "something to be read")
        send(kafka.bootstrap, prefix, story.part(0.3, 1))
        code, line = stalled(worker)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as worker:
        end = until_judged([worker], story.end())
        code_after = worker.end(signal.SIGTERM)

    assert code == 75
    assert re.fullmatch(
        r"stalled: (predictions|outcomes|tallies), partition 0, stands at \d+ for \d+ s, its end is \d+;"
        r" this worker is to be started anew \(exit code 75\)",
        line,
    )
    assert code_after == 0
    assert_equal_to_replay(story, kafka.bootstrap, prefix, end)


def test_a_worker_whose_event_loop_hangs_ends_with_a_line(story: Story, kafka: Broker) -> None:
    prefix = "hangs."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.3))
    with Running(story.policy, kafka.bootstrap, prefix, SOON, program=("tests.stalling", "loop")) as worker:
        code, line = stalled(worker)

    assert code == 75
    assert re.match(r"stalled: its event loop has not come round for \d+ s; ", line)


def test_a_broker_that_is_away_for_longer_is_a_reason(story: Story, own_kafka: Broker) -> None:
    topics(own_kafka.bootstrap, "")
    send(own_kafka.bootstrap, "", story.part(0, 0.5))
    with Running(story.policy, own_kafka.bootstrap, "", SOON) as worker:
        until(lambda: judged([worker]), "something to be judged")
        own_kafka.kill()
        began = time.monotonic()
        until(lambda: time.monotonic() - began > LONGER, "an outage")
        own_kafka.restart()
        send(own_kafka.bootstrap, "", story.part(0.5, 1))
        until_judged([worker], story.end())
        code = worker.end(signal.SIGTERM)

    assert code == 0


def test_a_process_that_was_frozen_for_longer_goes_on(story: Story, kafka: Broker) -> None:
    prefix = "thaws."
    topics(kafka.bootstrap, prefix)
    send(kafka.bootstrap, prefix, story.part(0, 0.5))
    with Running(story.policy, kafka.bootstrap, prefix, SOON) as worker:
        until(lambda: lag(worker) == 0, "all to be read")
        assert worker.process is not None
        worker.process.send_signal(signal.SIGSTOP)
        send(kafka.bootstrap, prefix, story.part(0.5, 1))
        began = time.monotonic()
        until(lambda: time.monotonic() - began > LONGER, "a while")
        worker.process.send_signal(signal.SIGCONT)
        until_judged([worker], story.end())
        code = worker.end(signal.SIGTERM)

    assert code == 0
