"""The agent as a process with a real Docker engine: found when it comes up, told of, listed, and of use."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

from gamenode_agent.engines.containers import CLUSTER
from gamenode_pipelines.plan import Setting, StepPlan
from gamenode_pipelines.states import TaskState
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand, ContainerLogsWanted, ServerFrame
from gamenode_proto.v1.nodes_pb2 import Container
from support.agent_process import agent_command, running_agent
from support.fake_server import FakeServer, fake_server, plan_of
from support.play import IMAGE, PROGRAM
from support.waiting import until

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
def api(docker_engine: DockerEngineProcess) -> Iterator[docker.APIClient]:
    """A client past the agent; every container goes at the end."""
    client = docker.APIClient(docker_engine.address, version="auto")
    yield client
    docker_engine.clean()
    client.close()


def make(api: docker.APIClient, name: str, *words: str, cluster: str = "cluster") -> str:
    """A container that runs, made past the agent."""
    config = api.create_host_config(network_mode="none")
    made = api.create_container(IMAGE, [PROGRAM, *words], name=name, labels={CLUSTER: cluster}, host_config=config)
    api.start(made["Id"])
    return str(made["Id"])


def told(fake: FakeServer) -> dict[str, Container]:
    """The containers the server knows of, by name."""
    seen = fake.sessions[-1]
    known: dict[str, Container] = {}
    for report in (seen.hello.containers, *(each.heartbeat.containers for each in seen.frames)):
        known = {} if report.complete else known
        known |= {each.id: each for each in report.containers}
        for gone in report.removed:
            known.pop(gone, None)
        for figures in report.usage:
            known[figures.id].usage.CopyFrom(figures)
    return {each.name: each for each in known.values()}


async def test_docker_that_is_there_is_told_of_in_the_first_hello(
    tmp_path: Path, fake: FakeServer, docker_engine: DockerEngineProcess
) -> None:
    async with running_agent(tmp_path, fake, env={"GAMENODE_DOCKER_HOST": docker_engine.address}) as agent:
        facts = fake.sessions[0].hello.facts
        assert {"docker", "docker.network.host", "docker.network.none"} <= set(facts.capabilities)
        assert (facts.engine.name, facts.engine.available) == ("docker", True)
        assert facts.engine.address == docker_engine.address
        assert facts.engine.version
        _, out, _ = await agent_command(tmp_path, agent.data_dir, "status")
        assert f"engine  docker {facts.engine.version} at {docker_engine.address}" in out
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "doctor")
        assert code == 0, out
        assert f"ok    docker {facts.engine.version} at {docker_engine.address}" in out
        assert "live-restore" in out


async def test_docker_that_comes_up_later_is_found_and_used(
    tmp_path: Path, fake: FakeServer, docker_engine: DockerEngineProcess, api: docker.APIClient
) -> None:
    address = {"GAMENODE_DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "GAMENODE_ENGINE_RETRY": "200ms"}
    async with running_agent(tmp_path, fake, env=address):
        assert "docker" not in fake.sessions[0].hello.facts.capabilities
        (tmp_path / "docker.sock").symlink_to(docker_engine.address.removeprefix("unix://"))

        def found() -> bool:
            beats = [each.heartbeat.facts for each in fake.sessions[0].frames if each.heartbeat.HasField("facts")]
            return bool(beats) and "docker" in beats[-1].capabilities and beats[-1].engine.available

        await until(found, what="the engine to be told of")
        await until(
            lambda: any(each.node_event.type == "engine.found" for each in fake.records.values()), what="the event"
        )
        values: dict[str, Setting] = {"image": IMAGE, "command": (PROGRAM, "print=hello", "exit=7"), "network": "none"}
        task = fake.new_task(plan_of(StepPlan("job", kind="container.job", with_=values)))
        fake.assign(task)
        ended = await fake.settled(task.id)
        assert ended.state is TaskState.FAILED
        assert ended.steps["job"].exit_code == 7
        assert b"hello\n" in await fake.whole_log(task.id, "job")


async def test_containers_are_listed_measured_stopped_and_removed(
    tmp_path: Path, fake: FakeServer, docker_engine: DockerEngineProcess, api: docker.APIClient
) -> None:
    make(api, "before", "sleep=600", cluster="another")
    async with running_agent(tmp_path, fake, env={"GAMENODE_DOCKER_HOST": docker_engine.address}):
        made = make(api, "game", "print=hello", "eat=24m", "sleep=600")
        await until(lambda: told(fake).get("game", Container()).state == "running", what="the container")
        assert told(fake)["game"].own
        assert not told(fake)["before"].own
        await until(lambda: told(fake)["game"].usage.memory_used > 20 << 20, what="its figures")
        assert told(fake)["game"].usage.pids >= 1

        wanted = ContainerLogsWanted(request_id="q1", container="game", tail=-1)
        fake.send(ServerFrame(container_logs=wanted))
        assert (await (await fake.answers.begun("q1")).ended()).data == b"hello\n"

        stop = ContainerCommand(command_id="k1", action=ContainerCommand.ACTION_STOP, container="game", grace=5)
        fake.send(ServerFrame(container_command=stop))
        assert not (await fake.result("k1")).error.code
        await until(lambda: told(fake)["game"].state == "exited", what="its end")
        assert told(fake)["game"].exit_code == 143

        remove = ContainerCommand(command_id="k2", action=ContainerCommand.ACTION_REMOVE, container=made)
        fake.send(ServerFrame(container_command=remove))
        assert not (await fake.result("k2")).error.code
        await until(lambda: "game" not in told(fake), what="its removal")
        foreign = ContainerCommand(
            command_id="k3", action=ContainerCommand.ACTION_REMOVE, container="before", force=True
        )
        fake.send(ServerFrame(container_command=foreign))
        assert (await fake.result("k3")).error.code == "permission_denied"
        assert api.inspect_container("before")["State"]["Running"]


async def test_a_restart_of_docker_is_told_and_survived(
    tmp_path: Path, fake: FakeServer, docker_engine: DockerEngineProcess, api: docker.APIClient
) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not stopped for a test")
    make(api, "game", "sleep=600")
    async with running_agent(tmp_path, fake, env={"GAMENODE_DOCKER_HOST": docker_engine.address}):
        await until(lambda: told(fake).get("game", Container()).state == "running", what="the container")
        await asyncio.to_thread(docker_engine.restart)

        def events() -> list[str]:
            found = [fake.records[seq].node_event.type for seq in sorted(fake.records)]
            return [each for each in found if each.startswith("engine.")]

        await until(lambda: events() == ["engine.found", "engine.lost", "engine.found"], what="the events")
        # It has no restart policy of ours, and Docker's own is never used.
        await until(lambda: told(fake)["game"].state == "exited", what="its end")
        assert len(fake.sessions) == 1
