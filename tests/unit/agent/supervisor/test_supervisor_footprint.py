"""The supervisor is small and quick, and stays so. Bounds are wide: other work may run on the host."""

from __future__ import annotations

import asyncio
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

import gamenode_agent
import gamenode_proto
from support.supervised import supervised

MIB = 1 << 20


def _memory(pid: int) -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    return int(next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM"))) * 1024


def _descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))


async def test_five_hundred_quick_steps_in_a_small_process(tmp_path: Path) -> None:
    async with supervised(tmp_path) as host:
        await host.run("true")
        before = _descriptors(host.client.pid)
        ratios = []
        for _ in range(10):
            began = time.monotonic()
            for _ in range(50):
                os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
            bare = time.monotonic() - began
            began = time.monotonic()
            keys = [host.key() for _ in range(50)]
            await asyncio.gather(*(host.client.spawn(host.request(["/bin/true"], key)) for key in keys))
            for key in keys:
                assert (await host.end_of(key)).exit_code == 0
            await host.client.forget(keys)
            ratios.append((time.monotonic() - began) / bare)
        await host.run("yes | head -c 70000000", log_limit=MIB)
        assert _memory(host.client.pid) <= 16 * MIB
        assert _descriptors(host.client.pid) == before
        # In processes started and awaited one by one beside them: fifty at once, each with its folder and records.
        assert statistics.median(ratios) <= 6
        assert len(host.ends) == 502


async def test_a_step_costs_little_more_than_a_bare_process(tmp_path: Path) -> None:
    async with supervised(tmp_path) as host:
        bare, step = [], []
        for _ in range(60):
            began = time.monotonic()
            os.waitpid(os.posix_spawn("/bin/true", ["true"], {}), 0)
            bare.append(time.monotonic() - began)
            began = time.monotonic()
            await host.run(["/bin/true"])
            step.append(time.monotonic() - began)
        assert min(step) <= 1.3 * min(bare) + 0.002


def test_the_process_imports_nothing_but_the_standard_library_and_little_of_it() -> None:
    roots = [str(Path(package.__path__[0]).parent) for package in (gamenode_agent, gamenode_proto)]
    code = f"import sys; sys.path[:0] = {roots!r}; import gamenode_agent.supervisor.main; print(*sys.modules)"
    out = subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True, capture_output=True, text=True).stdout
    modules = set(out.split())
    ours = {name for name in modules if name.startswith("gamenode")}
    assert ours == {
        "gamenode_agent",
        "gamenode_proto",
        "gamenode_proto.logfile",
        "gamenode_proto.logfile.reader",
        "gamenode_proto.logfile.records",
        "gamenode_proto.logfile.writer",
        "gamenode_proto.process",
        "gamenode_proto.process.clock",
        *(name for name in ours if name.startswith("gamenode_agent.supervisor")),
    }
    assert not modules & {"asyncio", "dataclasses", "hashlib", "inspect", "logging", "subprocess", "ssl", "threading"}
