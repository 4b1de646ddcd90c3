"""How the fleet stands at one moment, as plain numbers: taken on the event loop, read by the thread that is scraped.

Labels are states and other short lists; nodes are named only up to a limit. Knows no metric's name.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gamenode_pipelines.states import AdminState, NodeState, RunState, TaskState
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.slots import holds_slot
from gamenode_server.core import Core
from gamenode_server.notifiers.notifying import Notifying
from gamenode_server.notifiers.standing import Standing
from gamenode_server.records import Node
from gamenode_server.rpc.interceptor import LiveCalls
from gamenode_server.store.engine import Health


@dataclass(frozen=True, slots=True)
class HostSample:
    """One host. `measured` is None while its agent is away."""

    name: str
    up: bool
    tasks: int
    measured: nodes_pb2.Metrics | None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything at one moment."""

    version: str
    started_at: float
    nodes: Mapping[NodeState, int]
    admin: Mapping[AdminState, int]
    runs: Mapping[RunState, int]
    tasks: Mapping[TaskState, int]
    sessions: int
    operators: int
    operator_calls: int
    store_ok: bool
    log_bytes: int
    #: Empty where there are more nodes than are to be named.
    hosts: Sequence[HostSample]
    hosts_left_out: int
    notifiers: Mapping[str, Standing]


def take_snapshot(core: Core, live: LiveCalls, notifying: Notifying, *, most_nodes: int) -> Snapshot:
    """How it stands now. On the loop; costs what there is of nodes and live runs, and waits for nothing."""
    view, nodes = core.store.view, core.store.view.nodes()
    tasks: Counter[TaskState] = Counter()
    runs: Counter[RunState] = Counter()
    for run in view.live_runs():
        runs[run.state] += 1
        tasks.update(run.counts)
    states = Counter(node.state for node in nodes)
    admin = Counter(node.admin_state for node in nodes)
    named = nodes if len(nodes) <= most_nodes else ()
    return Snapshot(
        version=core.version,
        started_at=core.started_at,
        nodes={state: states[state] for state in NodeState},
        admin={state: admin[state] for state in AdminState},
        runs={state: runs[state] for state in RunState if not state.ended},
        tasks={state: tasks[state] for state in TaskState if not state.ended},
        sessions=len(core.sessions),
        operators=live.operators,
        operator_calls=live.operator_calls,
        store_ok=core.store.health is Health.OK,
        log_bytes=core.logs.received_bytes,
        hosts=[_host(core, node) for node in named],
        hosts_left_out=len(nodes) - len(named),
        notifiers={each.notifier.name: each.standing for each in notifying.listed()},
    )


def _host(core: Core, node: Node) -> HostSample:
    session = core.sessions.get(node.id)
    return HostSample(
        node.name,
        node.state is NodeState.ONLINE,
        sum(map(holds_slot, core.store.view.live_tasks_on(node.id))),
        session.metrics if session is not None else None,
    )
