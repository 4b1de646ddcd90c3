"""What one operation moves: tasks and runs stepped through the pure core, and what follows from each step.

Owns the way from an event to everything it causes inside the same transaction: run counters, the next task of a run,
the next task of a node whose slot became free. Everything is written once, at the end, by `finish`.
Knows nothing of sessions: what has to be sent is an effect.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import replace
from itertools import islice
from typing import assert_never

from gamenode_pipelines import runs, tasks
from gamenode_pipelines.effects import (
    AwaitTurn,
    CancelTasks,
    FinishRun,
    Ignored,
    Reassign,
    RunEffect,
    SkipPendingTasks,
    StartTasks,
)
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    CancelWanted,
    StepStarted,
    TaskAssigned,
    TaskEvent,
    TaskLost,
    TaskRefused,
    TaskSkipped,
)
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.runs import PauseOver, Run, RunAdmitted, RunEvent, TaskChanged
from gamenode_pipelines.states import NodeState, TaskState
from gamenode_pipelines.task_state import Task, on_node
from gamenode_server.controller import naming, turns
from gamenode_server.controller.approvals import decisions_for
from gamenode_server.controller.effects import ContinueRun, SendAssign, SendCancel, ServerEffect
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.slots import can_take_work, facts_for, holds_slot, slots_of
from gamenode_server.records import NewEvent
from gamenode_server.store.tx import Tx

#: How many tasks one transaction makes, gives out or ends; the rest goes on in the next one (`ContinueRun`).
CHUNK = 500
#: When a group becomes free, so many of those that wait for it are looked at; the others when runs are settled.
_NEXT_IN_GROUP = 20


class Moves:
    """The tasks and runs one operation has touched, as they stand now, and what else has to happen."""

    def __init__(self, tx: Tx, plans: Plans, *, actor: str = "") -> None:
        self._tx = tx
        self._plans = plans
        self._actor = actor
        self._tasks: dict[str, Task] = {}
        self._runs: dict[str, Run] = {}
        self._events: list[NewEvent] = []
        self._effects: list[ServerEffect] = []
        self._todo: deque[tuple[str, RunEffect]] = deque()
        self._nodes: dict[str, None] = {}
        self._unfinished: dict[str, None] = {}
        self._budget = CHUNK
        #: Of groups that were looked at, the task that holds each, or nothing.
        self._holders: dict[str, str] = {}

    # -- reading ---------------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        """A task as this operation has left it."""
        return self._tasks.get(task_id) or self._tx.task(task_id)

    def run(self, run_id: str) -> Run:
        """A run as this operation has left it; raises DATA_LOSS where a task has none."""
        run = self._runs.get(run_id) or self._tx.run(run_id)
        if run is None:
            raise GameNodeError(Code.DATA_LOSS, f"the store has no run {run_id}")
        return run

    def plan(self, run: Run) -> Plan:
        """What the run's tasks execute."""
        return self._plans.plan(run.bundle_digest, self._tx.bundle)

    def live_tasks_of(self, run_id: str) -> list[Task]:
        """The run's tasks that have not ended, by position."""
        mine = self._tasks
        return [task for task in (mine.get(t.id, t) for t in self._tx.live_tasks_of(run_id)) if not task.state.ended]

    def live_tasks_on(self, node_id: str) -> list[Task]:
        """The node's tasks that have not ended, oldest first."""
        mine = self._tasks
        return [task for task in (mine.get(t.id, t) for t in self._tx.live_tasks_on(node_id)) if not task.state.ended]

    def live_tasks_in(self, group: str) -> list[Task]:
        """The group's tasks that have not ended, oldest first."""
        mine = self._tasks
        return [task for task in (mine.get(t.id, t) for t in self._tx.live_tasks_in(group)) if not task.state.ended]

    def live_runs_in(self, group: str) -> list[Run]:
        """The group's runs that have not ended, oldest first."""
        runs = (self._runs.get(run.id, run) for run in self._tx.live_runs() if run.group == group)
        return [run for run in runs if not run.state.ended]

    # -- moving ----------------------------------------------------------------------------------------------------

    def emit(self, event: NewEvent) -> None:
        """Stores an event, in order with those of the moves."""
        self._events.append(event)

    def effect(self, effect: ServerEffect) -> None:
        """Hands out an effect, in order with those of the moves."""
        self._effects.append(effect)

    def add_tasks(self, run: Run, new: Sequence[Task]) -> None:
        """Stores new tasks of a run; they can be moved right away."""
        if self._tx.run(run.id) is None:
            self._events.extend(naming.run_changed(None, run, actor=self._actor))
            self._tx.put_run(run)
        put = self._tx.put_task
        for task in new:
            put(task)

    def shrink(self, run_id: str, *, total: int) -> None:
        """Changes the size of a run that has not begun."""
        run = self.run(run_id)
        pending = run.counts.get(TaskState.PENDING, 0) - (run.total - total)
        self._runs[run_id] = replace(run, total=total, counts={**run.counts, TaskState.PENDING: pending})

    def fold(self, event: TaskEvent, *, time: float = 0.0) -> Task:
        """Steps a task and notes everything that follows from it. Raises IllegalTransition, changing nothing."""
        old = self.task(event.task_id)
        if old is None:
            raise GameNodeError(Code.NOT_FOUND, f"no task {event.task_id}")
        new, effects = tasks.step(old, self.plan(self.run(old.run_id)), event)
        ignored: Ignored | None = None
        unwanted: CancelInfo | None = None
        for effect in effects:
            if isinstance(effect, Ignored):
                ignored = effect
            elif isinstance(effect, Reassign):
                if self.run(new.run_id).cancel is not None:  # nobody wants it run again
                    self._todo.append((new.run_id, CancelTasks()))
                elif new.cancel_wanted is not None:
                    unwanted = new.cancel_wanted
                else:
                    self.fill(new.node.id)
        cause = naming.cause(new, event, ignored, actor=self._actor, time=time)
        self._events.append(cause)
        if new is not old:
            self._changed(old, new, time)
        if isinstance(event.body, StepStarted):
            self._effects.extend(decisions_for(self.run(new.run_id), new))
        if unwanted is not None:
            return self.fold(TaskEvent(new.id, new.fence, self._tx.now, CancelRequested(unwanted)))
        return new

    def _changed(self, old: Task, new: Task, time: float) -> None:
        self._tasks[new.id] = new
        self._events.extend(naming.consequences(old, new, actor=self._actor, time=time))
        if holds_slot(old) and not holds_slot(new):
            self.fill(new.node.id)
        if old.state is not new.state:
            if new.group:
                self._moved_in_group(new)
            self.run_event(new.run_id, TaskChanged(old.state, new.state, new.position))

    def run_event(self, run_id: str, event: RunEvent) -> Run:
        """Steps a run and notes what it wants done."""
        old = self.run(run_id)
        new, effects = runs.step(old, event, self._tx.now)
        if new is not old:
            self._runs[run_id] = new
            self._events.extend(naming.run_changed(old, new, actor=self._actor))
        for effect in effects:
            self._todo.append((run_id, effect))
        return new

    def _moved_in_group(self, task: Task) -> None:
        if turns.holds(task):
            self._holders[task.group] = task.id
        elif self._holders.get(task.group) == task.id:
            del self._holders[task.group]
        if task.state.ended:
            waiting = (other for other in self.live_tasks_in(task.group) if other.state is TaskState.PENDING)
            for other in islice(waiting, _NEXT_IN_GROUP):
                self.fill(other.node.id)

    def _is_free(self, task: Task) -> bool:
        """Whether nobody else holds the task's group."""
        if task.group not in self._holders:
            holder = turns.in_the_way(task, self.live_tasks_in(task.group))
            self._holders[task.group] = holder.id if holder is not None else ""
        return self._holders[task.group] in ("", task.id)

    def cancel_task(self, task: Task, cancel: CancelInfo) -> None:
        """Ends one task of a run that goes on: at once, or as soon as its agent has heard of it."""
        if not on_node(task):
            self.fold(TaskEvent(task.id, task.fence, self._tx.now, CancelRequested(cancel)))
        elif task.cancel is None and task.cancel_wanted is None:
            self.fold(TaskEvent(task.id, task.fence, self._tx.now, CancelWanted(cancel)))
            self._effects.append(SendCancel(task.node.id, task.id, task.fence, cancel))

    def fill(self, node_id: str) -> None:
        """The node may have a free slot and something to put into it."""
        self._nodes[node_id] = None

    def refuse(self, task: Task, error: Error) -> Task:
        """Ends a task that waits to be given to its node and never will be: assigned, and refused for this reason."""
        new = self._assign(task)
        return self.fold(TaskEvent(new.id, new.fence, self._tx.now, TaskRefused(error)))

    def lose(self, task: Task, reason: str, *, gone: bool) -> Task:
        """Gives up waiting for what an agent says of a task; with `gone` it never will."""
        return self.fold(TaskEvent(task.id, task.fence, self._tx.now, TaskLost(reason, gone)))

    def settle(self, run_id: str) -> None:
        """Does what a run still wants done with its tasks, derived from how it stands."""
        run = self.run(run_id)
        if run.state.ended:
            return
        if run.cancel is not None:
            self._todo.append((run_id, CancelTasks()))
        elif why := runs.stops_starting(run):
            self._todo.append((run_id, SkipPendingTasks(why)))
        elif run.queued:
            self._todo.append((run_id, AwaitTurn()))
        else:
            if run.next_at and run.next_at <= self._tx.now:
                run = self.run_event(run_id, PauseOver())
            for task in self.live_tasks_of(run_id):
                if task.position >= run.started:
                    break
                if task.state is TaskState.PENDING:
                    self.fill(task.node.id)

    def finish(self) -> None:
        """Carries out everything noted, and whatever that leads to; then writes all of it."""
        while self._todo or self._nodes:
            if self._todo:
                self._carry_out(*self._todo.popleft())
            else:
                node_id = next(iter(self._nodes))
                del self._nodes[node_id]
                self._fill(node_id)
        put_task, put_run, effect = self._tx.put_task, self._tx.put_run, self._tx.effect
        for task in self._tasks.values():
            put_task(task)
        for run in self._runs.values():
            put_run(run)
        if self._events:
            self._tx.emit(self._events)
        for item in self._effects:
            effect(item)
        for run_id in self._unfinished:
            effect(ContinueRun(run_id))

    # -- carrying out ----------------------------------------------------------------------------------------------

    def _carry_out(self, run_id: str, effect: RunEffect) -> None:
        match effect:
            case StartTasks():
                self._start(run_id)
            case CancelTasks():
                self._cancel(run_id)
            case SkipPendingTasks(reason=reason):
                self._skip(run_id, reason)
            case AwaitTurn() | FinishRun():
                self._next_turn(self.run(run_id).group)
            case Ignored():
                pass
            case _:
                assert_never(effect)

    def _start(self, run_id: str) -> None:
        # All that were started: an effect may be carried out after the next one has moved the run on.
        last = self.run(run_id).started
        for task in self.live_tasks_of(run_id):
            if task.position >= last:
                break
            if task.state is TaskState.PENDING:
                self.fill(task.node.id)

    def _cancel(self, run_id: str) -> None:
        cancel = self.run(run_id).cancel
        if cancel is None:
            return
        with_agents: list[Task] = []
        for task in self._within_budget(run_id, self.live_tasks_of(run_id)):
            if on_node(task):  # only the agent may say what becomes of it
                with_agents.append(task)
                continue
            self._budget -= 1
            self.fold(TaskEvent(task.id, task.fence, self._tx.now, CancelRequested(cancel)))
        if run_id not in self._unfinished:
            for task in with_agents:
                if task.cancel is None or (cancel.force and not task.cancel.force):
                    self._effects.append(SendCancel(task.node.id, task.id, task.fence, cancel))

    def _next_turn(self, group: str) -> None:
        if group and (run := turns.next_run(self.live_runs_in(group))) is not None:
            self.run_event(run.id, RunAdmitted())

    def _skip(self, run_id: str, reason: str) -> None:
        for task in self._within_budget(run_id, self.live_tasks_of(run_id)):
            if task.state is TaskState.PENDING:
                self._budget -= 1
                self.fold(TaskEvent(task.id, task.fence, self._tx.now, TaskSkipped(reason)))

    def _within_budget(self, run_id: str, work: Iterable[Task]) -> Iterable[Task]:
        for task in work:
            if self._budget <= 0:
                self._unfinished[run_id] = None
                return
            yield task

    def _fill(self, node_id: str) -> None:
        node = self._tx.node(node_id)
        if node is None or node.state is NodeState.REVOKED:
            self._refuse_all(node_id)
            return
        if not can_take_work(node):
            return
        live = self.live_tasks_on(node_id)
        free = slots_of(node) - sum(map(holds_slot, live))
        for task in live:
            if free <= 0:
                return
            if not self._may_start(task):
                continue
            if self._budget <= 0:
                self._unfinished[task.run_id] = None
                return
            self._budget -= 1
            free -= 1
            run = self.run(task.run_id)
            if task.fence == 0:
                self._tasks[task.id] = facts_for(task, node)
            new = self._assign(task)
            self._effects.append(SendAssign(new, run.bundle_digest))

    def _assign(self, task: Task) -> Task:
        return self.fold(TaskEvent(task.id, task.fence + 1, self._tx.now, TaskAssigned()))

    def _refuse_all(self, node_id: str) -> None:
        error = Error(Code.REVOKED, "its node is not part of the fleet any more")
        for task in self.live_tasks_on(node_id):
            if self._may_start(task):
                if self._budget <= 0:
                    self._unfinished[task.run_id] = None
                    return
                self._budget -= 1
                self.refuse(task, error)

    def _may_start(self, task: Task) -> bool:
        if task.state is TaskState.LOST:
            # While its node may still tell of the earlier assignment, there is no second one.
            return task.lost_from is None and self.run(task.run_id).cancel is None
        if task.state is not TaskState.PENDING:
            return False
        run = self.run(task.run_id)
        if task.position >= run.started or not runs.may_assign(run):
            return False
        return not task.group or self._is_free(task)
