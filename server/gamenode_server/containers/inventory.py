"""What each node last told of its containers, in memory: whole reports, changes, figures; bounded.

A report is taken as far as it makes sense. What does not is left out and logged once for each node and reason, because
a host with one odd container is still worth looking at. Used on the loop only.
"""

from __future__ import annotations

import logging
import math
import re
from collections.abc import Iterator
from dataclasses import dataclass, field

from gamenode_proto.v1 import nodes_pb2

logger = logging.getLogger(__name__)

#: Containers of one node that are kept; of more, this cluster's own come first.
MAX_CONTAINERS = 1000
#: Ports of one container that are kept, and bytes it may take with them.
MAX_PORTS = 64
MAX_SIZE = 8 * 1024
_ID = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.:-]{0,127}")
#: Names are resolved and shown: what an engine could not have named is no name.
_NAME = re.compile(r"[0-9A-Za-z][0-9A-Za-z_.-]{0,254}")
#: What a list shows that was not asked for those that do not run.
RUNNING = frozenset({"running", "paused", "restarting"})


@dataclass(slots=True)
class NodeContainers:
    """One node's containers by id, and when they were known to be like this."""

    seen_at: float = 0.0
    by_id: dict[str, nodes_pb2.Container] = field(default_factory=dict)
    #: Problems of its reports that were logged.
    logged: set[str] = field(default_factory=set)


class Inventory:
    """The containers of every node, also of those that are offline now."""

    def __init__(self) -> None:
        self._nodes: dict[str, NodeContainers] = {}

    def of(self, node_id: str) -> Iterator[nodes_pb2.Container]:
        """The node's containers. The messages are shared: nobody may change them."""
        known = self._nodes.get(node_id)
        return iter(list(known.by_id.values()) if known is not None else ())

    def seen_at(self, node_id: str) -> float:
        """When the node last told of its containers, or said that they are as they were; 0: never."""
        known = self._nodes.get(node_id)
        return known.seen_at if known is not None else 0.0

    def confirm(self, node_id: str, now: float) -> None:
        """The node was heard, and had no change to tell."""
        known = self._nodes.get(node_id)
        if known is not None:
            known.seen_at = now

    def forget(self, node_id: str) -> None:
        """The node is not part of the fleet any more."""
        self._nodes.pop(node_id, None)

    def take(self, node_id: str, report: nodes_pb2.ContainerReport, now: float) -> None:
        """Applies a report: all there are, or what changed, went, or was measured."""
        known = self._nodes.setdefault(node_id, NodeContainers())
        known.seen_at = now
        if report.complete:
            known.by_id.clear()
        for id in report.removed:
            known.by_id.pop(id, None)
        for told in sorted(report.containers, key=lambda container: not container.own):
            container = _whole(told)
            if container is None:
                _log(node_id, known, "a container without a proper id and name, or of no proper size, was left out")
            elif container.id not in known.by_id and len(known.by_id) >= MAX_CONTAINERS and not _displaced(known, told):
                _log(node_id, known, f"it has more than {MAX_CONTAINERS} containers; the others are not shown")
            else:
                known.by_id[container.id] = container
        for usage in report.usage:
            of = known.by_id.get(usage.id)
            if of is None:
                continue  # it went at the same time, or was one too many
            if _sane(usage):
                of.usage.CopyFrom(usage)
            else:
                _log(node_id, known, "figures that no container can have were left out")


def _displaced(known: NodeContainers, told: nodes_pb2.Container) -> bool:
    """Makes room for one of our own by leaving out one that is not."""
    if not told.own:
        return False
    foreign = next((id for id, container in known.by_id.items() if not container.own), None)
    if foreign is None:
        return False
    del known.by_id[foreign]
    return True


def _whole(told: nodes_pb2.Container) -> nodes_pb2.Container | None:
    """A container of our own making from what was told; None where it cannot be named, or is all text."""
    if not _ID.fullmatch(told.id) or not _NAME.fullmatch(told.name):
        return None
    kept = nodes_pb2.Container()
    kept.CopyFrom(told)
    del kept.ports[MAX_PORTS:]
    if kept.ByteSize() > MAX_SIZE:
        return None
    for name in ("created_at", "started_at", "finished_at"):
        if not math.isfinite(getattr(kept, name)):
            setattr(kept, name, 0.0)
    if kept.HasField("usage") and not _sane(kept.usage):
        kept.ClearField("usage")
    return kept


def _sane(usage: nodes_pb2.ContainerUsage) -> bool:
    floats = (usage.sampled_at, usage.cpu_percent)
    return all(math.isfinite(value) and value >= 0 for value in floats) and not any(
        value < 0 for value in (usage.memory_used, usage.memory_limit, usage.pids)
    )


def _log(node_id: str, known: NodeContainers, problem: str) -> None:
    if problem not in known.logged:
        known.logged.add(problem)
        logger.warning("containers of a node: %s", problem, extra={"node": node_id})
