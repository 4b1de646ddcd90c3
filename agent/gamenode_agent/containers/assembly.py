"""Everything of containers put together: the engine, its watch, and the parts that work with it.

An agent without an engine has all of it, and is told by each part what it lacks.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Mapping

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.config import NO_ENGINE, AgentSettings
from gamenode_agent.containers import facts
from gamenode_agent.containers.answers import Answers
from gamenode_agent.containers.commands import Commands
from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.instances import Instances
from gamenode_agent.containers.inventory import Inventory
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import ContainerEngine, ContainerEvent
from gamenode_agent.identity import Identity
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import Clock
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand, ContainerLogsWanted
from gamenode_proto.v1.nodes_pb2 import HostFacts

#: Seconds that an agent's start may wait for an engine.
FIRST_LOOK = 0.5
#: In the agent's folder: which containers are not to be started again.
WISHES_FILE = "instances.json"


class Containers:
    """The container part of one agent, and the link's `ContainerOrders`. Made on the loop it lives on."""

    def __init__(
        self,
        settings: AgentSettings,
        identity: Identity,
        *,
        clock: Clock,
        artifacts: ArtifactDesk,
        group: asyncio.TaskGroup,
        tell: Callable[[str, Mapping[str, str]], None],
        reply: Callable[[str, GameNodeError | None], None],
        on_engine: Callable[[], None],
    ) -> None:
        self.engine = engine = open_engine(settings)
        self.tools = Tools(
            clock=clock,
            cluster_id=identity.cluster_id,
            node_id=identity.node_id,
            node_name=identity.name,
            engine=engine,
            port_range=settings.ports,
            engine_wait=settings.engine_wait,
            wishes=Wishes(settings.agent_dir / WISHES_FILE),
            artifacts=artifacts,
        )
        wishes = self.tools.wishes
        self.inventory = Inventory(engine, cluster_id=identity.cluster_id, restarts=wishes.restarts)
        self.instances: Instances | None = None
        if engine is not None:
            self.instances = Instances(
                engine,
                wishes,
                cluster_id=identity.cluster_id,
                node_id=identity.node_id,
                tell=tell,
                restarted=self.inventory.touch,
            )
        self.commands = Commands(
            engine,
            Endings(engine, wishes) if engine is not None else None,
            cluster_id=identity.cluster_id,
            engine_wait=settings.engine_wait,
            group=group,
            reply=reply,
        )
        self.answers = Answers(engine, engine_wait=settings.engine_wait, group=group)
        self._tell = tell
        self._on_engine = on_engine
        self._was_available = False
        if engine is not None:
            engine.subscribe(self._heard)

    def command(self, command: ContainerCommand) -> None:
        """Carries out a command of the server's."""
        self.commands.take(command)

    def logs_wanted(self, wanted: ContainerLogsWanted) -> None:
        """Answers the server with a container's log."""
        self.answers.logs_wanted(wanted)

    def add_facts(self, found: HostFacts) -> None:
        """Puts what is known of the engine, and what it can do, into the facts of this host."""
        found.capabilities.extend(facts.capabilities(self.engine))
        engine = facts.engine_facts(self.engine)
        if engine is not None:
            found.engine.CopyFrom(engine)

    def capabilities(self) -> frozenset[str] | None:
        """What containers can have here; None while the engine is away, which a step that needs it waits for."""
        if self.engine is not None and not self.engine.available:
            return None
        return frozenset(facts.capabilities(self.engine))

    def status(self) -> dict[str, str]:
        """What `gamenode-agent status` says of the engine, by the names of its fields."""
        engine = self.engine
        if engine is None:
            return {"engine_problem": "the agent was told to do without containers"}
        said = {"engine_address": engine.address}
        if engine.available and engine.info is not None:
            return {**said, "engine": f"{engine.info.name} {engine.info.version}"}
        return {**said, "engine_problem": engine.problem}

    async def run(self) -> None:
        """Watches the engine until cancelled."""
        if self.engine is None:
            return
        async with asyncio.TaskGroup() as group:
            group.create_task(self.engine.run(), name="engine")
            group.create_task(self.inventory.run(), name="containers")
            if self.instances is not None:
                group.create_task(self.instances.run(), name="instances")

    async def first_look(self) -> None:
        """Gives an engine that seems to be there a moment to answer, so that the first Hello can tell of it."""
        if self.engine is not None and self.engine.address and not self.engine.available:
            with contextlib.suppress(GameNodeError):
                await self.engine.ready(FIRST_LOOK)

    async def close(self) -> None:
        """Ends threads and connections; leaves the containers alone."""
        if self.engine is not None:
            await self.engine.close()

    def _heard(self, event: ContainerEvent | None) -> None:
        engine = self.engine
        self.inventory.heard(event)
        if event is not None or engine is None:
            return
        if engine.available != self._was_available:
            self._was_available = engine.available
            if engine.available:
                version = engine.info.version if engine.info is not None else ""
                self._tell("engine.found", {"version": version, "address": engine.address})
            else:
                self._tell("engine.lost", {"problem": engine.problem, "address": engine.address})
        self._on_engine()


def open_engine(settings: AgentSettings) -> ContainerEngine | None:
    """The engine of this host, which need not be there yet; None where the agent is to do without."""
    if settings.docker_host == NO_ENGINE:
        return None
    from gamenode_agent.engines.docker import open_engine as open_docker

    return open_docker(settings.docker_host, retry=settings.engine_retry)
