"""What the steps of this agent work with, made once by the composition root."""

from __future__ import annotations

from dataclasses import dataclass, field

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import ContainerEngine
from gamenode_agent.steps.answers import Answers
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
    #: How long a step that begins waits for an engine that is away; seconds.
    engine_wait: float = 10.0
    #: What is not to be started again.
    wishes: Wishes = field(default_factory=lambda: Wishes(None))
    #: What operators have said to steps that wait for them.
    answers: Answers = field(default_factory=Answers)
    #: None where nothing can be kept or carried, as in tests of other things.
    artifacts: ArtifactDesk | None = None

    def containers(self) -> ContainerEngine:
        """The container engine; raises ENGINE_UNAVAILABLE where there is none. Whether it answers is its own to say."""
        if self.engine is None:
            raise GameNodeError(Code.ENGINE_UNAVAILABLE, "this agent was started without a container engine")
        return self.engine

    def artifact_desk(self) -> ArtifactDesk:
        """What has to do with artifacts."""
        if self.artifacts is None:
            raise GameNodeError(Code.INTERNAL, "this agent was put together without artifacts")
        return self.artifacts
