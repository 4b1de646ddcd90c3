"""What we take the protocols of games to be, against the real servers of OpenArena and Teeworlds."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamenode_agent.games.errors import GameError, NotAnswering, WrongPassword
from gamenode_agent.games.query import query
from gamenode_agent.games.rcon import console
from gamenode_agent.games.server_status import ServerStatus
from support.real_games import PASSWORD, archive, free_port, game_server, root
from support.waiting import until

pytestmark = pytest.mark.timeout(600)  # the first run fetches and builds the images


async def answered(protocol: str, port: int) -> ServerStatus:
    async def look() -> ServerStatus | None:
        try:
            return await query(protocol, "127.0.0.1", port, seconds=2)
        except GameError:
            return None

    status = await until(look, seconds=60, what=f"the {protocol} server")
    assert isinstance(status, ServerStatus)
    return status


async def told(protocol: str, port: int, *commands: str, password: str = PASSWORD, seconds: float = 10) -> list[str]:
    async with console(protocol, "127.0.0.1", port, password, seconds=seconds) as remote:
        return [await remote.command(command) for command in commands]


async def test_openarena(tmp_path: Path) -> None:
    port = free_port()
    await asyncio.to_thread(root, "openarena")
    async with game_server("openarena", port, tmp_path, title="^1Red ^7fish") as process:
        status = await answered("quake3", port)
        assert (status.name, status.map, status.players, status.max_players) == ("Red fish", "oa_dm1", 0, 8)

        answer, again = await told("quake3", port, "addbot grunt 1", "status")
        assert "Grunt" in answer
        assert "Grunt" in again
        assert (await answered("quake3", port)).players == 1

        (variables,) = await told("quake3", port, "cvarlist")
        assert variables.startswith(" "), "the beginning of many datagrams"
        assert "total cvars" in variables.splitlines()[-2], "and their end"
        with pytest.raises(WrongPassword):
            await told("quake3", port, "status", password="wrong")
        with pytest.raises(NotAnswering):
            await query("teeworlds", "127.0.0.1", port, seconds=0.5)

        with pytest.raises(NotAnswering):  # it ends before it can answer: that is said, and not taken for an answer
            await told("quake3", port, "quit", seconds=1)
        await asyncio.wait_for(process.wait(), 30)


async def test_teeworlds(tmp_path: Path) -> None:
    port = free_port()
    await asyncio.to_thread(root, "teeworlds")
    async with game_server("teeworlds", port, tmp_path, title="Tee Café ☃") as process:
        status = await answered("teeworlds", port)
        assert (status.name, status.map, status.players, status.max_players) == ("Tee Café ☃", "dm1", 0, 8)
        assert (status.bots, status.raw["version"]) == (0, "0.7.5")

        name, unknown, _ = await told("teeworlds", port, "sv_name", "nonsense 1", "sv_name renamed")
        assert "Value: Tee Café ☃" in name
        assert "No such command: nonsense" in unknown
        assert (await answered("teeworlds", port)).name == "renamed"

        with pytest.raises(WrongPassword):
            await told("teeworlds", port, "status", password="wrong")
        with pytest.raises(NotAnswering):
            await query("quake3", "127.0.0.1", port, seconds=0.5)

        await told("teeworlds", port, "shutdown")
        await asyncio.wait_for(process.wait(), 30)


def test_an_image_is_built_once() -> None:
    built = archive("teeworlds")
    before = built.stat()
    archive.cache_clear()
    assert archive("teeworlds") == built
    assert built.stat().st_mtime_ns == before.st_mtime_ns
