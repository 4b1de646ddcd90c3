"""The step kind `container.load`: images from an archive on this node, or from an artifact, without a registry."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from pathlib import Path

from gamenode_agent.beside import beside
from gamenode_agent.containers.outages import begin, through
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.file_sources import Stored
from gamenode_agent.steps.part_files import digest_of, remove
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class ContainerLoad:
    """One attempt. What was loaded stays, however it ends."""

    tools: Tools
    #: A path from /, or an artifact.
    said: str
    #: Where an artifact is brought.
    brought: Path

    async def run(self, attempt: Handle) -> Result:
        """Loads it; again is fine."""
        engine = await begin(self.tools, attempt)
        archive = Path(self.said) if self.said.startswith("/") else await self._bring(attempt)
        if not await asyncio.to_thread(archive.is_file):
            raise GameNodeError(
                Code.NOT_FOUND,
                f"with.from: there is no archive {archive} on this node",
                details={"path": str(archive)},
            )
        images = await through(engine, lambda: engine.load(archive, attempt.say))
        remove(self.brought)
        tags = [tag for image in images for tag in image.tags]
        first = images[0].id if images else ""
        return Result(
            outputs={"image": tags[0] if tags else first, "image_id": first, "images": "\n".join(tags)},
        )

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled, but what was brought."""
        remove(self.brought)

    async def _bring(self, attempt: Handle) -> Path:
        source = Stored(self.tools.artifact_desk(), self.said)
        wanted = await source.digest(attempt)
        await source.fetch(attempt, self.brought)
        if (found := await beside(digest_of, self.brought)) != wanted:
            remove(self.brought)
            raise GameNodeError(Code.INTEGRITY_FAILED, f"{source.named} came as another content: {found}, not {wanted}")
        return self.brought


def container_load(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    return context.inline(
        ContainerLoad(context.tools, context.values()["from"], Path(context.directory, "artifact.tar"))
    )
