"""Why a run does not move: one line for each task that has not ended, saying what it waits for and until when. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import assert_never

from gamenode_pipelines.plan import Plan
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.runs import Run, decided
from gamenode_pipelines.states import AdminState, NodeState, RunState, StepState, TaskState
from gamenode_pipelines.task_state import Step, Task
from gamenode_server.controller.approvals import APPROVE, asks_each_node, role_of
from gamenode_server.controller.deadlines import gives_up_at
from gamenode_server.controller.slots import slots_of
from gamenode_server.records import Node

#: States of a task that go on until its agent has taken the cancel.
_UNTOLD = frozenset({TaskState.DISPATCHED, TaskState.RUNNING, TaskState.WAITING})


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why one task is where it is."""

    task_id: str
    node: str
    text: str


@dataclass(frozen=True, slots=True)
class World:
    """What a run's tasks may be waiting for: their nodes, and how many of each node's slots are taken."""

    nodes: Mapping[str, Node]
    taken: Mapping[str, int]
    grace: float
    now: float
    #: Who has each group that the run or its tasks are in, in words.
    groups: Mapping[str, str] = field(default_factory=dict)


def explain_run(run: Run, tasks: Sequence[Task], plan: Plan, world: World) -> tuple[str, tuple[Explanation, ...]]:
    """One line for the run, and one for each of its tasks that can be explained."""
    lines = tuple(
        Explanation(task.id, task.node.name, _task(run, task, plan, world)) for task in tasks if not task.state.ended
    )
    return _summary(run, lines, world), lines


def _summary(run: Run, lines: Sequence[Explanation], world: World) -> str:
    now, ended = world.now, run.total - len(lines)
    match run.state:
        case RunState.SUCCEEDED:
            return f"it succeeded {_ago(now, run.finished_at)}"
        case RunState.FAILED | RunState.CANCELLED:
            why = f": {run.error.message}" if run.error is not None else ""
            return (
                f"it {'failed' if run.state is RunState.FAILED else 'was cancelled'} {_ago(now, run.finished_at)}{why}"
            )
        case RunState.NEEDS_ATTENTION:
            return (
                f"nothing in it can move without a person: {len(lines)} task(s) wait, {ended} of {run.total} have ended"
            )
        case RunState.CANCELLING:
            if run.cancel is None and run.decision is not None:
                return f"{run.decision.by} rejected it; {len(lines)} of {run.total} task(s) have not ended"
            by = run.cancel.by if run.cancel is not None else "somebody"
            return f"{by} cancelled it; {len(lines)} of {run.total} task(s) have not ended"
        case RunState.PENDING:
            if run.queued:
                return f"it waits for its turn: {_group(run.group, world)}"
            return "it is being made" if len(lines) < run.total else "no task of it has started"
        case RunState.PAUSED:
            return f"{_held(run, now)}; {ended} of {run.total} task(s) have ended"
        case RunState.WAITING:
            return _unapproved(run, now)
        case RunState.RUNNING:
            return f"{ended} of {run.total} task(s) have ended" + _between(run, now)
        case _:
            assert_never(run.state)


def _task(run: Run, task: Task, plan: Plan, world: World) -> str:
    match task.state:
        case TaskState.PENDING:
            text = _pending(run, task, world)
        case TaskState.DISPATCHED:
            text = (
                "taken by its agent, about to begin"
                if task.accepted
                else "sent to its agent, which has not taken it yet"
            )
        case TaskState.RUNNING | TaskState.WAITING:
            text = _steps(run, task, plan, world.now)
        case TaskState.CANCELLING:
            text = f"being ended: {_steps(run, task, plan, world.now)}"
        case TaskState.LOST:
            text = "it may have run; it is given out again as soon as its node is there"
        case TaskState.NEEDS_ATTENTION:
            why = task.error.message if task.error is not None else "whether it ran is not known"
            text = f"{why}; say what became of it: gamenode run resolve {run.id} --node {task.node.name} --as …"
        case TaskState.SUCCEEDED | TaskState.FAILED | TaskState.CANCELLED | TaskState.SKIPPED:
            return str(task.state)
        case _:
            assert_never(task.state)
    if run.cancel is not None and task.cancel is None and task.state in _UNTOLD:
        text = f"its cancel has not reached its agent yet; {text}"
    return text + _node(task, plan, world)


