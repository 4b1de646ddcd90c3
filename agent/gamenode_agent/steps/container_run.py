"""The step kind `container.run`: starts a container and leaves it running.

It is idempotent by the container's name: one of ours that is what was asked for is taken as it is.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.making import Making, making_of, started, undo
from gamenode_agent.containers.naming import given_ports, is_own, made_by, same_step, who
from gamenode_agent.containers.outages import begin, through
from gamenode_agent.engines.containers import SPEC, Container, ContainerEngine, HalfStarted
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError

#: How often one is made whose engine goes away while it starts.
_TRIES = 10


@dataclass(frozen=True, slots=True)
class ContainerRun:
    """One attempt."""

    tools: Tools
    making: Making

    async def run(self, attempt: Handle) -> Result:
        """Has it running, or finds that it is."""
        engine = await begin(self.tools, attempt)
        tries = _TRIES
        while True:
            tries -= 1
            try:
                return Result(outputs=outputs(await self._there(engine, attempt)))
            except HalfStarted as error:
                if not tries:
                    raise
                attempt.say(f"{error.message}; making it anew")

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Not finished, it leaves nothing; what others have made stays."""
        await undo(self.making, attempt, stop)

    async def _there(self, engine: ContainerEngine, attempt: Handle) -> Container:
        """Once it runs. HalfStarted leaves nothing of it."""
        there = await self.making.named()
        if there is not None and await self._is_other(engine, there, attempt):
            endings = Endings(engine, self.tools.wishes)
            attempt.say(f"replacing the container {there.name} ({there.id[:12]})")
            await endings.stop(there, grace=None)
            await endings.remove(there, force=True)
            there = None
        if there is None:
            return await self.making.make(attempt)
        return await self._adopt(engine, there, attempt)

    async def _is_other(self, engine: ContainerEngine, there: Container, attempt: Handle) -> bool:
        """Whether what has the name has to make room; raises NAME_CONFLICT where it may not."""
        making = self.making
        if made_by(there, self.tools, making.key):
            return False
        replace = bool(making.values.get("replace"))
        if is_own(there, self.tools.cluster_id):
            if there.labels.get(SPEC) == making.digest:
                # With the same words, but what they name may be another image by now.
                return replace and await self._is_newer(engine, there)
            if replace or same_step(there, self.tools, making.key):
                return True
        hint = (
            "it was made from other values: `replace: true` replaces it"
            if is_own(there, self.tools.cluster_id)
            else "choose another name, or remove it by hand"
        )
        raise GameNodeError(
            Code.NAME_CONFLICT,
            f"the name {making.name!r} is taken: {who(there, self.tools)}; {hint}",
            details={"name": making.name, "holder": there.id},
        )

    async def _is_newer(self, engine: ContainerEngine, there: Container) -> bool:
        image = await through(engine, lambda: engine.image(self.making.values["image"]))
        return image is not None and image.id != there.image_id

    async def _adopt(self, engine: ContainerEngine, there: Container, attempt: Handle) -> Container:
        mine = made_by(there, self.tools, self.making.key)
        has_run = there.state != "created"
        if there.running or (mine and has_run and attempt.same_boot):
            return there  # it runs; or it ran as this attempt made it, and what became of it is not a start's affair
        attempt.note(id=there.id)
        attempt.say(f"starting the container {there.name} ({there.id[:12]}), which is there")
        await self.tools.wishes.begin(there.id)
        try:
            return await started(engine, there.id, before=there.started_at)
        except HalfStarted:
            await Endings(engine, self.tools.wishes).remove(there, force=True)
            raise


def outputs(container: Container) -> dict[str, str]:
    """What a step can say of the container it has made."""
    ports = given_ports(container.labels)
    return {
        "id": container.id,
        "name": container.name,
        "image_id": container.image_id,
        "address": container.address,
        "port": str(next(iter(ports.values()), "")),
        "ports": json.dumps(ports),
    }


def container_run(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    return context.inline(ContainerRun(context.tools, making_of(context)))
