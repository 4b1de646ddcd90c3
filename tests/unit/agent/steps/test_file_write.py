"""file.write: whole or not at all, where it was meant to be."""

from __future__ import annotations

import hashlib
import os
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent.engines.inline import Result, Stop
from gamenode_agent.steps.file_write import FileWrite
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.inline_attempts import Bench


async def write(workspace: Path, **values: Any) -> Result:
    bench = Bench(None)
    return await bench.step("file.write", values, workspace=str(workspace)).run(bench.handle())


async def test_a_file_is_written_with_its_mode_and_described(tmp_path: Path) -> None:
    result = await write(tmp_path, path="server.cfg", content="hostname ä\n", mode="0600")
    path = tmp_path / "server.cfg"
    assert path.read_text() == "hostname ä\n"
    assert path.stat().st_mode & 0o7777 == 0o600
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert result.outputs == {"path": str(path), "bytes": "12", "sha256": digest}
    assert os.listdir(tmp_path) == ["server.cfg"]


async def test_an_absolute_path_is_where_it_says_and_the_file_there_keeps_its_owner(tmp_path: Path) -> None:
    path = tmp_path / "elsewhere"
    path.write_text("old")
    if os.geteuid() == 0:
        os.chown(path, 1234, 1235)
    was = path.stat()
    await write(tmp_path / "work", path=str(path), content="new")
    assert path.read_text() == "new"
    assert (path.stat().st_uid, path.stat().st_gid) == (was.st_uid, was.st_gid)


async def test_a_link_is_replaced_and_what_it_leads_to_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "target").write_text("mine")
    (tmp_path / "link").symlink_to(tmp_path / "target")
    await write(tmp_path, path="link", content="new")
    assert (tmp_path / "target").read_text() == "mine"
    assert (tmp_path / "link").read_text() == "new"


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match=f"the folder {tmp_path}/no is not there") as caught:
        await write(tmp_path, path="no/where", content="x")
    assert caught.value.code is Code.INVALID_ARGUMENT


async def test_a_folder_is_no_file(tmp_path: Path) -> None:
    (tmp_path / "maps").mkdir()
    with pytest.raises(GameNodeError, match="is a folder"):
        await write(tmp_path, path="maps", content="x")


async def test_no_link_leads_out_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out").symlink_to(tmp_path)
    with pytest.raises(GameNodeError, match="out of the task's workspace"):
        await write(tmp_path / "work", path="out/file", content="x")
    assert not (tmp_path / "file").exists()


def step(workspace: Path, path: str) -> FileWrite:
    return FileWrite(str(workspace), path, "x", 0o644, ".unfinished")


async def test_dots_are_refused_here_too(tmp_path: Path) -> None:
    with pytest.raises(GameNodeError, match=r"`\.\.`"):
        await step(tmp_path, "a/../../b").run(Bench(None).handle())


async def test_what_a_killed_agent_left_is_written_over_or_removed(tmp_path: Path) -> None:
    handle = Bench(None).handle().again()
    (tmp_path / ".unfinished").write_text("half of something that is longer")
    await step(tmp_path, "a").run(handle)
    assert (tmp_path / "a").read_text() == "x"
    assert os.listdir(tmp_path) == ["a"]
    (tmp_path / ".unfinished").write_text("half")
    await step(tmp_path, "a").end(handle, Stop(Code.CANCELLED, "", False, StopPolicy()))
    assert os.listdir(tmp_path) == ["a"]


async def test_what_cannot_be_written_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_fd: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(GameNodeError, match="No space left") as caught:
        await write(tmp_path, path="a", content="x")
    assert caught.value.code is Code.STORAGE_FULL
    assert os.listdir(tmp_path) == []
