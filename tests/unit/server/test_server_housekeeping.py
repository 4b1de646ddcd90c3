"""What the server does by itself goes on whatever one round of it runs into, and leaves nothing running behind."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from pathlib import Path

import pytest

from gamenode_server.artifacts.shelf import Limits, Shelf
from gamenode_server.config import ServerSettings
from gamenode_server.intervals import Intervals
from gamenode_server.logs import LogRef, LogStore
from gamenode_server.retention import keep_house
from support.scripted_agent import site
from support.stores import opened
from support.waiting import until


async def test_a_database_that_cannot_be_read_does_not_end_the_housekeeping(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    logs = LogStore(tmp_path / "logs", on_change=lambda _: None)
    ref = LogRef("run", "task", 1, "go", 1)
    await logs.append(ref, 0, b"x", [(1.0, 1, 1)])
    settings = ServerSettings(log_space=0)
    async with opened(tmp_path / "store.db") as there, asyncio.TaskGroup() as group:
        (tmp_path / "store.db").rename(tmp_path / "away")
        shelf = Shelf(tmp_path / "artifacts", there.store, Limits(1, 1, 1.0))
        house = keep_house(there.store, logs, shelf, settings, replace(Intervals(), retention=0.01))
        keeping = group.create_task(house)
        await until(lambda: "could not be deleted" in caplog.text, every=0.01, what="a round that fails")
        (tmp_path / "away").rename(tmp_path / "store.db")
        await until(lambda: not (tmp_path / "logs" / "run").exists(), every=0.01, what="a round that does not")
        keeping.cancel()
        await shelf.close()
    await logs.close()


async def test_a_server_that_stops_leaves_no_thread_that_writes(tmp_path: Path) -> None:
    async with site(tmp_path):
        assert {"log-writer", "store-writer"} <= {thread.name for thread in threading.enumerate()}
    assert not {"log-writer", "store-writer"} & {thread.name for thread in threading.enumerate()}
