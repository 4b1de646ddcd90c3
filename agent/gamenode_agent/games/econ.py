"""The external console of Teeworlds: lines over TCP, each from the server followed by two NULs.

It shows what the server prints, be it the answer or something that just happened. To know where an answer ends, each
command is followed by an `echo` of a word that nobody else says.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import suppress

from gamenode_agent.games.errors import Garbled, NotAnswering, NotSendable, WrongPassword, network_trouble
from gamenode_agent.games.text import in_one_line, readable, sendable

_PROMPT = b"Enter password:"
_WELCOME = b"Authentication successful"
_WRONG = b"Wrong password"
#: One line of the server, and one command for it.
_LONGEST_LINE, _LONGEST_COMMAND = 64 << 10, 500
#: All that is kept of an answer.
_LONGEST_ANSWER = 256 << 10


class EconConsole:
    """A connection that has been let in."""

    def __init__(
        self, where: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, *, seconds: float
    ) -> None:
        self._where, self._reader, self._writer, self._seconds = where, reader, writer, seconds

    @classmethod
    async def connect(cls, host: str, port: int, password: str, *, seconds: float) -> EconConsole:
        """Connects and hands over the password. Raises GameError."""
        where = f"{host}:{port}"
        secret = sendable(password, "the password")
        with network_trouble(where, seconds):
            async with asyncio.timeout(seconds):
                reader, writer = await asyncio.open_connection(host, port, limit=_LONGEST_LINE)
        console = cls(where, reader, writer, seconds=seconds)
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
        """What the server prints until it is done with the command. Raises GameError."""
        command = sendable(text, "a command")
        if not 0 < len(command) <= _LONGEST_COMMAND:
            raise NotSendable(f"a command has 1 to {_LONGEST_COMMAND} bytes, not {len(command)}")
        word = secrets.token_hex(8).encode()
        lines: list[bytes] = []
        size = 0
        with network_trouble(self._where, self._seconds):
            async with asyncio.timeout(self._seconds):
                # Two lines, not one with a semicolon: a quote left open would swallow the second.
                await self._send(command)
                await self._send(b"echo " + word)
                while True:
                    try:
                        line = await self._line()
                    except NotAnswering:
                        if lines:
                            break  # the command ended the connection, or the server
                        raise
                    if word in line:
                        if line.endswith(b": " + word):
                            break
                        continue  # the server telling that it was asked to echo
                    if size < _LONGEST_ANSWER:
                        lines.append(line)
                        size += len(line)
        return "".join(f"{readable(line)}\n" for line in lines)

    async def _authenticate(self, secret: bytes) -> None:
        with network_trouble(self._where, self._seconds):
            async with asyncio.timeout(self._seconds):
                prompt = await self._line()
                if not prompt.startswith(_PROMPT):
                    raise Garbled(
                        self._where, f"instead of asking for a password it says {in_one_line(readable(prompt))[:200]!r}"
                    )
                await self._send(secret)
                while not (line := await self._line()).startswith(_WELCOME):
                    if line.startswith(_WRONG):
                        raise WrongPassword(self._where)

    async def _send(self, line: bytes) -> None:
        self._writer.write(line + b"\n")
        await self._writer.drain()

    async def _line(self) -> bytes:
        """The next line without its end. Raises NotAnswering at the end of the connection."""
        try:
            line = await self._reader.readuntil(b"\n")
        except asyncio.IncompleteReadError:
            raise NotAnswering(self._where, "it closed the connection") from None
        except asyncio.LimitOverrunError:
            raise Garbled(self._where, "a line without end") from None
        return line.strip(b"\0\r\n")
