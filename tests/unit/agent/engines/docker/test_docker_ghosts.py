"""Processes that Docker has forgotten: found by their control group, ended, and nobody else with them."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamenode_agent.engines.docker import ghosts
from gamenode_pipelines.errors import Code, GameNodeError

CONTAINER = "1f" * 32


@pytest.fixture
def ghost(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[subprocess.Popen[bytes]]:
    """A real process, shown as one of the container; and another one, shown as one of another container."""
    processes = [subprocess.Popen(["sleep", "600"]) for _ in range(2)]
    for process, container in zip(processes, (CONTAINER, "2e" * 32), strict=True):
        shown = tmp_path / str(process.pid)
        shown.mkdir()
        (shown / "cgroup").write_text(f"8:pids:/docker/{container}\n0::/system.slice/docker-{container}.scope\n")
        (shown / "stat").symlink_to(f"/proc/{process.pid}/stat")
    (tmp_path / "self").mkdir()
    monkeypatch.setattr(ghosts, "_PROC", tmp_path)
    yield processes[0]
    assert processes[1].poll() is None, "that one is another container's"
    for process in processes:
        process.kill()
        process.wait()


def test_they_are_killed_and_gone(ghost: subprocess.Popen[bytes]) -> None:
    ghosts.end_ghosts(CONTAINER)
    assert ghost.wait() == -signal.SIGKILL
    ghosts.end_ghosts(CONTAINER)


@pytest.mark.parametrize("word", ["docker", "", CONTAINER[:12], CONTAINER.upper()])
def test_what_is_no_whole_id_names_nobody(ghost: subprocess.Popen[bytes], word: str) -> None:
    ghosts.end_ghosts(word)
    assert ghost.poll() is None


def test_one_that_may_not_be_ended_is_named(ghost: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(_handle: int, _signal: int) -> None:
        raise PermissionError(1, os.strerror(1))

    monkeypatch.setattr(signal, "pidfd_send_signal", refuse)
    with pytest.raises(GameNodeError, match=str(ghost.pid)) as caught:
        ghosts.end_ghosts(CONTAINER)
    assert caught.value.code is Code.PERMISSION_DENIED


def test_one_that_does_not_go_is_named(ghost: subprocess.Popen[bytes], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "pidfd_send_signal", lambda _handle, _signal: None)
    monkeypatch.setattr(ghosts, "_DEATH", 0.05)
    with pytest.raises(GameNodeError, match=str(ghost.pid)) as caught:
        ghosts.end_ghosts(CONTAINER)
    assert caught.value.code is Code.TIMEOUT
