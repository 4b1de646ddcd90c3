"""One attempt that the agent carries out itself, from the note that it began to its final report.

`run` does it. A stop (a cancel, its time limit) cancels `run`, and then `end` ends what `run` had started. Which of the
two an attempt ended by is decided once: a `run` that was over before it was told to stop has ended by itself, and so
has one that brings a result nevertheless. When the agent itself ends, whatever goes on is cancelled, and nothing is
written: the next agent takes the attempt up again.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any, TypeVar

from gamenode_agent.engines.inline import InlineRequest, LostTrack, Result, Stop
from gamenode_agent.engines.inline_log import InlineLog
from gamenode_agent.engines.inline_records import Record
from gamenode_agent.failures import leaves
from gamenode_agent.journal import Attempt
from gamenode_agent.supervisor.client import AttemptKey, AttemptReport, Phase
from gamenode_agent.supervisor.records import LOG_FILE
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.process.clock import Clock
from gamenode_proto.process.failpoints import failpoint

logger = logging.getLogger(__name__)

#: Bytes of outputs, names and values together, as of a process's file of them.
MAX_OUTPUTS = 64 << 10
#: Pauses between two tries to end what cannot be ended, seconds: so many times as long each time, up to so many.
FIRST_PAUSE = 0.2
LONGEST_PAUSE = 5.0
#: Tries after which an attempt that cannot be ended is given up, unless it is only that the engine is away.
TRIES = 5
_AWAY = frozenset({Code.ENGINE_UNAVAILABLE, Code.TIMEOUT, Code.DISCONNECTED})

_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _Outcome:
    """How it ended; `lost`: why nobody knows."""

    exit_code: int | None = None
    error: Error | None = None
    outputs: Mapping[str, str] = field(default_factory=dict)
    ended_at: float = 0.0
    lost: str = ""


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
                await self._log.resume()
            outcome = await self._outcome()
            report = await self._closed(outcome)
        except asyncio.CancelledError:
            if self._work is not None and not self._work.done():
                self._work.cancel()
                await asyncio.wait({self._work})
            raise
        except Exception as error:  # a fault of ours, or of the disk, is this attempt's end and not the agent's
            report = self._fault(error)
        finally:
            self.close()
        self._on_ended(report)

    def close(self) -> None:
        """Closes its files; further calls have no effect."""
        self._log.close()
        self._record.close()

    # -- how it ends ---------------------------------------------------------------------------------------------------

    async def _outcome(self) -> _Outcome:
        if self._stop is None:
            work = await self._do(partial(self._request.step.run, self))
            if not work.cancelled():
                came = work.result()
                if not self._told or isinstance(came, Result):
                    return self._judged(came)
                # What it ran into when it was told to stop is not why it ended.
                logger.info("stopped while it failed: %s", came, extra=self._about())
            elif not self._told:
                return self._judged(RuntimeError("the step cancelled itself"))
        self._ending = True
        return await self._ended()

    async def _ended(self) -> _Outcome:
        """Ends it, again with more force where that is asked for meanwhile."""
        while True:
            stop = self._stop
            assert stop is not None
            work = await self._do(partial(self._end, stop))
            if work.cancelled():
                if self._stop is stop:
                    return _Outcome(lost="it could not be ended: the end cancelled itself")
                continue
            came = work.result()
            if isinstance(came, Exception):
                return self._judged(came)
            return _Outcome(came, _stopped(stop, self._request.timeout))

    async def _end(self, stop: Stop) -> int | None:
        """Tries until nothing is left of it. Raises LostTrack where that will never be known."""
        tries, pause, said = 0, FIRST_PAUSE, ""
        while True:
            try:
                return await self._request.step.end(self, stop)
            except LostTrack:
                raise
            except Exception as error:
                problem = self._named(error)
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
        task = self._work = self._group.create_task(_caught(work))
        await asyncio.wait({task})
        self._work = None
        return task

    def _judged(self, came: Result | Exception) -> _Outcome:
        if isinstance(came, LostTrack):
            return _Outcome(lost=_clean(str(came)) or "nobody knows how far it got")
        if isinstance(came, Exception):
            return _Outcome(error=self._named(came))
        outputs = {_clean(name): _clean(value) for name, value in came.outputs.items()}
        size = sum(len(name.encode()) + len(value.encode()) for name, value in outputs.items())
        if size > MAX_OUTPUTS:
            error = Error(Code.LIMIT_EXCEEDED, f"the step's outputs are longer than {MAX_OUTPUTS} bytes")
            return _Outcome(came.exit_code, came.error or error, {}, came.ended_at)
        return _Outcome(came.exit_code, came.error, outputs, came.ended_at)

    def _named(self, error: Exception) -> Error:
        if isinstance(error, GameNodeError):
            return error.error
        if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
            return Error(Code.STORAGE_FULL, f"there is no room on the disk of this node: {error}")
        incident = secrets.token_hex(4)
        logger.error("a step failed in an unforeseen way [%s]", incident, exc_info=error, extra=self._about())
        return Error(Code.INTERNAL, f"the agent failed at this step; its log says how under [{incident}]")

    async def _closed(self, outcome: _Outcome) -> AttemptReport:
        """Closes the log and writes the report down."""
        now = self._clock.now()
        log = await self._log.finish(now)
        report = self._message(outcome, now, log)
        failpoint("inline.before_end")
        try:
            self._record.end(report)
        except OSError as error:
            # The journal has it as soon as there is room; an agent that dies before that takes the attempt up again.
            logger.warning("the end of an attempt could not be noted: %s", error, extra=self._about())
        else:
            self._log.tidy()
        failpoint("inline.ended")
        return AttemptReport.from_json(report)

    def _fault(self, error: Exception) -> AttemptReport:
        return AttemptReport.from_json(self._message(_Outcome(error=self._named(error)), self._clock.now(), None))

    def _message(self, outcome: _Outcome, now: float, log: dict[str, Any] | None) -> dict[str, Any]:
        error = outcome.error
        return {
            "key": str(AttemptKey(*self.key)),
            "phase": str(Phase.UNKNOWN if outcome.lost else Phase.ENDED),
            "pid": 0,
            "started_at": self.started_at,
            "ended_at": min(now, outcome.ended_at or now),
            "exit_code": outcome.exit_code,
            "error": error
            and {
                "code": str(error.code),
                "message": _clean(error.message),
                "details": {_clean(name): _clean(value) for name, value in error.details.items()},
            },
            "log": log,
            "may_have_started": True,
            "size": log["bytes"] if log else 0,
            "outputs": dict(outcome.outputs),
            "lost": outcome.lost,
        }

    def _about(self) -> dict[str, object]:
        key = self.key
        return {"task": key.task_id, "fence": key.fence, "step": key.step_id, "attempt": key.attempt}


async def _caught(work: Callable[[], Awaitable[_T]]) -> _T | Exception:
    """What came of it: whatever its kind does, it does not end the agent."""
    try:
        return await work()
    except ExceptionGroup as group:
        causes = leaves(group)
        named = (LostTrack, GameNodeError)
        for kind in named:
            found = next((cause for cause in causes if isinstance(cause, kind)), None)
            if found is not None and all(isinstance(cause, named) for cause in causes):
                return found
        return group
    except Exception as error:
        return error


def _stopped(stop: Stop, timeout: float) -> Error:
    if stop.code is Code.STEP_TIMEOUT:
        return Error(stop.code, stop.reason, {"timeout": f"{timeout:g}"})
    return Error(stop.code, stop.reason or "stopped")


def _clean(text: str) -> str:
    """Text that can be stored and sent, whatever bytes a game or a file name had in it."""
    return text.encode("utf-8", "replace").decode()