def _pending(run: Run, task: Task, world: World) -> str:
    if run.hold is not None:
        return _held(run, world.now)
    if task.position >= run.started:
        return _not_its_turn(run, world)
    if task.group in world.groups:
        return f"it waits for its turn: {_group(task.group, world)}"
    node = world.nodes.get(task.node.id)
    if node is None or node.state is not NodeState.ONLINE:
        return "it is given out as soon as its node is online"
    if node.admin_state is AdminState.DISABLED:
        return f"its node is disabled; it is given out after: gamenode node enable {node.name}"
    if node.admin_state is AdminState.DRAINING:
        return "its node is draining"
    slots, taken = slots_of(node), world.taken.get(node.id, 0)
    if taken >= slots:
        return f"it waits for a slot of its node: {taken} of {slots} are taken"
    return "it is about to be given out"


def _held(run: Run, now: float) -> str:
    hold = run.hold
    if hold is None:
        return "it is paused"
    why = f": {hold.reason}" if hold.reason else ""
    return f"{hold.by} paused it {_ago(now, hold.at)}{why}; to go on: gamenode run resume {run.id}"


def _unapproved(run: Run, now: float) -> str:
    approval = run.approval
    asked = f" ({approval.message})" if approval is not None and approval.message else ""
    role = approval.by if approval is not None else "operator"
    since = _span(now - run.created_at)
    return f"it waits since {since} for the approval of an {role}{asked}: gamenode run approve {run.id}, or reject"


def _between(run: Run, now: float) -> str:
    """What its rollout waits for, where it does."""
    canary = min(run.rollout.canary, run.total)
    if run.next_at > now:
        return f"; the next start {_in(now, run.next_at)}, by the pause of its rollout"
    if run.counts.get(TaskState.SUCCEEDED, 0) < canary:
        return f"; the others start when all {canary} of its canary have succeeded"
    return ""


def _not_its_turn(run: Run, world: World) -> str:
    if run.approval is not None and run.decision is None:
        return "its run waits for an approval"
    if run.queued:
        return f"its run waits for its turn: {_group(run.group, world)}"
    between = _between(run, world.now)
    if between:
        return f"its turn has not come{between}"
    return f"its turn has not come: at most {run.rollout.max_parallel} task(s) of this run at once"


def _group(group: str, world: World) -> str:
    return world.groups.get(group) or f"group {group!r} is free, and it is about to begin"


def _steps(run: Run, task: Task, plan: Plan, now: float) -> str:
    parts = [_asked(run, task, step, plan, now) or _step(step, plan, now) for step in task.steps.values()]
    active = [part for part in parts if part]
    return "; ".join(active) if active else "between two steps"


def _asked(run: Run, task: Task, step: Step, plan: Plan, now: float) -> str:
    """What a step that waits for an approval waits for."""
    part = plan.step(step.id)
    if part.kind != APPROVE or step.state is not StepState.RUNNING:
        return ""
    if (said := decided(run, step.id, task.node.id)) is not None:
        return f"its agent has not taken yet what {said.by} said of step {step.id}"
    where = f" --node {task.node.name}" if asks_each_node(part) else ""
    return (
        f"step {step.id} waits since {_span(now - step.started_at)} for the approval of an {role_of(part)}: "
        f"gamenode run approve {run.id} {step.id}{where}, or reject"
    )


def _step(step: Step, plan: Plan, now: float) -> str:
    if step.state is StepState.RUNNING and not step.open:
        limit = plan.step(step.id).timeout
        until = f" of {format_duration(limit)}" if limit else ""
        return f"step {step.id} runs for {_span(now - step.started_at)}{until}, attempt {step.attempt}"
    if step.state is StepState.WAITING:
        return f"step {step.id} is tried again in {_span(step.retry_at - now)}"
    return ""


def _node(task: Task, plan: Plan, world: World) -> str:
    node = world.nodes.get(task.node.id)
    if node is None:
        return "; its node is not part of the fleet any more"
    if node.state is NodeState.ONLINE:
        return ""
    text = f"; node {node.name} is {node.state}"
    if node.last_seen:
        text += f", last seen {_ago(world.now, node.last_seen)}"
    due = gives_up_at(task, plan, node, grace=world.grace)
    return text if due is None else f"{text}; waited for until {_in(world.now, due)}"


def _ago(now: float, at: float) -> str:
    return f"{_span(now - at)} ago"


def _in(now: float, at: float) -> str:
    return f"{_span(at - now)} from now" if at > now else "now"


def _span(seconds: float) -> str:
    return format_duration(max(0, round(seconds)))
