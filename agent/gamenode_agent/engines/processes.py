"""Steps as processes of this host, through the supervisor; and the folder each attempt has to itself.

A folder holds the attempt's script and outputs, and what the supervisor writes: its log and the notes that prove what
became of it. It goes when nobody needs the attempt any more.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from gamenode_agent.folders import Folders
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import (
    AttemptKey,
    AttemptReport,
    Capabilities,
    Recoverable,
    SpawnRequest,
    Supervisor,
)
from gamenode_agent.supervisor.records import LOG_FILE
from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

#: Ends that nobody needs any more are told to the supervisor together, after this many seconds.
_FORGET_DELAY = 1.0


class Processes:
    """The attempts of one data dir. On one loop; file operations are small and done in place."""

    def __init__(
        self,
        data_dir: Path,
        *,
        group: asyncio.TaskGroup,
        on_ended: Callable[[AttemptReport], None],
        on_output: Callable[[Attempt, int], None],
        on_lost: Callable[[], None],
        timeout: float,
    ) -> None:
        self._folders = Folders(data_dir / "agent" / "attempts", mode=0o711)
        self._group = group
        self._forgotten: list[AttemptKey] = []
        self._telling: asyncio.TimerHandle | None = None
        self._supervisor = Supervisor(
            data_dir,
            on_ended=on_ended,
            on_output=lambda key, size: on_output(as_attempt(key), size),
            on_lost=on_lost,
            start_timeout=timeout,
        )

    @property
    def supervisor_pid(self) -> int:
        """The supervisor's pid; 0 while there is none."""
        return self._supervisor.pid if self._supervisor.connected else 0

    def directory(self, key: Attempt) -> str:
        """The folder of an attempt."""
        return self._folders.path(_name(key))

    def prepare(self, key: Attempt) -> str:
        """The folder of an attempt, made if it is not there yet. Raises OSError."""
        directory = self.directory(key)
        return directory if os.path.isdir(directory) else self._folders.take(_name(key))

    def log_path(self, key: Attempt) -> Path:
        """Where an attempt's output is, once there is any."""
        return Path(self.directory(key), LOG_FILE)

    async def connect(self) -> None:
        """Finds the supervisor, or starts one. Raises GameNodeError."""
        await self._supervisor.connect()

    async def capabilities(self) -> Capabilities:
        """What limits can be kept here."""
        return await self._supervisor.capabilities()

    async def recover(self, attempts: Mapping[Attempt, str]) -> dict[Attempt, AttemptReport]:
        """How each of these attempts stands, given with the boot it was started in. Raises GameNodeError."""
        if not attempts:
            return {}
        reports = await self._supervisor.recover(
            [Recoverable(AttemptKey(*key), Path(self.directory(key)), boot) for key, boot in attempts.items()]
        )
        return {as_attempt(report.key): report for report in reports}

    async def known(self) -> list[AttemptReport]:
        """Every attempt the supervisor runs or remembers. Raises GameNodeError."""
        return await self._supervisor.attempts()

    async def spawn(self, request: SpawnRequest) -> AttemptReport:
        """Starts an attempt, once; one that is over already goes to `on_ended` too.

        Raises GameNodeError(SUPERVISOR_LOST) where it may have started.
        """
        return await self._supervisor.spawn(request)

    async def stop(self, key: Attempt, *, force: bool, code: Code, reason: str) -> bool:
        """Begins to end an attempt; False if it does not run. Raises GameNodeError(SUPERVISOR_LOST)."""
        return await self._supervisor.stop(AttemptKey(*key), force=force, code=code, reason=reason)

    def forget(self, key: Attempt) -> None:
        """Nobody needs what is kept of an attempt that is over."""
        directory = self.directory(key)
        try:
            with os.scandir(directory) as entries:
                for entry in entries:
                    os.unlink(entry.path)
            self._folders.give(_name(key))
        except FileNotFoundError:
            pass  # it was never started
        except OSError:  # its step has put folders there, of any size
            self._group.create_task(asyncio.to_thread(_remove, directory))
        if not self._forgotten:
            self._telling = asyncio.get_running_loop().call_later(_FORGET_DELAY, self._tell_forgotten)
        self._forgotten.append(AttemptKey(*key))

    def sweep(self, needed: Iterable[Attempt]) -> None:
        """Removes the folders of attempts that nobody knows any more."""
        names = {_name(key) for key in needed}
        for name in self._folders.names():
            task_id, _, rest = name.partition(".")
            fence, _, rest = rest.partition(".")
            step_id, _, attempt = rest.rpartition(".")
            if name not in names and fence.isdecimal() and attempt.isdecimal():
                self.forget(Attempt(task_id, int(fence), step_id, int(attempt)))

    async def close(self) -> None:
        """Leaves the supervisor, and whatever it runs, alone. What it says from now on is heard by the next agent."""
        self._supervisor.on_ended = lambda _report: None
        self._supervisor.on_output = lambda _key, _size: None
        if self._telling is not None:
            self._telling.cancel()
        await self._forget_now()
        await self._supervisor.close()

    def _tell_forgotten(self) -> None:
        self._group.create_task(self._forget_now())

    async def _forget_now(self) -> None:
        forgotten, self._forgotten = self._forgotten, []
        if forgotten:
            with contextlib.suppress(GameNodeError):  # a supervisor that is gone has forgotten by itself
                await self._supervisor.forget(forgotten)


def _remove(directory: str) -> None:
    try:
        shutil.rmtree(directory)
    except OSError as error:
        logger.warning("the folder of an attempt cannot be removed: %s", error, extra={"folder": directory})


def _name(key: Attempt) -> str:
    return f"{key.task_id}.{key.fence}.{key.step_id}.{key.attempt}"


def as_attempt(key: AttemptKey) -> Attempt:
    """The supervisor's key as the journal's."""
    return Attempt(key.task_id, key.fence, key.step_id, key.attempt)
