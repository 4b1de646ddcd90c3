"""A TCP proxy on loopback that can lose, slow down, cut and reset what goes through it.

Stands between an agent and its server. Its directions are named as the agent sees them: `up` to the server, `down` to
the agent. The kernel's own tools for this need rights a test may not have.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Literal

Direction = Literal["up", "down"]
PIECE = 16 * 1024


@dataclass
class FaultProxy:
    """Forwards `port` to `target_port`, as well or as badly as it is told."""

    target_port: int
    port: int = 0
    #: Directions in which bytes vanish: the connection stays open and nothing arrives.
    black_holes: set[Direction] = field(default_factory=set)
    #: Bytes a second in each direction, shared by all connections as on a real link; 0 means as fast as it goes.
    rate: dict[Direction, float] = field(default_factory=dict)
    #: Refuse new connections.
    refuse: bool = False
    forwarded: dict[Direction, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    _free_at: dict[Direction, float] = field(default_factory=dict)
    _connections: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = field(default_factory=set)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[FaultProxy]:
        """Serves until the block ends; `port` is the one in use."""
        server = await asyncio.start_server(self._serve, "127.0.0.1", self.port)
        self.port = server.sockets[0].getsockname()[1]
        try:
            yield self
        finally:
            server.close()
            self.reset()

    @property
    def connections(self) -> int:
        """Connections that are open now."""
        return len(self._connections)

    def lose(self, *directions: Direction) -> None:
        """From now on, bytes in these directions vanish."""
        self.black_holes.update(directions)

    def heal(self) -> None:
        """Everything works again for new connections; what vanished stays lost, so old ones are reset."""
        if self.black_holes:
            self.black_holes.clear()
            self.reset()

    def reset(self) -> None:
        """Ends every connection with RST, in the middle of whatever it was saying."""
        for pair in list(self._connections):
            for writer in pair:
                sock = writer.get_extra_info("socket")
                if sock is not None:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.refuse:
            writer.transport.abort()
            return
        try:
            target_reader, target_writer = await asyncio.open_connection("127.0.0.1", self.target_port)
        except OSError:
            writer.transport.abort()
            return
        pair = (writer, target_writer)
        self._connections.add(pair)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._pump(reader, target_writer, "up"))
                tasks.create_task(self._pump(target_reader, writer, "down"))
        finally:
            self._connections.discard(pair)
            for each in pair:
                each.transport.abort()

    async def _take_turn(self, direction: Direction, seconds: float) -> None:
        now = asyncio.get_running_loop().time()
        free = max(now, self._free_at.get(direction, 0.0)) + seconds
        self._free_at[direction] = free
        await asyncio.sleep(free - now)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, direction: Direction) -> None:
        try:
            while data := await reader.read(PIECE):
                if direction in self.black_holes:
                    continue
                if rate := self.rate.get(direction, 0.0):
                    await self._take_turn(direction, len(data) / rate)
                writer.write(data)
                await writer.drain()
                self.forwarded[direction] += len(data)
            if direction not in self.black_holes:
                writer.write_eof()
        except (ConnectionError, OSError):
            writer.transport.abort()
