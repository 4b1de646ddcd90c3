"""Carries out attempts in the agent itself: begins each once, keeps its time, ends it when told to, finds it again.

Knows no kind of step and no task.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import replace

from gamenode_agent.engines.inline import InlineRequest, Stop
from gamenode_agent.engines.inline_attempt import InlineAttempt
from gamenode_agent.engines.inline_records import Kept, Record, read
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptKey, AttemptReport, Phase
from gamenode_agent.timers import Timers
from gamenode_pipelines.errors import Code
from gamenode_proto.process.clock import Clock
from gamenode_proto.process.failpoints import failpoint

#: Seconds that an attempt which was taken up again gets to find out that it is over, however late that is.
LATE = 5.0


class InlineExecutor:
    """The attempts that this agent carries out itself. On one loop; files are small and written in place."""

    def __init__(
        self,
        *,
        group: asyncio.TaskGroup,
        clock: Clock,
        boot_id: str,
        on_ended: Callable[[AttemptReport], None],
        on_output: Callable[[Attempt, int], None],
    ) -> None:
        self._group = group
        self._clock = clock
        self._boot_id = boot_id
        self._on_ended = on_ended
        self._on_output = on_output
        self._timers = Timers(clock)
        self._live: dict[Attempt, InlineAttempt] = {}
        self._requests: dict[Attempt, InlineRequest] = {}
        #: Ends that are told and not forgotten: one may be on no disk.
        self._over: dict[Attempt, AttemptReport] = {}

    def report(self, key: Attempt, directory: str) -> AttemptReport | None:
        """How an attempt stands; None where it was never begun here."""
        live, over = self._live.get(key), self._over.get(key)
        if live is not None:
            return live.report()
        if over is not None:
            return over
        kept = read(directory)
        return None if kept is None else _report(key, kept)

    def start(self, request: InlineRequest, *, resumed: bool = False) -> AttemptReport:
        """Begins an attempt, or takes up again what an earlier agent began; one that is known, it leaves alone.

        `resumed`: an earlier agent may have begun it, though nothing here tells so. Raises OSError, and then nothing
        was begun.
        """
        key = request.key
        known = self.report(key, request.directory)
        if known is None:
            now = self._clock.now()
            record = Record.begin(request.directory, started_at=now, boot_id=self._boot_id)
            same_boot = not resumed
            failpoint("inline.begun")
        elif known.phase is Phase.INTERRUPTED:
            kept = read(request.directory) or Kept()
            if not kept.started_at:  # its first line was torn
                kept.started_at = self._clock.now()
            record, resumed, same_boot = Record.reopen(request.directory, kept), True, kept.boot_id == self._boot_id
        else:
            if known.phase is not Phase.RUNNING:
                asyncio.get_running_loop().call_soon(self._on_ended, known)
            return known
        attempt = InlineAttempt(
            request,
            record,
            resumed=resumed,
            same_boot=same_boot,
            group=self._group,
            clock=self._clock,
            on_ended=lambda report: self._ended(key, report),
            on_output=self._on_output,
        )
        self._live[key], self._requests[key] = attempt, request
        if request.timeout > 0:
            due = record.kept.started_at + request.timeout
            if resumed:
                due = max(due, self._clock.now() + LATE)
            self._timers.set(str(key), due, lambda: self._timed_out(key))
        self._group.create_task(attempt.carry(), name=f"step {key.step_id}")
        return attempt.report()

    def stop(self, key: Attempt, *, force: bool, code: Code, reason: str) -> bool:
        """Begins to end an attempt; False if it does not run here. Asked again with force, it is ended by force."""
        attempt = self._live.get(key)
        if attempt is None:
            return False
        attempt.stop(Stop(code, reason, force, self._requests[key].stop))
        return True

    def forget(self, key: Attempt) -> None:
        """Nobody needs the end of an attempt any more."""
        self._over.pop(key, None)

    def close(self) -> None:
        """Keeps no more time. What goes on is cancelled with its group, and taken up by the next agent."""
        self._timers.clear()
        for attempt in self._live.values():
            attempt.close()  # of one that did not even get its first turn

    def _timed_out(self, key: Attempt) -> None:
        seconds = self._requests[key].timeout
        self.stop(key, force=False, code=Code.STEP_TIMEOUT, reason=f"not finished after {seconds:g} s")

    def _ended(self, key: Attempt, report: AttemptReport) -> None:
        self._timers.drop(str(key))
        del self._live[key], self._requests[key]
        self._over[key] = report
        self._on_ended(report)


def _report(key: Attempt, kept: Kept) -> AttemptReport:
    if kept.end is None:
        return AttemptReport(AttemptKey(*key), Phase.INTERRUPTED, started_at=kept.started_at)
    return replace(AttemptReport.from_json(kept.end), key=AttemptKey(*key))
