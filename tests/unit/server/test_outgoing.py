"""The frames on their way to one agent: ordered, bounded, acknowledgements merged."""

from __future__ import annotations

import asyncio

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.v1 import agent_link_pb2
from gamenode_server.outgoing import Outgoing


def frame(name: str) -> agent_link_pb2.ServerFrame:
    return agent_link_pb2.ServerFrame(drain=agent_link_pb2.Drain(reason=name))


async def test_frames_keep_their_order_and_come_before_an_ack() -> None:
    out = Outgoing()
    out.put(frame("a"))
    out.ack(heartbeat=1)
    out.put(frame("b"))
    got = [await out.next() for _ in range(3)]
    assert [item.WhichOneof("body") for item in got if item is not None] == ["drain", "drain", "ack"]
    assert [item.drain.reason for item in got[:2] if item is not None] == ["a", "b"]


async def test_acks_are_merged_into_the_newest() -> None:
    out = Outgoing()
    out.start_at(3)
    for seq in (4, 5, 6):
        out.ack(acked=seq)
    out.ack(heartbeat=9)
    ack = await out.next()
    assert ack is not None
    assert (ack.ack.acked, ack.ack.heartbeat) == (6, 9)
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(out.next(), 0.05)


async def test_an_ack_of_records_comes_by_itself_in_a_moment() -> None:
    out = Outgoing()
    out.ack(acked=2)
    ack = await asyncio.wait_for(out.next(), 1)
    assert ack is not None
    assert ack.ack.acked == 2


async def test_a_heartbeat_is_not_answered_with_a_lower_cursor() -> None:
    out = Outgoing()
    out.start_at(40)
    out.ack(heartbeat=1)
    ack = await out.next()
    assert ack is not None
    assert ack.ack.acked == 40


async def test_who_does_not_read_loses_the_session_and_not_the_servers_memory() -> None:
    out = Outgoing(capacity=3)
    for number in range(100):
        out.put(frame(str(number)))
    with pytest.raises(GameNodeError) as raised:
        await out.next()
    assert raised.value.code is Code.LIMIT_EXCEEDED


async def test_closing_drops_what_is_queued_and_the_first_error_counts() -> None:
    out = Outgoing()
    out.put(frame("a"))
    out.close(Error(Code.REVOKED, "out"))
    out.close(Error(Code.SUPERSEDED, "later"))
    with pytest.raises(GameNodeError) as raised:
        await out.next()
    assert raised.value.code is Code.REVOKED


async def test_finishing_sends_what_is_queued_first() -> None:
    out = Outgoing()
    out.put(frame("a"))
    out.ack(acked=1)
    out.finish()
    kinds = [item.WhichOneof("body") if (item := await out.next()) is not None else None for _ in range(3)]
    assert kinds == ["drain", "ack", None]


async def test_waiting_for_a_frame_ends_with_the_session() -> None:
    out = Outgoing()
    async with asyncio.TaskGroup() as group:
        waiting = group.create_task(out.next())
        await asyncio.sleep(0)
        out.finish()
    assert waiting.result() is None
