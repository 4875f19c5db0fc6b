"""The ClickHouse server that tests use: real, killed and restarted on its data, gone with whoever started it."""

import os
import subprocess
import sys
from pathlib import Path

import clickhouse_connect
import pytest

from tests.processes import ROOT, ends, environment
from tests.servers import ClickHouse, clickhouse_library, needed, unavailable

pytestmark = pytest.mark.integration

HOLDER = """
import signal, sys
from pathlib import Path
from tests.processes import ROOT, ends, environment
from tests.servers import ClickHouse
with ClickHouse(Path(sys.argv[1])) as server:
    print(server.pid, flush=True)
    signal.pause()
"""


def ask(server: ClickHouse, question: str) -> object:
    client = clickhouse_connect.get_client(dsn=server.url)
    try:
        return client.command(question)
    finally:
        client.close()


def test_rows_survive_kill_and_restart_on_the_same_address(own_clickhouse: ClickHouse) -> None:
    url = own_clickhouse.url
    ask(own_clickhouse, "CREATE TABLE default.t (n UInt8) ENGINE = MergeTree ORDER BY n")
    ask(own_clickhouse, "INSERT INTO default.t VALUES (1), (2)")
    own_clickhouse.kill()
    answered = own_clickhouse.answers()
    own_clickhouse.restart()

    assert not answered
    assert own_clickhouse.url == url
    assert ask(own_clickhouse, "SELECT count() FROM default.t") == 2


def test_it_is_a_server_of_the_version_that_is_pinned(clickhouse_server: str) -> None:
    client = clickhouse_connect.get_client(dsn=clickhouse_server)
    version = client.server_version
    client.close()

    assert str(version).startswith("26.7.")


def test_a_server_dies_with_a_parent_that_is_killed(tmp_path: Path) -> None:
    needed(clickhouse_library)
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(tmp_path)], env=environment(), stdout=subprocess.PIPE, text=True, cwd=ROOT
    ) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        os.kill(parent.pid, 9)

        assert ends(pid)


@pytest.mark.parametrize(("ci", "outcome"), [("true", pytest.fail.Exception), ("", pytest.skip.Exception)])
def test_what_is_missing_fails_in_ci_and_skips_elsewhere(
    ci: str, outcome: type[BaseException], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CI", ci)

    with pytest.raises(outcome, match="no network"):
        unavailable("no network")
