"""Ending a command in a container, which no engine can: its processes are found on the host and signalled there.

No foreign process is ever hit: one counts only if the kernel says that it is in this container, and it is either below
the command's first process or carries the attempt's marks. Where the agent may not signal it, `kill` in the container
does; where the engine is on another host, only that is left.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gamenode_agent.containers.outages import through
from gamenode_agent.engines.containers import ContainerEngine, ExecStatus
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor import processes
from gamenode_agent.supervisor.processes import Process
from gamenode_pipelines.errors import GameNodeError

#: Seconds between two looks at what is left.
_LOOK = 0.1
#: A start that was asked for may still be under way: for so long a command that has not begun is looked at.
_MAY_BEGIN = 2.0
#: Ends of commands are no events of every engine: they are asked for this often.
_ASK = 0.5


@dataclass(slots=True)
class Command:
    """A command that an attempt has started in a container."""

    engine: ContainerEngine
    exec_id: str
    container: str
    key: Attempt
    #: Every process of it that was ever seen.
    _roots: dict[int, Process] | None = None

    async def end(self, *, name: str, grace: float) -> int | None:
        """The signal, `grace` seconds, SIGKILL; returns its exit code when nothing of it is left."""
        loop = asyncio.get_running_loop()
        begun = loop.time()
        deadline = begun + grace
        number = getattr(signal, f"SIG{name}", signal.SIGTERM)
        told: set[tuple[int, int]] = set()
        while True:
            status = await through(self.engine, lambda: self.engine.exec_inspect(self.exec_id))
            tree = await asyncio.to_thread(self._tree, status)
            waits = status is not None and not status.running and status.exit_code is None
            if waits and not tree and loop.time() < begun + _MAY_BEGIN:
                await asyncio.sleep(_LOOK)
                continue
            if not tree and (status is None or not status.running):
                return status.exit_code if status is not None else None
            if loop.time() >= deadline:
                await self._signal(tree, signal.SIGKILL)
            else:
                new = [each for each in tree if (each.pid, each.started) not in told]
                await self._signal(new, number)
                told |= {(each.pid, each.started) for each in new}
            await asyncio.to_thread(processes.wait_gone, tree, _LOOK)
            if not tree:
                # It runs where we cannot see it; it ends by itself or with its container.
                await asyncio.sleep(_ASK)

    def _tree(self, status: ExecStatus | None) -> list[Process]:
        """What there is of it now. Blocks."""
        everything = processes.everything()
        here = {pid: each for pid, each in everything.items() if self.container in _groups(pid)}
        roots = {pid: each for pid, each in (self._roots or {}).items() if _is_same(here.get(pid), each)}
        if status is not None and status.running and status.pid in here:
            roots[status.pid] = here[status.pid]
        mark = "/".join(map(str, self.key))
        roots |= {pid: each for pid, each in here.items() if processes.mark_of(pid) == mark}
        tree = processes.descendants(roots, here)
        # A child whose parent has ended belongs to the container's first process: it is remembered.
        self._roots = {each.pid: each for each in tree}
        return tree

    async def _signal(self, tree: Sequence[Process], number: int) -> None:
        refused = [each for each in tree if not processes.signal_process(each, number)]
        inside = [pid for each in refused if (pid := _inner_pid(each.pid))]
        if not inside:
            return
        command = ["kill", f"-{int(number)}", *map(str, inside)]
        try:
            made = await self.engine.exec_create(self.container, command, user="0", env={})
            async for _ in self.engine.exec_start(made):
                pass  # what is left is looked at anyway
        except GameNodeError:
            return  # the container is gone, or the engine away: looked at again in a moment


async def ended(engine: ContainerEngine, exec_id: str) -> ExecStatus | None:
    """A command once it has ended; None where the engine does not know it (any more)."""
    while True:
        status = await through(engine, lambda: engine.exec_inspect(exec_id))
        if status is None or not status.running:
            return status
        await asyncio.sleep(_ASK)


def _is_same(now: Process | None, then: Process) -> bool:
    return now is not None and now.started == then.started


def _groups(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cgroup").read_text(encoding="utf-8", errors="replace")
    except OSError:  # it has ended
        return ""


def _inner_pid(pid: int) -> int:
    """Its id in the container; 0 when it is gone."""
    try:
        for line in Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines():
            if line.startswith("NSpid:"):
                return int(line.split()[-1])
    except OSError:
        return 0
    return 0
