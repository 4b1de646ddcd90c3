"""The step kind `container.stop`: ends a container of ours, as it wants to be ended, and nothing starts it again."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.naming import find_own
from gamenode_agent.containers.outages import begin
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools


@dataclass(frozen=True, slots=True)
class ContainerStop:
    """One attempt. Cut short, what was begun stays: a stop is not taken back."""

    tools: Tools
    name: str
    grace: float | None
    force: bool

    async def run(self, attempt: Handle) -> Result:
        """Stops it; one that has ended, or is not there, is as it should be."""
        engine = await begin(self.tools, attempt)
        container = await find_own(engine, self.tools, self.name)
        if container is None:
            attempt.say(f"there is no container {self.name}")
        else:
            await Endings(engine, self.tools.wishes).stop(container, grace=self.grace, force=self.force)
        return Result()

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def container_stop(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    values = context.values()
    return context.inline(ContainerStop(context.tools, values["name"], values["grace"], values["force"]))
