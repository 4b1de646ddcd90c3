"""The step kind `container.load`: images from an archive on this node, without a registry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from gamenode_agent.containers.outages import begin, through
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class ContainerLoad:
    """One attempt. What was loaded stays, however it ends."""

    tools: Tools
    archive: Path

    async def run(self, attempt: Handle) -> Result:
        """Loads it; again is fine."""
        if not await asyncio.to_thread(self.archive.is_file):
            raise GameNodeError(
                Code.NOT_FOUND,
                f"with.from: there is no archive {self.archive} on this node",
                details={"path": str(self.archive)},
            )
        engine = await begin(self.tools, attempt)
        images = await through(engine, lambda: engine.load(self.archive, attempt.say))
        tags = [tag for image in images for tag in image.tags]
        first = images[0].id if images else ""
        return Result(
            outputs={"image": tags[0] if tags else first, "image_id": first, "images": "\n".join(tags)},
        )

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def container_load(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    return context.inline(ContainerLoad(context.tools, Path(context.values()["from"])))
