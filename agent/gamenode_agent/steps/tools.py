"""What the steps of this agent work with, made once by the composition root."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.engines.containers import ContainerEngine
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import Clock


@dataclass(frozen=True, slots=True)
class Tools:
    """What the steps of this agent work with."""

    clock: Clock
    cluster_id: str
    node_id: str
    node_name: str
    #: None where the agent was told to do without containers.
    engine: ContainerEngine | None
    #: First and last host port that `auto` may choose.
    port_range: tuple[int, int]

    def containers(self) -> ContainerEngine:
        """The container engine; raises ENGINE_UNAVAILABLE where there is none. Whether it answers is its own to say."""
        if self.engine is None:
            raise GameNodeError(Code.ENGINE_UNAVAILABLE, "this agent was started without a container engine")
        return self.engine
