"""Settings: the first of flag, environment and file that says something; one line per mistake; no secret is ever shown."""

import itertools
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from interlock.connection import SECRETS as CONNECTION_SECRETS
from interlock.connection import Connection, problems
from interlock.emit import Emitter
from interlock.errors import UserError
from interlock.guard import Guard
from interlock.reaching import compression_of, settings_of
from interlock.streams.clients import Clients
from interlock.streams.settings import SECRETS, Settings
from interlock.streams.settings_read import Resolved, Source, read_settings
from tests.processes import interlock

PLACE = {"INTERLOCK_BOOTSTRAP": "kafka:9092"}
SECRET = "hush-hush-41"  # noqa: S105 - to look for where it must not be


def read(
    flags: Mapping[str, object] = {}, sets: Sequence[str] = (), file: Path | None = None, /, **environment: Any
) -> Resolved:
    return read_settings(Source(flags, sets, file, PLACE | environment))


def said(*arguments: Any, **environment: Any) -> list[str]:
    with pytest.raises(UserError) as caught:
        read(*arguments, **environment)
    return str(caught.value).splitlines()


def written(folder: Path, text: str) -> Path:
    file = folder / "settings.yaml"
    file.write_text(text)
    return file


@pytest.mark.parametrize("given_in", list(itertools.product([False, True], repeat=3)))
def test_a_flag_stands_over_a_variable_over_the_file_over_the_default(
    tmp_path: Path, given_in: tuple[bool, bool, bool]
) -> None:
    flag, variable, file = given_in
    resolved = read(
        {"group": "of-flag" if flag else None},
        (),
        written(tmp_path, f"compression: gzip\n{'group: of-file' if file else ''}\n"),
        **({"INTERLOCK_GROUP": "of-variable"} if variable else {}),
    )
    expected = "of-flag" if flag else "of-variable" if variable else "of-file" if file else None
    origin = "flag --group" if flag else "environment INTERLOCK_GROUP" if variable else f"{tmp_path}/settings.yaml:2"

    assert resolved.settings.group == expected
    assert resolved.origins.get("group") == (origin if expected else None)
    assert resolved.settings.compression == "gzip"


def test_a_secret_and_its_file_are_one_setting_said_in_two_ways(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("of-its-file\n")
    text = f"security_protocol: SASL_PLAINTEXT\nsasl_mechanism: PLAIN\nsasl_username: u\nsasl_password_file: {secret}\n"
    file = written(tmp_path, text)
    over = read({}, (), file, INTERLOCK_SASL_PASSWORD=SECRET).settings.connection

    assert read({}, (), file).settings.connection.secret("sasl_password") == "of-its-file"
    assert over.secret("sasl_password") == SECRET
    assert said(INTERLOCK_SASL_PASSWORD=SECRET, INTERLOCK_SASL_PASSWORD_FILE=str(secret)) == [
        "environment INTERLOCK_SASL_PASSWORD_FILE: sasl_password_file: found beside sasl_password; expected one of the two"
    ]


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("prefix: a\nsasl_mechansim: PLAIN\n", ":2: unknown setting sasl_mechansim; did you mean `sasl_mechanism`?"),
        ("security_protocol: TLS\n", ':1: security_protocol: found the text "TLS"; expected PLAINTEXT, SSL,'),
        ("\nsession_timeout: soon\n", ':2: session_timeout: found the text "soon"; expected a number'),
        ("ssl_check_hostname: 1\n", ":1: ssl_check_hostname: found 1; expected true or false"),
        ("listen: 6066\n", ":1: listen: found 6066; expected host:port"),
        ("request_timeout: 0\n", ":1: request_timeout: found 0; expected a number of at least 1"),
        (
            f"a: 1\nsasl_password: {SECRET}\n",
            ":2: sasl_password: found a secret in a settings file; expected INTERLOCK_",
        ),
        ("sasl_mechanism: PLAIN\n", "security_protocol: found PLAINTEXT beside a sasl_mechanism; expected SASL_SSL"),
        ("security_protocol: SASL_SSL\n", "sasl_mechanism: found nothing; expected PLAIN, SCRAM-SHA-256,"),
        (
            "bootstrap: kafka\nbootstrap: b:1\n",
            ":2: found the key `bootstrap` again (first at line 1); expected it once",
        ),
        ("- 1\n", ":1: found a list of 1; expected a mapping of settings"),
        ("", ":1: found an empty file; expected a mapping of settings"),
        ("ssl_ca_file: x\n", "security_protocol: found PLAINTEXT beside ssl_ca_file; expected SSL or SASL_SSL"),
    ],
)
def test_each_mistake_of_a_file_is_a_line_with_its_place_and_what_was_expected(
    tmp_path: Path, text: str, line: str
) -> None:
    lines = said({}, (), written(tmp_path, text))

    assert any(line in one for one in lines), lines
    assert SECRET not in "\n".join(lines)


