"""How much a node may do at once, and what of it is taken. Pure."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache

from gamenode_pipelines.states import AdminState, NodeState, TaskState
from gamenode_pipelines.task_state import NodeFacts, Task, idles
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.records import Node

#: Tasks at once on a node that does not say.
DEFAULT_SLOTS = 8

_HOLDS = frozenset({TaskState.DISPATCHED, TaskState.RUNNING, TaskState.WAITING, TaskState.CANCELLING})
_HOLDS_BACK = frozenset({AdminState.DISABLED, AdminState.DRAINING})


@lru_cache(maxsize=8192)
def host_facts(data: bytes) -> nodes_pb2.HostFacts:
    """A node's facts, decoded once. The message is shared: nobody may change it."""
    return nodes_pb2.HostFacts.FromString(data)


def slots_of(node: Node) -> int:
    """Tasks at once."""
    return host_facts(node.facts).slots or DEFAULT_SLOTS


def holds_slot(task: Task) -> bool:
    """Whether an assignment of the task is in force, and so takes one of its node's slots."""
    return task.fence > 0 and task.state in _HOLDS and not idles(task)


def can_take_work(node: Node) -> bool:
    """Whether tasks that are meant for the node can be given to it now."""
    return node.state is NodeState.ONLINE and node.admin_state not in _HOLDS_BACK


def facts_for(task: Task, node: Node) -> Task:
    """The task with what expressions may know of its node, as it is at the first assignment."""
    facts = node_facts(node)
    return task if facts == task.node else replace(task, node=facts)


def node_facts(node: Node) -> NodeFacts:
    """What expressions may know of a node."""
    return NodeFacts(id=node.id, name=node.name, labels=node.labels, address=node.address)
