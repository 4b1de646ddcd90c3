"""Whether a console may start a server of its own, and where that listens."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from gamenode_console import discovery, embedded
from gamenode_console.settings import ConsoleSettings
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process import places
from gamenode_proto.process.locks import lock_file
from gamenode_proto.process.settings import load


@pytest.fixture
def units(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(places, "SYSTEM_SOCKET", tmp_path / "run" / "control.sock")
    folder = tmp_path / "units"
    folder.mkdir()
    return folder


def own(tmp_path: Path, origin: str = "the default data dir") -> discovery.Place:
    data_dir = tmp_path / "data"
    data_dir.mkdir(exist_ok=True)
    return discovery.Place(data_dir, origin)


def refused(place: discovery.Place, units: Path) -> str:
    try:
        embedded.refuse_in_silence(place, unit_dirs=(units,))
    except GameNodeError as error:
        return error.message
    return ""


def test_where_there_is_no_system_server_one_is_embedded(tmp_path: Path, units: Path) -> None:
    assert not refused(own(tmp_path), units)


def test_an_empty_server_takes_no_system_servers_place(tmp_path: Path, units: Path) -> None:
    (units / "gamenode-server.service").touch()
    said = refused(own(tmp_path), units)
    assert "systemctl start gamenode-server.service" in said
    assert "--data-dir DIR" in said


def test_a_socket_alone_is_a_system_server_too(tmp_path: Path, units: Path) -> None:
    places.SYSTEM_SOCKET.parent.mkdir()
    places.SYSTEM_SOCKET.touch()
    assert str(places.SYSTEM_SOCKET) in refused(own(tmp_path), units)


def test_who_names_a_data_dir_gets_it(tmp_path: Path, units: Path) -> None:
    (units / "gamenode-server.service").touch()
    assert not refused(own(tmp_path, "--data-dir"), units)
    assert not refused(own(tmp_path, "context lab"), units)


def test_a_data_dir_that_has_been_served_is_no_surprise(tmp_path: Path, units: Path) -> None:
    (units / "gamenode-server.service").touch()
    place = own(tmp_path)
    (place.data_dir / "server" / "identity").mkdir(parents=True)
    assert not refused(place, units)


def test_a_server_that_runs_is_attached_to(tmp_path: Path, units: Path) -> None:
    (units / "gamenode-server.service").touch()
    place = own(tmp_path)
    assert not embedded.is_held(place.data_dir)
    with lock_file(place.data_dir / "server.lock"):
        assert embedded.is_held(place.data_dir)
        assert not refused(place, units)


def test_the_port_of_last_time_comes_before_the_usual_one(tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        taken = probe.getsockname()[1]
        probe.listen()
        assert embedded.listening("127.0.0.1:7443", "127.0.0.1:7443", taken) == "127.0.0.1:0"
    assert embedded.listening("127.0.0.1:7443", "127.0.0.1:7443", taken) == f"127.0.0.1:{taken}"
    assert embedded.listening("0.0.0.0:7443", "127.0.0.1:7443", taken) == "0.0.0.0:7443", "as told"


def test_other_keys_come_from_the_config_file_or_the_environment(tmp_path: Path) -> None:
    config = tmp_path / "config.yaml"
    config.write_text("console:\n  keys: {app.help: f2, app.quit: ctrl+x}\n")
    assert load(ConsoleSettings, file=config).keys == (("app.help", "f2"), ("app.quit", "ctrl+x"))
    assert load(ConsoleSettings, env={"GAMENODE_KEYS": "app.help=f2,f3; app.quit=Q"}).keys == (
        ("app.help", "f2,f3"),
        ("app.quit", "Q"),
    )
    with pytest.raises(GameNodeError, match="ID=KEYS"):
        load(ConsoleSettings, env={"GAMENODE_KEYS": "nonsense"})
