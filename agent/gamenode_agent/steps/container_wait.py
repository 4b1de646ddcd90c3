"""The step kind `container.wait`: until a container is healthy, runs, has ended, or has printed something.

Only looks: a container of somebody else's may be waited for too.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field

from gamenode_agent.containers.naming import restart_label
from gamenode_agent.containers.outages import begin, through
from gamenode_agent.containers.restarting import parse
from gamenode_agent.containers.spool import last_lines
from gamenode_agent.engines.containers import Container, ContainerEngine, ContainerEvent
from gamenode_agent.engines.inline import Handle, InlineRequest, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError

#: A container that the agent starts again may end so often while it is waited for.
MOST_ENDS = 3
#: An engine notes a start only when it has heard of it, and by then the container may have printed. Where nothing else
#: parts it from an earlier start, what was printed so many seconds before belongs to it.
EARLY = 1.0
#: Bytes of a line that a pattern is tried on.
_LINE = 16 << 10
#: Bytes that a pattern may become.
_PATTERN_MEMORY = 1 << 20


@dataclass(slots=True)
class ContainerWait:
    """One attempt. `seconds` None: as long as the step may take."""

    tools: Tools
    name: str
    until: str
    pattern: str
    seconds: float | None
    _changed: asyncio.Event = field(default_factory=asyncio.Event, init=False)
    _id: str = field(default="", init=False)

    async def run(self, attempt: Handle) -> Result:
        """Waits; how long is counted from when the attempt first began."""
        engine = await begin(self.tools, attempt)
        container = await self._look(engine, was_there=False)
        left = None
        if self.seconds is not None:
            left = max(0.0, attempt.started_at + self.seconds - self.tools.clock.now())
        unsubscribe = engine.subscribe(self._heard)
        try:
            async with asyncio.timeout(left):
                match self.until:
                    case "exited":
                        ended = await engine.wait(container.id)
                        return Result(outputs={"exit_code": str(ended.exit_code)})
                    case "log":
                        line = await self._printed(engine, container)
                        return Result(outputs={"line": line})
                    case _:
                        found = await self._state(engine, container)
                        return Result(outputs={"id": found.id, "address": found.address})
        except TimeoutError:
            raise await self._too_late(engine) from None
        finally:
            unsubscribe()

    async def end(self, attempt: Handle, stop: Stop) -> None:
        """Nothing of it is left once `run` is cancelled."""

    def _heard(self, event: ContainerEvent | None) -> None:
        # By its id too: that is how it may have been named, and one that takes over the name has another.
        if event is None or event.name == self.name or event.id == self._id:
            self._changed.set()

    async def _look(self, engine: ContainerEngine, *, was_there: bool = True) -> Container:
        container = await through(engine, lambda: engine.inspect(self.name))
        if container is None and was_there:
            raise GameNodeError(Code.CONTAINER_GONE, f"the container {self.name} was removed while it was waited for")
        if container is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no container {self.name!r} on this node")
        self._id = container.id
        return container

    async def _state(self, engine: ContainerEngine, container: Container) -> Container:
        ends: set[float] = set()
        while True:
            if container.running and (self.until == "running" or container.health == "healthy"):
                return container
            if container.running and not container.health:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT, f"the container {self.name} has no health check, so it never is healthy"
                )
            if container.ended:
                ends.add(container.finished_at)
                await self._ended(engine, container, len(ends))
            await self._changed.wait()
            self._changed.clear()
            container = await self._look(engine)

    async def _printed(self, engine: ContainerEngine, container: Container) -> str:
        """The first line of this start of the container that the pattern is in."""
        search = _search(self.pattern)
        ends, last_end = 0, 0.0
        while True:
            began, identity = container.started_at, container.id
            if container.state != "created":
                since = container.last_end if container.running else began - EARLY
                async for line in engine.logs(identity, since=max(last_end, since), follow=True):
                    text = line.data[:_LINE].decode(errors="replace").rstrip("\r\n")
                    if search(text):
                        return text
                container = await self._look(engine)
                if container.ended:
                    ends, last_end = ends + 1, container.finished_at
                    await self._ended(engine, container, ends)
            while container.id == identity and container.started_at == began:
                await self._changed.wait()
                self._changed.clear()
                container = await self._look(engine)

    async def _ended(self, engine: ContainerEngine, container: Container, times: int) -> None:
        """Raises for a container that has ended, unless it is going to be started again."""
        wishes = self.tools.wishes
        if parse(restart_label(container)) is not None and not wishes.is_over(container.id) and times < MOST_ENDS:
            return
        lines = await last_lines(engine, container.id)
        again = f" for the {times}th time" if times > 1 else ""
        raise GameNodeError(
            Code.STEP_FAILED,
            f"the container {self.name} has ended{again} with exit code {container.exit_code}"
            f"{' (out of memory)' if container.oom_killed else ''}; its last lines:\n{lines}",
            details={"exit_code": str(container.exit_code), "container": container.id},
        )

    async def _too_late(self, engine: ContainerEngine) -> GameNodeError:
        what = {"log": f"did not print {self.pattern!r}", "exited": "did not end"}.get(
            self.until, f"was not {self.until}"
        )
        stands = "the container engine is away" if not engine.available else ""
        lines = ""
        if not stands:
            container = await engine.inspect(self.name)
            stands = "it is gone" if container is None else f"it is {container.health or container.state}"
            if container is not None:
                lines = f"; its last lines:\n{await last_lines(engine, container.id)}"
        return GameNodeError(
            Code.STEP_TIMEOUT,
            f"the container {self.name} {what} within {self.seconds:g} s: {stands}{lines}",
            details={"timeout": f"{self.seconds:g}"},
        )


def container_wait(context: StepContext) -> InlineRequest:
    """What to do for one attempt. Raises GameNodeError for a pattern that is none."""
    values = context.values()
    until, pattern = values["for"], values["pattern"]
    if until == "log":
        _search(pattern)
    return context.inline(ContainerWait(context.tools, values["name"], until, pattern, values["seconds"]))


def _search(pattern: str) -> Callable[[str], object]:
    """Looks for the pattern in a line, in time that grows with the line alone: no pattern can hold up the agent.

    Raises GameNodeError for one that is none.
    """
    import re2  # type: ignore[import-untyped]  # late: few steps need it

    options = re2.Options()
    options.log_errors = False
    options.max_mem = _PATTERN_MEMORY
    try:
        found: Callable[[str], object] = re2.compile(pattern, options).search
    except re2.error as error:
        problem = error.args[0].decode(errors="replace") if isinstance(error.args[0], bytes) else str(error)
        raise GameNodeError(Code.INVALID_ARGUMENT, f"with.pattern: {pattern!r} is no pattern: {problem}") from error
    return found
