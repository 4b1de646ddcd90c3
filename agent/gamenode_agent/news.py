"""What the server hears of this host: everything in a hello, then what changes. Knows no session."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from gamenode_agent.containers.inventory import Inventory
from gamenode_agent.host import HostMetrics
from gamenode_proto.v1.agent_link_pb2 import Heartbeat, Hello
from gamenode_proto.v1.nodes_pb2 import HostFacts, Metrics


class NodeNews:
    """The link's `News`. `facts` makes them new each time, in about a millisecond."""

    def __init__(self, host: HostMetrics, inventory: Inventory, facts: Callable[[], HostFacts]) -> None:
        self.changed = asyncio.Event()
        self._host = host
        self._inventory = inventory
        self._facts = facts
        self._told = HostFacts()
        self._now: HostFacts | None = None
        inventory.on_change = self.changed.set

    def facts_may_differ(self) -> None:
        """Something may have changed that the facts tell of."""
        found = self._facts()
        if found != self._told:
            self._now = found
            self.changed.set()

    def begin(self, hello: Hello) -> None:
        """Puts all there is into a hello."""
        self._told, self._now = self._facts(), None
        hello.facts.CopyFrom(self._told)
        report = self._inventory.everything()
        if report is not None:
            hello.containers.CopyFrom(report)
        self.changed.clear()

    async def sample(self, now: float) -> Metrics:
        """Looks at the host and what its containers use."""
        metrics = self._host.sample(now)
        await self._inventory.measure(now)
        metrics.containers_running, metrics.containers_total = self._inventory.counts
        return metrics

    def add(self, beat: Heartbeat) -> None:
        """Puts into a heartbeat what was not told yet over this connection."""
        self.changed.clear()
        if self._now is not None:
            beat.facts.CopyFrom(self._now)
            self._told, self._now = self._now, None
        report = self._inventory.changes()
        if report is not None:
            beat.containers.CopyFrom(report)
