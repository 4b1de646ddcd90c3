"""Commands over a game server's remote console, whichever protocol it speaks."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Protocol

from gamenode_agent.games.econ import EconConsole
from gamenode_agent.games.errors import NotSendable
from gamenode_agent.games.quake3_rcon import Quake3Console
from gamenode_agent.games.source_rcon import SourceConsole

#: The consoles there are: Quake 3 and its kin, Source and Minecraft, Teeworlds.
PROTOCOLS = frozenset({"quake3", "source", "teeworlds"})


class Console(Protocol):
    """A remote console that takes commands, one after the other."""

    async def command(self, text: str) -> str:
        """Sends one command, once, and returns the answer. Raises GameError."""
        ...


@asynccontextmanager
async def console(protocol: str, host: str, port: int, password: str, *, seconds: float) -> AsyncIterator[Console]:
    """A console that is ready for commands; each may take `seconds`. Raises GameError."""
    match protocol:
        case "quake3":
            yield Quake3Console(host, port, password, seconds=seconds)
        case "source":
            source = await SourceConsole.connect(host, port, password, seconds=seconds)
            try:
                yield source
            finally:
                await source.close()
        case "teeworlds":
            econ = await EconConsole.connect(host, port, password, seconds=seconds)
            try:
                yield econ
            finally:
                await econ.close()
        case _:
            raise NotSendable(
                f"this agent does not know the remote console {protocol!r}: it knows {', '.join(sorted(PROTOCOLS))}"
            )
