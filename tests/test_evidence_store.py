"""Frozen events in a directory: few may read them, they stay as they were frozen, and they go when their time is over."""

from pathlib import Path
from typing import Any

import pytest

from interlock.sinks.evidence import EvidenceFiles, Frozen
from interlock.streams.sink_evidence import kept, named
from tests.replaying import command
from tests.tabling import control


def row(number: int, **more: Any) -> Frozen:
    told: dict[str, Any] = {
        "control_id": "c1", "event_id": f"e{number}", "model": "m", "slo": "s", "scope": "{}", "reason": "r",
        "ts": 5, "event_ts": 4, "state": "frozen", "payload": '{"a":1}', "partition": 0, "offset": number, "index": 0,
        "frozen_at": 10, "expires_at": 100,
    }  # fmt: skip
    return Frozen(**told | more)


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o740, 0o750, 0o755, 0o777])
def test_a_directory_that_others_may_enter_is_refused_in_one_line(tmp_path: Path, mode: int) -> None:
    folder = tmp_path / "open"
    folder.mkdir()
    folder.chmod(mode)
    code, _, err = command("sink", "evidence", "--bootstrap", "127.0.0.1:1", "--directory", folder)

    assert (code, err.count("\n")) == (2, 1)
    assert f"mode {mode:o}" in err


def test_what_is_made_is_its_owners_alone(tmp_path: Path) -> None:
    store = EvidenceFiles(tmp_path / "a" / "store")
    store.write([row(1)])

    assert (tmp_path / "a" / "store").stat().st_mode & 0o777 == 0o700
    assert [p.stat().st_mode & 0o777 for p in (tmp_path / "a" / "store").iterdir()] == [0o600]


def test_what_was_frozen_stays_and_what_could_not_be_may_come_later(tmp_path: Path) -> None:
    store = EvidenceFiles(tmp_path / "store")
    store.write([row(1), row(2, state="unknown", payload="")])
    store.write([row(1, state="removed", payload=""), row(2), row(3)])
    store.write([row(1, frozen_at=50, expires_at=900)])

    assert store.read(["c1"], 99) == [row(1), row(2), row(3)]


def test_expired_events_are_neither_read_nor_left_on_the_disk(tmp_path: Path) -> None:
    store = EvidenceFiles(tmp_path / "store")
    store.write([row(1)])
    store.write([row(1, control_id="c2", expires_at=200)])
    (tmp_path / "store" / ".c3.json.part").write_text("half")

    assert store.read(["c1", "c2"], 100) == [row(1, control_id="c2", expires_at=200)]
    assert store.purge(99) == 0
    assert store.purge(100) == 1
    assert [path.name for path in (tmp_path / "store").iterdir()] == ["c2.json"]


def test_an_id_never_leads_out_of_the_directory(tmp_path: Path) -> None:
    store = EvidenceFiles(tmp_path / "store")
    with pytest.raises(ValueError, match="no id of a control"):
        store.write([row(1, control_id="../c1")])
    (tmp_path / "c1.json").write_text("[]")
    assert store.read(["../c1"], 0) == []


def test_a_control_names_events_of_its_stretch_its_first_and_its_trigger_each_once() -> None:
    assert list(named(control(1, evidence={"events": ["a", "b"], "first": {"event": "a"}}))) == ["a", "b"]
    assert list(named(control(1, evidence={"event": "t"}))) == ["t"]
    assert list(named(control(1, evidence={"events": [1, None], "first": "x"}))) == []


def test_fields_are_kept_by_name_or_by_path() -> None:
    whole = '{"a":1,"b":{"c":2,"d":3},"e.f":4}'

    assert kept(whole, None) == whole
    assert kept(whole, ("a", "b.d", "z")) == '{"a":1,"b":{"d":3}}'
    assert kept(whole, ("b", "e.f")) == '{"b":{"c":2,"d":3},"e.f":4}'
    assert kept(whole, ("z",)) == "{}"


@pytest.mark.parametrize(
    "wrong",
    [
        ("--ttl", "soon", "--directory", "x"),
        ("--ttl", "0s", "--directory", "x"),
        ("--fields", ",", "--directory", "x"),
        ("--directory", "x", "--url", "http://h"),
        (),
    ],
)
def test_wrong_use_is_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, wrong: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    code, _, err = command("sink", "evidence", "--bootstrap", "127.0.0.1:1", *wrong)

    assert (code, err.count("\n")) == (2, 1), err
    assert not (tmp_path / "x").exists()
