"""A limit stops what goes past it, and says which one it was."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from gamenode_agent.supervisor import cgroups
from gamenode_agent.supervisor.client import AttemptReport
from gamenode_pipelines.errors import Code
from gamenode_pipelines.plan import Limits
from support.supervised import Supervised, alive, supervised

MIB = 1 << 20
EATER = f"{sys.executable} -c 'import time; a = bytearray(1 << 30); time.sleep(30)'"
FORKS = "for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16; do sleep 30 & done; wait"
GROUPS = "cgroup"


@pytest_asyncio.fixture
async def host(tmp_path: Path) -> AsyncIterator[Supervised]:
    async with supervised(tmp_path) as host:
        yield host


def _which(report: AttemptReport) -> str:
    assert report.error is not None, report
    assert report.error.code in (Code.RESOURCE_LIMIT, Code.OOM_KILLED), report
    return report.error.details["limit"]


async def _kept_by(host: Supervised, limit: str) -> str:
    return (await host.client.capabilities()).limits[limit]


async def test_capabilities_say_how_each_limit_is_kept(host: Supervised) -> None:
    found = await host.client.capabilities()
    assert set(found.limits) == set(cgroups.CONTROLLERS)
    assert set(found.limits.values()) <= {GROUPS, "polling", "affinity"}
    assert found.users == (os.geteuid() == 0)
    assert all(" " not in name for name in found.names())


async def test_a_step_that_eats_memory(host: Supervised) -> None:
    report = await host.run(EATER, limits=Limits(memory=64 * MIB))
    assert _which(report) == "memory"
    if await _kept_by(host, "memory") == GROUPS:
        assert report.error is not None
        assert report.error.code is Code.OOM_KILLED


async def test_a_step_that_forks_without_end(host: Supervised) -> None:
    report = await host.run(FORKS, limits=Limits(pids=8))
    assert _which(report) == "pids"
    assert report.error is not None
    assert "8 processes" in report.error.message


async def test_a_step_that_writes_too_large_a_file(host: Supervised) -> None:
    report = await host.run("head -c 100000 /dev/zero > big", limits=Limits(file_size=MIB // 16))
    assert _which(report) == "file_size"
    assert (host.directory(report.key) / "big").stat().st_size == MIB // 16


async def test_a_step_that_says_too_much(host: Supervised) -> None:
    report = await host.run("yes", limits=Limits(output=100_000))
    assert _which(report) == "output"
    assert report.log is not None
    assert report.log.bytes == 100_000
    (hole,) = report.log.holes
    assert (hole.offset, hole.reason) == (100_000, "limit")
    assert hole.length > 0


async def test_open_files_are_limited(host: Supervised) -> None:
    report = await host.run("ulimit -n", limits=Limits(open_files=37))
    assert host.log(report.key) == b"37\n"


async def test_cpus_are_limited(host: Supervised) -> None:
    report = await host.run("cat /proc/self/cgroup; nproc", limits=Limits(cpus=0.5))
    log = host.log(report.key).decode()
    if await _kept_by(host, "cpu") == GROUPS:
        assert f"{report.key.task_id}.1.step.1" in log
    else:
        assert log.splitlines()[-1] == "1"


async def test_limits_hold_before_the_program_begins(host: Supervised) -> None:
    report = await host.run(
        ["sh", "-c", "cat /proc/self/cgroup; ulimit -f"], limits=Limits(memory=64 * MIB, pids=20, file_size=MIB)
    )
    log = host.log(report.key).decode()
    assert log.splitlines()[-1] in ("2048", "1024")  # blocks of 512 or 1024 bytes, as the shell counts
    if await _kept_by(host, "memory") == GROUPS:
        assert f"{report.key.task_id}.1.step.1" in log


async def test_within_its_limits_a_step_ends_by_itself(host: Supervised) -> None:
    limits = Limits(cpus=1, memory=256 * MIB, pids=50, file_size=MIB, open_files=100, output=1000)
    report = await host.run("echo fine; exit 4", limits=limits)
    assert (report.exit_code, report.error, host.log(report.key)) == (4, None, b"fine\n")


async def test_what_cannot_be_started_under_limits_says_why_too(host: Supervised) -> None:
    limits = Limits(pids=10)
    for argv, more, words in (
        (["no-such"], {}, "no-such"),
        (["true"], {"cwd": "/no/such"}, "working directory /no/such"),
        (["true", "a\0b"], {}, "null"),
    ):
        report = await host.client.spawn(host.request(argv, None, limits=limits, **more))
        assert report.error is not None
        assert words in report.error.message
        assert not report.may_have_started


async def test_groups_are_gone_when_their_attempt_is(host: Supervised) -> None:
    report = await host.run("sleep 60 & cat /proc/self/cgroup", limits=Limits(memory=64 * MIB, pids=20, cpus=1))
    name = f"{report.key.task_id}.1.step.1"
    await asyncio.sleep(0.15)
    left = [path for path in Path("/sys/fs/cgroup").rglob("gamenode-*/*") if path.name == name]
    assert left == []


async def test_what_hides_from_a_dead_supervisor_is_found_by_its_group(host: Supervised) -> None:
    if await _kept_by(host, "pids") != GROUPS:
        pytest.skip("no control groups here")
    report = await host.start("(exec env -i setsid sh -c 'echo $$; exec sleep 60') & sleep 60", limits=Limits(pids=20))
    pid = int(await host.logged(report.key, b"\n"))
    await host.kill()
    await host.client.connect()
    await host.client.recover([host.recoverable(report.key)])
    assert not alive(pid)
    left = [path for path in Path("/sys/fs/cgroup").rglob("gamenode-*/*") if report.key.task_id in path.name]
    assert left == []


def test_version_two_of_control_groups(tmp_path: Path) -> None:
    """Against a folder that looks like one: this is about names and values, not about the kernel."""
    (tmp_path / "cgroup.controllers").write_text("cpuset cpu io memory pids\n")
    (tmp_path / "cgroup.subtree_control").write_text("memory\n")
    groups = cgroups.Groups("gamenode-x", str(tmp_path))
    assert groups.capabilities() == {
        "cgroup_version": 2,
        "limits": {"memory": "cgroup", "pids": "cgroup", "cpu": "cgroup"},
    }
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+cpu +pids"
    base = tmp_path / "gamenode-x"
    assert (base / "cgroup.subtree_control").read_text() == "+cpu +memory +pids"
    group = groups.create("a.1.b.1", cgroups.Limits({"memory": 1000, "pids": 5, "cpus": 1.5}))
    assert group is not None
    folder = base / "a.1.b.1"
    assert group.entrances == [f"{folder}/cgroup.procs"]
    written = {name: (folder / name).read_text() for name in ("memory.max", "pids.max", "cpu.max")}
    assert written == {"memory.max": "1000", "pids.max": "5", "cpu.max": "150000 100000"}
    (folder / "memory.events").write_text("low 0\noom 2\noom_kill 1\n")
    (folder / "pids.events").write_text("max 3\n")
    (folder / "cgroup.procs").write_text("12\n13\n")
    assert (group.oom_kills(), group.refused_forks(), group.pids()) == (1, 3, {12, 13})
    assert groups.members("a.1.b.1") == {12, 13}
    assert groups.create("none", cgroups.Limits({"file_size": 5})) is None


@pytest.mark.parametrize("bad", [{"pids": -1}, {"memory": "1g"}, {"cpus": True}])
def test_limits_are_numbers(bad: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="not a number"):
        cgroups.Limits(bad)


async def test_polling_stands_in_where_there_are_no_groups(tmp_path: Path) -> None:
    """The same limits by the other way, which a host without control groups takes."""
    found = cgroups.Groups("gamenode", str(tmp_path / "nothing mounted here"))
    assert found.capabilities() == {
        "cgroup_version": 0,
        "limits": {"memory": "polling", "pids": "polling", "cpu": "affinity"},
    }
    code = "from gamenode_agent.supervisor import cgroups; cgroups.Groups._found = lambda self: dict()"
    async with supervised(tmp_path, before=code) as host:
        assert await _kept_by(host, "pids") == "polling"
        assert _which(await host.run(FORKS, limits=Limits(pids=8))) == "pids"
        assert (
            _which(
                await host.run(
                    EATER.replace("bytearray(1 << 30)", 'b"x" * (200 << 20)'), limits=Limits(memory=64 * MIB)
                )
            )
            == "memory"
        )
        report = await host.run("nproc", limits=Limits(cpus=0.5))
        assert host.log(report.key) == b"1\n"


async def test_a_gigabyte_a_second_starves_nobody(host: Supervised) -> None:
    # dd writes what a pipe takes; nothing is slower here than the supervisor itself.
    flood = await host.start("dd if=/dev/zero bs=1M status=none", log_limit=4 * MIB)
    await asyncio.sleep(0.3)
    took = []
    for _ in range(20):
        asked = time.monotonic()
        report = await host.run("echo hello")
        took.append(time.monotonic() - asked)
        assert host.log(report.key) == b"hello\n"
    assert sorted(took)[10] < 0.05
    size = sum(path.stat().st_size for path in host.directory(flood.key).iterdir())
    assert size < 8 * MIB
    await host.client.stop(flood.key, force=True)
    end = await host.end_of(flood.key)
    assert end.log is not None
    (hole,) = end.log.holes
    assert (hole.offset, hole.reason) == (2 * MIB, "limit")
    assert hole.length > 10 * MIB
    assert 2 * MIB < end.log.bytes <= 4 * MIB
