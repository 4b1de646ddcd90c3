"""The container steps on a real Docker engine: what only an engine, a kernel and a restart of both can show."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from gamenode_agent.containers import forks
from gamenode_agent.containers.instances import Instances
from gamenode_agent.engines.containers import ContainerEngine
from gamenode_agent.engines.inline import Result
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor import processes
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.engine_bench import docker_bench
from support.inline_attempts import Bench, FakeHandle, stop
from support.play import IMAGE, PROGRAM
from support.waiting import until

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess


@pytest.fixture
async def engine(docker_engine: DockerEngineProcess) -> AsyncIterator[ContainerEngine]:
    async with docker_bench(docker_engine) as found:
        yield found.engine


def play(*words: str, **more: Any) -> Mapping[str, Any]:
    return {"image": IMAGE, "command": [PROGRAM, *words], "network": "none", **more}


def fresh(bench: Bench, task: str = "task") -> FakeHandle:
    return bench.handle(Attempt(task, 1, "a", 1))


async def job(bench: Bench, values: Mapping[str, Any], handle: FakeHandle) -> Result:
    return await bench.step("container.job", values, key=handle.key).run(handle)


async def printed(handle: FakeHandle, text: str) -> None:
    await until(lambda: text.encode() in handle.output, what=f"{text!r} in {handle.output!r}", seconds=60)


async def died(task: asyncio.Task[Result]) -> None:
    """As far as its steps can tell, the agent is gone."""
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


# -- jobs --------------------------------------------------------------------------------------------------------------


async def test_a_job_ends_as_its_container_and_leaves_nothing(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    handle = fresh(bench)
    done = await job(bench, play("print=line*500", "err=oh", "env=GAMENODE_STEP_ID", "exit=7"), handle)
    assert (done.exit_code, done.error) == (7, None)
    out = b"".join(data for stream, data in handle.writes if stream == 1)
    assert out.decode().splitlines() == [*(f"line {n + 1}" for n in range(500)), "GAMENODE_STEP_ID=a"]
    assert [data for stream, data in handle.writes if stream == 2] == [b"oh\n"]
    assert await engine.inspect("gn-task-a-1") is None


async def test_too_much_memory_and_too_many_processes_are_named(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    # Docker hears of it only if it has begun to listen by then.
    done = await job(bench, play("sleep=1", "eat=64m", "sleep=5", resources={"memory": "24m"}), fresh(bench))
    assert done.error is not None
    assert (done.error.code, done.error.details["limit"]) == (Code.OOM_KILLED, "memory")
    done = await job(bench, play("fork=60", "sleep=600", resources={"pids": 20}), fresh(bench, "other"))
    assert done.error is not None
    assert (done.error.code, done.error.details["limit"]) == (Code.RESOURCE_LIMIT, "pids")


async def test_too_many_processes_are_seen_where_the_kernels_log_is_not_for_us(
    engine: ContainerEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(forks, "_KERNEL_LOG", "/nowhere")
    bench = Bench(engine)
    script = "(for i in $(seq 60); do sleep 600 & done); exec sleep 600"
    values = {**play(resources={"pids": 20}), "command": ["/bin/sh", "-c", script]}
    async with asyncio.timeout(60):
        done = await job(bench, values, fresh(bench))
    assert done.error is not None
    assert (done.error.code, done.exit_code) == (Code.RESOURCE_LIMIT, 137)


async def test_cancel_kills_what_does_not_heed_the_signal(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    handle = fresh(bench)
    values = play("ignore-term", "print=up", "sleep=600")
    task = asyncio.ensure_future(job(bench, values, handle))
    await printed(handle, "up")
    (container,) = await engine.containers()
    shown = await engine.inspect(container.id)
    assert shown is not None
    process = processes.look(shown.pid)
    assert process is not None
    await died(task)
    code = await bench.step("container.job", values).end(handle, stop(policy=StopPolicy("TERM", 0.5)))
    assert code == 137
    now = processes.look(process.pid)
    assert now is None or now.started != process.started
    assert await engine.inspect(container.id) is None


async def test_a_killed_agent_goes_on_with_a_job_without_gap_or_repeat(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    handle = fresh(bench)
    values = play("tick=0.02*100", "exit=5")
    for number in (5, 20, 40):
        task = asyncio.ensure_future(job(bench, values, handle))
        await printed(handle, f"tick {number}\n")
        await died(task)
        handle.again()
    done = await job(bench, values, handle)
    assert done.exit_code == 5
    assert handle.output.decode().splitlines() == [f"tick {n + 1}" for n in range(100)]


async def test_a_container_removed_by_hand_is_gone(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    handle = fresh(bench)
    task = asyncio.ensure_future(job(bench, play("print=up", "sleep=600"), handle))
    await printed(handle, "up")
    await engine.remove("gn-task-a-1", force=True)
    with pytest.raises(GameNodeError) as caught:
        await task
    assert caught.value.code is Code.CONTAINER_GONE


@pytest.mark.parametrize("live_restore", [False, True], ids=["plain", "live-restore"])
async def test_docker_restarts_under_a_job(
    docker_engine: DockerEngineProcess, engine: ContainerEngine, live_restore: bool
) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    bench = Bench(engine)
    handle = fresh(bench)
    if live_restore:
        await asyncio.to_thread(docker_engine.restart, live_restore=True)
        await until(lambda: engine.available and engine.info is not None and engine.info.live_restore, seconds=60)
    try:
        task = asyncio.ensure_future(job(bench, play("tick=0.05*100", "exit=5"), handle))
        await printed(handle, "tick 3\n")
        await asyncio.to_thread(docker_engine.stop)
        await asyncio.to_thread(docker_engine.start, live_restore=live_restore)
        async with asyncio.timeout(60):
            done = await task
    finally:
        if live_restore:
            await asyncio.to_thread(docker_engine.restart)
    lines = handle.output.decode().splitlines()
    assert lines == [f"tick {n + 1}" for n in range(len(lines))]
    if live_restore:
        assert (done.exit_code, done.error, len(lines)) == (5, None, 100)
    else:
        assert done.error is not None
        assert done.error.code is Code.ENGINE_UNAVAILABLE
        assert done.exit_code == 143


# -- run ---------------------------------------------------------------------------------------------------------------


async def test_run_leaves_one_running_and_takes_it_up_again(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    handle = fresh(bench)
    values = play("print=up", "sleep=600", name="d-oa", network="host", ports=["27960:27960/udp"])
    done = await bench.step("container.run", values).run(handle)
    again = await bench.step("container.run", values).run(handle.again())
    assert again == done
    assert done.outputs["port"] == "27960"
    waited = await bench.step(
        "container.wait", {"name": "d-oa", "for": "log", "pattern": "^up$", "seconds": "30s"}
    ).run(fresh(bench))
    assert waited.outputs == {"line": "up"}
    await bench.step("container.remove", {"name": "d-oa"}).run(fresh(bench))
    assert await engine.inspect("d-oa") is None


@pytest.mark.parametrize(
    ("change", "code", "said"),
    [
        ({"image": "gamenode-test/none:1", "pull": "never"}, Code.IMAGE_MISSING, "gamenode-test/none:1"),
        ({"volumes": ["/no/such/folder:/data"]}, Code.INVALID_ARGUMENT, "/no/such/folder"),
        ({"entrypoint": ["/no/such/program"]}, Code.INVALID_ARGUMENT, "/no/such/program"),
        ({"devices": ["/dev/none"]}, None, "/dev/none"),
        ({"network": "d-none"}, None, "d-none"),
    ],
)
async def test_what_cannot_be_is_named_and_leaves_nothing(
    engine: ContainerEngine, change: Mapping[str, Any], code: Code | None, said: str
) -> None:
    bench = Bench(engine)
    with pytest.raises(GameNodeError, match=said) as caught:
        await bench.step("container.run", {**play("sleep=1", name="d-bad"), **change}).run(fresh(bench))
    assert caught.value.code in ((code,) if code else (Code.INVALID_ARGUMENT, Code.INSUFFICIENT_RESOURCES))
    assert await engine.inspect("d-bad") is None


async def test_a_folder_of_the_host_is_seen_inside(engine: ContainerEngine, tmp_path: Path) -> None:
    bench = Bench(engine)
    (tmp_path / "here").touch()
    done = await job(bench, play("need=/data/here", volumes=[f"{tmp_path}:/data:ro"]), fresh(bench))
    assert done.exit_code == 0


async def test_a_stop_command_is_heard_on_the_containers_input(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    ended = {"command": "save world", "via": "stdin", "grace": "20s"}
    values = play("print=up", "read", "exit=9", name="d-in", stdin_open=True, stop=ended)
    await bench.step("container.run", values).run(fresh(bench))
    await bench.step("container.stop", {"name": "d-in"}).run(fresh(bench))
    found = await engine.inspect("d-in")
    assert found is not None
    assert found.exit_code == 9
    lines = [line.data async for line in engine.logs("d-in")]
    assert lines[-1] == b"read: save world\n"


# -- exec --------------------------------------------------------------------------------------------------------------


async def test_a_command_and_every_process_of_it_are_ended(engine: ContainerEngine) -> None:
    if os.getuid():
        pytest.skip("only root may signal what runs in a container")
    bench = Bench(engine)
    await bench.step("container.run", play("print=up", "sleep=600", name="d-exec")).run(fresh(bench))
    handle = fresh(bench, "other")
    script = "trap '' TERM; setsid sleep 700 & sleep 701 & echo up; wait"
    values = {"name": "d-exec", "command": ["/bin/sh", "-c", script]}
    step = bench.step("container.exec", values, key=handle.key)
    task = asyncio.ensure_future(step.run(handle))
    await printed(handle, "up")
    await died(task)
    container = str(handle.notes["container"])
    assert len(_sleepers(container)) == 2
    code = await step.end(handle, stop(policy=StopPolicy("TERM", 0.5)))
    assert code in (0, 137)  # its shell may see the last child end before it is killed itself
    assert not _sleepers(container)
    found = await engine.inspect("d-exec")
    assert found is not None
    assert found.running, "what it ran in goes on"


async def test_a_command_that_outlives_its_agent_is_waited_for(engine: ContainerEngine) -> None:
    bench = Bench(engine)
    await bench.step("container.run", play("sleep=600", name="d-exec")).run(fresh(bench))
    handle = fresh(bench, "other")
    values = {"name": "d-exec", "command": [PROGRAM, "print=up", "sleep=2", "exit=3"]}
    task = asyncio.ensure_future(bench.step("container.exec", values).run(handle))
    await printed(handle, "up")
    await died(task)
    done = await bench.step("container.exec", values).run(handle.again())
    assert done.exit_code == 3


def _sleepers(container: str) -> list[str]:
    found = []
    for pid in processes.everything():
        try:
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            groups = Path(f"/proc/{pid}/cgroup").read_text()
        except OSError:
            continue
        if words[:2] in ([b"sleep", b"700"], [b"sleep", b"701"]) and container in groups:
            found.append(str(pid))
    return found


# -- instances ---------------------------------------------------------------------------------------------------------


async def test_an_instance_survives_a_crash_and_a_restart_of_docker(
    docker_engine: DockerEngineProcess, engine: ContainerEngine
) -> None:
    if not docker_engine.private:
        pytest.skip("the engine of this machine is not ours to stop")
    bench = Bench(engine)
    told: list[str] = []
    wishes = bench.tools.wishes
    instances = Instances(
        engine, wishes, cluster_id="cluster", node_id="node", tell=lambda word, _data: told.append(word)
    )
    async with asyncio.TaskGroup() as group:
        keeping = group.create_task(instances.run())
        done = await bench.step("container.run", play("sleep=600", name="d-keep", restart="on-failure")).run(
            fresh(bench)
        )
        container = done.outputs["id"]
        await engine.kill(container)
        await until(lambda: told == ["instance.crashed", "instance.restarted"], seconds=60, what=str(told))
        await asyncio.to_thread(docker_engine.restart)
        await until(lambda: told[2:] == ["instance.restarted"], seconds=60, what=str(told))
        found = await engine.inspect(container)
        assert found is not None
        assert found.running
        await bench.step("container.stop", {"name": "d-keep"}).run(fresh(bench))
        await asyncio.to_thread(docker_engine.restart)
        await engine.ready(60)
        await asyncio.sleep(2)
        found = await engine.inspect(container)
        assert found is not None
        assert not found.running, "it was stopped on purpose"
        keeping.cancel()
    assert wishes.restarts(container) == 2
