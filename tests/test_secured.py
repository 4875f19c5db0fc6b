"""Interlock on a Kafka that is locked: TLS, SASL, and users who may do exactly what `interlock topics --acls` grants."""

import json
import logging
import threading
import urllib.parse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import msgspec
import pytest

from interlock.connection import Connection
from interlock.emit import Emitter
from interlock.errors import FindingError, Unreachable, UserError
from interlock.guard import Guard
from interlock.outbox import EmitError
from interlock.rights import PARTS, rights
from interlock.sinks.evidence import EvidenceFiles
from interlock.streams.kafka_sink import KafkaSink
from interlock.streams.preflight import check_rights
from interlock.streams.refeed import Feeder, Letters, read_topic
from interlock.streams.review_sources import of_topics
from interlock.streams.sink_evidence import EvidenceTarget, Keeping
from interlock.streams.sink_target import Message
from interlock.streams.topics import Layout
from interlock.streams.topics_admin import verify
from tests.living import Running, until
from tests.processes import PATIENCE, eventually, interlock
from tests.replaying import START, prediction
from tests.securing import PASSWORD, Secured, secured_broker, unsecured_token
from tests.story import POLICY, QUICK, counted

pytestmark = pytest.mark.integration

PREFIX, GROUP = "s.", "interlock-m"


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("policy") / "policy.yaml"
    file.write_text(POLICY)
    return file


@pytest.fixture(scope="module")
def secured(tmp_path_factory: pytest.TempPathFactory, policy: Path) -> Iterator[Secured]:
    """Return the broker, with topics that the operator made, and the rights that are printed."""
    with secured_broker(tmp_path_factory.mktemp("secured") / "kafka") as broker:
        user = broker.user("operator", prefix=PREFIX)
        printed = interlock("topics", policy, "--acls", **user)
        assert printed.returncode == 0, printed.stderr
        broker.grant(printed.stdout.splitlines())
        made = interlock("topics", policy, **user)
        assert made.returncode == 0, made.stderr
        yield broker


def event(number: int, decision: str = "pay") -> dict[str, Any]:
    told: dict[str, Any] = msgspec.to_builtins(prediction(number, START + number * 1000, decision=decision))
    return told


def test_every_part_works_with_the_rights_that_are_printed(secured: Secured, policy: Path) -> None:
    guarded, emitting = secured.connection("guard", prefix=PREFIX), secured.connection("emitter", "PLAIN", PREFIX)
    killed = threading.Event()

    def changed(_: str, control: Any) -> None:
        if control.mode == "killed":
            killed.set()

    with (
        Running(policy, secured.tls, PREFIX, QUICK, secured.user("worker", prefix=PREFIX)) as worker,
        Guard(connection=guarded, on_change=changed) as guard,
        Emitter(connection=replace(emitting, compression="gzip")) as emitter,
    ):
        assert guard.wait_ready(PATIENCE)
        emitter.send_many("predictions", [event(0), event(1, "deny")])
        emitter.flush(PATIENCE)
        until(lambda: counted([worker], "predictions") == 2, "both events to be counted")
        assert killed.wait(PATIENCE)
        assert until(lambda: worker.status()["lag"], "lags")
        said = json.dumps(worker.status()) + worker.said()
        mode = guard.mode(model="m")

    grown = interlock("topics", policy, "--grow", 2, **secured.user("grower", prefix=PREFIX))

    assert mode == "killed"
    assert (grown.returncode, "grown from 1 to 2 partitions" in grown.stdout) == (0, True), grown.stderr
    assert taken(secured, "clickhouse", "tallies") > 0
    assert taken(secured, "pagerduty", "pages") > 0
    assert frozen(secured, policy.parent / "evidence") == ["e1"]
    assert fed_again(secured) == 0
    assert of_topics(secured.connection("reviewer", prefix=PREFIX))[1] == set()
    assert PASSWORD not in said


class Taking:
    """A target that counts what it is given."""

    most, linger, recalls = 500, 0.0, False

    def __init__(self, name: str, topics: Sequence[str]) -> None:
        self.name, self.topics, self.count = name, topics, 0
        self.any = threading.Event()

    def recall(self, message: Message) -> None:
        raise AssertionError(message)

    def take(self, messages: Sequence[Message]) -> None:
        self.count += len(messages)
        self.any.set()

    @property
    def counted(self) -> Mapping[str, int]:
        return {}

    def close(self) -> None:
        pass


def fed_again(secured: Secured) -> int:
    """Return how many dead letters there are, read and fed by the user who feeds them again."""
    connection, letters = secured.connection("refeeder", prefix=PREFIX), Letters()
    read_topic(connection, letters)
    with Feeder(connection) as feeder:
        return feeder.send([]) + len(letters.found)


