"""Stopped means dead: the whole tree, whatever it does, and nothing else."""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gamenode_agent.supervisor.client import AttemptKey, Phase
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from support.supervised import Supervised, alive, supervised
from support.waiting import until

GRACE = 0.3

DAEMON = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
here, there = os.pipe()
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        if "scrub" in sys.argv:
            os.execve(sys.executable, [sys.executable, "-c", "import os, signal, time\\n"
                "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\n"
                "print(os.getpid(), flush=True)\\n"
                "os.close(1); os.close(2); time.sleep(60)", sys.argv[0]], {})
        print(os.getpid(), flush=True)
        for fd in (0, 1, 2):
            os.close(fd)
        time.sleep(60)
    os._exit(0)
os.wait()
if "scrub" in sys.argv:  # it has gone when its environment has: its end of the pipe closes with that
    os.close(there)
    os.read(here, 1)
if "stay" in sys.argv:
    time.sleep(60)
"""


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Supervised]:
    (tmp_path / "daemon.py").write_text(DAEMON)
    async with supervised(tmp_path) as host:
        yield host


def daemon(host: Supervised, *words: str) -> str:
    return f"exec {sys.executable} {host.data_dir / 'daemon.py'} {' '.join(words)}"


async def pid_in_log(host: Supervised, report_key: object) -> int:
    return int((await host.logged(report_key, b"\n")).split()[0])  # type: ignore[arg-type]


async def test_a_stop_asks_first(host: Supervised) -> None:
    report = await host.start("trap 'echo saved; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await host.logged(report.key, b"up")
    assert await host.client.stop(report.key, reason="cancelled by alice")
    end = await host.end_of(report.key)
    assert end.exit_code == 0
    assert end.error is not None
    assert (end.error.code, end.error.message) == (Code.CANCELLED, "cancelled by alice")
    assert b"saved\n" in host.log(report.key)


async def test_a_stop_uses_the_steps_own_signal_and_code(host: Supervised) -> None:
    report = await host.start("trap 'exit 7' USR1; echo up; while :; do sleep 0.05; done", stop=StopPolicy("USR1", 5.0))
    await host.logged(report.key, b"up")
    await host.client.stop(report.key, code=Code.TASK_TIMEOUT, reason="late")
    end = await host.end_of(report.key)
    assert end.exit_code == 7
    assert end.error is not None
    assert end.error.code is Code.TASK_TIMEOUT


async def test_a_stopped_process_is_woken_to_hear_it(host: Supervised) -> None:
    report = await host.start("trap 'exit 5' TERM; echo up; kill -STOP $$; sleep 60")
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    assert (await host.end_of(report.key, seconds=3)).exit_code == 5


async def test_children_have_the_grace_time_too(host: Supervised) -> None:
    report = await host.start(
        "sh -c 'trap \"sleep 0.2; echo world saved; exit\" TERM; echo up; while :; do sleep 0.05; done' & wait",
        stop=StopPolicy("TERM", 5.0),
    )
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    await host.end_of(report.key, seconds=3)
    assert b"world saved" in host.log(report.key)


STUBBORN = {
    "ignores the signal": "trap '' TERM; echo $$; while :; do sleep 0.05; done",
    "is in a new session": "setsid sh -c 'trap \"\" TERM; echo $$; while :; do sleep 0.05; done' & wait",
    "daemonised, main lives": "daemon stay",
    "daemonised without environment, main lives": "daemon stay scrub",
    "is stopped": "trap '' TERM; echo $$; kill -STOP $$; while :; do sleep 0.05; done",
}


@pytest.mark.parametrize("kind", STUBBORN)
async def test_nothing_survives_a_stop_and_bystanders_do(host: Supervised, kind: str, tmp_path: Path) -> None:
    sleeper = tmp_path / "bin" / "sleep"
    sleeper.parent.mkdir()
    shutil.copy(shutil.which("sleep") or "/bin/sleep", sleeper)
    bystander = subprocess.Popen([str(sleeper), "60"], start_new_session=True)
    try:
        script = STUBBORN[kind]
        if script.startswith("daemon"):
            script = daemon(host, *script.split()[1:])
        report = await host.start(script, stop=StopPolicy("TERM", GRACE))
        pid = await pid_in_log(host, report.key)
        assert alive(pid)
        asked = time.monotonic()
        await host.client.stop(report.key)
        end = await host.end_of(report.key)
        took = time.monotonic() - asked
        assert not alive(pid)
        assert not alive(report.pid)
        assert end.error is not None
        assert end.error.code is Code.CANCELLED
        assert GRACE * 0.9 <= took <= GRACE + 2.0
        assert bystander.poll() is None
    finally:
        bystander.kill()
        bystander.wait()


async def test_force_does_not_wait(host: Supervised) -> None:
    report = await host.start("trap '' TERM; echo up; while :; do sleep 0.05; done", stop=StopPolicy("TERM", 60.0))
    await host.logged(report.key, b"up")
    await host.client.stop(report.key)
    asked = time.monotonic()
    await host.client.stop(report.key, force=True, reason="second thoughts")
    end = await host.end_of(report.key)
    assert time.monotonic() - asked < 1
    assert end.exit_code == 128 + signal.SIGKILL
    assert end.error is not None
    assert end.error.message == "stopped"  # the first reason stands


@pytest.mark.parametrize("words", [(), ("scrub",)])
async def test_what_a_step_leaves_behind_ends_with_it(host: Supervised, words: tuple[str, ...]) -> None:
    report = await host.start(daemon(host, *words))
    end = await host.end_of(report.key, seconds=5)
    pid = int(host.log(report.key).split()[0]) if host.log(report.key) else 0
    assert (end.exit_code, end.error) == (0, None)
    assert not (pid and alive(pid))
    assert end.log is not None


async def test_a_background_process_that_holds_the_pipe_does_not_hold_the_end(host: Supervised) -> None:
    asked = time.monotonic()
    report = await host.run("sleep 60 & echo $!")
    assert time.monotonic() - asked < 2
    assert report.exit_code == 0
    assert not alive(int(host.log(report.key)))


async def test_two_attempts_do_not_end_each_others_daemons(host: Supervised) -> None:
    first = await host.start(daemon(host, "stay"))
    second = await host.start(daemon(host, "stay"))
    pids = [await pid_in_log(host, report.key) for report in (first, second)]
    await host.client.stop(first.key, force=True)
    await host.end_of(first.key)
    assert [alive(pid) for pid in pids] == [False, True]
    assert alive(second.pid)
    await host.client.stop(second.key, force=True)
    await host.end_of(second.key)
    assert not alive(pids[1])


async def test_an_orphan_that_nobody_can_place_ends_with_the_last_it_may_belong_to(host: Supervised) -> None:
    other = await host.start("sleep 60")
    report = await host.start(daemon(host, "scrub"))
    await host.end_of(report.key, seconds=5)
    pids = await until(lambda: _strangers(host), what="the daemon")
    await host.client.stop(other.key, force=True)
    await host.end_of(other.key)
    assert not any(alive(pid) for pid in pids)


def _strangers(host: Supervised) -> list[int]:
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                words = (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if str(host.data_dir / "daemon.py").encode() in words and alive(int(entry.name)):
                found.append(int(entry.name))
    return found


async def test_a_stop_that_races_with_the_end_gives_one_end(host: Supervised) -> None:
    reports = [await host.start(f"sleep 0.0{n % 10}") for n in range(60)]
    await asyncio.gather(*(host.client.stop(report.key) for report in reports))
    ends = [await host.end_of(report.key) for report in reports]
    assert len(host.ends) == len(ends) == 60
    for end in ends:
        assert end.phase is Phase.ENDED
        # Either it was over before the stop came, or the stop is its reason.
        assert (end.exit_code, end.error) == (0, None) or (end.error and end.error.code is Code.CANCELLED)


async def test_a_deadline_stops_like_a_stop_and_says_so(host: Supervised) -> None:
    report = await host.run(
        "trap 'echo asked' TERM; while :; do sleep 0.05; done", timeout=0.3, stop=StopPolicy("TERM", 0.2)
    )
    assert report.error is not None
    assert (report.error.code, report.error.details) == (Code.STEP_TIMEOUT, {"timeout": "0.3"})
    assert report.exit_code == 128 + signal.SIGKILL
    assert b"asked\n" in host.log(report.key)
    assert 0.45 < report.ended_at - report.started_at < 2


async def test_zombies_are_not_left(host: Supervised) -> None:
    report = await host.start("for i in 1 2 3 4 5 6 7 8; do (sleep 0.01 &); done; sleep 0.5; echo done; sleep 60")
    await host.logged(report.key, b"done")
    mine = [pid for pid in os.listdir("/proc") if pid.isdigit() and _parent(int(pid)) == host.client.pid]
    assert mine == [str(report.pid)]


def _parent(pid: int) -> int:
    try:
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    except OSError:
        return 0


async def test_a_supervisor_that_is_told_to_end_stops_what_it_runs(host: Supervised) -> None:
    report = await host.start("trap 'sleep 0.3; echo bye; exit 0' TERM; echo up; while :; do sleep 0.05; done")
    await host.logged(report.key, b"up")
    pid = host.client.pid
    os.kill(pid, signal.SIGTERM)
    await asyncio.sleep(0.1)
    late = host.request(["true"])
    for call in (host.client.spawn(late), host.client.recover([host.recoverable(AttemptKey(*late.key))])):
        with pytest.raises(GameNodeError) as refused:
            await call
        assert refused.value.code is Code.SUPERVISOR_LOST
    end = await host.end_of(report.key)
    assert end.error is not None
    assert end.error.code is Code.SUPERVISOR_LOST
    assert b"bye\n" in host.log(report.key)
    await asyncio.wait_for(host.lost.wait(), 5)
    await until(lambda: not alive(pid))
