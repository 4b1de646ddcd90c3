"""Containers for operators: what is listed, which one a word means, commands and what the node says of them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from gamenode_proto.v1 import state_management_pb2 as pb
from gamenode_server.rpc import containers
from gamenode_server.store import queries
from support.scripted_agent import ScriptedAgent, Site, container, site
from support.waiting import until

Command = agent_link_pb2.ContainerCommand


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, command_timeout=1.0, suspect=20.0, offline=60.0) as made:
        yield made


async def with_containers(here: Site, name: str, *containers: nodes_pb2.Container) -> ScriptedAgent:
    agent = await here.agent(name, open=False)
    await agent.open(containers=nodes_pb2.ContainerReport(complete=True, containers=containers))
    return agent


async def listed(here: Site, **fields: Any) -> list[str]:
    answer = await here.call(here.state.ListContainers, pb.ListContainersRequest(**fields))
    return [f"{one.node}/{one.container.name}" for one in answer.containers]


def stop(here: Site, container: str, **fields: Any) -> asyncio.Task[Any]:
    request = pb.StopContainerRequest(**{"container": container, "grace": -1.0, **fields})
    return asyncio.ensure_future(here.call(here.state.StopContainer, request))


async def refusal(call: Any) -> GameNodeError:
    with pytest.raises(GameNodeError) as caught:
        await call
    return caught.value


async def test_the_list_is_of_what_runs_or_of_everything_by_node_and_name(here: Site) -> None:
    agent = await with_containers(here, "b", container("web", own=False), container("oa", ports=["1:1/udp"]))
    await with_containers(here, "a", container("old", state="exited", exit_code=137, oom_killed=True))
    assert await listed(here) == ["b/oa", "b/web"]
    assert await listed(here, all=True) == ["a/old", "b/oa", "b/web"]
    assert await listed(here, all=True, node="a") == ["a/old"]
    assert (await refusal(listed(here, node="c"))).code is Code.NOT_FOUND
    answer = await here.call(here.state.ListContainers, pb.ListContainersRequest(node="b"))
    own, foreign = answer.containers
    assert (own.node_id, own.container.own, list(own.container.ports)) == (agent.node_id, True, ["1:1/udp"])
    assert not foreign.container.own


@pytest.mark.parametrize(("limit", "most"), [("MAX_LISTED", 2), ("MAX_LISTED_BYTES", 400)])
async def test_more_than_one_answer_holds_is_asked_for_in_parts(
    here: Site, monkeypatch: pytest.MonkeyPatch, limit: str, most: int
) -> None:
    await with_containers(here, "a", container("one"))
    await with_containers(here, "b", *(container(f"web{number}") for number in range(20)))
    monkeypatch.setattr(containers, limit, most)
    error = await refusal(listed(here))
    assert (error.code, "ask for those of one node" in error.message) == (Code.LIMIT_EXCEEDED, True)
    assert await listed(here, node="a") == ["a/one"]


async def test_a_heartbeat_tells_what_changed_and_a_node_that_left_keeps_its_containers(here: Site) -> None:
    agent = await with_containers(here, "a", container("one"), container("two"))
    await agent.beat(
        containers=nodes_pb2.ContainerReport(containers=[container("three")], removed=[container("one").id]), seq=2
    )
    assert (await agent.read_until("ack")).heartbeat == 2
    assert await listed(here) == ["a/three", "a/two"]
    agent.call.cancel()
    await until(lambda: here.server.core.sessions.get(agent.node_id) is None, what="the end of the session")
    assert await listed(here) == ["a/three", "a/two"]


async def test_the_list_is_as_of_the_last_heartbeat_while_the_engine_answers(here: Site) -> None:
    agent = await with_containers(here, "a", container("one"))

    async def seen_at() -> float:
        (one,) = (await here.call(here.state.ListContainers, pb.ListContainersRequest())).containers
        return float(one.seen_at)

    async def beat(seq: int, *, available: bool) -> None:
        facts = agent.hello().facts
        facts.engine.available = available
        await agent.beat(seq, facts=facts)
        while (await agent.read_until("ack")).heartbeat < seq:
            pass

    first = await seen_at()
    await beat(2, available=True)
    second = await seen_at()
    assert second > first
    await beat(3, available=False)
    assert await seen_at() == second


async def test_an_engine_that_is_away_needs_attention(here: Site) -> None:
    agent = await here.agent("a")
    facts = agent.hello().facts
    facts.engine.MergeFrom(nodes_pb2.EngineFacts(name="docker", address="unix:///run/docker.sock", problem="no answer"))
    await agent.beat(facts=facts)

    async def texts() -> list[str]:
        status = await here.call(here.state.GetStatus, pb.GetStatusRequest())
        return [item.text for item in status.attention]

    async def listed_so() -> bool:
        return await texts() == ["docker is away on a: no answer"]

    await until(listed_so, what="the engine to be listed")
    facts.engine.available = True
    await agent.beat(2, facts=facts)

    async def listed_no_more() -> bool:
        return not await texts()

    await until(listed_no_more, what="the engine to be forgotten")


async def test_a_node_that_is_removed_takes_its_containers_along(here: Site) -> None:
    agent = await with_containers(here, "a", container("one"))
    await agent.send(agent_link_pb2.AgentFrame(goodbye=agent_link_pb2.Goodbye(reason="moved")))
    await agent.call.done_writing()
    await until(lambda: here.server.core.sessions.get(agent.node_id) is None, what="the end of the session")
    await here.call(here.state.RemoveNode, pb.RemoveNodeRequest(node="a"))
    assert here.server.core.sessions.containers.seen_at(agent.node_id) == 0


async def test_stop_answers_when_the_node_has_done_it(here: Site) -> None:
    agent = await with_containers(here, "a", container("oa"))
    call = stop(here, "oa", grace=7.5, reason="map change")
    command = await agent.read_until("container_command")
    assert (command.action, command.container, command.grace) == (Command.ACTION_STOP, container("oa").id, 7.5)
    assert not call.done()
    await agent.result(command.command_id)
    await call
    (row,) = await here.server.core.store.read(queries.list_audit, node="a")
    assert (row.method, row.target, row.outcome, row.reason) == ("StopContainer", "a/oa", "ok", "map change")
    assert json.loads(row.request)["container"] == container("oa").id
    events = (await here.server.core.store.read(queries.list_events)).events
    (event,) = [event for event in events if event.type == "container.stop_requested"]
    assert (event.node_id, event.data["container"], event.data["reason"]) == (agent.node_id, "oa", "map change")


async def test_remove_says_how_and_hands_on_what_the_node_says(here: Site) -> None:
    agent = await with_containers(here, "a", container("oa"))
    request = pb.RemoveContainerRequest(container="oa", force=True)
    call = asyncio.ensure_future(here.call(here.state.RemoveContainer, request))
    command = await agent.read_until("container_command")
    assert (command.action, command.force) == (Command.ACTION_REMOVE, True)
    await agent.result(command.command_id, Error(Code.ENGINE_UNAVAILABLE, "docker is away: no such socket"))
    error = await refusal(call)
    assert (error.code, error.message) == (Code.ENGINE_UNAVAILABLE, "docker is away: no such socket")
    rows = await here.server.core.store.read(queries.list_audit)
    assert [row.outcome for row in rows if row.method == "RemoveContainer"] == ["ok", "engine_unavailable"]


async def test_what_is_not_ours_is_not_touched(here: Site) -> None:
    await with_containers(here, "a", container("postgres", own=False))
    error = await refusal(stop(here, "postgres"))
    assert error.code is Code.PERMISSION_DENIED
    assert "postgres on a is not ours" in error.message
    (row,) = [row for row in await here.server.core.store.read(queries.list_audit) if row.method == "StopContainer"]
    assert (row.target, row.outcome) == ("a/postgres", "permission_denied")


async def test_a_name_that_two_nodes_have_needs_its_node(here: Site) -> None:
    await with_containers(here, "a", container("oa"))
    agent = await with_containers(here, "b", container("oa", id="b" * 64))
    error = await refusal(stop(here, "oa"))
    assert error.code is Code.INVALID_ARGUMENT
    assert "a/oa" in error.details["candidates"]
    assert "b/oa" in error.details["candidates"]
    for words in ({"container": "oa", "node": "b"}, {"container": "b/oa"}, {"container": "bbbbbb"}):
        call = stop(here, **words)
        command = await agent.read_until("container_command")
        assert command.container == "b" * 64
        await agent.result(command.command_id)
        await call
    assert (await refusal(stop(here, "bbb"))).code is Code.NOT_FOUND
    assert "did you mean 'oa'" in (await refusal(stop(here, "oaa", node="a"))).message


async def test_a_node_that_is_away_is_told_nothing(here: Site) -> None:
    agent = await with_containers(here, "a", container("oa"))
    agent.call.cancel()
    await until(lambda: here.server.core.sessions.get(agent.node_id) is None, what="the end of the session")
    error = await refusal(stop(here, "oa"))
    assert error.code is Code.STATE_CONFLICT
    assert "node a is not connected" in error.message


async def test_a_node_that_does_not_say_may_still_do_it(here: Site) -> None:
    agent = await with_containers(here, "a", container("oa"))
    call = stop(here, "oa")
    command = await agent.read_until("container_command")
    error = await refusal(call)
    assert error.code is Code.TIMEOUT
    assert "it may still do it" in error.message
    await agent.result(command.command_id)  # too late, and no harm
    await agent.beat(9)
    while (await agent.read_until("ack")).heartbeat < 9:
        pass


async def test_a_node_that_goes_away_meanwhile(tmp_path: Path) -> None:
    async with site(tmp_path, command_timeout=60.0) as here:
        agent = await with_containers(here, "a", container("oa"))
        call = stop(here, "oa")
        await agent.read_until("container_command")
        agent.call.cancel()
        error = await refusal(call)
    assert error.code is Code.DISCONNECTED
    assert "went away" in error.message


async def test_a_caller_that_hangs_up_has_asked_all_the_same(here: Site) -> None:
    agent = await with_containers(here, "a", container("oa"))
    call = stop(here, "oa", reason="oops")
    await agent.read_until("container_command")
    call.cancel()
    session = here.server.core.sessions.get(agent.node_id)
    assert session is not None
    await until(lambda: not len(session.pending), what="the call to end")
    (row,) = await here.server.core.store.read(queries.list_audit, node="a")
    assert (row.outcome, row.reason) == ("ok", "oops")


@pytest.mark.parametrize("fields", [{"grace": 1e9}, {"grace": float("nan")}, {"reason": "x" * 1001}])
async def test_what_makes_no_sense_is_refused(here: Site, fields: dict[str, Any]) -> None:
    await with_containers(here, "a", container("oa"))
    assert (await refusal(stop(here, "oa", **fields))).code is Code.INVALID_ARGUMENT
