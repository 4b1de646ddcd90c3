"""A container's log on its way from a scripted agent to an operator: matched, bounded, and ended from both sides."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.errors import from_rpc
from gamenode_proto.v1 import agent_link_pb2
from gamenode_proto.v1 import state_management_pb2 as pb
from gamenode_server.containers.relay import MAX_NODE_RELAYS, PIECE_COST, WAITING_BYTES
from gamenode_server.store import queries
from support.scripted_agent import ScriptedAgent, Site, container, site
from support.waiting import until


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, answer_timeout=1.0, suspect=20.0, offline=60.0) as made:
        yield made


async def with_container(here: Site, name: str = "a") -> ScriptedAgent:
    agent = await here.agent(name, open=False)
    hello = agent.hello()
    hello.containers.complete = True
    hello.containers.containers.append(container("oa"))
    await agent.open(containers=hello.containers)
    return agent


def tail(here: Site, **fields: Any) -> Any:
    return here.stream(
        here.state.TailContainerLogs, pb.TailContainerLogsRequest(**{"container": "oa", "tail": -1, **fields})
    )


async def end_of(call: Any) -> tuple[bytes, GameNodeError | None]:
    """What an operator reads, and the error at its end."""
    data = b""
    try:
        while (piece := await call.read()) is not grpc.aio.EOF:
            data += piece.data
        if await call.code() is not grpc.StatusCode.OK:
            raise AssertionError(await call.details())
    except grpc.aio.AioRpcError as error:
        return data, from_rpc(error)
    return data, None


async def test_a_log_comes_as_the_node_says_it_and_ends_with_it(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here, follow=True, since=5.0, tail=10)
    wanted = await agent.read_until("container_logs")
    assert wanted.container == container("oa").id
    assert (wanted.follow, wanted.since, wanted.tail) == (True, 5.0, 10)
    answer = await agent.answer(wanted.request_id, b"one\n", b"two\n")
    first = await call.read()
    assert (first.data, first.time, first.stream) == (b"one\n", 1.0, 1)
    await answer.write(agent_link_pb2.AnswerPiece(last=True))
    assert await end_of(call) == (b"two\n", None)
    assert await answer == agent_link_pb2.AnswerEnd()
    assert len(here.server.core.relays) == 0


async def test_what_the_node_says_went_wrong_reaches_the_operator_behind_the_last_piece(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here)
    answer = await agent.answer((await agent.read_until("container_logs")).request_id, b"one\n")
    error = error_to_proto(Error(Code.CONTAINER_GONE, "removed by hand"))
    await answer.write(agent_link_pb2.AnswerPiece(error=error))
    data, failure = await end_of(call)
    assert data == b"one\n"
    assert failure is not None
    assert (failure.code, failure.message) == (Code.CONTAINER_GONE, "removed by hand")


async def test_a_node_may_refuse_by_a_result(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here)
    wanted = await agent.read_until("container_logs")
    await agent.result(wanted.request_id, Error(Code.ENGINE_UNAVAILABLE, "docker is away"))
    _, failure = await end_of(call)
    assert failure is not None
    assert failure.code is Code.ENGINE_UNAVAILABLE


async def test_an_operator_that_leaves_ends_the_nodes_call(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here, follow=True)
    answer = await agent.answer((await agent.read_until("container_logs")).request_id, b"one\n")
    await call.read()
    call.cancel()
    assert await asyncio.wait_for(answer.code(), 10) is grpc.StatusCode.OK
    assert len(here.server.core.relays) == 0


@pytest.mark.parametrize("how", ["call", "connection"])
async def test_a_node_that_breaks_off_is_no_end_of_a_log(here: Site, how: str) -> None:
    for _ in range(3):
        agent = await with_container(here)
        call = tail(here, follow=True)
        answer = await agent.answer((await agent.read_until("container_logs")).request_id, b"one\n")
        await call.read()
        if how == "call":
            answer.cancel()
        else:
            await agent.channel.close()
        _, failure = await end_of(call)
        assert failure is not None
        assert failure.code is Code.DISCONNECTED
        assert "a went away" in failure.message


async def test_a_node_that_never_answers_is_given_up(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here)
    wanted = await agent.read_until("container_logs")
    _, failure = await end_of(call)
    assert failure is not None
    assert failure.code is Code.TIMEOUT
    assert "a was asked for the log of oa" in failure.message
    late = await refused(await agent.answer(wanted.request_id))
    assert late.code is Code.NOT_FOUND


async def test_a_node_that_goes_away_before_it_answers(tmp_path: Path) -> None:
    async with site(tmp_path, answer_timeout=60.0) as here:
        agent = await with_container(here)
        call = tail(here)
        await agent.read_until("container_logs")
        agent.call.cancel()
        _, failure = await end_of(call)
        assert failure is not None
        assert failure.code is Code.DISCONNECTED


async def test_a_node_that_is_not_there_is_not_asked(here: Site) -> None:
    agent = await with_container(here)
    agent.call.cancel()
    await until(lambda: here.server.core.sessions.get(agent.node_id) is None, what="the end of the session")
    _, failure = await end_of(tail(here))
    assert failure is not None
    assert failure.code is Code.STATE_CONFLICT
    assert "node a" in failure.message


async def test_another_nodes_question_is_none_of_its_business(here: Site) -> None:
    agent, other = await with_container(here), await here.agent("b")
    call = tail(here)
    wanted = await agent.read_until("container_logs")
    assert (await refused(await other.answer(wanted.request_id, b"lies\n"))).code is Code.PERMISSION_DENIED
    assert (await refused(await other.answer("aaaaaaaaaaaa"))).code is Code.NOT_FOUND
    assert (await refused(await other.answer(""))).code is Code.PROTOCOL_ERROR
    answer = await agent.answer(wanted.request_id, b"truth\n")
    again = await refused(await agent.answer(wanted.request_id, b"twice\n"))
    assert again.code is Code.STATE_CONFLICT
    await answer.write(agent_link_pb2.AnswerPiece(last=True))
    assert await end_of(call) == (b"truth\n", None)
    (row,) = await here.server.core.store.read(queries.list_audit, user="node:b")
    assert (row.principal, row.method, row.outcome) == ("node:b", "Answer", "permission_denied")
    assert row.target == wanted.request_id


async def refused(answer: Any) -> GameNodeError:
    """Why the server does not take an answer."""
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await answer
    return from_rpc(caught.value)


async def test_a_node_is_asked_so_much_at_a_time(here: Site) -> None:
    agent = await with_container(here)
    calls = []
    for _ in range(MAX_NODE_RELAYS):
        calls.append(tail(here, follow=True))
        await agent.answer((await agent.read_until("container_logs")).request_id, b"x")
        await calls[-1].read()
    _, failure = await end_of(tail(here, follow=True))
    assert failure is not None
    assert failure.code is Code.LIMIT_EXCEEDED
    calls[0].cancel()
    await until(lambda: len(here.server.core.relays) < MAX_NODE_RELAYS, what="a relay to end")
    more = tail(here)
    wanted = await agent.read_until("container_logs")
    answer = await agent.answer(wanted.request_id, b"more\n")
    await answer.write(agent_link_pb2.AnswerPiece(last=True))
    assert await end_of(more) == (b"more\n", None)


async def test_a_flood_for_a_reader_that_stands_still_waits_on_the_node(here: Site) -> None:
    agent = await with_container(here)
    call = tail(here)
    wanted = await agent.read_until("container_logs")
    answer = await agent.answer(wanted.request_id)
    size, count, sent = 65_536, 1024, 0

    async def flood() -> None:
        nonlocal sent
        for number in range(count):
            data = number.to_bytes(4, "big").ljust(size, b"z")
            await answer.write(agent_link_pb2.AnswerPiece(data=data, time=1.0, stream=1))
            sent += 1
        await answer.write(agent_link_pb2.AnswerPiece(last=True))

    (relay,) = here.server.core.relays
    async with asyncio.TaskGroup() as group:
        group.create_task(flood())
        read = await call.read()
        await until(lambda: relay.waiting >= WAITING_BYTES, what="the relay to be full")
        still = -1
        while still != sent:  # the transport's own windows fill up, and then nothing moves
            still = sent
            await asyncio.sleep(0.3)
        assert sent < count
        numbers, highest = [], 0
        while read is not grpc.aio.EOF:
            numbers.append(int.from_bytes(read.data[:4], "big"))
            assert len(read.data) == size
            highest = max(highest, relay.waiting)
            read = await call.read()
    assert numbers == list(range(count))
    assert highest <= WAITING_BYTES + size + PIECE_COST
