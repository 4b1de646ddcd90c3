"""Approvals inside a run: who is asked, what was said, and which agents have to hear of it. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.runs import Run, decided
from gamenode_pipelines.states import StepState
from gamenode_pipelines.task_state import Task, on_node
from gamenode_pipelines.wording import listed, nearest, shown
from gamenode_server.controller.effects import SendDecision

#: The kind of a step that waits for an operator.
APPROVE = "approve"


def decisions_for(run: Run, task: Task) -> Iterator[SendDecision]:
    """What the task's agent has not acted on yet."""
    if not run.decisions or not on_node(task):
        return
    for step in task.steps.values():
        if step.idle and step.state is StepState.RUNNING:
            decision = decided(run, step.id, task.node.id)
            if decision is not None:
                yield SendDecision(task.node.id, task.id, task.fence, step.id, decision)


def waiting_at(tasks: Sequence[Task], step_id: str) -> list[Task]:
    """The tasks in which the step waits."""
    found = []
    for task in tasks:
        step = task.steps.get(step_id)
        if step is not None and step.state is StepState.RUNNING and on_node(task):
            found.append(task)
    return found


def asked_step(plan: Plan, step_id: str) -> StepPlan:
    """The step of this id. NOT_FOUND where there is none, INVALID_ARGUMENT where it asks nobody."""
    asking = [step.id for step in (*plan.steps, *plan.finally_) if step.kind == APPROVE]
    if step_id in asking:
        return plan.step(step_id)
    known = [step.id for step in (*plan.steps, *plan.finally_)]
    if step_id in known:
        there = f"; those that do: {listed(asking)}" if asking else ""
        raise GameNodeError(Code.INVALID_ARGUMENT, f"step {step_id!r} asks for no approval{there}")
    close = nearest(step_id, asking or known)
    hint = f"; did you mean {close!r}?" if close else ""
    raise GameNodeError(Code.NOT_FOUND, f"the run has no step {shown(step_id)}{hint}")


def asks_each_node(step: StepPlan) -> bool:
    """Whether each node is decided by itself."""
    return step.with_.get("scope") == "node"


def role_of(step: StepPlan) -> str:
    """The role that it takes."""
    return str(step.with_.get("by") or "operator")
