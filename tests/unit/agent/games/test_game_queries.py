"""The protocols that a library speaks for us: its answers made alike, and its ways kept in bounds."""

from __future__ import annotations

import asyncio
import bz2
import importlib
import json
import struct
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamenode_agent.games.errors import Garbled, NotAnswering, NotSendable
from gamenode_agent.games.query import PROTOCOLS, query
from gamenode_agent.games.server_status import ServerStatus
from support.game_servers import silent_port, tcp_server, udp_server

QUAKE3 = (
    b"\xff\xff\xff\xffstatusResponse\n\\com_protocol\\71"
    b"\\sv_hostname\\^1OA ^7caf\xe9\\mapname\\oa_dm1\\sv_maxclients\\8"
    b'\\gamename\\baseoa\n0 0 "Grunt"\n12 48 "\xc3\x9cber"\n'
)
SOURCE = (
    b"\xff\xff\xff\xffI\x11Caf\xe9\0de_dust2\0cstrike\0Counter-Strike\0"
    + struct.pack("<HBBBccBB", 240, 5, 16, 2, b"d", b"l", 0, 1)
    + b"1.0.0.0\0"
)
MINECRAFT = {
    "version": {"name": "1.21", "protocol": 767},
    "players": {"online": 3, "max": 20, "sample": [{"name": "Ann", "id": "x"}]},
    "description": {"text": "§aA ", "extra": [{"text": "server"}, "!"]},
}


def varint(number: int) -> bytes:
    out = b""
    while number >= 0x80:
        out += bytes([number & 0x7F | 0x80])
        number >>= 7
    return out + bytes([number])


def minecraft(document: object) -> bytes:
    text = json.dumps(document).encode()
    body = b"\0" + varint(len(text)) + text
    return varint(len(body)) + body


async def asked_over_tcp(protocol: str, answer: bytes) -> ServerStatus:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await writer.drain()
        await reader.read()

    async with tcp_server(conversation) as port:
        return await query(protocol, "127.0.0.1", port, seconds=2)


async def asked_over_udp(protocol: str, *answers: bytes, seconds: float = 2) -> ServerStatus:
    async with udp_server(lambda _: answers) as port:
        return await query(protocol, "127.0.0.1", port, seconds=seconds)


async def test_quake3_with_colours_and_two_encodings() -> None:
    status = await asked_over_udp("quake3", QUAKE3)
    assert (status.name, status.map, status.players, status.max_players) == ("OA café", "oa_dm1", 2, 8)
    assert status.bots is None, "the protocol does not tell: unknown is not zero"
    assert status.raw["gamename"] == "baseoa"


async def test_source_tells_its_bots() -> None:
    status = await asked_over_udp("source", SOURCE)
    assert (status.name, status.map, status.players, status.bots, status.max_players) == ("Café", "de_dust2", 5, 2, 16)


async def test_minecraft_has_a_name_made_of_parts_and_no_map() -> None:
    status = await asked_over_tcp("minecraft", minecraft(MINECRAFT))
    assert (status.name, status.map, status.players, status.max_players) == ("A server!", "", 3, 20)


async def test_half_a_character_in_a_name_is_no_trouble_later() -> None:
    status = await asked_over_tcp("minecraft", minecraft({**MINECRAFT, "description": "a\ud800b"}))
    assert status.name.encode().decode() == "a?b"


async def test_nothing_listens() -> None:
    with pytest.raises(NotAnswering, match=r"no answer from 127\.0\.0\.1:\d+: nothing listens there"):
        await query("minecraft", "127.0.0.1", silent_port(), seconds=2)


@pytest.mark.parametrize("protocol", ["quake3", "source", "gamespy3", "samp"])
async def test_silence(protocol: str) -> None:
    with pytest.raises(NotAnswering, match=r"nothing came within 0\.1 s"):
        await asked_over_udp(protocol, seconds=0.1)


@pytest.mark.parametrize(
    "answer",
    [
        minecraft({}),
        minecraft([]),
        minecraft({**MINECRAFT, "players": {"online": "many", "max": 20}}),
        minecraft({**MINECRAFT, "players": {"online": -1, "max": 20}}),
        minecraft({**MINECRAFT, "players": {"online": 1e300, "max": 20}}),
        varint(5) + b"\0\x03{{{",
    ],
)
async def test_what_is_no_status_is_refused_by_name(answer: bytes) -> None:
    with pytest.raises(Garbled):
        await asked_over_tcp("minecraft", answer)


async def test_an_answer_without_end_is_not_read_to_its_end() -> None:
    with pytest.raises(Garbled, match="an answer without end"):
        await asked_over_tcp("minecraft", varint(1 << 30) + b"x" * (2 << 20))


async def test_what_unpacks_to_far_too_much_is_not_unpacked() -> None:
    await asked_over_udp("source", SOURCE)
    unpacks = importlib.import_module("opengsq.protocols.source").bz2.decompress
    assert unpacks(bz2.compress(b"abc")) == b"abc"
    assert len(unpacks(bz2.compress(bytes(64 << 20)))) <= 1 << 20


async def test_an_unknown_protocol_names_the_known() -> None:
    with pytest.raises(NotSendable, match=r"does not know the game protocol 'quake9': it knows .*quake3, .*teeworlds"):
        await query("quake9", "127.0.0.1", 1)


HEADS = {
    "quake1": b"\xff\xff\xff\xffn\\",
    "quake2": b"\xff\xff\xff\xffprint\n\\",
    "quake3": b"\xff\xff\xff\xffstatusResponse\n\\",
    "source": b"\xff\xff\xff\xffI",
    "doom3": b"\xff\xffinfoResponse\0",
    "gamespy1": b"\\",
    "gamespy2": b"\x00\x04\x05\x06\x07",
    "ase": b"EYE1",
    "raknet": b"\x1c",
    "samp": b"SAMP",
    "unreal2": b"\x79\0\0\0\0",
}


@pytest.mark.parametrize("protocol", sorted(HEADS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=120), headed=st.booleans())
def test_garbage_is_refused_by_name_or_read(protocol: str, garbage: bytes, headed: bool) -> None:
    async def one() -> None:
        try:
            status: Any = await asked_over_udp(protocol, HEADS[protocol] * headed + garbage, seconds=0.1)
        except (Garbled, NotAnswering):
            return
        assert isinstance(status, ServerStatus)
        (status.name + status.map).encode()

    asyncio.run(one())


def test_every_protocol_that_a_file_may_name_can_be_asked() -> None:
    from gamenode_pipelines.kinds.games import QUERY_PROTOCOLS

    assert set(QUERY_PROTOCOLS) == PROTOCOLS
