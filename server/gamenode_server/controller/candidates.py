"""The fleet as placement sees it: what is stored of each node, and what its agent last measured. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Protocol

from gamenode_pipelines.placement import Candidate, Requires
from gamenode_pipelines.runs import Run
from gamenode_pipelines.task_state import Task
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.facts import engine_problem
from gamenode_server.controller.slots import holds_slot, host_facts, slots_of
from gamenode_server.records import Node

#: What hosts measured last, by node id.
Measured = Mapping[str, nodes_pb2.Metrics]


class FleetView(Protocol):
    """Nodes and their tasks: a transaction, or the loop's view of the store."""

    def nodes(self) -> Sequence[Node]:
        """Every node, by name."""
        ...

    def run(self, run_id: str) -> Run | None:
        """A run by its whole id."""
        ...

    def live_tasks_on(self, node_id: str) -> Sequence[Task]:
        """The node's tasks that have not ended."""
        ...


def candidates(fleet: FleetView, measured: Measured) -> Iterator[Candidate]:
    """Every node; figures that nobody has measured are None."""
    for node in fleet.nodes():
        live = fleet.live_tasks_on(node.id)
        kept = _kept(fleet, live)
        facts = host_facts(node.facts)
        resources = facts.resources
        metrics = measured.get(node.id)
        yield Candidate(
            node_id=node.id,
            name=node.name,
            labels=node.labels,
            state=node.state,
            admin_state=node.admin_state,
            tasks_running=sum(map(holds_slot, live)),
            slots=slots_of(node),
            cpus=resources.cpus or None,
            memory_available=_free(resources.memory_total, metrics.memory_used) if metrics is not None else None,
            disk_free=_free(resources.disk_total, metrics.disk_used) if metrics is not None else None,
            capabilities=frozenset(facts.capabilities) if node.facts else None,
            engine_problem=engine_problem(facts),
            kept=kept,
        )


def _kept(fleet: FleetView, tasks: Sequence[Task]) -> Requires:
    """What tasks that have not ended have been promised."""
    cpus, memory, disk = 0.0, 0, 0
    for task in tasks:
        run = fleet.run(task.run_id)
        if run is not None:
            cpus += run.requires.cpus or 0.0
            memory += run.requires.memory or 0
            disk += run.requires.disk or 0
    return Requires(cpus, memory, disk)


def _free(total: int, used: int) -> int | None:
    return max(0, total - used) if total else None
