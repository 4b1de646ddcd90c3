"""What moves a run over its nodes, or holds it up, as messages."""

from __future__ import annotations

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.gates import Approval, Concurrency, Decision, Hold, OnConflict
from gamenode_pipelines.placement import Requires
from gamenode_pipelines.rollout import Order, Rollout
from gamenode_proto.v1 import work_pb2


def rollout_to_proto(rollout: Rollout) -> work_pb2.Rollout:
    """A rollout as a message."""
    return work_pb2.Rollout(
        max_parallel=rollout.max_parallel,
        max_failures=rollout.max_failures,
        canary=rollout.canary,
        pause=rollout.pause,
        order=rollout.order.value,
    )


def rollout_from_proto(message: work_pb2.Rollout) -> Rollout:
    """The rollout in a message; PROTOCOL_ERROR for an order this version does not know."""
    try:
        order = Order(message.order) if message.order else Order.NAME
    except ValueError as error:
        raise GameNodeError(Code.PROTOCOL_ERROR, str(error)) from error
    return Rollout(message.max_parallel, message.max_failures, message.canary, message.pause, order)


def concurrency_to_proto(concurrency: Concurrency) -> work_pb2.Concurrency:
    """A rule of a group as a message."""
    return work_pb2.Concurrency(group=concurrency.group, on_conflict=concurrency.on_conflict.value)


def concurrency_from_proto(message: work_pb2.Concurrency) -> Concurrency:
    """The rule in a message; PROTOCOL_ERROR for one this version does not know."""
    try:
        return Concurrency(message.group, OnConflict(message.on_conflict))
    except ValueError as error:
        raise GameNodeError(Code.PROTOCOL_ERROR, str(error)) from error


def approval_to_proto(approval: Approval) -> work_pb2.Approval:
    """What must be approved, as a message."""
    return work_pb2.Approval(by=approval.by, message=approval.message)


def approval_from_proto(message: work_pb2.Approval) -> Approval:
    """The approval in a message."""
    return Approval(message.by, message.message)


def decision_to_proto(decision: Decision) -> work_pb2.Decision:
    """A decision as a message."""
    return work_pb2.Decision(approved=decision.approved, by=decision.by, reason=decision.reason, at=decision.at)


def decision_from_proto(message: work_pb2.Decision) -> Decision:
    """The decision in a message."""
    return Decision(message.approved, message.by, message.reason, message.at)


def requires_to_proto(requires: Requires) -> work_pb2.Requires:
    """What a node must have free, as a message."""
    return work_pb2.Requires(cpus=requires.cpus, memory=requires.memory, disk=requires.disk)


def requires_from_proto(message: work_pb2.Requires) -> Requires:
    """What a node must have free."""
    return Requires(
        message.cpus if message.HasField("cpus") else None,
        message.memory if message.HasField("memory") else None,
        message.disk if message.HasField("disk") else None,
    )


def hold_to_proto(hold: Hold) -> work_pb2.Hold:
    """Who has paused a run, as a message."""
    return work_pb2.Hold(by=hold.by, reason=hold.reason, at=hold.at)


def hold_from_proto(message: work_pb2.Hold) -> Hold:
    """Who has paused a run."""
    return Hold(message.by, message.reason, message.at)
