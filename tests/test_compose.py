"""docker-compose.yml: nothing listens beyond this machine, every service says when it is well, no tag floats."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[1]
SERVICES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["services"]


def test_it_brings_kafka_clickhouse_and_grafana() -> None:
    assert {"kafka", "clickhouse", "grafana"} <= set(SERVICES)
    assert SERVICES["kafka"]["image"] == "apache/kafka:4.3.1"


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_port_is_bound_to_loopback(name: str) -> None:
    assert SERVICES[name]["ports"]
    assert all(port.startswith("127.0.0.1:") for port in SERVICES[name]["ports"])


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_service_has_a_healthcheck(name: str) -> None:
    check = SERVICES[name]["healthcheck"]

    assert check["test"][0] in {"CMD", "CMD-SHELL"}
    assert {"interval", "timeout", "retries"} <= set(check)


@pytest.mark.parametrize("name", sorted(SERVICES))
def test_every_image_is_pinned_to_a_version(name: str) -> None:
    assert re.fullmatch(r"[a-z/-]+:\d+\.\d+(\.\d+)?", SERVICES[name]["image"])


def test_every_file_that_is_mounted_is_in_the_repository_and_every_volume_is_declared() -> None:
    declared = set(yaml.safe_load((ROOT / "docker-compose.yml").read_text("utf-8"))["volumes"])
    sources = [volume.split(":")[0] for service in SERVICES.values() for volume in service.get("volumes", [])]

    assert all((ROOT / source).exists() if source.startswith(".") else source in declared for source in sources)


def test_kafka_is_a_single_kraft_node_whose_external_listener_is_the_published_port() -> None:
    settings = SERVICES["kafka"]["environment"]

    assert settings["KAFKA_PROCESS_ROLES"] == "broker,controller"
    assert "EXTERNAL://localhost:9092" in settings["KAFKA_ADVERTISED_LISTENERS"]
    assert settings["KAFKA_AUTO_CREATE_TOPICS_ENABLE"] == "false"
    assert all(settings[name] == "1" for name in settings if name.endswith("REPLICATION_FACTOR"))
