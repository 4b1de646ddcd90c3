"""Teeworlds' server information, in both versions, from frames as the real server sends them."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_agent.games import teeworlds
from gamenode_agent.games.errors import Garbled, NotAnswering
from support.game_servers import silent_port, udp_server

TOKEN = b"\xed\xaa\x0c\xd5"


def information_7(name: bytes = b"Tee Caf\xc3\xa9", clients: bytes = b"\x00\x08\x00\x08") -> bytes:
    """As teeworlds-server 0.7.5 sent it, from its version on; `clients` are the four counts and the list."""
    return b"0.7.5\x00" + name + b"\x00\x00dm1\x00DM\x00\x00\x01" + clients


class Server7:
    """Insists on the token, as the real one does."""

    def __init__(self, information: bytes) -> None:
        self.information = information
        self.heard: list[bytes] = []

    def __call__(self, packet: bytes) -> Iterable[bytes]:
        self.heard.append(packet)
        if packet[:1] == b"\x04" and len(packet) >= 520:
            yield b"\x04\x00\x00" + packet[8:12] + b"\x05" + TOKEN
        if packet[:5] == b"\x21" + TOKEN and packet[9:17] == b"\xff\xff\xff\xffgie3":
            yield b"\x21" + packet[5:9] + TOKEN + b"\xff\xff\xff\xffinf3" + packet[17:18] + self.information


def server_6(information: bytes) -> object:
    def answers(packet: bytes) -> Iterable[bytes]:
        if packet[:14] == b"\xff" * 10 + b"gie3":
            yield b"\xff" * 10 + b"inf3" + str(packet[14]).encode() + b"\0" + information

    return answers


async def test_a_server_of_0_7_is_asked_with_its_token() -> None:
    async with udp_server(Server7(information_7())) as port:
        status = await teeworlds.query("127.0.0.1", port)
    assert (status.name, status.map, status.players, status.max_players, status.bots) == ("Tee Café", "dm1", 0, 8, 0)
    assert status.raw["game_type"] == "DM"


async def test_everybody_connected_counts_and_bots_are_told_apart() -> None:
    #                                  playing 2 of 8, connected 3 of 8; name, clan, country, score, kind
    listed = b"\x02\x08\x03\x08" + b"a\0\0\x40\x00\x00" + b"b\0clan\0\x40\x05\x02" + b"c\0\0\x40\x00\x01"
    async with udp_server(Server7(information_7(clients=listed))) as port:
        status = await teeworlds.query("127.0.0.1", port)
    assert (status.players, status.bots, status.raw["playing"]) == (3, 1, "2")


async def test_a_server_of_0_6_answers_in_its_own_way() -> None:
    information = (
        b"0.6.4\0caf\xe9\0ctf1\0CTF\0" + b"0\0" + b"1\0" + b"8\0" + b"2\0" + b"16\0" + b"nameless\0\0-1\x000\x001\0"
    )
    async with udp_server(server_6(information)) as port:  # type: ignore[arg-type]
        status = await teeworlds.query("127.0.0.1", port)
    assert (status.name, status.map, status.players, status.max_players, status.bots) == ("café", "ctf1", 2, 16, None)


@pytest.mark.parametrize(
    ("sent", "shown"), [(b"\xcf\xf0", "Ïð"), ("Ünï ☃".encode(), "Ünï ☃"), (b"a\x1b[31mb", "a[31mb")]
)
async def test_names_survive_in_any_encoding_without_control_characters(sent: bytes, shown: str) -> None:
    async with udp_server(Server7(information_7(name=sent))) as port:
        assert (await teeworlds.query("127.0.0.1", port)).name == shown


async def test_the_request_for_a_token_is_longer_than_its_answer() -> None:
    server = Server7(information_7())
    async with udp_server(server) as port:
        await teeworlds.query("127.0.0.1", port)
    assert max(map(len, server.heard)) == 520


async def test_nothing_listens() -> None:
    with pytest.raises(NotAnswering, match="nothing listens there"):
        await teeworlds.query("127.0.0.1", silent_port())


async def test_silence() -> None:
    async with udp_server(lambda _: ()) as port:
        with pytest.raises(NotAnswering, match=r"nothing came within 0\.2 s"):
            await teeworlds.query("127.0.0.1", port, seconds=0.2)


async def test_garbage_is_not_silence() -> None:
    async with udp_server(lambda _: [b"hello"]) as port:
        with pytest.raises(Garbled, match="not the information"):
            await teeworlds.query("127.0.0.1", port, seconds=0.2)


async def test_a_name_that_nobody_knows() -> None:
    with pytest.raises(NotAnswering):
        await teeworlds.query("no such host", 1)


@given(st.binary(max_size=200))
def test_a_token_is_only_taken_from_a_whole_packet(packet: bytes) -> None:
    token = teeworlds.token_in(packet, b"mine")
    assert token is None or len(token) == 4


@given(
    st.binary(max_size=300),
    st.sampled_from([b"\x21mine" + TOKEN + b"\xff\xff\xff\xffinf3\x07", b"\xff" * 10 + b"inf37\0", b""]),
)
def test_garbage_is_refused_by_name(garbage: bytes, head: bytes) -> None:
    try:
        status = teeworlds.parse(head + garbage, b"mine", 7)
    except ValueError:
        return
    assert status.players is not None
    assert status.players >= 0


@given(st.integers(0, len(information_7()) - 1))
def test_a_truncated_answer_is_refused(length: int) -> None:
    head = b"\x21mine" + TOKEN + b"\xff\xff\xff\xffinf3\x07"
    teeworlds.parse(head + information_7(), b"mine", 7)
    with pytest.raises(ValueError, match="ends within"):
        teeworlds.parse(head + information_7()[:length], b"mine", 7)
