"""`gamenode container` against a real server whose nodes are scripted: names, refusals, answers of nodes, logs."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, Error
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from support.fake_control import FakeControl
from support.scripted_agent import ScriptedAgent, Site, container, site

USAGE = nodes_pb2.ContainerUsage(sampled_at=1.0, cpu_percent=5.0, memory_used=1 << 20)


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, suspect=30.0, offline=90.0, command_timeout=20.0, answer_timeout=20.0) as made:
        yield made


@pytest.fixture
def client(tmp_path: Path) -> FakeControl:
    """Only the client's side of it: the server is a real one."""
    return FakeControl(tmp_path)


async def node(here: Site, name: str, *containers: nodes_pb2.Container, **labels: str) -> ScriptedAgent:
    agent = await here.agent(name, open=False, **labels)
    await agent.open(containers=nodes_pb2.ContainerReport(complete=True, containers=containers))
    return agent


@asynccontextmanager
async def obeying(agent: ScriptedAgent, *errors: Error) -> AsyncIterator[list[agent_link_pb2.ContainerCommand]]:
    """The node does what it is told, or fails at it with `errors`, in turn; gives what it was told.

    Its session is over then.
    """
    told: list[agent_link_pb2.ContainerCommand] = []
    failures = iter(errors)

    async def obey() -> None:
        while True:
            command = await agent.read_until("container_command")
            told.append(command)
            await agent.result(command.command_id, next(failures, None))

    async with asyncio.TaskGroup() as group:
        task = group.create_task(obey())
        yield told
        task.cancel()


async def test_the_list_is_what_the_nodes_tell(here: Site, client: FakeControl) -> None:
    oa = container("oa", usage=USAGE, ports=["27960:27960/udp"], run_id="runaaaaaaaaa")
    await node(here, "a", oa, container("db", own=False), role="game")
    await node(here, "b", container("oa", id="b" * 64, state="exited", exit_code=3))
    running, every, of_b, labelled = await asyncio.gather(
        client.cli("container", "ls", "-o", "json"),
        client.cli("container", "ls", "-a", "-o", "name"),
        client.cli("container", "ls", "-a", "--node", "b", "-o", "json"),
        client.cli("container", "ls", "-a", "-l", "role=game", "-o", "name"),
    )
    found = {one["name"]: one for one in json.loads(running[1])}
    assert found.keys() == {"db", "oa"}
    assert (found["oa"]["own"], found["oa"]["cpu_percent"], found["oa"]["run_id"]) == (True, 5.0, "runaaaaaaaaa")
    assert (found["db"]["own"], found["db"]["memory_used"]) == (False, None)
    assert found["oa"]["seen_at"] is not None
    assert every[1].split() == [b"a/db", b"a/oa", b"b/oa"]
    assert [(one["node"], one["exit_code"]) for one in json.loads(of_b[1])] == [("b", 3)]
    assert labelled[1].split() == [b"a/db", b"a/oa"]
    unknown, wrong = await asyncio.gather(
        client.cli("container", "ls", "--node", "nowhere"), client.cli("container", "ls", "-l", "a in (")
    )
    assert (unknown[0], wrong[0]) == (3, 2)


async def test_stop_and_rm_reach_the_node_and_return_when_it_has_done_it(here: Site, client: FakeControl) -> None:
    agent = await node(here, "a", container("oa"), container("tw", state="exited"))
    async with obeying(agent) as told:
        stopped = await client.cli("container", "stop", "a/oa", "--grace", "3s", "--yes", "--reason", "moved")
        removed = await client.cli("container", "rm", "tw00", "--force", "--yes")
    assert stopped == (0, b"a/oa: stopped\n", "")
    assert removed == (0, b"a/tw: removed\n", "")
    stop, remove = told
    assert (stop.action, stop.grace) == (agent_link_pb2.ContainerCommand.ACTION_STOP, 3.0)
    assert (remove.action, remove.force) == (agent_link_pb2.ContainerCommand.ACTION_REMOVE, True)
    assert (stop.container[:2], remove.container[:2]) == ("oa", "tw")
    audit = json.loads((await client.cli("audit", "ls", "-o", "json"))[1])
    assert ("a/oa", "moved") in {(row["target"], row["reason"]) for row in audit}


