"""Relays: an answer goes to who asked, in order, as fast as it is read, to the end of either side."""

from __future__ import annotations

import asyncio

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_server.containers.relay import PIECE_COST, Piece, Relay, Relays


def piece(data: bytes = b"x") -> Piece:
    return Piece(data, 1.0, 1)


async def rest(relay: Relay) -> list[bytes]:
    return [piece.data async for piece in relay.pieces()]


async def test_pieces_keep_their_order_and_empty_ones_are_not_told() -> None:
    relay = Relay("q", "n")
    for data in (b"one", b"", b"two"):
        await relay.put(piece(data))
    relay.end()
    assert await rest(relay) == [b"one", b"two"]


async def test_the_first_end_counts_and_comes_behind_what_was_said() -> None:
    relay = Relay("q", "n")
    await relay.put(piece(b"one"))
    relay.end(Error(Code.CONTAINER_GONE, "gone"))
    relay.end()
    pieces = relay.pieces()
    assert (await anext(pieces)).data == b"one"
    with pytest.raises(GameNodeError, match="gone"):
        await anext(pieces)


async def test_whoever_says_more_than_is_read_waits() -> None:
    relay = Relay("q", "n", capacity=10 * PIECE_COST)
    said = 0

    async def talk() -> None:
        nonlocal said
        for _ in range(1000):
            await relay.put(piece())
            said += 1
        relay.end()

    async with asyncio.TaskGroup() as group:
        group.create_task(talk())
        pieces = relay.pieces()
        await anext(pieces)
        for _ in range(20):
            await asyncio.sleep(0)
        assert said < 25
        assert relay.waiting <= 11 * PIECE_COST + 11
        assert len([one async for one in pieces]) == 999
    assert relay.waiting == 0


async def test_a_question_is_answered_once_by_the_node_it_was_put_to() -> None:
    relays, began = Relays(), []
    with relays.opened("q", "n", on_claim=lambda: began.append(True)) as relay:
        with pytest.raises(GameNodeError) as foreign:
            relays.claim("q", "m")
        assert began == []
        assert relays.claim("q", "n") is relay
        with pytest.raises(GameNodeError) as again:
            relays.claim("q", "n")
        assert not relay.left.is_set()
    assert relay.left.is_set()
    with pytest.raises(GameNodeError) as late:
        relays.claim("q", "n")
    assert [caught.value.code for caught in (foreign, again, late)] == [
        Code.PERMISSION_DENIED,
        Code.STATE_CONFLICT,
        Code.NOT_FOUND,
    ]
    assert began == [True]


async def test_there_are_only_so_many_of_them() -> None:
    relays = Relays(limit=3, node_limit=2)
    with relays.opened("1", "n"), relays.opened("2", "n"):
        with pytest.raises(GameNodeError, match="from this node"), relays.opened("3", "n"):
            pass
        with relays.opened("4", "m"), pytest.raises(GameNodeError) as caught, relays.opened("5", "o"):
            pass
    assert caught.value.code is Code.LIMIT_EXCEEDED
    assert len(relays) == 0
