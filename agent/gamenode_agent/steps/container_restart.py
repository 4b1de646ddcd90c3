"""The step kind `container.restart`: ends a container of ours and starts it again, once."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.containers.ending import end
from gamenode_agent.containers.making import started
from gamenode_agent.containers.naming import find_own, stop_wish
from gamenode_agent.containers.outages import begin
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class ContainerRestart:
    """One attempt. Cut short, it stays as it is then; its restart policy may start it."""

    tools: Tools
    name: str
    grace: float | None
    force: bool

    async def run(self, attempt: Handle) -> Result:
        """Restarts it. When it was started before is noted first: one that was started since has had its restart."""
        engine = await begin(self.tools, attempt)
        container = await find_own(engine, self.tools, self.name)
        if container is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no container {self.name!r} on this node")
        noted = attempt.notes.get("before")
        if noted is None:
            attempt.note(id=container.id, before=container.started_at)
        before = container.started_at if noted is None else float(noted)
        if noted is not None and container.id != attempt.notes.get("id"):
            raise GameNodeError(
                Code.CONTAINER_GONE, f"the container {self.name} was replaced while it was being restarted"
            )
        if container.started_at <= before:
            with self.tools.wishes.taking(container.id):
                await self.tools.wishes.begin(container.id)
                await end(engine, container, stop_wish(container), grace=self.grace, force=self.force)
                container = await started(engine, container.id, before=before)
        return Result(outputs={"id": container.id})

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""


def container_restart(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    values = context.values()
    return context.inline(ContainerRestart(context.tools, values["name"], values["grace"], values["force"]))
