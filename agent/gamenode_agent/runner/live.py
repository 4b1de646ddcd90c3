"""One task in the hands of this agent: takes what happens to it, one batch after the other, and does what follows.

What has happened is folded and committed before anything is done about it; only then the next batch is looked at. So
memory is never ahead of the disk, and two things that happen at once have one order.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import assert_never

from gamenode_agent.engines.processes import as_attempt
from gamenode_agent.journal import Attempt, Entry, StorageFull
from gamenode_agent.runner.advance import Advance, Happened, advance
from gamenode_agent.runner.entries import entry_of, has_log
from gamenode_agent.runner.settling import end_of, settle
from gamenode_agent.runner.shell import Shell
from gamenode_agent.runner.starting import NO_LOG, failure_of, request_of
from gamenode_agent.supervisor.client import AttemptReport
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
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import (
    FinallyTimedOut,
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
from gamenode_proto.process.failpoints import failpoint

logger = logging.getLogger(__name__)

#: The deadlines of the whole task and of its end among its timers; a step's are two words.
_TIMEOUT = "timeout"
_FINALLY = "finally"
_ENDING = (TaskState.RUNNING, TaskState.WAITING)


@dataclass(frozen=True, slots=True)
class _Batch:
    """What is done together: what followed from what happened, and its way to the disk."""

    moved: Advance
    again: Sequence[tuple[Attempt, bool]]
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
        #: Those of them that were begun for us: what runs, nobody may prepare again.
        self._begun: set[Attempt] = set()
        self._shell = shell
        self._files = files
        self._inbox: list[Happened] = []
        #: Attempts to start that were asked for by an earlier agent; True: which may have begun them.
        self._again: list[tuple[Attempt, bool]] = []
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

    def settle(self, reports: Mapping[Attempt, AttemptReport], same_boot: Callable[[Attempt], bool]) -> list[Attempt]:
        """What has become of its attempts while nobody could tell; what it waits for begins anew.

        Returns those that must be killed.
        """
        settled = settle(
            self.task,
            self.plan,
            self.running,
            reports,
            same_boot=same_boot,
            directory=self._shell.attempts.directory,
            now=self._shell.clock.now(),
        )
        if self._given_up:
            for each in settled.happened:
                if isinstance(each.body, StepEnded | StepLost):
                    self._is_gone(Attempt(*self.key, each.body.step_id, each.body.attempt))
            for key in settled.respawn:
                self._is_gone(key)
            self._shell.group.create_task(self._end_everything())
        else:
            self._inbox.extend(settled.happened)
            self._again.extend((key, False) for key in settled.respawn)
            self._again.extend((key, True) for key in settled.resume)
            self._resume = True
            self._drive()
        return settled.kill

    def attempt_ended(self, report: AttemptReport) -> None:
        """One of its attempts is over."""
        failpoint("runner.ended")
        if self._given_up:
            self._is_gone(as_attempt(report.key))
            return
        directory = self._shell.attempts.directory(as_attempt(report.key))
        self._inbox.append(end_of(self.task, report, directory=directory, now=self._shell.clock.now()))
        self._drive()

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
        again, self._again = self._again, []
        moved = advance(self.task, self.plan, happened, resume=resume, now=self._shell.clock.now())
        if not moved.events:
            return _Batch(moved, again, None, None)
        entry = entry_of(
            moved,
            digest=self.digest,
            bundle=self._bundle,
            boot_id=self._shell.boot_id,
            now=self._shell.clock.now(),
        )
        return _Batch(moved, again, entry, self._shell.journal.submit(entry))

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
                for key, resumed in batch.again:
                    await self._start(key, resumed=resumed)
                for effect in moved.effects:
                    await self._carry_out(effect)
                if moved.finished or self._given_up or not (self._inbox or self._resume or self._again):
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

    async def _start(self, key: Attempt, *, resumed: bool = False) -> None:
        if key not in self.running or key in self._begun or self._given_up:
            return  # a look at the supervisor from before it began may have told to start it again
        try:
            request = request_of(self._shell, self.task, self.plan, key, self._files)
            failpoint("runner.before_spawn")
            await self._shell.attempts.start(request, resumed=resumed)
            failpoint("runner.after_spawn")
        except Exception as error:
            if isinstance(error, GameNodeError) and error.code is Code.SUPERVISOR_LOST:
                self._shell.on_doubt()
                return
            problem = failure_of(key, error)
            if resumed:  # an earlier agent may have done some of it
                self.deliver(StepLost(key.step_id, key.attempt, f"it cannot be taken up again: {problem.message}"))
            else:
                self.deliver(StepEnded(key.step_id, key.attempt, error=problem, log=NO_LOG, jitter=random.random()))
        else:
            self._begun.add(key)  # if it is over already, that is told like any other end

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

    def _finish_workspace(self) -> None:
        succeeded = self.task.state is TaskState.SUCCEEDED
        if not self._shell.workspaces.finish(*self.key, succeeded=succeeded):
            self._shell.group.create_task(asyncio.to_thread(self._shell.workspaces.remove, *self.key))
