"""Ending containers as they want to be ended: a command, a signal, some grace, SIGKILL; then they are known to be gone.

What is ended here stays so, whatever its restart policy. Whose container it is has been asked before.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass

from gamenode_agent.containers.naming import StopWish, stop_wish
from gamenode_agent.containers.outages import through
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import Container, ContainerEngine
from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

#: Seconds between the first word and SIGKILL where nobody says otherwise.
GRACE = 10.0
#: What is left for the signal where the stop command has used up the grace.
_LAST_WORD = 1.0
#: Between a SIGKILL and another one.
_DEATH = 1.0


@dataclass(frozen=True, slots=True)
class Endings:
    """How containers are ended here. `grace` in seconds, None for the container's own. Methods return when it is
    done, over outages of the engine too, and raise GameNodeError."""

    engine: ContainerEngine
    wishes: Wishes

    async def stop(self, container: Container, *, grace: float | None, force: bool = False) -> None:
        """Ends it, as its label says, or at once; nothing starts it again."""
        with self.wishes.taking(container.id):
            await self.wishes.end(container.id, "stopped")
            await end(self.engine, container, stop_wish(container), grace=grace, force=force)

    async def restart(self, container: Container, *, grace: float | None) -> None:
        """Ends it and starts it; it is kept running as before."""
        with self.wishes.taking(container.id):
            await self.wishes.begin(container.id)
            await end(self.engine, container, stop_wish(container), grace=grace)
            await through(self.engine, lambda: self.engine.start(container.id))

    async def remove(self, container: Container, *, force: bool) -> None:
        """Removes it. STATE_CONFLICT where it runs and not `force`."""
        with self.wishes.taking(container.id):
            if container.running and force:
                await self.wishes.end(container.id, "removed")
            # What its engine takes for never started may run nevertheless.
            forced = force or container.state == "created"
            await through(self.engine, lambda: self.engine.remove(container.id, force=forced))


async def end(
    engine: ContainerEngine, container: Container, wish: StopWish, *, grace: float | None = None, force: bool = False
) -> Container | None:
    """Ends a container and returns it as it ended, None if it is gone. `grace` goes before the wish's own.

    `force`: SIGKILL at once.
    """
    loop = asyncio.get_running_loop()
    seconds = next((each for each in (grace, wish.grace) if each is not None), GRACE)
    deadline = loop.time() + seconds
    found = await through(engine, lambda: engine.inspect(container.id))
    if found is not None and found.running and wish.command and not force and seconds > 0:
        await _command(engine, found, wish, deadline)
        deadline = max(deadline, loop.time() + _LAST_WORD)
        found = await through(engine, lambda: engine.inspect(container.id))
    while found is not None and found.running:
        left = 0.0 if force else max(0.0, deadline - loop.time())
        try:
            if left:
                await through(engine, lambda left=left: engine.stop(container.id, signal=wish.signal, grace=left))  # type: ignore[misc]
            else:
                await through(engine, lambda: engine.stop(container.id, signal="KILL", grace=_DEATH))
        except GameNodeError as error:
            if error.code is not Code.CONTAINER_GONE:
                raise
            return None
        # Not what was done counts but what is left: an outage may have started it again.
        found = await through(engine, lambda: engine.inspect(container.id))
    return found


async def _command(engine: ContainerEngine, container: Container, wish: StopWish, deadline: float) -> None:
    """Says the stop command and waits for the end until the deadline; one that cannot be said is passed over."""
    try:
        async with asyncio.timeout_at(deadline):
            if wish.via == "stdin":
                lines = "".join(f"{line}\n" for line in wish.command)
                await engine.write_stdin(container.id, lines.encode())
            else:
                await _run(engine, container, wish.command)
            await engine.wait(container.id)
    except TimeoutError:
        logger.info("a container has not heeded its stop command", extra={"container": container.name})
    except GameNodeError as error:
        logger.warning("a stop command could not be given: %s", error.message, extra={"container": container.name})


async def _run(engine: ContainerEngine, container: Container, command: tuple[str, ...]) -> None:
    exec_id = await engine.exec_create(container.id, command, env={})
    async for _ in engine.exec_start(exec_id):
        pass  # what it prints is the container's own affair
    status = await engine.exec_inspect(exec_id)
    if status is not None and status.exit_code in (126, 127):  # a shell's words for a command that cannot be run
        raise GameNodeError(Code.STEP_FAILED, f"{command[0]!r} cannot be run in the container")
