"""Remote consoles: what is sent and read, and what is said of passwords, silence and nonsense."""

from __future__ import annotations

import asyncio
import re
import struct
from collections.abc import Iterable
from contextlib import suppress

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamenode_agent.games.errors import GameError, Garbled, NotAnswering, NotSendable, WrongPassword
from gamenode_agent.games.rcon import PROTOCOLS, console
from gamenode_agent.games.source_rcon import SourceConsole
from support.game_servers import Conversation, silent_port, tcp_server, udp_server

PASSWORD = "s3same"
OOB = b"\xff\xff\xff\xff"


async def told(protocol: str, port: int, *commands: str, password: str = PASSWORD, seconds: float = 2.0) -> list[str]:
    async with console(protocol, "127.0.0.1", port, password, seconds=seconds) as remote:
        return [await remote.command(command) for command in commands]


# Quake 3


def quake3(packet: bytes) -> Iterable[bytes]:
    match = re.fullmatch(rb"\xff{4}rcon (\S+) (.+)\n", packet, re.DOTALL)
    assert match is not None, packet
    if match[1] != PASSWORD.encode():
        yield OOB + b"print\nBad rconpassword.\n"
    elif match[2] == b"cvarlist":
        yield from (OOB + b"print\n" + part for part in (b"a", b"b\n", b"c\n"))
    elif match[2] == b"set x 1":
        yield OOB + b"print\n"
    else:
        yield OOB + b"print\n" + match[2] + b" caf\xe9\n"


async def test_quake3_joins_the_datagrams_of_an_answer() -> None:
    async with udp_server(quake3) as port:
        assert await told("quake3", port, "cvarlist", "set x 1", "say ü") == ["ab\nc\n", "", "say Ã¼ café\n"]


async def test_quake3_refuses_a_wrong_password() -> None:
    async with udp_server(quake3) as port:
        with pytest.raises(WrongPassword) as refused:
            await told("quake3", port, "status", password="0ther")
    assert "0ther" not in str(refused.value)


async def test_quake3_sends_a_command_once_only() -> None:
    heard: list[bytes] = []
    async with udp_server(lambda packet: heard.append(packet) or ()) as port:
        with pytest.raises(NotAnswering):
            await told("quake3", port, "addbot grunt", seconds=0.2)
    assert len(heard) == 1


async def test_an_answer_without_end_ends_with_the_time_it_may_take() -> None:
    async with udp_server(lambda _: [OOB + b"print\nx"] * 200) as port:
        assert (await told("quake3", port, "a", seconds=1))[0].startswith("x")


async def test_quake3_takes_nothing_that_is_no_console() -> None:
    async with udp_server(lambda _: [b"hello"]) as port:
        with pytest.raises(Garbled):
            await told("quake3", port, "status")


@pytest.mark.parametrize("password", ["", "two words", 'quo"te', "semi;colon", "line\nbreak"])
async def test_a_password_that_quake3_cannot_carry_is_refused_without_saying_it(password: str) -> None:
    with pytest.raises(NotSendable) as refused:
        await told("quake3", 1, "status", password=password)
    assert not password or password not in str(refused.value)


# Source


def packet(number: int, kind: int, text: bytes = b"") -> bytes:
    return struct.pack("<iii", len(text) + 10, number, kind) + text + b"\0\0"


def source(answers: dict[bytes, list[bytes]], *, mirrors: bool = True) -> Conversation:
    """As Minecraft does it: takes one packet at a time, and hangs up on two at once."""

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while data := await reader.read(4096):
            length, number, kind = struct.unpack_from("<iii", data)
            if len(data) != length + 4:
                return
            text = data[12:-2]
            if kind == 3:
                writer.write(packet(number, 0))
                writer.write(packet(number if text == PASSWORD.encode() else -1, 2))
            elif kind == 2:
                for part in answers.get(text, [b"Unknown command"]):
                    writer.write(packet(number, 0, part))
            elif mirrors:
                writer.write(packet(number, 0, b"Unknown request 0"))
            await writer.drain()

    return conversation


async def test_source_joins_the_packets_of_an_answer() -> None:
    long = [b"a" * 4000, b"b" * 4000, b"\xe9"]
    async with tcp_server(source({b"list": long})) as port:
        assert await told("source", port, "list", "nonsense") == ["a" * 4000 + "b" * 4000 + "é", "Unknown command"]


