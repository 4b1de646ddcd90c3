"""One attempt that the agent carries out itself, from the note that it began to its final report.

`run` does it. A stop (a cancel, its time limit) cancels `run`, and then `end` ends what `run` had started. Which of the
two an attempt ended by is decided once: a `run` that was over before it was told to stop has ended by itself, and so
has one that brings a result nevertheless. When the agent itself ends, whatever goes on is cancelled, and nothing is
written: the next agent takes the attempt up again.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, TypeVar

from gamenode_agent.engines.inline import InlineRequest, LostTrack, Result, Stop
from gamenode_agent.engines.inline_log import InlineLog
from gamenode_agent.engines.inline_outcome import Outcome, caught, judged, named, stopped
from gamenode_agent.engines.inline_records import Record
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptKey, AttemptReport, Phase
from gamenode_agent.supervisor.records import LOG_FILE
from gamenode_pipelines.errors import Code
from gamenode_proto.process.clock import Clock
from gamenode_proto.process.failpoints import failpoint

logger = logging.getLogger(__name__)

#: Pauses between two tries to end what cannot be ended, seconds: so many times as long each time, up to so many.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
#: Tries after which an attempt that cannot be ended is given up, unless it is only that the engine is away.
TRIES = 5
_AWAY = frozenset({Code.ENGINE_UNAVAILABLE, Code.TIMEOUT, Code.DISCONNECTED})


_T = TypeVar("_T")


class InlineAttempt:
    """An attempt under way, and the `Handle` of its kind. `carry` is its one task."""

    def __init__(
        self,
        request: InlineRequest,
        record: Record,
        *,
        resumed: bool,
        same_boot: bool,
        group: asyncio.TaskGroup,
        clock: Clock,
        on_ended: Callable[[AttemptReport], None],
        on_output: Callable[[Attempt, int], None],
    ) -> None:
        self._request = request
        self._record = record
        self._resumed = resumed
        self._same_boot = same_boot
        self._group = group
        self._clock = clock
        self._on_ended = on_ended
        self._stop: Stop | None = None
        #: What goes on for it at present, and whether that was told to stop.
        self._work: asyncio.Task[Any] | None = None
        self._told = False
        self._ending = False
        self._log = InlineLog(
            f"{request.directory}/{LOG_FILE}", request.log_limit, record, lambda size: on_output(request.key, size)
        )

    # -- what its kind sees --------------------------------------------------------------------------------------------

    @property
    def key(self) -> Attempt:
        """See `Handle`."""
        return self._request.key

    @property
    def resumed(self) -> bool:
        """See `Handle`."""
        return self._resumed

    @property
    def same_boot(self) -> bool:
        """See `Handle`."""
        return self._same_boot

    @property
    def started_at(self) -> float:
        """See `Handle`."""
        return self._record.kept.started_at

    @property
    def notes(self) -> Mapping[str, Any]:
        """See `Handle`."""
        return self._record.kept.notes

    def note(self, **facts: Any) -> None:
        """See `Handle`."""
        self._record.note(facts, total=self._log.settled)

    def say(self, text: str) -> None:
        """See `Handle`."""
        self._log.say(text, self._clock.now())

    def write(self, data: bytes, stream: int, time: float) -> None:
        """See `Handle`."""
        self._log.write(data, stream, time)

    @property
    def written(self) -> int:
        """See `Handle`."""
        return self._log.written

    # -- what the executor asks of it ----------------------------------------------------------------------------------

    def report(self) -> AttemptReport:
        """How it stands."""
        return AttemptReport(
            AttemptKey(*self.key), Phase.RUNNING, started_at=self.started_at, size=self._log.size, outputs={}
        )

    def stop(self, stop: Stop) -> None:
        """Begins to end it, or does so with more force; for the reason that came first."""
        if self._stop is None:
            self._stop = stop
            if self._work is not None:
                self._told = self._work.cancel()
        elif stop.force and not self._stop.force:
            self._stop = replace(self._stop, force=True)
            if self._ending and self._work is not None:
                self._work.cancel()

    async def carry(self) -> None:
        """Does it to its end and tells so. Cancelled when the agent ends: then nothing more is done or written."""
        try:
            if self._resumed:
                await self._resume()
            report = await self._closed(await self._outcome())
        except asyncio.CancelledError:
            if self._work is not None and not self._work.done():
                self._work.cancel()
                await asyncio.wait({self._work})
            raise
        except Exception as error:  # a fault of ours, or of the disk, is this attempt's end and not the agent's
            report = self._noted(Outcome(error=named(error, self._about())), self._clock.now(), None)
        finally:
            self.close()
        self._on_ended(report)

    def close(self) -> None:
        """Closes its files; further calls have no effect."""
        self._log.close()
        self._record.close()

    # -- how it ends ---------------------------------------------------------------------------------------------------

    async def _resume(self) -> None:
        """Takes up its log; where that fails, what an earlier agent has begun is ended and not left behind."""
        try:
            await self._log.resume()
        except Exception as error:
            problem = named(error, self._about())
            self.stop(Stop(problem.code, problem.message, False, self._request.stop))

    async def _outcome(self) -> Outcome:
        if self._stop is None:
            work = await self._do(partial(self._request.step.run, self))
            if not work.cancelled():
                came = work.result()
                if not self._told or isinstance(came, Result):
                    return judged(came, self._about())
                # What it ran into when it was told to stop is not why it ended.
                logger.info("stopped while it failed: %s", came, extra=self._about())
            elif not self._told:
                return judged(RuntimeError("the step cancelled itself"), self._about())
        self._ending = True
        return await self._ended()

    async def _ended(self) -> Outcome:
        """Ends it, again with more force where that is asked for meanwhile."""
        while True:
            stop = self._stop
            assert stop is not None
            work = await self._do(partial(self._end, stop))
            if work.cancelled():
                if self._stop is stop:
                    return Outcome(lost="it could not be ended: the end cancelled itself")
                continue
            came = work.result()
            if isinstance(came, Exception):
                return judged(came, self._about())
            return Outcome(came, stopped(stop, self._request.timeout))

    async def _end(self, stop: Stop) -> int | None:
        """Tries until nothing is left of it. Raises LostTrack where that will never be known."""
        tries, pause, said = 0, FIRST_PAUSE, ""
        while True:
            try:
                return await self._request.step.end(self, stop)
            except LostTrack:
                raise
            except Exception as error:
                problem = named(error, self._about())
            tries += 1
            if problem.code not in _AWAY and tries >= TRIES:
                raise LostTrack(f"it could not be ended: {problem.message}")
            if problem.message != said:
                self.say(f"it cannot be ended yet: {problem.message}")
                said = problem.message
            await asyncio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE)

    async def _do(self, work: Callable[[], Awaitable[_T]]) -> asyncio.Task[_T | Exception]:
        """Does one thing to its end as a task of its own, which a stop can cancel."""
        task = self._work = self._group.create_task(caught(work))
        await asyncio.wait({task})
        self._work = None
        return task

    async def _closed(self, outcome: Outcome) -> AttemptReport:
        """Closes the log and writes the report down."""
        now = self._clock.now()
        log = None
        try:
            log = await self._log.finish(now)
        except Exception as error:
            problem = named(error, self._about())
            outcome = replace(outcome, error=outcome.error or (None if outcome.lost else problem))
        return self._noted(outcome, now, log)

    def _noted(self, outcome: Outcome, now: float, log: dict[str, Any] | None) -> AttemptReport:
        report = outcome.report(self.key, started_at=self.started_at, now=now, log=log)
        failpoint("inline.before_end")
        try:
            self._record.end(report)
        except OSError as error:
            # The journal has it as soon as there is room; an agent that dies before that takes the attempt up again.
            logger.warning("the end of an attempt could not be noted: %s", error, extra=self._about())
        else:
            if log is not None:
                self._log.tidy()
        failpoint("inline.ended")
        return AttemptReport.from_json(report)

    def _about(self) -> dict[str, object]:
        key = self.key
        return {"task": key.task_id, "fence": key.fence, "step": key.step_id, "attempt": key.attempt}
