"""The small values that runs, tasks and their events share, as messages."""

from __future__ import annotations

from gamenode_pipelines.events import CancelInfo, LogHole, LogSummary
from gamenode_pipelines.tasks import NodeFacts
from gamenode_proto.v1 import common_pb2, work_pb2


def cancel_to_proto(cancel: CancelInfo) -> common_pb2.CancelInfo:
    """Who asked for a cancel, as a message."""
    return common_pb2.CancelInfo(by=cancel.by, reason=cancel.reason, force=cancel.force, at=cancel.at)


def cancel_from_proto(message: common_pb2.CancelInfo) -> CancelInfo:
    """Who asked for a cancel, from a message."""
    return CancelInfo(message.by, message.reason, message.force, message.at)


def log_summary_to_proto(log: LogSummary) -> common_pb2.LogSummary:
    """What a finished log must contain, as a message."""
    message = common_pb2.LogSummary(lines=log.lines, bytes=log.bytes, sha256=log.sha256)
    for hole in log.holes:
        message.holes.add(offset=hole.offset, length=hole.length, reason=hole.reason)
    return message


def log_summary_from_proto(message: common_pb2.LogSummary) -> LogSummary:
    """What a finished log must contain, from a message."""
    holes = tuple(LogHole(hole.offset, hole.length, hole.reason) for hole in message.holes)
    return LogSummary(message.lines, message.bytes, message.sha256, holes)


def node_facts_to_proto(facts: NodeFacts) -> work_pb2.NodeFacts:
    """What expressions may know of a node, as a message."""
    return work_pb2.NodeFacts(id=facts.id, name=facts.name, labels=facts.labels, address=facts.address)


def node_facts_from_proto(message: work_pb2.NodeFacts) -> NodeFacts:
    """What expressions may know of a node, from a message."""
    return NodeFacts(message.id, message.name, dict(message.labels), message.address)