@pytest.mark.parametrize(
    ("variables", "line"),
    [
        ({"INTERLOCK_SASL_USERNME": "u"}, "INTERLOCK_SASL_USERNME: no such setting; did you mean `INTERLOCK_SASL_USERNAME`?"),
        ({"INTERLOCK_IDLE_AFTER": "never"}, 'environment INTERLOCK_IDLE_AFTER: idle_after: found the text "never"; expected a number'),
        ({"INTERLOCK_BOOTSTRAP": "kafka"}, "environment INTERLOCK_BOOTSTRAP: bootstrap: found 'kafka'; expected host:port, several by commas"),
    ],
)  # fmt: skip
def test_each_mistake_of_the_environment_is_a_line(variables: dict[str, str], line: str) -> None:
    assert said(**variables) == [line]


def test_variables_of_others_are_none_of_our_business() -> None:
    assert read(INTERLOCK_SERVICE_HOST="10.0.0.1", INTERLOCK_PORT="tcp://10.0.0.1:80", INTERLOCK_CACHE="x")


def test_a_secret_on_the_command_line_is_refused_without_being_repeated() -> None:
    (line,) = said({}, [f"sasl_password={SECRET}"])

    assert line.startswith("--set sasl_password: found a secret on the command line")
    assert SECRET not in line


def test_what_is_set_one_by_one_is_typed() -> None:
    resolved = read({}, ["idle_after=2.5", "ssl_check_hostname=false", "prefix=a.", "group=7"])

    assert (resolved.settings.idle_after, resolved.settings.ssl_check_hostname) == (2.5, False)
    assert (resolved.settings.prefix, resolved.settings.group) == ("a.", "7")
    assert said({}, ["idle_after"]) == ["--set idle_after: expected NAME=VALUE"]


@given(st.sampled_from(sorted(SECRETS)), st.from_regex(r"[a-z0-9]{12,30}", fullmatch=True))
def test_no_secret_is_shown_nor_part_of_any_text_about_settings(name: str, secret: str) -> None:
    resolved = read(**{f"INTERLOCK_{name.upper()}": secret})
    shown = "\n".join(resolved.lines()) + repr(resolved) + str(resolved.settings) + repr(resolved.settings.connection)

    assert secret not in shown
    assert re.search(rf"^{name} +\*\*\* +environment INTERLOCK_{name.upper()}$", shown, re.MULTILINE)


def test_the_connection_of_the_sdk_has_the_settings_of_the_commands() -> None:
    names = {one.name: one.default for one in fields(Connection)}

    assert names == {name: Settings.model_fields[name].default for name in names}
    assert set(CONNECTION_SECRETS) <= set(SECRETS)


def test_the_sdk_reads_the_same_variables_and_what_is_given_stands_over_them() -> None:
    variables = {"INTERLOCK_BOOTSTRAP": "a:1", "INTERLOCK_PREFIX": "p.", "INTERLOCK_SSL_CHECK_HOSTNAME": "false"}
    found = Connection.of_environment(variables, bootstrap="b:2", prefix=None)

    assert (found.bootstrap, found.prefix, found.ssl_check_hostname) == ("b:2", "p.", False)
    assert read(**variables).settings.connection == Connection.of_environment(variables)
    with pytest.raises(UserError, match="INTERLOCK_REQUEST_TIMEOUT: found 'x'; expected seconds"):
        Connection.of_environment({"INTERLOCK_REQUEST_TIMEOUT": "x"})


@pytest.mark.parametrize("kind", [Guard, Emitter])
def test_guard_and_emitter_refuse_a_connection_that_cannot_be(kind: type[Guard | Emitter]) -> None:
    with pytest.raises(UserError, match="sasl_username: found nothing; PLAIN expects one"):
        kind(connection=Connection(bootstrap="a:1", security_protocol="SASL_SSL", sasl_mechanism="PLAIN"))
    with pytest.raises(UserError, match="bootstrap: found 'a'; expected host:port"):
        kind("a")


