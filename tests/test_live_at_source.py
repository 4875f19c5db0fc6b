"""Outcomes that carry their predictions, on a real broker: a worker that was killed says what a replay says."""

import pytest

from interlock.commands.broker import Broker
from tests.living import Running, send, topics, until
from tests.story import POLICY, QUICK, assert_equal_to_replay, counted, day, told, until_judged

pytestmark = pytest.mark.integration


def test_a_killed_worker_joins_at_the_source_and_says_what_a_replay_says(
    kafka: Broker, tmp_path_factory: pytest.TempPathFactory
) -> None:
    events = day(1000)
    own = {one["event_id"]: {name: x for name, x in one.items() if name != "event_id"} for one in events["predictions"]}
    events["outcomes"] = [one | {"prediction": own[one["event_id"]]} for one in events["outcomes"]]
    policy = POLICY.replace("labels: {", "labels: {joined_at_source: true, ")
    story, prefix = told(tmp_path_factory.mktemp("source"), events, policy), "source."
    topics(kafka.bootstrap, prefix, 2)
    send(kafka.bootstrap, prefix, story.part(0, 0.5), 2)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as first:
        until(lambda: counted([first], "joined") > len(own) // 4, "some labels to be joined")
        first.end()
    send(kafka.bootstrap, prefix, story.part(0.5, 1), 2)
    with Running(story.policy, kafka.bootstrap, prefix, QUICK) as second:
        end = until_judged([second], story.end(2))

        assert counted([second], "joined") == len(own)
        assert counted([second], "duplicate") == counted([second], "orphan") == 0

    assert_equal_to_replay(story, kafka.bootstrap, prefix, end, controls=1)
    assert b"decision_ece_2h" in b"".join(story.said("verdicts"))
