"""Our children: the main processes of attempts, and the orphans that attempts left to us.

This process is a subreaper: whatever a step starts, double-forks or moves to a new session becomes our child when its
parent ends. So an attempt's tree is gone exactly when its main process is reaped and no orphan is its. A child's pid
cannot be given away before we reap it, and so children may be signalled by pid.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Collection
from typing import TYPE_CHECKING

from gamenode_agent.supervisor import processes

if TYPE_CHECKING:
    from gamenode_agent.supervisor.attempts import Attempt


class Children:
    """Who of our children belongs to which of the attempts that are not over."""

    def __init__(self, running: dict[str, Attempt]) -> None:
        self._running = running
        self._mains: dict[int, Attempt] = {}
        self._orphans: dict[int, Attempt] = {}
        # Orphans that nothing connects to one attempt (another session, an emptied environment): to each the attempts
        # it may belong to. It is left to the last of them.
        self._strays: dict[int, set[Attempt]] = {}

    def add(self, pid: int, attempt: Attempt) -> None:
        """Notes a main process."""
        self._mains[pid] = attempt

    def add_beside(self, pid: int, attempt: Attempt) -> None:
        """Notes a process that is part of the attempt, beside its main one."""
        self._orphans[pid] = attempt

    def reap(self) -> Collection[Attempt]:
        """Collects the children that have ended and tells the attempts whose main it was.

        Returns the attempts that may be over now.
        """
        touched: dict[Attempt, None] = {}
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                break
            if not pid:
                break
            attempt = self._mains.pop(pid, None)
            if attempt is not None:
                attempt.main_ended(status)
                touched[attempt] = None
                continue
            self._strays.pop(pid, None)
            owner = self._orphans.pop(pid, None)
            if owner is not None and owner.status is not None:
                touched[owner] = None
        if touched:
            self.adopt()
        return touched

    def adopt(self) -> None:
        """Looks for orphans that are new, and finds out whose they are."""
        for pid in processes.children():
            if pid in self._mains or pid in self._orphans or pid in self._strays:
                continue
            process = processes.look(pid)
            if process is None or process.state in "ZX":
                continue  # reaped in a moment
            owner = self._owner(process)
            if owner is not None:
                self._orphans[pid] = owner
            elif self._running:
                self._strays[pid] = set(self._running.values())
                self._decide(pid)
            else:
                os.kill(pid, signal.SIGKILL)  # of an attempt that is over

    def orphans_of(self, attempt: Attempt) -> list[int]:
        """The orphans that are this attempt's."""
        if not self._orphans:
            return []
        return [pid for pid, owner in self._orphans.items() if owner is attempt]

    def forget(self, attempt: Attempt) -> None:
        """The attempt is over: strays cannot be its any more."""
        for pid, candidates in list(self._strays.items()):
            candidates.discard(attempt)
            self._decide(pid)

    def _owner(self, process: processes.Process) -> Attempt | None:
        # The number of a session or group stays taken while anything is in it, so these are the attempt's own.
        for attempt in self._running.values():
            if attempt.pid in (process.session, process.group):
                return attempt
        marked = self._running.get(processes.mark_of(process.pid))
        if marked is not None:
            return marked
        for attempt in self._running.values():
            if attempt.group is not None and process.pid in attempt.group.pids():
                return attempt
        return None

    def _decide(self, pid: int) -> None:
        candidates = self._strays[pid]
        if len(candidates) == 1:
            self._orphans[pid] = candidates.pop()
            del self._strays[pid]
