"""Who serves after an embedded server: keeps a standby waiting, with settings that put it in the same place.

The standby (`standby`) gets the data dir's lock when this process ends, of whatever. A mark in the data dir says that
the server was stopped for good; without one the standby serves.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gamenode_proto.process.detach import python_module, spawn_detached
from gamenode_proto.process.locks import holder_of
from gamenode_proto.process.settings import load, settings_of
from gamenode_server.config import ServerSettings
from gamenode_server.identity.files import write_private
from gamenode_server.place import Place

logger = logging.getLogger(__name__)

#: Seconds before a standby that ended is replaced.
PAUSE = 1.0


@asynccontextmanager
async def standby_kept(place: Place, settings: ServerSettings) -> AsyncIterator[None]:
    """As long as the `async with`, a standby waits that would serve with these settings; it outlives this process."""
    write_settings(place, settings)
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(_keep(place))
        yield
        keeping.cancel()


def settings_left(place: Place) -> ServerSettings:
    """The settings that the last embedded server left to its standby."""
    return load(ServerSettings, file=place.standby_settings)


def write_settings(place: Place, settings: ServerSettings) -> None:
    """Leaves these settings to the standby, in a private file."""
    values = {item.flag: getattr(settings, item.name) for item in settings_of(type(settings))}
    section = {key: str(value) if isinstance(value, Path) else value for key, value in values.items()}
    known = {key: value for key, value in section.items() if value not in (None, "")}
    write_private(place.standby_settings, json.dumps({ServerSettings.PROGRAM: known}).encode())


async def _keep(place: Place) -> None:
    while True:
        pid = holder_of(place.standby_lock)
        if not pid:
            pid = await asyncio.to_thread(_spawn, place)
        await _ended(pid)
        await asyncio.sleep(PAUSE)


def _spawn(place: Place) -> int:
    argv = python_module("gamenode_server.standby", str(place.data_dir))
    return spawn_detached(argv, log_path=place.data_dir / "server.log")


async def _ended(pid: int) -> None:
    """Returns when the process has ended, ours or not."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    loop = asyncio.get_running_loop()
    ended = asyncio.Event()
    try:
        loop.add_reader(handle, ended.set)
        await ended.wait()
    finally:
        loop.remove_reader(handle)
        os.close(handle)