@pytest.mark.parametrize(
    ("told", "found"),
    [
        ({"oauth_token_url": "https://id.example/token", "oauth_client_id": "c", "oauth_client_secret": "s"}, []),
        ({"oauth_token_url": "http://localhost:80/t", "oauth_client_id": "c", "oauth_client_secret": "s"}, []),
        ({"oauth_token_url": "http://id.example/token", "oauth_client_id": "c", "oauth_client_secret": "s"}, ["oauth_token_url"]),
        ({"oauth_token_url": "https://u:p@id.example/", "oauth_client_id": "c", "oauth_client_secret": "s"}, ["oauth_token_url"]),
        ({"oauth_token_url": "https://id.example/token"}, ["oauth_client_id", "oauth_client_secret"]),
        ({"oauth_token_file": "/run/token"}, []),
        ({}, ["oauth_token_url"]),
        ({"oauth_token_file": "/run/token", "oauth_token_url": "https://id.example/"}, ["oauth_token_url"]),
    ],
)  # fmt: skip
def test_tokens_come_from_a_file_or_by_credentials_over_tls(told: dict[str, str], found: list[str]) -> None:
    connection = Connection(
        bootstrap="a:1", security_protocol="SASL_SSL", sasl_mechanism="OAUTHBEARER", **told  # type: ignore[arg-type]
    )  # fmt: skip

    assert [name for name, _ in problems(connection)] == found


def test_a_file_that_holds_something_else_is_one_line_without_its_content(tmp_path: Path) -> None:
    file = written(tmp_path, SECRET)
    for told in ({"ssl_ca_file": str(file)}, {"ssl_cert_file": str(file)}, {"ssl_ca_file": str(tmp_path / "none")}):
        connection = Connection(bootstrap="a:1", security_protocol="SSL", **told)  # type: ignore[arg-type]
        for make in (settings_of, Clients):
            with pytest.raises(UserError, match=rf"^{next(iter(told))}: \S+ ?.*; expected ") as caught:
                make(connection)
            assert SECRET not in str(caught.value)


@pytest.mark.parametrize("name", ["none", "gzip", "lz4", "zstd", "snappy"])
def test_a_compression_is_taken_where_its_codec_is_installed_and_else_refused_by_name(name: str) -> None:
    connection = Connection(bootstrap="a:1", compression=name)  # type: ignore[arg-type]
    for taken in (compression_of, lambda one: Clients(one).producer):
        try:
            said = str(taken(connection).get("compression_type"))
        except UserError as error:
            said = str(error)

        refused = rf"compression: found {name}, whose codec .*`pip install \S+`"
        assert re.fullmatch("None" if name == "none" else f"{name}|{refused}", said)


@pytest.mark.integration
def test_show_settings_prints_each_with_its_source_and_asks_no_broker(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text("model: m\nslos: []\n")
    file = written(tmp_path, "security_protocol: SASL_SSL\nsasl_mechanism: SCRAM-SHA-512\nsasl_username: worker\n")
    told = interlock(
        "worker",
        policy,
        "--bootstrap",
        "kafka:9093",
        "--settings",
        file,
        "--show-settings",
        INTERLOCK_SASL_PASSWORD=SECRET,
    )
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in told.stdout.splitlines()}

    assert (told.returncode, told.stderr) == (0, "")
    assert list(rows) == list(Settings.model_fields)
    assert rows["bootstrap"] == ["kafka:9093", "flag --bootstrap"]
    assert rows["sasl_username"] == ["worker", f"{file}:3"]
    assert rows["sasl_password"] == ["***", "environment INTERLOCK_SASL_PASSWORD"]
    assert rows["isolation_level"] == ["read_committed", "default"]
    assert SECRET not in told.stdout


@pytest.mark.integration
@pytest.mark.parametrize(
    "command", [("worker", "p.yaml"), ("topics", "p.yaml"), ("sink", "pagerduty"), ("audits", "export", "-o", "x.csv")]
)
def test_wrong_settings_end_every_command_in_one_line_and_exit_code_2(command: tuple[str, ...]) -> None:
    told = interlock(
        *command, INTERLOCK_BOOTSTRAP="kafka:9093", INTERLOCK_SECURITY_PROTOCOL="TLS", INTERLOCK_SASL_PASSWORD=SECRET
    )

    assert told.returncode == 2
    assert told.stderr.startswith(
        'environment INTERLOCK_SECURITY_PROTOCOL: security_protocol: found the text "TLS"; expected PLAINTEXT'
    )
    assert told.stderr.count("\n") == 1
    assert SECRET not in told.stderr + told.stdout