async def test_names_that_are_unknown_or_mean_two_do_nothing(here: Site, client: FakeControl) -> None:
    await node(here, "a", container("oa"), container("oa-27960"))
    await node(here, "b", container("oa", id="b" * 64))
    both, unknown, close = await asyncio.gather(
        client.cli("container", "stop", "oa", "--yes"),
        client.cli("container", "stop", "nothing", "--yes"),
        client.cli("container", "rm", "a/oa-27961", "--yes"),
    )
    assert both[0] == 2
    assert "a/oa" in both[2]
    assert "b/oa" in both[2]
    assert (unknown[0], close[0]) == (3, 3)
    assert "'oa-27960'" in close[2]


async def test_a_foreign_container_is_only_shown(here: Site, client: FakeControl) -> None:
    agent = await node(here, "a", container("db", own=False), container("oa"))
    async with obeying(agent) as told:
        alone = await client.cli("container", "rm", "db", "--force", "--yes")
        several = await client.cli("container", "stop", "db", "oa", "--yes")
    assert (alone[0], alone[1]) == (5, b"")
    assert "container db on a is not ours" in alone[2]
    assert len(alone[2].splitlines()) == 1
    assert (several[0], several[1]) == (5, b"a/oa: stopped\n")
    assert [command.container[:2] for command in told] == ["oa"]


async def test_what_goes_wrong_on_the_node_is_said(here: Site, client: FakeControl) -> None:
    agent = await node(here, "a", container("oa"))
    runs = Error(Code.STATE_CONFLICT, "oa runs: stop it first, or use force")
    async with obeying(agent, runs, Error(Code.ENGINE_UNAVAILABLE, "docker does not answer")):
        refused = await client.cli("container", "rm", "oa", "--yes")
        away = await client.cli("container", "stop", "oa", "--yes")
    assert refused == (6, b"", "gamenode: oa runs: stop it first, or use force\n")
    assert away == (4, b"", "gamenode: docker does not answer\n")


async def test_a_log_comes_from_the_node_and_ends_with_it(here: Site, client: FakeControl) -> None:
    agent = await node(here, "a", container("oa"))

    async def speak() -> agent_link_pb2.ContainerLogsWanted:
        wanted = await agent.read_until("container_logs")
        call = await agent.answer(wanted.request_id, b"one\n", b"two\n")
        await call.write(agent_link_pb2.AnswerPiece(data=b"oops\n", stream=2, last=True))
        await call.done_writing()
        await call
        return wanted  # type: ignore[no-any-return]

    wanted, shown = await asyncio.gather(speak(), client.cli("container", "logs", "a/oa", "--tail", "3"))
    assert shown == (0, b"one\ntwo\noops\n", "")
    assert (wanted.tail, wanted.follow) == (3, False)


async def test_a_log_that_the_node_cannot_give_has_its_exit_code(here: Site, client: FakeControl) -> None:
    agent = await node(here, "a", container("oa"))

    async def refuse() -> None:
        wanted = await agent.read_until("container_logs")
        call = await agent.answer(wanted.request_id)
        away = error_to_proto(Error(Code.ENGINE_UNAVAILABLE, "docker does not answer"))
        await call.write(agent_link_pb2.AnswerPiece(error=away, last=True))
        await call.done_writing()
        await call

    _, shown = await asyncio.gather(refuse(), client.cli("container", "logs", "oa", "-f"))
    assert shown == (4, b"", "gamenode: docker does not answer\n")


async def test_engine_and_containers_of_a_node_are_shown(here: Site, client: FakeControl) -> None:
    agent = await here.agent("a", open=False)
    engine = nodes_pb2.EngineFacts(name="docker", available=False, problem="permission denied on docker.sock")
    facts = nodes_pb2.HostFacts(hostname="a", slots=8, agent_version="9.9", engine=engine)
    await agent.open(facts=facts)
    document, doctor = await asyncio.gather(client.cli("node", "show", "a", "-o", "json"), client.cli("doctor"))
    assert json.loads(document[1])["engine"]["problem"] == "permission denied on docker.sock"
    assert "permission denied on docker.sock" in doctor[1].decode()
