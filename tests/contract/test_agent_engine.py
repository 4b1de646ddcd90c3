"""An agent where there is no container engine, or one it may not use: it works, and says what it lacks."""

from __future__ import annotations

import json
import os
import shutil
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gamenode_pipelines.states import TaskState
from support.agent_process import agent_command, running_agent
from support.fake_server import FakeServer, fake_server, plan_of, script
from support.waiting import until

NOBODY = 65534
#: Another user, who may still read the interpreter wherever it is installed, and open no socket by that.
READING = ("--inh-caps", "+dac_read_search", "--ambient-caps", "+dac_read_search")
AS_NOBODY = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups", *READING)


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
def open_dir() -> Iterator[Path]:
    """A folder that every user may enter and use."""
    directory = Path(tempfile.mkdtemp(prefix="gn-engine-"))
    directory.chmod(0o777)
    yield directory
    shutil.rmtree(directory)


async def _works(fake: FakeServer) -> None:
    task = fake.new_task(plan_of(script("a", "true")))
    fake.assign(task)
    assert (await fake.settled(task.id)).state is TaskState.SUCCEEDED


async def test_an_agent_without_docker_works_and_says_what_it_lacks(tmp_path: Path, fake: FakeServer) -> None:
    missing = {"GAMENODE_DOCKER_HOST": f"unix://{tmp_path}/docker.sock", "GAMENODE_ENGINE_RETRY": "100ms"}
    async with running_agent(tmp_path, fake, env=missing) as agent:
        await _works(fake)
        seen = fake.sessions[0]

        def problem() -> str:
            told = [seen.hello.facts, *(each.heartbeat.facts for each in seen.frames)]
            return next((each.engine.problem for each in told if "docker.sock" in each.engine.problem), "")

        assert "systemctl start docker" in await until(problem, what="the problem")
        assert not any(word.startswith("docker") for word in seen.hello.facts.capabilities)
        _, out, _ = await agent_command(tmp_path, agent.data_dir, "status", "-o", "json")
        assert "docker.sock" in json.loads(out)["engine_problem"]
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "doctor", env=missing)
        assert code == 1
        assert "FAIL  container steps cannot run here: there is no" in out


async def test_an_agent_told_to_do_without_containers_looks_for_none(tmp_path: Path, fake: FakeServer) -> None:
    none = {"GAMENODE_DOCKER_HOST": "none"}
    async with running_agent(tmp_path, fake, env=none) as agent:
        await _works(fake)
        hello = fake.sessions[0].hello
        assert not hello.facts.HasField("engine")
        assert hello.containers.complete
        assert not hello.containers.containers
        _, out, _ = await agent_command(tmp_path, agent.data_dir, "status")
        assert "engine  none: the agent was told to do without containers" in out
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "doctor", env=none)
        assert code == 0
        assert "ok    no containers" in out


async def test_whoever_names_no_engine_is_only_warned_that_there_is_none(tmp_path: Path) -> None:
    """On a host with an engine of its own there is one to be found."""
    environ = {"DOCKER_HOST": "", "XDG_RUNTIME_DIR": str(tmp_path)}
    _, out, _ = await agent_command(tmp_path, tmp_path, "doctor", env=environ)
    if not Path("/var/run/docker.sock").exists():
        assert "warn  container steps cannot run here: there is no container engine" in out
    assert "FAIL  container" not in out


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
async def test_an_agent_that_may_not_use_docker_says_what_to_do(open_dir: Path, fake: FakeServer) -> None:
    with socket.socket(socket.AF_UNIX) as door:
        door.bind(str(open_dir / "docker.sock"))
        door.listen()
        (open_dir / "docker.sock").chmod(0o660)
        environ = {"GAMENODE_DOCKER_HOST": f"unix://{open_dir}/docker.sock"}
        fake.identity(open_dir / "agent-data")
        for path in (open_dir / "agent-data", *(open_dir / "agent-data").rglob("*")):
            os.chown(path, NOBODY, NOBODY)
        async with running_agent(open_dir, fake, env=environ, before=AS_NOBODY, joined=True) as agent:
            await _works(fake)
            code, out, _ = await agent_command(open_dir, agent.data_dir, "doctor", env=environ, before=AS_NOBODY)
            assert code == 1
            (line,) = (line for line in out.splitlines() if "container steps" in line)
            assert "group docker" in line
            assert "usermod -aG docker" in line


async def test_a_config_file_with_settings_of_run_serves_every_command(tmp_path: Path, fake: FakeServer) -> None:
    config = tmp_path / "gamenode.yaml"
    config.write_text("agent:\n  slots: 3\n  docker-host: none\n")
    fake.identity(tmp_path / "agent-data")
    for command in ("status", "doctor", "stop"):
        _, out, err = await agent_command(tmp_path, tmp_path / "agent-data", command, "--config", str(config))
        assert "unknown key" not in out + err
