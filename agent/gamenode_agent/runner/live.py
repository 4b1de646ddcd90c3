"""One task in the hands of this agent: takes what happens to it, one batch after the other, and does what follows.

What has happened is folded and committed before anything is done about it; only then the next batch is looked at. So
memory is never ahead of the disk, and two things that happen at once have one order.
"""

from __future__ import annotations

import asyncio
import errno
import logging
import random
from collections.abc import Awaitable, Sequence
from dataclasses import dataclass
from typing import assert_never

from gamenode_agent import steps
from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.engines.processes import as_attempt
from gamenode_agent.journal import Attempt, AttemptRow, Entry, StorageFull, TaskRow
from gamenode_agent.runner.advance import Advance, Happened, advance
from gamenode_agent.runner.outputs import read_outputs
from gamenode_agent.runner.shell import Shell
from gamenode_agent.supervisor.client import AttemptReport, SpawnRequest
from gamenode_agent.timers import Timers
from gamenode_pipelines.effects import (
    FinishTask,
    Ignored,
    Reassign,
    StartFinallyTimer,
    StartRetryTimer,
    StartStep,
    StopStep,
    TaskEffect,
)
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import (
    FinallyTimedOut,
    LogSummary,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskEvent,
    TaskEventBody,
    TaskTimedOut,
)
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import Task
from gamenode_proto.codec.plan import BundleFile
from gamenode_proto.codec.work import log_summary_to_proto, task_event_to_proto, task_to_proto
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.v1.agent_link_pb2 import OutboxRecord

logger = logging.getLogger(__name__)

