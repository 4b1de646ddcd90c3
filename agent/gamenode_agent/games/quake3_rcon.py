"""The remote console of Quake 3 and its kin: one datagram with password and command, answers in datagrams.

Nothing marks the end of an answer, so silence does. A command is sent once only: whether it or its answer was lost
cannot be told.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress

from gamenode_agent.games.datagrams import datagrams
from gamenode_agent.games.errors import Garbled, NotSendable, WrongPassword, network_trouble
from gamenode_agent.games.text import readable, sendable

_MARK = b"\xff\xff\xff\xff"
_PRINT = b"print\n"
_REFUSALS = (b"Bad rconpassword", b"No rconpassword set", b"Invalid password")
#: The server cuts a command at what its line holds.
_LONGEST_COMMAND = 1000
#: All that is kept of an answer.
_LONGEST_ANSWER = 256 << 10


class Quake3Console:
    """Nothing is connected: each command stands alone and carries the password."""

    def __init__(self, host: str, port: int, password: str, *, seconds: float, quiet: float = 0.4) -> None:
        self._address = (host, port)
        self._where = f"{host}:{port}"
        self._password = sendable(password, "the password")
        if not self._password or any(mark in self._password for mark in b' \t";'):
            raise NotSendable("a password for this console is a word without spaces, quotes and semicolons")
        self._seconds, self._quiet = seconds, quiet

    async def command(self, text: str) -> str:
        """What the server answers. Raises GameError."""
        command = sendable(text, "a command")
        if not 0 < len(command) <= _LONGEST_COMMAND:
            raise NotSendable(f"a command has 1 to {_LONGEST_COMMAND} bytes, not {len(command)}")
        with network_trouble(self._where, self._seconds):
            async with datagrams(*self._address) as conversation:
                conversation.send(_MARK + b"rcon " + self._password + b" " + command + b"\n")
                async with asyncio.timeout(self._seconds):
                    answer = self._printed(await conversation.receive())
                if answer.startswith(_REFUSALS):
                    raise WrongPassword(self._where)
                # Silence ends the answer; the longer limit is for one that never ends.
                with suppress(TimeoutError):
                    async with asyncio.timeout(self._seconds):
                        while len(answer) < _LONGEST_ANSWER:
                            async with asyncio.timeout(self._quiet):
                                answer += self._printed(await conversation.receive())
        return readable(answer[:_LONGEST_ANSWER])

    def _printed(self, packet: bytes) -> bytes:
        if not packet.startswith(_MARK + _PRINT):
            raise Garbled(self._where, "not a line of a Quake 3 console")
        return packet.removeprefix(_MARK + _PRINT)
