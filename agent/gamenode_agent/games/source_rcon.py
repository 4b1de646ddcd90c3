"""The remote console of the Source engine, which Minecraft and others speak too.

Packets over TCP, little endian: length, id, type, text, two NULs. A long answer is several packets with the id of
the command and no mark at the last. So after the first of them an empty packet with another id is sent, which the
server mirrors when it is done. Not before: Minecraft drops a connection on which two packets arrive at once. Where a
server mirrors nothing, silence ends the answer.

https://developer.valvesoftware.com/wiki/Source_RCON_Protocol
"""

from __future__ import annotations

import asyncio
import struct
from contextlib import suppress

from gamenode_agent.games.errors import Garbled, NotAnswering, NotSendable, WrongPassword, network_trouble
from gamenode_agent.games.text import readable, sendable

_AUTH, _AUTH_ANSWER, _COMMAND, _ANSWER = 3, 2, 2, 0
_REFUSED = -1
_SMALLEST, _LARGEST = 10, 1 << 20
_LONGEST_COMMAND = 4000
#: All that is kept of an answer.
_LONGEST_ANSWER = 1 << 20


class SourceConsole:
    """A connection that has been let in. `quiet` is the silence that ends an answer where nothing else does."""

    def __init__(
        self, where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds: float, quiet: float
    ) -> None:
        self._where, self._reader, self._writer = where, reader, writer
        self._seconds, self._quiet = seconds, quiet
        self._last = 0

    @classmethod
    async def connect(cls, host: str, port: int, password: str, *, seconds: float, quiet: float = 2.0) -> SourceConsole:
        """Connects and hands over the password. Raises GameError."""
        where = f"{host}:{port}"
        secret = sendable(password, "the password")
        with network_trouble(where, seconds):
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(host, port)
        console = cls(where, reader, writer, seconds=seconds, quiet=quiet)
        try:
            await console._authenticate(secret)
        except BaseException:
            await console.close()
            raise
        return console

    async def close(self) -> None:
        """Ends the connection."""
        self._writer.close()
        with suppress(OSError):
            await self._writer.wait_closed()

    async def command(self, text: str) -> str:
        """What the server answers. Raises GameError."""
        command = sendable(text, "a command")
        if not 0 < len(command) <= _LONGEST_COMMAND:
            raise NotSendable(f"a command has 1 to {_LONGEST_COMMAND} bytes, not {len(command)}")
        asked, mark = self._next(), self._next()
        with network_trouble(self._where, self._seconds):
            async with asyncio.timeout(self._seconds):
                await self._send(asked, _COMMAND, command)
                answer = await self._answer_to(asked)
                await self._send(mark, _ANSWER, b"")
        # It mirrors the mark, or says no more, or hangs up after a command that ended the server: all are the end.
        with suppress(NotAnswering), network_trouble(self._where, self._quiet):
            async with asyncio.timeout(self._seconds):
                while len(answer) < _LONGEST_ANSWER:
                    async with asyncio.timeout(self._quiet):
                        number, _, data = await self._receive()
                    if number == mark:
                        break
                    if number == asked:
                        answer += data
        return readable(answer[:_LONGEST_ANSWER])

    async def _authenticate(self, secret: bytes) -> None:
        asked = self._next()
        with network_trouble(self._where, self._seconds):
            async with asyncio.timeout(self._seconds):
                await self._send(asked, _AUTH, secret)
                while True:
                    number, kind, _ = await self._receive()
                    if number == _REFUSED:
                        raise WrongPassword(self._where)
                    # Source sends an empty answer first.
                    if number == asked and kind == _AUTH_ANSWER:
                        return

    async def _answer_to(self, asked: int) -> bytes:
        while True:
            number, _, data = await self._receive()
            if number == asked:
                return data
            if number == _REFUSED:
                raise WrongPassword(self._where)

    async def _send(self, number: int, kind: int, data: bytes) -> None:
        body = struct.pack("<ii", number, kind) + data + b"\0\0"
        self._writer.write(struct.pack("<i", len(body)) + body)
        await self._writer.drain()

    async def _receive(self) -> tuple[int, int, bytes]:
        try:
            (length,) = struct.unpack("<i", await self._reader.readexactly(4))
            if not _SMALLEST <= length <= _LARGEST:
                raise Garbled(self._where, f"a packet cannot have {length} bytes")
            body = await self._reader.readexactly(length)
        except asyncio.IncompleteReadError:
            raise NotAnswering(self._where, "it closed the connection") from None
        number, kind = struct.unpack_from("<ii", body)
        return number, kind, body[8:].rstrip(b"\0")

    def _next(self) -> int:
        self._last += 1
        return self._last