#: The deadlines of the whole task and of its end among its timers; a step's are two words.
_TIMEOUT = "timeout"
_FINALLY = "finally"
_ENDING = (TaskState.RUNNING, TaskState.WAITING)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is done together: what followed from what happened, and its way to the disk."""

    moved: Advance
    respawn: Sequence[Attempt]
    entry: Entry | None
    storing: Awaitable[None] | None


class LiveTask:
    """A task between its acceptance and its end on this node."""

    def __init__(self, shell: Shell, task: Task, plan: Plan, *, digest: str, files: Sequence[BundleFile] = ()) -> None:
        self.task = task
        self.plan = plan
        self.digest = digest
        #: Attempts that were asked for and have not ended.
        self.running: set[Attempt] = set()
        #: Those of them that the supervisor has begun for us: what it runs, nobody may prepare again.
        self._begun: set[Attempt] = set()
        self._shell = shell
        self._files = files
        self._inbox: list[Happened] = []
        self._respawn: list[Attempt] = []
        self._bundle: bytes | None = None
        self._resume = False
        self._busy = False
        self._given_up = False
        self._idle = asyncio.Event()
        self._gone = asyncio.Event()
        self._timers = Timers(shell.clock)

    @property
    def key(self) -> tuple[str, int]:
        """Its id and fence."""
        return self.task.id, self.task.fence

    def deliver(self, *bodies: TaskEventBody, at: float | None = None) -> None:
        """Something happened to the task, now unless `at` says when."""
        now = self._shell.clock.now() if at is None else at
        self._inbox.extend(Happened(body, now) for body in bodies)
        self._drive()

    def accept(self, *bodies: TaskEventBody, bundle: bytes | None) -> None:
        """The first that happens to a task; `bundle` is stored with it."""
        self._bundle = bundle
        self.deliver(*bodies)

    def take_up(self, happened: Sequence[Happened], respawn: Sequence[Attempt]) -> None:
        """What was found out about its attempts: what happened, which never started. What it waits for begins anew."""
        if self._given_up:
            for each in happened:
                if isinstance(each.body, StepEnded | StepLost):
                    self._is_gone(Attempt(*self.key, each.body.step_id, each.body.attempt))
            for key in respawn:
                self._is_gone(key)
            self._shell.group.create_task(self._end_everything())
            return
        self._inbox.extend(happened)
        self._respawn.extend(respawn)
        self._resume = True
        self._drive()

    def attempt_ended(self, report: AttemptReport) -> None:
        """One of its attempts is over."""
        failpoint("runner.ended")
        if self._given_up:
            self._is_gone(as_attempt(report.key))
            return
        self._inbox.append(self.end_of(report))
        self._drive()

    def end_of(self, report: AttemptReport) -> Happened:
        """How an attempt ended, at the time it did."""
        key = as_attempt(report.key)
        now = self._shell.clock.now()
        step = self.task.steps.get(key.step_id)
        at = min(now, max(report.ended_at, step.started_at if step is not None else now)) if report.ended_at else now
        error, outputs = report.error, {}
        try:
            outputs = read_outputs(f"{self._shell.attempts.directory(key)}/{steps.OUTPUT_FILE}")
        except GameNodeError as unreadable:
            # A step that failed says why by itself; one that would have succeeded must not go on without its outputs.
            error = error or (None if report.exit_code else unreadable.error)
        body = StepEnded(
            key.step_id,
            key.attempt,
            exit_code=report.exit_code,
            error=error,
            outputs=outputs,
            log=report.log,
            jitter=random.random(),
        )
        return Happened(body, at)

    @property
    def given_up(self) -> bool:
        """Another assignment has taken this one's place."""
        return self._given_up

    async def give_up(self) -> None:
        """Ends every process of this assignment, which another one has taken the place of; reports nothing more."""
        self._given_up = True
        self._timers.clear()
        while self._busy:
            await self._idle.wait()
        await self._end_everything()
        if self.running:
            await self._gone.wait()

    async def _end_everything(self) -> None:
        for key in list(self.running):
            if not await self._stop(key, force=True, code=Code.SUPERSEDED, why="another assignment took its place"):
                self._is_gone(key)

    def _is_gone(self, key: Attempt) -> None:
        self.running.discard(key)
        if not self.running:
            self._gone.set()

    # -- the one place where it moves ----------------------------------------------------------------------------------

    def _drive(self) -> None:
        if not self._busy and not self._given_up:
            batch = self._begin()  # before it counts as busy: a fault in it must not keep the task so for ever
            self._busy = True
            self._idle.clear()
            self._shell.group.create_task(self._run(batch))

    def _begin(self) -> _Batch:
        """Folds what has come in and hands it to the journal, which stores it while the loop goes on."""
        happened, self._inbox = self._inbox, []
        resume, self._resume = self._resume, False
        respawn, self._respawn = self._respawn, []
        moved = advance(self.task, self.plan, happened, resume=resume, now=self._shell.clock.now())
        if not moved.events:
            return _Batch(moved, respawn, None, None)
        entry = self._entry(moved)
        return _Batch(moved, respawn, entry, self._shell.journal.submit(entry))

    async def _run(self, batch: _Batch) -> None:
        try:
            while True:
                moved = batch.moved
                if batch.entry is not None:
                    await self._store(batch.entry, batch.storing)
                    if isinstance(moved.events[0].body, TaskAccepted):
                        failpoint("journal.accepted")
                self.task = moved.task
                self._note_attempts(moved.events)
                self._arm_timeout()
                for key in batch.respawn:
                    await self._start(key)
                for effect in moved.effects:
                    await self._carry_out(effect)
                if moved.finished or self._given_up or not (self._inbox or self._resume or self._respawn):
                    return
                batch = self._begin()
        finally:
            self._busy = False
            self._idle.set()

    async def _store(self, entry: Entry, storing: Awaitable[None] | None) -> None:
        told = False
        while True:
            try:
                await (storing or self._shell.journal.commit(entry))
                break
            except StorageFull as error:
                storing = None
                # What has happened has happened: it is stored as soon as there is room.
                if not told:
                    logger.error("%s; trying until it works", error.message, extra={"task": self.task.id})
                    told = True
                await asyncio.sleep(self._shell.storage_retry)
        if told:
            logger.info("the journal can be written again", extra={"task": self.task.id})
        self._bundle = None
        self._shell.on_commit(self, entry.records[-1].seq)

    def _entry(self, moved: Advance) -> Entry:
        task, boot = moved.task, self._shell.boot_id
        attempts: list[AttemptRow] = []
        dropped: list[Attempt] = []
        for event in moved.events:
            match event.body:
                case StepStarted(step_id, attempt):
                    attempts.append(AttemptRow(Attempt(task.id, task.fence, step_id, attempt), boot))
                case StepEnded(step_id, attempt, log=log) | StepLost(step_id, attempt, log=log):
                    key = Attempt(task.id, task.fence, step_id, attempt)
                    if log is not None and has_log(log):
                        attempts.append(AttemptRow(key, boot, True, log_summary_to_proto(log).SerializeToString()))
                    else:
                        dropped.append(key)
                case _:
                    pass
        at = moved.events[-1].at
        return Entry(
            at=self._shell.clock.now(),
            records=[OutboxRecord(task_event=task_event_to_proto(event)) for event in moved.events],
            task=TaskRow(
                task_id=task.id,
                fence=task.fence,
                state=str(task.state),
                ended=moved.finished,
                digest="" if moved.finished else self.digest,
                # Of an assignment that is over only its number is needed: a late copy of it must be known as old.
                task=b"" if moved.finished else task_to_proto(task).SerializeToString(),
                updated_at=at,
            ),
            attempts=attempts,
            dropped=dropped,
            bundle=None if self._bundle is None else (self.digest, self._bundle),
        )

    def _note_attempts(self, events: Sequence[TaskEvent]) -> None:
        for event in events:
            match event.body:
                case StepStarted(step_id, attempt):
                    self.running.add(Attempt(*self.key, step_id, attempt))
                case StepEnded(step_id, attempt, log=log) | StepLost(step_id, attempt, log=log):
                    key = Attempt(*self.key, step_id, attempt)
                    self.running.discard(key)
                    self._begun.discard(key)
                    if log is not None and has_log(log):
                        self._shell.log_ended(key, log)
                    else:
                        self._shell.attempts.forget(key)
                case _:
                    pass

    def _arm_timeout(self) -> None:
        task = self.task
        if self.plan.timeout > 0 and task.started_at and task.outcome is None and task.state in _ENDING:
            self._timers.set(_TIMEOUT, task.started_at + self.plan.timeout, lambda: self.deliver(TaskTimedOut()))
        else:
            self._timers.drop(_TIMEOUT)

    # -- effects -------------------------------------------------------------------------------------------------------

    async def _carry_out(self, effect: TaskEffect) -> None:
        match effect:
            case StartStep(step_id, attempt):
                await self._start(Attempt(*self.key, step_id, attempt))
            case StopStep(step_id, attempt, force, word):
                code = Code(word)
                await self._stop(Attempt(*self.key, step_id, attempt), force=force, code=code, why=self._why(code))
            case StartRetryTimer(step_id, attempt, at):
                self._timers.set(f"retry {step_id}", at, lambda: self.deliver(RetryDue(step_id, attempt)))
            case StartFinallyTimer(at):
                self._timers.set(_FINALLY, at, lambda: self.deliver(FinallyTimedOut()))
            case FinishTask():
                self._timers.clear()
                self._finish_workspace()
                self._shell.on_finished(self)
            case Reassign() | Ignored():
                pass  # the server's to do; nothing to do
            case _:
                assert_never(effect)

    async def _start(self, key: Attempt) -> None:
        if key not in self.running or key in self._begun or self._given_up:
            return  # a look at the supervisor from before it began may have told to start it again
        try:
            request = self._request(key)
            failpoint("runner.before_spawn")
            await self._shell.attempts.start(request)
            failpoint("runner.after_spawn")
        except GameNodeError as error:
            if error.code is Code.SUPERVISOR_LOST:
                self._shell.on_doubt()
                return
            self._failed_to_start(key, error.error)
        except OSError as error:
            full = error.errno in (errno.ENOSPC, errno.EDQUOT)
            code = Code.STORAGE_FULL if full else Code.STEP_FAILED
            self._failed_to_start(key, Error(code, f"the step could not be prepared: {error}"))
        except Exception as error:  # a fault of ours is this step's end and not the agent's
            logger.exception("a step could not be started", extra={"task": key.task_id, "step": key.step_id})
            self._failed_to_start(key, Error(Code.INTERNAL, f"the agent failed to start the step: {error}"))
        else:
            self._begun.add(key)  # if it is over already, that is told like any other end

    def _failed_to_start(self, key: Attempt, error: Error) -> None:
        self.deliver(StepEnded(key.step_id, key.attempt, error=error, jitter=random.random()))

    async def _stop(self, key: Attempt, *, force: bool, code: Code, why: str) -> bool:
        """False if it does not run, or nobody knows: then recovery asks again for what is still to be stopped."""
        try:
            return await self._shell.attempts.stop(key, force=force, code=code, reason=why)
        except GameNodeError as error:
            logger.error("a step could not be stopped: %s", error.message, extra={"task": key.task_id})
            self._shell.on_doubt()
            return True

    def _why(self, code: Code) -> str:
        cancel = self.task.cancel
        if code is Code.CANCELLED and cancel is not None:
            return f"cancelled by {cancel.by}{': ' if cancel.reason else ''}{cancel.reason}"
        return "the task took too long" if code is Code.TASK_TIMEOUT else "stopped with its task"

    def _request(self, key: Attempt) -> SpawnRequest | InlineRequest:
        step = self.plan.step(key.step_id)
        shared = bool(step.user) or any(each.user for each in (*self.plan.steps, *self.plan.finally_))
        workspace = self._shell.workspaces.prepare(*self.key, self._files, shared=shared)
        directory = self._shell.attempts.prepare(key)
        context = steps.StepContext(
            key=key,
            task=self.task,
            plan=self.plan,
            step=step,
            workspace=workspace,
            directory=directory,
            tools=self._shell.tools,
        )
        return steps.KINDS[step.kind](context)

    def _finish_workspace(self) -> None:
        succeeded = self.task.state is TaskState.SUCCEEDED
        if not self._shell.workspaces.finish(*self.key, succeeded=succeeded):
            self._shell.group.create_task(asyncio.to_thread(self._shell.workspaces.remove, *self.key))


def has_log(log: LogSummary) -> bool:
    """Whether there is anything to ship: a silent attempt has no log file, and its summary says all there is."""
    return bool(log.bytes or log.holes)
