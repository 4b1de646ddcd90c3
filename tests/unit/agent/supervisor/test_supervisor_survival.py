"""What the agent's death, the supervisor's death and a reboot leave behind, and what is said of it."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import pytest_asyncio

from gamenode_agent.supervisor import launch
from gamenode_agent.supervisor.client import AttemptKey, Phase, Supervisor
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.supervised import Supervised, alive, supervised
from support.waiting import until

COUNT = "i=0; while [ $i -lt 60 ]; do echo $i; i=$((i+1)); sleep 0.01; done; exit 9"
EXPECTED = b"".join(b"%d\n" % n for n in range(60))


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Supervised]:
    async with supervised(tmp_path) as host:
        yield host


AGENT = """
import asyncio, sys
from pathlib import Path
from gamenode_agent.supervisor.client import AttemptKey, SpawnRequest, Supervisor

async def main(data_dir, script):
    supervisor = Supervisor(data_dir)
    await supervisor.connect()
    request = SpawnRequest(
        key=AttemptKey("task1", 1, "step", 1), directory=data_dir / "attempts" / "task1", argv=("sh", "-c", script)
    )
    print((await supervisor.spawn(request)).pid, supervisor.pid, flush=True)
    await asyncio.sleep(60)

asyncio.run(main(Path(sys.argv[1]), sys.argv[2]))
"""


async def test_a_step_outlives_an_agent_that_is_killed(tmp_path: Path) -> None:
    agent = await asyncio.create_subprocess_exec(
        sys.executable, "-c", AGENT, str(tmp_path), COUNT, stdout=subprocess.PIPE, start_new_session=True
    )
    assert agent.stdout is not None
    pid, supervisor = map(int, (await agent.stdout.readline()).split())
    os.killpg(agent.pid, signal.SIGKILL)
    await agent.wait()
    async with supervised(tmp_path) as host:
        assert host.client.pid == supervisor
        (report,) = await host.client.attempts()
        assert (report.phase, report.pid) == (Phase.RUNNING, pid)
        end = await host.end_of(report.key)
        assert (end.exit_code, host.log(end.key)) == (9, EXPECTED)


async def test_an_end_while_nobody_listened_is_told_afterwards(host: Supervised) -> None:
    report = await host.start("echo hello; sleep 0.1; exit 4")
    await host.client.close()
    await until(lambda: not alive(report.pid))
    await host.reconnect()
    (end,) = await host.client.attempts()
    assert (end.phase, end.exit_code, end.pid) == (Phase.ENDED, 4, report.pid)
    assert end.ended_at > end.started_at
    assert not host.lost.is_set()
    assert await host.client.spawn(host.request(["false"], report.key)) == end
    await host.client.forget([report.key])
    assert await host.client.attempts() == []


async def test_closing_is_no_loss_and_calls_without_a_connection_say_so(host: Supervised) -> None:
    await host.client.close()
    assert not host.lost.is_set()
    assert not host.client.connected
    with pytest.raises(GameNodeError) as lost:
        await host.client.attempts()
    assert lost.value.code is Code.SUPERVISOR_LOST
    await host.client.connect()
    assert await host.client.attempts() == []


async def test_a_supervisor_that_dies_is_noticed_and_nothing_of_it_survives(host: Supervised) -> None:
    stubborn = "trap '' TERM; setsid sh -c 'sleep 60 & echo $!; wait' & echo $!; wait"
    report = await host.start(stubborn, stop=StopPolicy("TERM", 5))
    await until(lambda: len(host.log(report.key).split()) == 2)
    pids = [int(pid) for pid in host.log(report.key).split()]
    quick = await host.run("echo over; exit 3")
    never = host.key()
    first = host.client.pid
    await host.kill()
    assert not host.client.connected
    assert alive(report.pid)
    await host.client.connect()
    assert host.client.pid != first
    lost, over, unborn = await host.client.recover([host.recoverable(k) for k in (report.key, quick.key, never)])
    assert not any(alive(pid) for pid in (report.pid, *pids))
    assert (lost.phase, lost.may_have_started, lost.exit_code, lost.pid) == (Phase.UNKNOWN, True, None, report.pid)
    assert lost.log is not None
    assert (lost.log.bytes, lost.log.holes[-1].reason) == (len(host.log(report.key)), "lost")
    assert over == quick
    assert (unborn.phase, unborn.may_have_started) == (Phase.UNKNOWN, False)

    # What may have run is never started again; what was never begun can be.
    with pytest.raises(GameNodeError) as refused:
        await host.client.spawn(host.request(["true"], report.key))
    assert refused.value.code is Code.SUPERVISOR_LOST
    again = await host.client.recover([host.recoverable(report.key)])
    assert again == [lost]
    assert (await host.run("exit 6", key=never)).exit_code == 6


async def test_spawning_what_a_dead_supervisor_began_starts_nothing(host: Supervised) -> None:
    marker = host.data_dir / "marker"
    request = host.request(["sh", "-c", f"echo x >> {marker}; sleep 60"])
    report = await host.client.spawn(request)
    await until(marker.exists)
    await host.kill()
    await host.client.connect()
    with pytest.raises(GameNodeError) as refused:
        await host.client.spawn(request)
    assert refused.value.code is Code.SUPERVISOR_LOST
    assert not alive(report.pid)
    assert marker.read_text() == "x\n"


async def test_a_call_under_way_fails_when_the_supervisor_dies(host: Supervised) -> None:
    os.kill(host.client.pid, signal.SIGSTOP)
    call = asyncio.ensure_future(host.client.attempts())
    await asyncio.sleep(0.05)
    os.kill(host.client.pid, signal.SIGKILL)
    with pytest.raises(GameNodeError) as lost:
        await call
    assert lost.value.code is Code.SUPERVISOR_LOST
    await host.client.connect()


@contextmanager
def bystander(key: AttemptKey) -> Iterator[subprocess.Popen[bytes]]:
    marks = dict(zip(("TASK_ID", "FENCE", "STEP_ID", "ATTEMPT"), map(str, key), strict=True))
    env = {**os.environ, **{f"GAMENODE_{name}": value for name, value in marks.items()}}
    process = subprocess.Popen(["sleep", "60"], env=env, start_new_session=True)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def _boottime() -> float:
    import time

    return time.clock_gettime(time.CLOCK_BOOTTIME)


async def test_after_a_reboot_nothing_is_signalled_by_pid(host: Supervised) -> None:
    key = host.key()
    with bystander(key) as process:
        directory = host.directory(key)
        directory.mkdir(parents=True)
        now = _boottime()
        lines = [
            {"boot_id": "another-boot", "key": str(key), "at": 1.0},
            {"pid": process.pid, "from": now - 1, "to": now + 1, "at": 1.5},
        ]
        (directory / "state.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
        (report,) = await host.client.recover([host.recoverable(key, "another-boot")])
        assert (report.phase, report.may_have_started, report.started_at) == (Phase.UNKNOWN, True, 1.5)
        assert process.poll() is None


async def test_a_pid_that_was_given_away_again_is_left_alone(host: Supervised) -> None:
    key = host.key()
    with bystander(AttemptKey("another", 1, "s", 1)) as process:
        directory = host.directory(key)
        directory.mkdir(parents=True)
        before = _boottime() - 100  # when ours was started; this one is younger
        lines = [
            {"boot_id": host.client.boot_id, "key": str(key), "at": 1.0},
            {"pid": process.pid, "from": before, "to": before, "at": 1.0},
        ]
        (directory / "state.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines) + '{"torn":')
        (report,) = await host.client.recover([host.recoverable(key)])
        assert (report.phase, report.may_have_started) == (Phase.UNKNOWN, True)
        assert process.poll() is None


async def test_evidence_that_a_power_cut_may_have_taken_proves_nothing(host: Supervised) -> None:
    (report,) = await host.client.recover([host.recoverable(host.key(), "another-boot")])
    assert (report.phase, report.may_have_started) == (Phase.UNKNOWN, True)


async def test_one_supervisor_a_data_dir(host: Supervised) -> None:
    others = [Supervisor(host.data_dir) for _ in range(5)]
    await asyncio.gather(*(other.connect() for other in others))
    assert {other.pid for other in others} == {host.client.pid}
    await asyncio.to_thread(launch.start, host.data_dir, 5.0)  # finds the lock taken, and leaves
    assert (await host.run("true")).exit_code == 0
    for other in others:
        await other.close()


async def test_many_agents_that_start_at_once_find_one_supervisor(tmp_path: Path) -> None:
    others = [Supervisor(tmp_path) for _ in range(5)]
    await asyncio.gather(*(other.connect() for other in others))
    assert len({other.pid for other in others}) == 1
    for other in others[1:]:
        await other.close()
    await others[0].shutdown()


async def test_a_supervisor_that_hangs_is_named(host: Supervised) -> None:
    os.kill(host.client.pid, signal.SIGSTOP)
    try:
        other = Supervisor(host.data_dir, start_timeout=0.5)
        with pytest.raises(GameNodeError) as problem:
            await other.connect()
        assert problem.value.code is Code.ENGINE_UNAVAILABLE
        assert f"pid {host.client.pid}" in problem.value.message
    finally:
        os.kill(host.client.pid, signal.SIGCONT)


async def test_a_supervisor_that_cannot_be_started_says_why(tmp_path: Path) -> None:
    (tmp_path / "agent" / "supervisor.sock").mkdir(parents=True)
    with pytest.raises(GameNodeError) as problem:
        await Supervisor(tmp_path).connect()
    assert problem.value.code is Code.ENGINE_UNAVAILABLE


async def test_another_version_is_replaced_when_idle_and_refused_when_not(tmp_path: Path) -> None:
    newer = "from gamenode_agent.supervisor import protocol; protocol.VERSION = protocol.VERSION_MIN = 99"
    async with supervised(tmp_path) as host:
        # An old supervisor with work: the client of the new version leaves it alone.
        report = await host.start("sleep 60")
        first = host.client.pid
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("gamenode_agent.supervisor.protocol.VERSION", 99)
            patch.setattr("gamenode_agent.supervisor.protocol.VERSION_MIN", 99)
            other = Supervisor(tmp_path)
            with pytest.raises(GameNodeError) as problem:
                await other.connect()
            assert problem.value.code is Code.VERSION_MISMATCH
            assert alive(report.pid)
            await host.client.stop(report.key, force=True)
            await host.end_of(report.key)
            # Without work it makes room.
            patch.setattr(launch, "_CODE", launch._CODE.replace("main(", f"{newer}\nmain("))
            await other.connect()
            assert other.pid != first
            await other.shutdown()
        await host.client.connect()


async def test_a_supervisor_without_work_or_client_ends(tmp_path: Path) -> None:
    soon = "from gamenode_agent.supervisor import protocol; protocol.IDLE_EXIT = 0.2"
    async with supervised(tmp_path, before=soon) as host:
        report = await host.start("sleep 0.6; exit 2")
        await host.client.close()
        pid = host.client.pid
        await asyncio.sleep(0.4)
        assert alive(pid)
        await until(lambda: not alive(pid), seconds=5)
        await host.client.connect()
        assert await host.client.attempts() == []
        (end,) = await host.client.recover([host.recoverable(report.key)])
        assert (end.phase, end.exit_code) == (Phase.ENDED, 2)


async def test_shutdown_needs_force_while_something_runs(host: Supervised) -> None:
    report = await host.start("sleep 60")
    with pytest.raises(GameNodeError) as refused:
        await host.client.shutdown()
    assert refused.value.code is Code.STATE_CONFLICT
    pid = host.client.pid
    await host.client.shutdown(force=True)
    assert not alive(report.pid)
    await until(lambda: not alive(pid))
    assert not launch.socket_path(host.data_dir).exists()


async def test_garbage_on_the_socket_hurts_nobody(host: Supervised) -> None:
    rng = random.Random(3)
    path = str(launch.socket_path(host.data_dir))
    lines = [
        rng.randbytes(5000),
        b"\n\n{}\n[]\n1\nnull\n",
        b'{"id": 1}\n{"id": 2, "op": "nonsense"}\n{"id": 3, "op": ["spawn"]}\n{"id": 4, "op": "spawn"}\n',
        b'{"id": 5, "op": "spawn", "key": 7, "directory": [], "argv": {}}\n{"id": 6, "op": "recover"}\n',
        b'{"id": 7, "op": "recover", "attempts": [1, {}]}\n{"id": 8, "op": "stop"}\n{"id": 9, "op": "forget"}\n',
        b'{"id": 10, "op": "spawn", "key": "a/b/c/d", "directory": "/x", "argv": ["t"], "limits": {"pids": -1}}\n',
    ]
    for data in lines:
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(path)
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            client.settimeout(2)
            answer = b""
            while part := client.recv(65536):
                answer += part
            for line in answer.splitlines():
                message = json.loads(line)
                assert message.keys() <= {"id", "ok", "error"}
    assert (await host.run("exit 8")).exit_code == 8


def _ask_without_listening(client: socket.socket) -> None:
    # Each is answered with 100 bytes that nobody takes: soon enough the connection goes.
    for _ in range(1000):
        client.sendall(b'{"id": 2, "op": "nonsense"}\n' * 1000)


async def test_a_client_that_does_not_read_is_dropped(host: Supervised) -> None:
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(launch.socket_path(host.data_dir)))
        client.settimeout(5)
        with pytest.raises((ConnectionResetError, BrokenPipeError)):
            _ask_without_listening(client)
        assert (await host.run("exit 8")).exit_code == 8


async def test_a_long_data_dir_gets_a_short_socket(tmp_path: Path) -> None:
    deep = tmp_path / ("x" * 60) / ("y" * 60)
    deep.mkdir(parents=True)
    path = launch.socket_path(deep)
    assert str(path).startswith(f"/tmp/gamenode-{os.geteuid()}/supervisor-")
    async with supervised(deep) as host:
        assert path.is_socket()
        assert (await host.run("exit 8")).exit_code == 8
    assert not path.exists()


def test_a_short_socket_folder_of_somebody_else_is_not_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 4242)
    folder = Path("/tmp/gamenode-4242")
    folder.mkdir(mode=0o755, exist_ok=True)
    try:
        with pytest.raises(GameNodeError) as problem:
            launch.socket_path(tmp_path / ("z" * 100))
        assert problem.value.code is Code.ENGINE_UNAVAILABLE
    finally:
        folder.rmdir()
