"""The step kind `container.pull`: gets an image from its registry."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.containers.images import pull
from gamenode_agent.containers.outages import begin
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools


@dataclass(frozen=True, slots=True)
class ContainerPull:
    """One attempt. What was got stays, however it ends."""

    tools: Tools
    image: str

    async def run(self, attempt: Handle) -> Result:
        """Gets it; again is fine."""
        engine = await begin(self.tools, attempt)
        image = await pull(engine, self.image, attempt)
        return Result(outputs={"image": self.image, "image_id": image.id})

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def container_pull(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    values = context.values()
    return context.inline(ContainerPull(context.tools, values["image"]))
