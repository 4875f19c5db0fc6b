"""What every test shares: Hypothesis profiles, UTC, and where the shared data lie."""

import os
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from interlock.commands.broker import Broker
from tests.servers import ClickHouse, started_broker

os.environ["TZ"] = "UTC"
time.tzset()

settings.register_profile("dev", max_examples=50, deadline=None)
settings.register_profile("ci", max_examples=200, deadline=None, derandomize=True)
settings.load_profile("ci" if os.environ.get("CI") == "true" else "dev")


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder of shared data beside the clone."""
    path = Path(__file__).resolve().parents[2] / "shared"
    if not path.is_dir():
        pytest.skip(f"needs {path.name}/ beside the clone")
    return path


@pytest.fixture(scope="session")
def kafka(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Broker]:
    """Return a real broker, at `kafka.bootstrap`, which all tests share: give topics a prefix of your own."""
    with started_broker(tmp_path_factory.mktemp("kafka")) as broker:
        yield broker


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[Broker]:
    """Return a broker of this test alone, which it may stop, kill and restart."""
    with started_broker(tmp_path / "kafka") as broker:
        yield broker


@pytest.fixture(scope="session")
def clickhouse_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Return the URL of a real ClickHouse server, which all tests share."""
    with ClickHouse(tmp_path_factory.mktemp("clickhouse")) as server:
        yield server.url


@pytest.fixture
def own_clickhouse(tmp_path: Path) -> Iterator[ClickHouse]:
    """Return a server of this test alone, at `own_clickhouse.url`, which it may stop, kill and restart."""
    with ClickHouse(tmp_path / "clickhouse") as server:
        yield server