async def test_where_source_mirrors_nothing_silence_ends_the_answer() -> None:
    async with tcp_server(source({b"list": [b"a", b"b"]}, mirrors=False)) as port:
        remote = await SourceConsole.connect("127.0.0.1", port, PASSWORD, seconds=2, quiet=0.2)
        assert await remote.command("list") == "ab"
        await remote.close()


async def test_source_refuses_a_wrong_password() -> None:
    async with tcp_server(source({})) as port:
        with pytest.raises(WrongPassword) as refused:
            await told("source", port, "list", password="0ther")
    assert "0ther" not in str(refused.value)


async def test_a_packet_of_a_size_that_cannot_be() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(b"\xff\xff\xff\x7f")
        await reader.read()

    async with tcp_server(conversation) as port:
        with pytest.raises(Garbled, match="cannot have 2147483647 bytes"):
            await told("source", port, "list")


# Teeworlds


async def _teeworlds(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """As teeworlds-server 0.7.5 speaks, at output level 1."""

    def say(line: bytes) -> None:
        writer.write(line + b"\n\0\0")

    say(b"Enter password:")
    for attempt in (1, 2, 3):
        if (await reader.readline()).strip() == PASSWORD.encode():
            break
        say(b"Wrong password %d/3." % attempt)
    else:
        return
    say(b"Authentication successful. External console access granted.")
    while command := (await reader.readline()).strip():
        say(b"[22:03:38][server]: cid=0 cmd='%s'" % command)
        if command.startswith(b"echo "):
            say(b"[22:03:38][Console]: " + command[5:])
        elif command == b"sv_name":
            say(b"[22:03:38][Console]: Value: caf\xe9")
        elif command == b"shutdown":
            return


async def test_teeworlds_answers_end_where_the_echo_comes() -> None:
    async with tcp_server(_teeworlds) as port:
        name, nothing = await told("teeworlds", port, "sv_name", "sv_name x")
    assert name.endswith("[22:03:38][Console]: Value: café\n")
    assert "echo" not in name + nothing


async def test_teeworlds_refuses_a_wrong_password() -> None:
    async with tcp_server(_teeworlds) as port:
        with pytest.raises(WrongPassword) as refused:
            await told("teeworlds", port, "sv_name", password="0ther")
    assert "0ther" not in str(refused.value)


async def test_a_command_that_ends_the_server_has_been_answered() -> None:
    async with tcp_server(_teeworlds) as port:
        assert "shutdown" in (await told("teeworlds", port, "shutdown"))[0]


async def test_who_is_banned_is_told_what_the_server_says() -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"You have been banned for 4 minutes\n\0\0")

    async with tcp_server(conversation) as port:
        with pytest.raises(Garbled, match="banned for 4 minutes"):
            await told("teeworlds", port, "sv_name")


# All


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
async def test_nothing_listens(protocol: str) -> None:
    with pytest.raises(NotAnswering, match="nothing listens there"):
        await told(protocol, silent_port(), "status")


@pytest.mark.parametrize("protocol", ["source", "teeworlds"])
async def test_a_server_that_accepts_and_says_nothing(protocol: str) -> None:
    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        await reader.read()

    async with tcp_server(conversation) as port:
        with pytest.raises(NotAnswering, match="nothing came within"):
            await told(protocol, port, "status", seconds=0.2)


@pytest.mark.parametrize("server", [source({}), _teeworlds])
async def test_two_commands_cannot_be_made_of_one(server: Conversation) -> None:
    async with tcp_server(server) as port:
        with pytest.raises(NotSendable, match="one line"):
            await told("source" if server is not _teeworlds else "teeworlds", port, "say hi\nquit")


@pytest.mark.parametrize("protocol", sorted(PROTOCOLS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(garbage=st.binary(max_size=150), headed=st.booleans())
def test_garbage_is_refused_by_name_or_read(protocol: str, garbage: bytes, headed: bool) -> None:
    heads = {
        "quake3": OOB + b"print\n",
        "source": packet(1, 2) + packet(2, 0),
        "teeworlds": b"Enter password:\n\0\0Authentication successful\n",
    }
    answer = heads[protocol] * headed + garbage

    async def conversation(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(answer)
        await writer.drain()

    async def one() -> None:
        server = udp_server(lambda _: [answer]) if protocol == "quake3" else tcp_server(conversation)
        async with server as port:
            with suppress(GameError):
                await told(protocol, port, "status", seconds=0.1)

    asyncio.run(one())


def test_every_console_that_a_file_may_name_can_be_spoken_to() -> None:
    from gamenode_pipelines.kinds.games import RCON_PROTOCOLS

    assert set(RCON_PROTOCOLS) == PROTOCOLS
