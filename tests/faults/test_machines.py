"""Promises 18 to 20: full disks, wall clocks that jump, and steps that take more than they may."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from gamenode_proto.v1.work_pb2 import StepStatus
from support.cluster import Cluster, run_to_end, running_cluster, settled, start_run, state_of
from support.waiting import until

#: Counts until a file appears, and says to which number; its lines are long, a page of the disk is soon full.
COUNTING = """
pipeline: counting
params: {stop: {type: string}}
steps:
  - id: count
    env: {STOP: "${{ params.stop }}", PAD: "%s"}
    run: i=0; while [ ! -e "$STOP" ]; do echo "line $i $PAD"; i=$((i + 1)); sleep 0.02; done; echo "$i" > "$STOP.count"
  - {id: after, run: echo after}
""" % ("." * 400)
SMALL = "pipeline: {}\nsteps: [{{id: x, run: 'true'}}]\n"


# -- full disks --------------------------------------------------------------------------------------------------------


@contextmanager
def small_disk(folder: Path, *, mebibytes: int) -> Iterator[Path]:
    """A file system of its own under `folder`, which goes when the block ends."""
    if os.getuid() != 0:
        pytest.skip("only root can mount a disk that is soon full")
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={mebibytes}m,mode=755", "tmpfs", folder], check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this system lets nobody mount a tmpfs")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def fill(folder: Path) -> Path:
    """Takes the last byte of the disk that `folder` is on."""
    filler = folder / "filler"
    for block in (1 << 16, 4096):
        with filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(b"x" * block)
            except OSError:
                continue
    assert os.statvfs(folder).f_bavail == 0
    return filler


async def ended(gateway: Gateway, run_id: str, seconds: float = 30.0) -> RunDocument:
    """The run's document once its logs have settled too."""
    await settled(gateway, run_id, seconds)
    async with asyncio.timeout(seconds):
        async for update in gateway.pipelines.watch_run(run_id):
            if update.ended:
                break
    return await gateway.pipelines.get_run(run_id)


async def text_of(gateway: Gateway, document: RunDocument, step: str) -> str:
    (status,) = [status for status in document.logs if status.ref.step_id == step]
    return (await gateway.state.read_log(status.ref, offset=0, limit=1 << 20)).data.decode()


def everything_said(stop: Path) -> str:
    """What the counting step has printed."""
    return "".join(f"line {n} {'.' * 400}\n" for n in range(int(Path(f"{stop}.count").read_text())))


async def node_state(cluster: Cluster) -> str:
    (node,) = json.loads(await cluster.cli("node", "ls", "-o", "json"))
    return str(node["state"])