def taken(secured: Secured, part: str, topic: str) -> int:
    """Return how many messages a sink's user is given of a topic, by the sink's own loop."""
    target, stop = Taking(part, [topic]), threading.Event()
    loop = KafkaSink(target, secured.connection(part, prefix=PREFIX), stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    target.any.wait(PATIENCE)
    stop.set()
    thread.join(PATIENCE)
    return target.count


def frozen(secured: Secured, folder: Path) -> list[str]:
    """Return which events the sink of evidence freezes, by its own loop."""
    connection, stop = secured.connection("evidence", prefix=PREFIX), threading.Event()
    loop = KafkaSink(EvidenceTarget(EvidenceFiles(folder), connection, Keeping(86_400_000)), connection, stop)
    thread = threading.Thread(target=loop.run)
    thread.start()
    try:
        until(lambda: list(folder.glob("*.json")), "a file")
    finally:
        stop.set()
        thread.join(PATIENCE)
    rows = [row for file in folder.glob("*.json") for row in json.loads(file.read_bytes())]
    return [row["event_id"] for row in rows if row["state"] == "frozen"]


@pytest.mark.parametrize("part", [part for part in PARTS if part != "operator"])
def test_no_part_may_do_more_than_is_printed_for_it(secured: Secured, part: str) -> None:
    check_rights(secured.connection(part, prefix=PREFIX), part, GROUP)
    others = [other for other in PARTS if other not in {part, "operator"} and not granted(part) >= granted(other)]
    for other in others:
        with pytest.raises(FindingError):
            check_rights(secured.connection(part, prefix=PREFIX), other, GROUP)


def granted(part: str) -> set[tuple[str, str, str]]:
    return {(one.operation, one.kind, name) for one in rights(part, PREFIX, GROUP) for name in one.names}


@pytest.mark.parametrize(
    ("operation", "kind", "name"),
    [("Read", "topic", "s.outcomes"), ("Write", "topic", "s.control"), ("Read", "group", GROUP)],
)
def test_a_worker_that_lacks_a_right_says_which_in_one_line(
    secured: Secured, policy: Path, operation: str, kind: str, name: str
) -> None:
    with secured.without("worker", operation, kind, name):
        result = interlock("worker", policy, **secured.user("worker", prefix=PREFIX))

    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr == (
        f"{name}: the user of this connection lacks {operation} on the {kind} {name};"
        " `interlock topics POLICY --acls` prints how to grant it\n"
    )


def test_an_emitter_and_a_guard_name_the_right_that_they_lack(
    secured: Secured, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING, "interlock")
    with (
        secured.without("emitter", "Write", "topic", "s.predictions"),
        secured.without("guard", "Read", "topic", "s.control"),
        Guard(connection=secured.connection("guard", prefix=PREFIX)) as guard,
    ):
        emitter = Emitter(connection=secured.connection("emitter", prefix=PREFIX))
        emitter.send_many("predictions", [event(2)])
        with pytest.raises(EmitError, match=r"lacks Write on the topic s\.predictions"):
            emitter.flush(3)
        with pytest.raises(EmitError):
            emitter.close(0.1)
        assert eventually(lambda: "lacks Read on the topic s.control" in caplog.text)
        assert guard.mode(model="m") == "human_review"

    assert PASSWORD not in caplog.text


def test_topics_are_verified_as_far_as_the_user_may_see(secured: Secured, policy: Path) -> None:
    worker = secured.connection("worker", prefix=PREFIX)
    with secured.without("worker", "DescribeConfigs", "topic", "s.verdicts"):
        blind = interlock("topics", policy, "--check", **secured.user("worker", prefix=PREFIX))
    denied = interlock("topics", policy, **secured.user("operator", prefix="else."))

    assert verify(worker, Layout(PREFIX)).differences == ()
    assert (blind.returncode, blind.stdout, blind.stderr.count("\n")) == (4, "", 1)
    assert "s.verdicts: the user of this connection lacks DescribeConfigs" in blind.stderr
    assert (denied.returncode, denied.stderr.count("\n")) == (1, 12)
    assert "else.predictions: the user of this connection lacks Describe on the topic" in denied.stderr


def test_what_may_be_seen_but_not_made_is_said_with_the_command_that_makes_it(secured: Secured, policy: Path) -> None:
    secured.grant(
        f"kafka-acls.sh --bootstrap-server x --command-config x --add --allow-principal User:interlock-guard"
        f" --operation Describe --topic seen.{name}"
        for name in ("predictions", "control")
    )
    result = interlock("topics", policy, **secured.user("guard", prefix="seen."))
    line = next(line for line in result.stderr.splitlines() if line.startswith("seen.control"))

    assert result.returncode == 1
    assert "lacks Create on the topic seen.control" in line
    assert "kafka-topics.sh --bootstrap-server" in line
    assert "--create --topic seen.control --partitions 1" in line


def test_who_is_not_let_in_hears_why_in_one_line(secured: Secured, policy: Path) -> None:
    user = secured.user("operator", prefix=PREFIX)
    wrong = interlock("topics", policy, **user | {"INTERLOCK_SASL_PASSWORD": "of-another"})
    untrusted = interlock("topics", policy, **user | {"INTERLOCK_SSL_CA_FILE": ""})
    in_clear = interlock("topics", policy, INTERLOCK_BOOTSTRAP=secured.tls)

    assert (wrong.returncode, wrong.stderr.count("\n")) == (2, 1)
    assert wrong.stderr.startswith(
        f"Kafka at {secured.tls} does not let interlock-operator in (SCRAM-SHA-512 over SASL_SSL)"
    )
    assert "of-another" not in wrong.stderr
    assert (untrusted.returncode, untrusted.stderr.count("\n")) == (3, 1)
    assert "certificate verify failed" in untrusted.stderr
    assert (in_clear.returncode, in_clear.stderr.count("\n")) == (3, 1)
    assert "speaks TLS" in in_clear.stderr


@pytest.mark.parametrize("how", ["SCRAM-SHA-256", "certificate"])
def test_clients_of_every_kind_are_let_in_by_scram_256_and_by_their_certificates(
    secured: Secured, policy: Path, how: str
) -> None:
    def user(part: str) -> dict[str, str]:
        return secured.bearer(part, PREFIX) if how == "certificate" else secured.user(part, how, PREFIX)

    with Emitter(connection=Connection.of_environment(user("emitter"))) as emitter:  # kafka-python
        emitter.send_many("predictions", [event(7)])
        emitter.flush(PATIENCE)
    verified = interlock("topics", policy, **user("operator"))
    told = interlock("policy", "show", "--group", "of-nobody", **user("worker"))  # aiokafka

    assert verified.returncode == 0, verified.stderr
    assert (told.returncode, told.stderr) == (1, "group of-nobody has no policy yet\n")


@pytest.mark.parametrize("certificate", ["stranger", ""])
def test_a_certificate_of_another_authority_or_none_is_not_let_in_and_hears_so_in_one_line(
    secured: Secured, policy: Path, certificate: str
) -> None:
    user = secured.bearer(certificate, PREFIX) | ({} if certificate else {"INTERLOCK_SSL_CERT_FILE": ""})
    told = interlock("topics", policy, **user)

    assert told.returncode in {2, 3}
    assert told.stderr.count("\n") == 1, told.stderr
    assert PASSWORD not in told.stderr


# -- OAUTHBEARER -------------------------------------------------------------------------------------------------------


@contextmanager
def tokens(subject: str, status: int = 200) -> Iterator[tuple[str, list[dict[str, str]]]]:
    """Serve tokens on loopback; yield the address, and what was asked for."""
    asked: list[dict[str, str]] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            form = self.rfile.read(int(self.headers["Content-Length"])).decode()
            asked.append(dict(urllib.parse.parse_qsl(form)) | {"authorization": self.headers["Authorization"]})
            body = json.dumps({"access_token": unsecured_token(subject), "expires_in": 3600}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}/token", asked
        finally:
            server.shutdown()
            thread.join()


def bearer(secured: Secured, url: str) -> Connection:
    return Connection(
        bootstrap=secured.clear, prefix=PREFIX, security_protocol="SASL_PLAINTEXT", sasl_mechanism="OAUTHBEARER",
        oauth_token_url=url, oauth_client_id="a client", oauth_client_secret=PASSWORD, oauth_scope="kafka",
    )  # fmt: skip


def test_tokens_of_an_endpoint_let_guard_emitter_and_worker_in_and_are_asked_for_once(
    secured: Secured, policy: Path
) -> None:
    with tokens("interlock-guard") as (url, asked), Guard(connection=bearer(secured, url)) as guard:
        assert guard.wait_ready(PATIENCE)
    with tokens("interlock-worker") as (url, worker_asked):
        environment = {
            "INTERLOCK_SECURITY_PROTOCOL": "SASL_PLAINTEXT", "INTERLOCK_SASL_MECHANISM": "OAUTHBEARER",
            "INTERLOCK_OAUTH_TOKEN_URL": url, "INTERLOCK_OAUTH_CLIENT_ID": "w", "INTERLOCK_OAUTH_CLIENT_SECRET": PASSWORD,
        }  # fmt: skip
        with Running(policy, secured.clear, PREFIX, QUICK, environment) as worker:
            until(lambda: worker.status().get("shards"), "the worker to own its shard")
            until(lambda: not worker.status()["failing"], "the worker to send")

    assert len(asked) == 1
    assert asked[0]["grant_type"] == "client_credentials"
    assert asked[0]["scope"] == "kafka"
    assert worker_asked
    assert PASSWORD not in worker.said()


def test_an_endpoint_that_refuses_is_one_line_without_the_secret(secured: Secured) -> None:
    with tokens("nobody", status=401) as (url, _), pytest.raises((Unreachable, UserError)) as caught:
        verify(bearer(secured, url), Layout(PREFIX))

    assert f"oauth_token_url: {url} answers 401" in str(caught.value)
    assert PASSWORD not in str(caught.value)
