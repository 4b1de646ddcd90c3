"""Every attempt of this agent, whatever carries it out: processes through the supervisor, or the agent itself.

The rest of the agent asks here and is told here, and does not know which of the two it was. Each attempt has one
folder; which of the two it belongs to is decided by what is in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.engines.inline_executor import InlineExecutor
from gamenode_agent.engines.processes import Processes
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptReport, Capabilities, SpawnRequest
from gamenode_pipelines.errors import Code
from gamenode_proto.process.clock import Clock


class Attempts:
    """The attempts of one data dir. On one loop."""

    def __init__(
        self,
        data_dir: Path,
        *,
        group: asyncio.TaskGroup,
        clock: Clock,
        boot_id: str,
        on_ended: Callable[[AttemptReport], None],
        on_output: Callable[[Attempt, int], None],
        on_lost: Callable[[], None],
        timeout: float,
    ) -> None:
        self._processes = Processes(
            data_dir, group=group, on_ended=on_ended, on_output=on_output, on_lost=on_lost, timeout=timeout
        )
        self._inline = InlineExecutor(group=group, clock=clock, boot_id=boot_id, on_ended=on_ended, on_output=on_output)

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's pid; 0 while there is none."""
        return self._processes.supervisor_pid

    def directory(self, key: Attempt) -> str:
        """The folder of an attempt."""
        return self._processes.directory(key)

    def prepare(self, key: Attempt) -> str:
        """The folder of an attempt, made if it is not there yet. Raises OSError."""
        return self._processes.prepare(key)

    def log_path(self, key: Attempt) -> Path:
        """Where an attempt's output is, once there is any."""
        return self._processes.log_path(key)

    async def connect(self) -> None:
        """Finds the supervisor, or starts one. Raises GameNodeError."""
        await self._processes.connect()

    async def capabilities(self) -> Capabilities:
        """What limits can be kept here."""
        return await self._processes.capabilities()

    async def recover(self, attempts: Mapping[Attempt, str]) -> dict[Attempt, AttemptReport]:
        """How each of these attempts stands, given with the boot it was started in. Raises GameNodeError."""
        found = {key: self._inline.report(key, self.directory(key)) for key in attempts}
        reports = {key: report for key, report in found.items() if report is not None}
        rest = {key: boot for key, boot in attempts.items() if key not in reports}
        return {**reports, **await self._processes.recover(rest)}

    async def known(self) -> list[AttemptReport]:
        """Every process the supervisor runs or remembers. Raises GameNodeError."""
        return await self._processes.known()

    async def start(self, request: SpawnRequest | InlineRequest, *, resumed: bool = False) -> AttemptReport:
        """Starts an attempt, once; one that is over already is told by `on_ended` too.

        `resumed`: of what the agent carries out itself, which an earlier agent has begun or may have. Raises
        GameNodeError(SUPERVISOR_LOST) where it may have started, OSError where the disk says no.
        """
        if isinstance(request, InlineRequest):
            return self._inline.start(request, resumed=resumed)
        return await self._processes.spawn(request)

    async def stop(self, key: Attempt, *, force: bool, code: Code, reason: str) -> bool:
        """Begins to end an attempt; False if it does not run. Raises GameNodeError(SUPERVISOR_LOST)."""
        if self._inline.stop(key, force=force, code=code, reason=reason):
            return True
        return await self._processes.stop(key, force=force, code=code, reason=reason)

    def forget(self, key: Attempt) -> None:
        """Nobody needs what is kept of an attempt that is over."""
        self._inline.forget(key)
        self._processes.forget(key)

    def sweep(self, needed: Iterable[Attempt]) -> None:
        """Removes the folders of attempts that nobody knows any more."""
        self._processes.sweep(needed)

    async def close(self) -> None:
        """Leaves whatever runs alone: what becomes of it is heard by the next agent."""
        self._inline.close()
        await self._processes.close()
