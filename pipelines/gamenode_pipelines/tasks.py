"""The task machine: how one run's share on one node moves. The only place that changes a task's or a step's state.

Runs on the agent, which is authoritative for steps; the server folds the same events through the same function. The
table `TRANSITIONS` says which event does what in which state; `task_flow` has the rules for what moves next.

What may start. A main step starts when every step it needs has succeeded, was skipped by its own condition, or failed
with `continue_on_error`. A need that failed otherwise, was cancelled, or was itself held back so skips the step, and
the skip carries an error and spreads; independent branches go on. In `finally` needs are only an order.

Groups. A step of kind `GROUP` stands for the steps of an inlined pipeline: it has no attempts, is open (running) from
when it may start, which is asked once and for all of them, until the last of them has ended, and fails with the first
of them that fails. What is for a step's failure starts when it has failed for good, else it is skipped.

How it ends. When nothing of the main part can move, its outcome is fixed: failed if a step failed, cancelled if a
cancel was taken before that, else succeeded. Then `finally` runs with a time of its own. A failing `finally` makes a
success a failure, never the reverse. `FinishTask` comes once an assignment, when it is over on its node.

What may have run. A lost step stops the assignment: nothing new begins, what runs goes on to its end. Then the task
fails if another step failed, is `lost` (and assigned anew) where the plan says `on_lost: retry` and every lost step is
idempotent, or waits for a person. While somebody ends the task, a lost step just counts as over.

Losing sight. `TaskLost` without `gone` keeps the steps as they were last known; whatever the node tells later under the
same fence takes the task up where it stood, and until then it is not given out again. With `gone` the node has no
memory of it, and running steps are lost.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Final

from gamenode_pipelines import task_assignments, task_ends, task_steps
from gamenode_pipelines.effects import (
    Ignored,
    Reassign,
    StartFinallyTimer,
    StartRetryTimer,
    StartStep,
    StopStep,
    TaskEffect,
)
from gamenode_pipelines.errors import IllegalTransition
from gamenode_pipelines.events import (
    CancelRequested,
    CancelWanted,
    FinallyTimedOut,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskEvent,
    TaskLost,
    TaskRefused,
    TaskResolved,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_pipelines.plan import GROUP, Plan
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.task_flow import is_ready
from gamenode_pipelines.task_fold import Fold
from gamenode_pipelines.task_state import NodeFacts, Step, Task, new_task, on_node

__all__ = ["TRANSITIONS", "NodeFacts", "Step", "Task", "new_task", "on_node", "outstanding", "step"]

#: Changes the fold and returns None, or changes nothing and returns why the event is ignored.
Handler = Callable[[Fold, Any], str | None]


def step(task: Task, plan: Plan, event: TaskEvent) -> tuple[Task, tuple[TaskEffect, ...]]:
    """Folds one event into a task; `event.at` is the only time there is.

    Raises IllegalTransition, changing nothing, for an event that cannot happen in this state. A late, repeated or
    outdated event changes nothing, returns the same object, and answers `Ignored` with the reason.

    A shell folds `StepStarted` for every `StartStep` before any other event of the task, in the same transaction.
    """
    body = event.body
    kind = type(body)
    state = task.state
    if event.task_id != task.id:
        raise IllegalTransition(f"an event of task {event.task_id} for task {task.id}")
    if event.fence < task.fence:
        return task, (Ignored(f"old fence: of assignment {event.fence}, now it is {task.fence}"),)
    if state.ended:
        return task, (Ignored(f"the task has ended: {state}"),)
    if event.fence > task.fence:
        if kind is not TaskAssigned or event.fence != task.fence + 1:
            raise IllegalTransition(
                f"{kind.__name__} of assignment {event.fence} for task {task.id}, whose last was {task.fence}"
            )
    elif kind is TaskAssigned:
        return task, (Ignored(f"repeated: assignment {event.fence} is in force"),)
    fold = Fold(task, plan, event.at)
    if state in _GIVEN_UP and kind in _FROM_NODE:
        if task.lost_from is not None:
            task_assignments.take_up(fold, task.lost_from)
        elif kind is not CancelRequested:
            return task, (Ignored("late: this assignment was given up"),)
    handler = TRANSITIONS[kind].get(fold.state)
    if handler is None:
        raise IllegalTransition(f"{kind.__name__} for task {task.id}, which is {state}")
    reason = handler(fold, body)
    if reason is not None and fold.state is state:
        return task, (Ignored(reason),)
    return fold.freeze(), tuple(fold.effects)


def outstanding(task: Task, plan: Plan) -> tuple[TaskEffect, ...]:
    """The effects that a shell which has just started must carry out for a task as it was stored."""
    if task.state is TaskState.LOST:
        return (Reassign(),) if task.lost_from is None else ()
    if task.state not in _MOVING:
        return ()
    fold = Fold(task, plan, task.started_at)
    ending = task.state is TaskState.CANCELLING
    # What was lost holds back the main part, never the cleaning up behind it.
    lost = task.outcome is None and any(s.state is StepState.LOST and not s.final for s in task.steps.values())
    effects: list[TaskEffect] = []
    if task.outcome is not None and plan.finally_timeout > 0:
        effects.append(StartFinallyTimer(task.finally_started_at + plan.finally_timeout))
    for part in plan.steps if task.outcome is None else plan.finally_:
        now = task.steps[part.id]
        match now.state:
            case StepState.PENDING:
                if not ending and not lost and part.kind != GROUP and is_ready(fold, part):
                    effects.append(StartStep(now.id, now.attempt + 1))
            case StepState.WAITING:
                effects.append(StartRetryTimer(now.id, now.attempt + 1, now.retry_at))
            case StepState.RUNNING:
                if ending and not now.open:
                    effects.append(StopStep(now.id, now.attempt, fold.is_forced(), task_ends.stop_reason(fold)))
            case _:
                pass
    return tuple(effects)


def _because(reason: str) -> Handler:
    def ignore(_: Fold, __: object) -> str:
        return reason

    return ignore


_MOVING: Final = frozenset({TaskState.RUNNING, TaskState.WAITING, TaskState.CANCELLING})
_GIVEN_UP: Final = frozenset({TaskState.LOST, TaskState.NEEDS_ATTENTION})
#: What only the agent says: by one of these a task that was given up is known to be alive.
_FROM_NODE: Final = frozenset(
    {
        TaskAccepted,
        TaskRefused,
        TaskStarted,
        StepStarted,
        StepEnded,
        StepLost,
        RetryDue,
        CancelRequested,
        CancelWanted,
        TaskTimedOut,
        FinallyTimedOut,
    }
)


def _in(states: frozenset[TaskState], handler: Handler) -> dict[TaskState, Handler]:
    return dict.fromkeys(states, handler)


#: event → state → what happens. A state that is not there makes the event illegal. Ended tasks and old fences do not
#: come here; an event of the node for a task that was given up comes here with the state in which it was last seen.
TRANSITIONS: Final[Mapping[type, Mapping[TaskState, Handler]]] = {
    TaskAssigned: {TaskState.PENDING: task_assignments.assign, TaskState.LOST: task_assignments.assign},
    TaskAccepted: {TaskState.DISPATCHED: task_assignments.accept, **_in(_MOVING, task_assignments.accept)},
    TaskRefused: {TaskState.DISPATCHED: task_assignments.refuse},
    TaskStarted: {
        TaskState.DISPATCHED: task_assignments.start,
        **_in(_MOVING, _because("repeated: the task has started")),
    },
    StepStarted: _in(_MOVING, task_steps.step_started),
    StepEnded: _in(_MOVING, task_steps.step_ended),
    StepLost: _in(_MOVING, task_steps.step_lost),
    RetryDue: _in(_MOVING, task_steps.retry_due),
    CancelRequested: {
        TaskState.PENDING: task_ends.cancel_unstarted,
        TaskState.DISPATCHED: task_ends.cancel_unstarted,
        **_in(_MOVING, task_ends.cancel),
        **_in(_GIVEN_UP, task_ends.cancel_unstarted),
    },
    CancelWanted: {
        TaskState.DISPATCHED: task_ends.want_cancel,
        **_in(_MOVING, task_ends.want_cancel),
        **_in(_GIVEN_UP, task_ends.want_cancel),
    },
    TaskTimedOut: {
        TaskState.DISPATCHED: task_ends.time_out_unstarted,
        TaskState.RUNNING: task_ends.time_out,
        TaskState.WAITING: task_ends.time_out,
        TaskState.CANCELLING: _because("too late: the task is being ended"),
    },
    FinallyTimedOut: _in(_MOVING, task_ends.time_out_finally),
    TaskLost: {
        TaskState.DISPATCHED: task_assignments.lose,
        **_in(_MOVING, task_assignments.lose),
        **_in(_GIVEN_UP, task_assignments.lose_for_good),
    },
    TaskResolved: _in(_GIVEN_UP, task_assignments.resolve),
    TaskSkipped: {TaskState.PENDING: task_assignments.skip},
}