async def test_a_server_whose_disk_is_full_says_so_keeps_its_word_and_heals(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with small_disk(tmp_path / "server", mebibytes=24) as disk:
        async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
            pid = cluster.server.pid
            document = await start_run(gateway, COUNTING, stop=str(stop))
            await asyncio.sleep(0.5)
            filler = fill(disk)
            kept, refused = [], 0
            for number in range(200):
                file = tmp_path / "small.yaml"
                file.write_text(SMALL.format(f"p{number}") + f"description: {'x' * 60_000}\n")
                argv = [*cluster.server.argv[:1], "-m", "gamenode_console", "--data-dir", str(cluster.data_dir)]
                _, err, code = await run_to_end([*argv, "pipeline", "apply", str(file)], env=cluster.env, code=None)
                if code == 0:
                    kept.append(f"p{number}")
                    continue
                assert code == 1
                assert len(err.splitlines()) == 1
                assert "disk is full" in err
                refused += 1
                if refused == 3:
                    break
            assert refused == 3, "a disk without a free byte took everything"
            status = json.loads(await cluster.cli("status", "-o", "json"))
            assert status["storage"] == "storage_full"
            assert any("disk is full" in item["text"] for item in status["attention"])

            stop.touch()  # the step ends while nothing can be stored
            await until(lambda: (tmp_path / "stop.count").exists(), what="the step to end")
            await asyncio.sleep(1.0)
            assert await node_state(cluster) == "online"
            assert cluster.server.runs

            filler.unlink()
            document = await ended(gateway, document.run.id)
            assert state_of(document) is RunState.SUCCEEDED
            assert all(log.complete and not log.holes for log in document.logs)
            assert await text_of(gateway, document, "count") == everything_said(stop)
            assert cluster.server.pid == pid, "it never fell over"
            stored = {item["name"] for item in json.loads(await cluster.cli("pipeline", "ls", "-o", "json"))}
            assert {name for name in stored if name.startswith("p")} == set(kept)
            await cluster.cli("pipeline", "apply", str(tmp_path / "small.yaml"))
            assert json.loads(await cluster.cli("status", "-o", "json"))["storage"] == "ok"


async def test_an_agent_whose_disk_is_full_drops_logs_and_no_event_and_refuses_work(tmp_path: Path) -> None:
    stop = tmp_path / "stop"
    with small_disk(tmp_path / "eu-1", mebibytes=24) as disk:
        env = {"GAMENODE_DISK_RESERVE": "2m"}
        async with running_cluster(tmp_path, agents=["eu-1"], env=env) as cluster, cluster.gateway() as gateway:
            (agent,) = cluster.agents
            text = COUNTING.replace("  - {id: after, run: echo after}\n", "")  # a new step would need room
            document = await start_run(gateway, text, stop=str(stop))
            await asyncio.sleep(0.5)
            filler = fill(disk)
            await asyncio.sleep(0.3)
            for _ in range(3):
                new = await settled(gateway, (await start_run(gateway, SMALL.format("new"))).run.id, 5)
                assert state_of(new) is RunState.FAILED
                error = new.tasks[0].error
                assert error.code == "insufficient_resources", error
                assert (error.details["free"], error.details["needed"]) == ("0", str(2 << 20))
            await asyncio.sleep(0.5)
            stop.touch()
            full = await settled(gateway, document.run.id, 5)
            assert state_of(full) is RunState.SUCCEEDED, "state events do not wait for the disk"
            filler.unlink()
            document = await ended(gateway, document.run.id)
            (log,) = [log for log in document.logs if log.ref.step_id == "count"]
            assert {hole.reason for hole in log.holes} == {"disk_full"}
            assert log.bytes + sum(hole.length for hole in log.holes) == len(everything_said(stop))
            assert log.sha256
            assert agent.runs
            new = await settled(gateway, (await start_run(gateway, SMALL.format("new"))).run.id, 5)
            assert state_of(new) is RunState.SUCCEEDED


async def test_a_log_that_would_fill_the_agents_disk_leaves_room_for_the_end_of_its_task(tmp_path: Path) -> None:
    flood = "pipeline: flood\nsteps: [{id: flood, run: head -c 40000000 /dev/zero}, {id: after, run: 'true'}]\n"
    with small_disk(tmp_path / "eu-1", mebibytes=24):
        env = {"GAMENODE_DISK_RESERVE": "4m"}
        async with running_cluster(tmp_path, agents=["eu-1"], env=env) as cluster, cluster.gateway() as gateway:
            document = await ended(gateway, (await start_run(gateway, flood)).run.id)
            assert state_of(document) is RunState.SUCCEEDED
            (log,) = [log for log in document.logs if log.ref.step_id == "flood"]
            assert {hole.reason for hole in log.holes} == {"disk_full"}
            assert log.sha256
            assert log.bytes > 16 << 20
            assert log.bytes + sum(hole.length for hole in log.holes) == 40_000_000
            assert await node_state(cluster) == "online"


# -- clocks ------------------------------------------------------------------------------------------------------------

DAY = 86_400
#: Intervals far above what a busy machine takes, and far below a day.
PATIENT = {
    "GAMENODE_SUSPECT": "5s",
    "GAMENODE_OFFLINE": "10s",
    "GAMENODE_SILENCE_LIMIT": "8s",
    "GAMENODE_KEEPALIVE_TIMEOUT": "5s",
}
_LIBRARIES = ("/usr/lib/*/faketime/libfaketimeMT.so.1", "/usr/lib/faketime/libfaketimeMT.so.1")


def faketime() -> str:
    """The library that shows a process another wall clock, which a file moves while it runs."""
    found = [path for pattern in _LIBRARIES for path in Path("/").glob(pattern.removeprefix("/"))]
    if not found:
        pytest.skip("libfaketime is not installed (Debian: apt-get install faketime)")
    return str(found[0])


@pytest.mark.parametrize("side", ["server", "agent"])
async def test_a_wall_clock_that_jumps_a_day_loses_no_node_and_ends_nothing_early(tmp_path: Path, side: str) -> None:
    clock = tmp_path / "clock"
    clock.write_text("+0")
    fake = {
        "LD_PRELOAD": faketime(),
        "FAKETIME_TIMESTAMP_FILE": str(clock),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
        "DONT_FAKE_MONOTONIC": "1",
        "NO_FAKE_STAT": "1",
    }
    text = (
        "pipeline: timed\ntimeout: 30s\nsteps:\n"
        "  - {id: whole, run: sleep 2.5, timeout: 20s}\n"
        "  - {id: short, run: sleep 30, timeout: 1s}\n"
    )
    async with running_cluster(tmp_path, env=PATIENT) as cluster:
        agent = await cluster.join("eu-1")
        if side == "server":
            await cluster.server.kill()
            await cluster.start_server(env=fake)
            await agent.start()
        else:
            await agent.start(env=fake)
        faked = cluster.server if side == "server" else agent
        assert "libfaketime" in Path(f"/proc/{faked.pid}/maps").read_text()
        async with cluster.gateway() as gateway:
            begun = time.monotonic()
            run_id = (await start_run(gateway, text)).run.id
            states = set()
            for jump, until_second in ((DAY, 1.2), (-DAY, 2.2)):
                clock.write_text(f"{jump:+d}")
                out, _, _ = await run_to_end(["/bin/date", "+%s"], env={**cluster.env, **fake})
                assert abs(int(out) - time.time() - jump) < 5, "the clock has jumped"
                while time.monotonic() - begun < until_second:
                    states.add(common_pb2.NodeState.Name((await gateway.state.get_node("eu-1")).state))
                    await asyncio.sleep(0.1)
            assert states == {"NODE_STATE_ONLINE"}
            document = await ended(gateway, run_id)
            took = time.monotonic() - begun
            whole, short = document.tasks[0].steps
            assert whole.error.code == ""
            assert 2.4 < whole.finished_at - whole.started_at < 4
            assert short.error.code == "step_timeout"
            assert 0.9 < short.finished_at - short.started_at < 3
            assert took < 8
            assert all(log.complete for log in document.logs)
            (node,) = json.loads(await cluster.cli("node", "ls", "-o", "json"))
            assert node["state"] == "online"
            # What begins after the jump goes by the same rules.
            again = await ended(gateway, (await start_run(gateway, SMALL.format("again"))).run.id)
            assert state_of(again) is RunState.SUCCEEDED
        log = agent.log.read_text() + cluster.server.log.read_text()
        assert "Traceback" not in log
        assert log.count(": connected ") == 1, "the session held"


# -- limits ------------------------------------------------------------------------------------------------------------

HUNGRY = """
pipeline: hungry
on_lost: wait
steps:
  - id: memory
    shell: python
    continue_on_error: true
    limits: {memory: 64m}
    timeout: 30s
    run: |
      kept = []
      while True:
          kept.append(bytearray(1 << 20))
  - id: forks
    continue_on_error: true
    limits: {pids: 20}
    timeout: 20s
    run: "i=0; while [ $i -lt 200 ]; do sleep 1 & i=$((i + 1)); done; wait"
  - id: output
    continue_on_error: true
    timeout: 1500ms
    stop: {signal: KILL}
    run: exec cat /dev/zero
  - {id: after, run: echo fine}
"""


async def test_a_step_that_takes_more_than_it_may_is_stopped_by_the_limit_it_names(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        (agent,) = cluster.agents
        (node,) = json.loads(await cluster.cli("node", "ls", "-o", "json"))
        before = psutil.Process(agent.pid).memory_info().rss
        run_id = (await start_run(gateway, HUNGRY)).run.id
        silences: list[float] = []

        async def watch() -> None:
            seen, at = 0.0, time.monotonic()
            while True:
                now = (await gateway.state.get_node("eu-1")).last_seen
                if now != seen:
                    silences.append(time.monotonic() - at)
                    seen, at = now, time.monotonic()
                await asyncio.sleep(0.05)

        async with asyncio.TaskGroup() as group:
            watcher = group.create_task(watch())
            document = await ended(gateway, run_id, 60)
            watcher.cancel()
        steps: dict[str, StepStatus] = {step.id: step for step in document.tasks[0].steps}
        codes = {name: step.error.code for name, step in steps.items()}
        assert codes["memory"] in ("oom_killed", "resource_limit"), steps["memory"]
        assert "memory" in steps["memory"].error.message
        assert steps["forks"].error.details["limit"] == "pids"
        assert codes["forks"] == "resource_limit", steps["forks"]
        assert "20 processes" in steps["forks"].error.message
        assert codes["output"] == "step_timeout"
        (log,) = [log for log in document.logs if log.ref.step_id == "output"]
        assert log.bytes <= 64 << 20
        # A slow machine may not have written so much in its time that something was left out.
        assert {hole.reason for hole in log.holes} <= {"limit"}
        assert codes["after"] == ""
        assert state_of(document) is RunState.SUCCEEDED
        assert max(silences) < 1.0, "a heartbeat (250 ms) was held up"
        assert psutil.Process(agent.pid).memory_info().rss - before < 48 << 20
        assert node["id"] == (await gateway.state.get_node("eu-1")).id
        assert await node_state(cluster) == "online"
