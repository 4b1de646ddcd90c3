"""What an embedded server leaves to its standby."""

from __future__ import annotations

from pathlib import Path

from gamenode_proto.process.locks import lock_file
from gamenode_server.config import EmbeddedSettings, ServerSettings
from gamenode_server.place import Place
from gamenode_server.standby import main
from gamenode_server.succession import settings_left, write_settings


def place(tmp_path: Path) -> Place:
    found = Place(tmp_path)
    found.own.mkdir()
    return found


def test_the_standby_serves_with_the_very_same_settings(tmp_path: Path) -> None:
    there = place(tmp_path)
    settings = EmbeddedSettings(
        data_dir=tmp_path, listen="127.0.0.1:39001", advertise=("a:1", "b:2"), heartbeat=0.25, suspect=1.0, offline=3.0
    )
    write_settings(there, settings)
    left = settings_left(there)
    assert type(left) is ServerSettings
    for name in (
        "data_dir",
        "listen",
        "join_listen",
        "advertise",
        "heartbeat",
        "offline",
        "log_space",
        "control_listen",
    ):
        assert getattr(left, name) == getattr(settings, name), name
    assert there.standby_settings.stat().st_mode & 0o777 == 0o600


def test_a_standby_ends_where_the_server_was_stopped_for_good(tmp_path: Path) -> None:
    there = place(tmp_path)
    write_settings(there, EmbeddedSettings(data_dir=tmp_path))
    there.mark_stopped()
    assert main(str(tmp_path)) == 0
    with there.take():  # both locks are free again, and the next start takes the mark away
        assert not there.stopped.exists()


def test_a_standby_ends_where_nothing_was_left_to_it(tmp_path: Path) -> None:
    place(tmp_path)
    assert main(str(tmp_path)) == 0


def test_a_second_standby_ends_at_once(tmp_path: Path) -> None:
    there = place(tmp_path)
    with there.take() as served, lock_file(there.standby_lock) as waits:
        write_settings(there, EmbeddedSettings(data_dir=tmp_path))
        assert main(str(tmp_path)) == 0, "though the server's lock is not free"
        assert served.path != waits.path
