"""The folders of attempts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from gamenode_agent.engines.processes import Processes
from gamenode_agent.journal import Attempt


async def test_the_folder_of_an_attempt_goes_with_whatever_its_step_put_there(tmp_path: Path) -> None:
    async with asyncio.TaskGroup() as group:
        processes = Processes(
            tmp_path,
            group=group,
            on_ended=lambda _report: None,
            on_output=lambda _key, _size: None,
            on_lost=lambda: None,
            timeout=1.0,
        )
        folders = [Path(processes.prepare(Attempt("t", 1, step, 1))) for step in ("empty", "files", "below")]
        for folder in folders[1:]:
            (folder / "script").write_text("true")
        (folders[2] / "more" / "of").mkdir(parents=True)
        for step in ("empty", "files", "below", "never_started"):
            processes.forget(Attempt("t", 1, step, 1))
        await processes.close()
    assert [folder for folder in folders if folder.exists()] == []
