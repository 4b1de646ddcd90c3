"""The step kind `container.remove`: ends a container of ours where it runs, and removes it."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.naming import find_own
from gamenode_agent.containers.outages import begin
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools


@dataclass(frozen=True, slots=True)
class ContainerRemove:
    """One attempt. Cut short, what was begun stays."""

    tools: Tools
    name: str
    grace: float | None
    force: bool

    async def run(self, attempt: Handle) -> Result:
        """Removes it; one that is not there is as it should be. `force`: without a word to it first."""
        engine = await begin(self.tools, attempt)
        container = await find_own(engine, self.tools, self.name)
        if container is None:
            attempt.say(f"there is no container {self.name}")
            return Result()
        endings = Endings(engine, self.tools.wishes)
        if container.state != "created":
            await endings.stop(container, grace=self.grace, force=self.force)
        await endings.remove(container, force=True)
        return Result()

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def container_remove(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    values = context.values()
    return context.inline(ContainerRemove(context.tools, values["name"], values["grace"], values["force"]))
