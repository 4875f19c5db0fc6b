"""PagerDuty: what is sent, what is tried again and what never, against a receiver over TLS on loopback."""

import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from interlock.commands.receiver import Receiver
from interlock.errors import Unreachable, UserError
from interlock.sinks import pagerduty
from interlock.sinks.pagerduty import PagerDutySink, PageRefusedError, event
from tests.paging import page, told

KEY = "R0123456789012345678901234567890"


@pytest.fixture
def receiver(tmp_path: Path) -> Iterator[Receiver]:
    with Receiver(tmp_path) as opened:
        yield opened


@pytest.fixture
def sink(receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> Iterator[PagerDutySink]:
    monkeypatch.setattr(pagerduty, "FIRST_WAIT", 0.01)
    monkeypatch.setattr(pagerduty, "TIMEOUT", 1)
    with PagerDutySink.connect(KEY, receiver.url, receiver.ca) as opened:
        yield opened


def test_a_trigger_says_what_broke_under_the_incidents_key(receiver: Receiver, sink: PagerDutySink) -> None:
    sink.send(page(1))

    assert receiver.accepted == [
        {
            "event_action": "trigger",
            "dedup_key": "interlock/v1/a",
            "routing_key": KEY,
            "client": "Interlock",
            "links": [{"href": "https://runbooks.example/claims", "text": "Runbook"}],
            "payload": {
                "summary": "page 1",
                "source": "claims",
                "severity": "error",
                "timestamp": "2026-09-21T14:13:20.001000+00:00",
                "component": "claims",
                "group": "tenant=acme",
                "class": "ood_rate_24h",
                "custom_details": {
                    "where": "tenant=acme",
                    "what_broke": "it broke",
                    "mode": "human_review",
                    "control_id": "a",
                    "epoch": 1,
                    "verdict_id": "v",
                    "page_id": "p1",
                },
            },
        }
    ]


def test_an_update_joins_its_incident_and_a_resolve_closes_it(receiver: Receiver, sink: PagerDutySink) -> None:
    for one in (page(1), page(2, "update"), page(3, "resolve")):
        sink.send(one)

    assert told(receiver.accepted) == [("trigger", "page 1"), ("trigger", "page 2"), ("resolve", "interlock/v1/a")]
    assert {body["dedup_key"] for body in receiver.accepted} == {"interlock/v1/a"}


def test_what_passes_is_tried_again_and_taken_once(receiver: Receiver, sink: PagerDutySink) -> None:
    receiver.script([429, "drop"])
    sink.send(page(1))

    assert [one.answer for one in receiver.received] == [429, "drop", 202]
    assert told(receiver.accepted) == [("trigger", "page 1")]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (429, "answers 429"),
        (500, "answers 500"),
        (503, "answers 503"),
        (302, "answers 302"),
        ("drop", "does not answer"),
    ],
)
def test_what_does_not_pass_is_given_up_after_three_attempts(
    receiver: Receiver, sink: PagerDutySink, answer: int, said: str
) -> None:
    receiver.script([answer] * 9)
    with pytest.raises(Unreachable, match=f"PagerDuty {said}"):
        sink.send(page(1))

    assert len(receiver.received) == 3


def test_one_attempt_is_one_request(receiver: Receiver) -> None:
    receiver.script([429, 429])
    with PagerDutySink.connect(KEY, receiver.url, receiver.ca, attempts=1) as sink, pytest.raises(Unreachable):
        sink.send(page(1))

    assert len(receiver.received) == 1


def test_a_server_that_hangs_is_given_up_within_the_timeout(receiver: Receiver, sink: PagerDutySink) -> None:
    receiver.script(["hang"] * 3)
    start = time.monotonic()
    with pytest.raises(Unreachable, match="PagerDuty does not answer: ReadTimeout"):
        sink.send(page(1))

    assert 3 <= time.monotonic() - start < 10
    assert receiver.accepted == []


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413])
def test_what_is_refused_is_said_at_once_without_the_key(receiver: Receiver, sink: PagerDutySink, status: int) -> None:
    receiver.script([status])
    with pytest.raises(PageRefusedError, match=f"PagerDuty refused it with {status}") as caught:
        sink.send(page(1))

    assert len(receiver.received) == 1
    assert KEY not in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_key_is_not_shown_even_if_the_answer_repeats_it(sink: PagerDutySink) -> None:
    class Answer:
        status_code, text = 400, f"invalid\nrouting_key {KEY}"

    error = Exception("refused")
    error.response = Answer()  # type: ignore[attr-defined]

    assert str(sink._told(error)) == "PagerDuty refused it with 400: invalid routing_key (key)"


def test_a_certificate_that_nobody_vouches_for_is_not_trusted(receiver: Receiver) -> None:
    with PagerDutySink.connect(KEY, receiver.url, attempts=1) as sink, pytest.raises(Unreachable):
        sink.send(page(1))

    assert receiver.received == []


def test_nobody_at_the_address_is_unreachable(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{taken.getsockname()[1]}"
        with PagerDutySink.connect(KEY, url, attempts=1) as sink, pytest.raises(Unreachable, match="ConnectError"):
            sink.send(page(1))


def test_keys_are_sent_over_tls_only(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"found http://127\.0\.0\.1:1; expected a URL that begins with https://"):
        PagerDutySink.connect(KEY, "http://127.0.0.1:1")


@pytest.mark.parametrize("content", [None, b"no certificate"])
def test_a_wrong_file_of_authorities_is_one_line(tmp_path: Path, content: bytes | None) -> None:
    file = tmp_path / "ca.pem"
    if content is not None:
        file.write_bytes(content)
    with pytest.raises(UserError, match=r"ca\.pem: found .*; expected a file of certificates \(PEM\)"):
        PagerDutySink.connect(KEY, None, file)


def test_details_that_are_too_much_are_left_out_largest_first_and_the_page_says_so() -> None:
    big, bigger = "x" * 200_000, "y" * 300_000
    many = page(1, details={"where": "here", "causes": big, "events": bigger})
    before = many.model_copy(deep=True)
    details = event(many)["payload"]["custom_details"]

    assert (details["where"], details["causes"]) == ("here", big)
    assert details["events"] == "left out: 300,002 bytes"
    assert many == before


def test_the_certificates_key_does_not_stay(receiver: Receiver) -> None:
    assert [file.name for file in receiver.ca.parent.iterdir()] == [receiver.ca.name]


def test_a_receiver_takes_events_and_nothing_else(receiver: Receiver) -> None:
    import ssl  # noqa: PLC0415

    import httpx2  # noqa: PLC0415 - of the pagerduty package

    with httpx2.Client(base_url=receiver.url, verify=ssl.create_default_context(cafile=receiver.ca)) as client:
        codes = [client.post("/other", content="{}").status_code, client.post("/v2/enqueue", content="[").status_code]

    assert codes == [404, 400]
    assert receiver.received == []
