"""Runs, tasks and steps as messages: what the store and the agent's journal keep, and what assignments carry."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.reconcile import Held
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import Step, Task
from gamenode_proto.codec.errors import error_from_proto, error_to_proto
from gamenode_proto.codec.events import task_event_from_proto, task_event_to_proto
from gamenode_proto.codec.gates import (
    approval_from_proto,
    approval_to_proto,
    concurrency_from_proto,
    concurrency_to_proto,
    decision_from_proto,
    decision_to_proto,
    hold_from_proto,
    hold_to_proto,
    requires_from_proto,
    requires_to_proto,
    rollout_from_proto,
    rollout_to_proto,
)
from gamenode_proto.codec.parts import (
    cancel_from_proto,
    cancel_to_proto,
    log_summary_from_proto,
    log_summary_to_proto,
    node_facts_from_proto,
    node_facts_to_proto,
)
from gamenode_proto.codec.states import (
    RUN_STATE,
    STEP_STATE,
    TASK_STATE,
    run_state_from_proto,
    step_state_from_proto,
    task_state_from_proto,
)
from gamenode_proto.codec.values import scalars_from_proto, scalars_to_proto
from gamenode_proto.v1 import agent_link_pb2, work_pb2

__all__ = [
    "cancel_from_proto",
    "cancel_to_proto",
    "held_from_proto",
    "held_to_proto",
    "log_summary_from_proto",
    "log_summary_to_proto",
    "node_facts_from_proto",
    "node_facts_to_proto",
    "run_from_proto",
    "run_to_proto",
    "step_from_proto",
    "step_to_proto",
    "task_counts_from_proto",
    "task_event_from_proto",
    "task_event_to_proto",
    "task_from_proto",
    "task_to_proto",
]


def task_to_proto(task: Task) -> work_pb2.Task:
    """A task as a message."""
    message = work_pb2.Task(
        id=task.id,
        run_id=task.run_id,
        state=TASK_STATE[task.state],
        fence=task.fence,
        created_at=task.created_at,
        started_at=task.started_at,
        finished_at=task.finished_at,
        accepted=task.accepted,
        position=task.position,
        finally_started_at=task.finally_started_at,
        group=task.group,
    )
    node, facts = task.node, message.node
    facts.id, facts.name, facts.address = node.id, node.name, node.address
    if node.labels:
        facts.labels.update(node.labels)
    if task.error is not None:
        message.error.CopyFrom(error_to_proto(task.error))
    if task.cancel is not None:
        message.cancel.CopyFrom(cancel_to_proto(task.cancel))
    if task.cancel_wanted is not None:
        message.cancel_wanted.CopyFrom(cancel_to_proto(task.cancel_wanted))
    if task.outcome is not None:
        message.outcome = TASK_STATE[task.outcome]
    if task.lost_from is not None:
        message.lost_from = TASK_STATE[task.lost_from]
    add = message.steps.add
    for step in task.steps.values():
        _fill_step(step, add())
    return message


def task_from_proto(message: work_pb2.Task) -> Task:
    """The task in a message."""
    return Task(
        message.id,
        message.run_id,
        node_facts_from_proto(message.node),
        {step.id: step_from_proto(step) for step in message.steps},
        task_state_from_proto(message.state),
        message.fence,
        error_from_proto(message.error) if message.HasField("error") else None,
        cancel_from_proto(message.cancel) if message.HasField("cancel") else None,
        message.created_at,
        message.started_at,
        message.finished_at,
        message.accepted,
        message.position,
        task_state_from_proto(message.outcome) if message.outcome else None,
        message.finally_started_at,
        task_state_from_proto(message.lost_from) if message.lost_from else None,
        message.group,
        cancel_from_proto(message.cancel_wanted) if message.HasField("cancel_wanted") else None,
    )


def step_to_proto(step: Step) -> work_pb2.StepStatus:
    """A step as a message."""
    message = work_pb2.StepStatus()
    _fill_step(step, message)
    return message


def _fill_step(step: Step, message: work_pb2.StepStatus) -> None:
    message.id = step.id
    message.state = STEP_STATE[step.state]
    if step.attempt:
        message.attempt = step.attempt
    if step.started_at:
        message.started_at = step.started_at
    if step.finished_at:
        message.finished_at = step.finished_at
    if step.exit_code is not None:
        message.exit_code = step.exit_code
    if step.error is not None:
        message.error.CopyFrom(error_to_proto(step.error))
    if step.outputs:
        message.outputs.update(step.outputs)
    if step.log is not None:
        message.log.CopyFrom(log_summary_to_proto(step.log))
    if step.retry_at:
        message.retry_at = step.retry_at
    if step.final:
        message.final = True
    if step.idle:
        message.idle = True


def step_from_proto(message: work_pb2.StepStatus) -> Step:
    """The step in a message."""
    return Step(
        message.id,
        step_state_from_proto(message.state),
        message.attempt,
        message.exit_code if message.HasField("exit_code") else None,
        error_from_proto(message.error) if message.HasField("error") else None,
        dict(message.outputs),
        message.started_at,
        message.finished_at,
        log_summary_from_proto(message.log) if message.HasField("log") else None,
        message.retry_at,
        message.final,
        message.idle,
    )


def run_to_proto(run: Run) -> work_pb2.Run:
    """A run as a message."""
    message = work_pb2.Run(
        id=run.id,
        pipeline=run.pipeline,
        pipeline_version=run.pipeline_version,
        state=RUN_STATE[run.state],
        note=run.note,
        created_at=run.created_at,
        started_at=run.started_at,
        finished_at=run.finished_at,
        created_by=run.created_by,
        bundle_digest=run.bundle_digest,
        total=run.total,
        rollout=rollout_to_proto(run.rollout),
        target=run.target,
        started=run.started,
        retry_of=run.retry_of,
        next_at=run.next_at,
        group=run.group,
        queued=run.queued,
        chain=run.chain,
        cut=sorted(run.cut),
        requires=requires_to_proto(run.requires),
    )
    if run.params:
        for name, value in scalars_to_proto(run.params).items():
            message.params[name].CopyFrom(value)
    if run.error is not None:
        message.error.CopyFrom(error_to_proto(run.error))
    if run.cancel is not None:
        message.cancel.CopyFrom(cancel_to_proto(run.cancel))
    if run.hold is not None:
        message.hold.CopyFrom(hold_to_proto(run.hold))
    if run.approval is not None:
        message.approval.CopyFrom(approval_to_proto(run.approval))
    if run.decision is not None:
        message.decision.CopyFrom(decision_to_proto(run.decision))
    if run.concurrency is not None:
        message.concurrency.CopyFrom(concurrency_to_proto(run.concurrency))
    for key, decision in run.decisions.items():
        message.decisions[key].CopyFrom(decision_to_proto(decision))
    counts = message.counts
    for state, count in run.counts.items():
        counts[state.value] = count
    return message


def run_from_proto(message: work_pb2.Run) -> Run:
    """The run in a message."""
    return Run(
        id=message.id,
        pipeline=message.pipeline,
        pipeline_version=message.pipeline_version,
        total=message.total,
        state=run_state_from_proto(message.state),
        error=error_from_proto(message.error) if message.HasField("error") else None,
        params=scalars_from_proto(message.params),
        note=message.note,
        created_at=message.created_at,
        started_at=message.started_at,
        finished_at=message.finished_at,
        created_by=message.created_by,
        bundle_digest=message.bundle_digest,
        cancel=cancel_from_proto(message.cancel) if message.HasField("cancel") else None,
        counts=task_counts_from_proto(message.counts),
        rollout=rollout_from_proto(message.rollout),
        target=message.target,
        started=message.started,
        retry_of=message.retry_of,
        next_at=message.next_at,
        hold=hold_from_proto(message.hold) if message.HasField("hold") else None,
        approval=approval_from_proto(message.approval) if message.HasField("approval") else None,
        decision=decision_from_proto(message.decision) if message.HasField("decision") else None,
        concurrency=concurrency_from_proto(message.concurrency) if message.HasField("concurrency") else None,
        group=message.group,
        queued=message.queued,
        chain=tuple(message.chain),
        cut=frozenset(message.cut),
        requires=requires_from_proto(message.requires),
        decisions={key: decision_from_proto(found) for key, found in message.decisions.items()},
    )


def task_counts_from_proto(counts: Mapping[str, int]) -> dict[TaskState, int]:
    """How many tasks are in each state; PROTOCOL_ERROR for a state this version does not know."""
    try:
        return {TaskState(word): count for word, count in counts.items()}
    except ValueError as error:
        raise GameNodeError(Code.PROTOCOL_ERROR, str(error)) from error


def held_to_proto(held: Held) -> agent_link_pb2.InventoryTask:
    """An assignment the agent holds, as a line of its inventory."""
    return agent_link_pb2.InventoryTask(task_id=held.task_id, fence=held.fence, state=TASK_STATE[held.state])


def held_from_proto(message: agent_link_pb2.InventoryTask) -> Held:
    """An assignment the agent holds, from a line of its inventory."""
    return Held(message.task_id, message.fence, task_state_from_proto(message.state))
