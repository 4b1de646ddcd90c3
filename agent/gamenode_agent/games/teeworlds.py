"""The server information of Teeworlds, versions 0.6 and 0.7, as its server browsers ask for it.

0.7 gives no information to an address that may be forged: a client sends a token of its own in a large packet, gets the
server's token, and puts both into the header of everything that follows. 0.6 asks in one packet.

The packets are described in the `doc` folder of libtw2 (packet7.md, int.md).
"""

from __future__ import annotations

import asyncio
import secrets
from collections import deque

from gamenode_agent.games.datagrams import Datagrams, datagrams
from gamenode_agent.games.errors import Garbled, network_trouble
from gamenode_agent.games.server_status import ServerStatus
from gamenode_agent.games.text import in_one_line, readable

_NO_TOKEN = b"\xff\xff\xff\xff"
_ASK, _TELL = b"\xff\xff\xff\xffgie3", b"\xff\xff\xff\xffinf3"
#: First byte of a control packet and of one outside of a connection, with the version 1.
_CONTROL, _CONNLESS = 0x04, 0x21
_TOKEN_MESSAGE = 5
#: A request for a token is made as long as this (header, message, 512 bytes), so that its answer is no amplification.
_PADDED = 7 + 1 + 512
#: What 0.6 has for a header outside of a connection.
_HEADER_6 = b"\xff" * 6
#: A client's last field in 0.7: plays, watches, or is a bot.
_BOT = 2
#: More than any server seats: past it the packet is no answer.
_MOST_CLIENTS = 1024


async def query(host: str, port: int, *, seconds: float = 3.0) -> ServerStatus:
    """Asks a server in both versions at once and takes the first answer. Raises GameError."""
    where = f"{host}:{port}"
    strange: deque[str] = deque(maxlen=1)
    with network_trouble(where, seconds):
        try:
            async with asyncio.timeout(seconds), datagrams(host, port) as conversation:
                return await _ask(conversation, strange)
        except TimeoutError:
            if strange:  # something came, and none of it made sense: that is not silence
                raise Garbled(where, strange[0]) from None
            raise


async def _ask(conversation: Datagrams, strange: deque[str]) -> ServerStatus:
    mine, nonce = secrets.token_bytes(4), secrets.randbelow(64)
    wanted = bytes([_CONTROL, 0, 0]) + _NO_TOKEN + bytes([_TOKEN_MESSAGE]) + mine
    conversation.send(wanted.ljust(_PADDED, b"\0"))
    conversation.send(_HEADER_6 + _ASK + bytes([nonce]))
    while True:
        packet = await conversation.receive()
        try:
            if (theirs := token_in(packet, mine)) is not None:
                conversation.send(bytes([_CONNLESS]) + theirs + mine + _ASK + bytes([nonce]))
            else:
                return parse(packet, mine, nonce)
        except ValueError as error:
            strange.append(str(error))


def token_in(packet: bytes, mine: bytes) -> bytes | None:
    """The server's token, where the packet brings one for ours."""
    if len(packet) >= 12 and packet[0] == _CONTROL and packet[3:7] == mine and packet[7] == _TOKEN_MESSAGE:
        return packet[8:12]
    return None


def parse(packet: bytes, mine: bytes, nonce: int) -> ServerStatus:
    """The information in a packet of either version; raises ValueError saying what is wrong with it."""
    if packet[:5] == bytes([_CONNLESS]) + mine and packet[9:17] == _TELL:
        return _parse_7(_Fields(packet[17:]), nonce)
    if packet[6:14] == _TELL:
        return _parse_6(_Fields(packet[14:]), nonce)
    raise ValueError("not the information of a Teeworlds server")


def _parse_7(fields: _Fields, nonce: int) -> ServerStatus:
    if fields.integer() != nonce:
        raise ValueError("the answer to another question")
    version, name, hostname, map_, mode = (fields.text() for _ in range(5))
    flags, skill, playing, seats, connected, most = (fields.integer() for _ in range(6))
    bots = 0
    for _ in range(_counted(connected)):
        fields.text(), fields.text()  # name and clan
        fields.integer(), fields.integer()  # country and score
        bots += fields.integer() & _BOT == _BOT
    return ServerStatus(
        players=connected,
        bots=bots,
        max_players=_counted(most),
        map=in_one_line(map_),
        name=in_one_line(name),
        raw={
            "version": version,
            "hostname": hostname,
            "game_type": mode,
            "flags": str(flags),
            "skill_level": str(skill),
            "playing": str(playing),
            "max_playing": str(seats),
        },
    )


def _parse_6(fields: _Fields, nonce: int) -> ServerStatus:
    if fields.decimal() != nonce:
        raise ValueError("the answer to another question")
    version, name, map_, mode = (fields.text() for _ in range(4))
    flags, playing, seats, connected, most = (fields.decimal() for _ in range(5))
    return ServerStatus(
        players=_counted(connected),
        bots=None,
        max_players=_counted(most),
        map=in_one_line(map_),
        name=in_one_line(name),
        raw={
            "version": version,
            "game_type": mode,
            "flags": str(flags),
            "playing": str(playing),
            "max_playing": str(seats),
        },
    )


def _counted(number: int) -> int:
    if not 0 <= number <= _MOST_CLIENTS:
        raise ValueError(f"{number} players cannot be")
    return number


class _Fields:
    """Reads one field after the other; raises ValueError where there is none."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def text(self) -> str:
        """A text up to its NUL."""
        end = self._data.find(b"\0", self._at)
        if end < 0:
            raise ValueError("the answer ends within a text")
        text, self._at = self._data[self._at : end], end + 1
        return readable(text)

    def decimal(self) -> int:
        """A number written out as text."""
        text = self.text()
        if not text.isascii() or not text.removeprefix("-").isdigit() or len(text) > 11:
            raise ValueError("a number is none")
        return int(text)

    def integer(self) -> int:
        """A packed number: six bits, then seven a byte; a first bit each for "more", the second of all for the sign."""
        first = self._byte()
        value, shift, more = first & 0x3F, 6, first & 0x80
        while more:
            if shift > 27:
                raise ValueError("a number is too long")
            byte = self._byte()
            value |= (byte & 0x7F) << shift
            shift, more = shift + 7, byte & 0x80
        return ~value if first & 0x40 else value

    def _byte(self) -> int:
        if self._at >= len(self._data):
            raise ValueError("the answer ends within a number")
        self._at += 1
        return self._data[self._at - 1]
