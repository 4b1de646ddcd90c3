"""Where an engine is looked for, and what is said where none answers."""

from __future__ import annotations

import getpass
import os
import socket
from pathlib import Path

import pytest

from gamenode_agent.engines.docker import finding
from gamenode_agent.engines.docker.finding import candidates, find, knock


def test_what_is_told_comes_first_then_the_environment_then_the_usual_sockets(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    environ = {"DOCKER_HOST": "tcp://10.0.0.1:2375", "XDG_RUNTIME_DIR": str(tmp_path)}
    assert candidates("/x/docker.sock", environ) == ["unix:///x/docker.sock"]
    assert candidates("", environ) == ["tcp://10.0.0.1:2375"]
    del environ["DOCKER_HOST"]
    system = tmp_path / "system.sock"
    monkeypatch.setattr(finding, "SYSTEM_SOCKET", str(system))
    assert candidates("", environ) == []
    (tmp_path / "docker.sock").touch()
    assert candidates("", environ) == [f"unix://{tmp_path}/docker.sock"]
    system.touch()
    assert candidates("", environ) == [f"unix://{system}", f"unix://{tmp_path}/docker.sock"]


def test_without_any_it_is_said_what_to_install_or_to_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(finding, "SYSTEM_SOCKET", str(tmp_path / "none.sock"))
    problem = find("", {"XDG_RUNTIME_DIR": str(tmp_path)})
    assert isinstance(problem, str)
    assert "install" in problem
    assert "--docker-host" in problem


def test_a_socket_that_is_not_there_and_one_that_nobody_opens(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    assert f"no {path}" in knock(f"unix://{path}")
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        assert f"nobody answers at {path}" in knock(f"unix://{path}")
        door.listen()
        assert knock(f"unix://{path}") == ""


def test_who_may_not_use_it_is_told_which_group_to_join(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(socket.socket, "connect", refuse)
    assert f"usermod -aG docker {getpass.getuser()}" in knock(f"unix://{tmp_path}/docker.sock")


def test_a_port_where_nobody_is_and_an_address_that_is_none() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        assert "cannot be reached" in knock(f"tcp://127.0.0.1:{taken.getsockname()[1]}")
    assert "cannot be reached" in knock("tcp://nothing")


def test_somebody_who_is_no_engine_is_said_to_be_none(tmp_path: Path) -> None:
    path = tmp_path / "docker.sock"
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(path))
        door.listen()
        problem: list[object] = []
        import threading

        asking = threading.Thread(target=lambda: problem.append(find(str(path), os.environ)))
        asking.start()
        for _ in range(2):
            try:
                door.settimeout(5)
                caller, _address = door.accept()
            except TimeoutError:
                break
            caller.close()
        asking.join(20)
    assert "does not answer" in str(problem[0])
