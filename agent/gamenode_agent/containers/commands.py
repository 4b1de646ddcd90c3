"""What an operator does with a container of ours: stop, start again, remove. Never with a foreign one.

A command that comes again is answered from memory, so that a lost answer does no harm. Knows no session.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from typing import Protocol

from gamenode_agent.containers.naming import is_own
from gamenode_agent.engines.containers import Container, ContainerEngine
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand

logger = logging.getLogger(__name__)

#: So many commands are remembered, and so many may be under way.
REMEMBERED = 256
AT_ONCE = 64


class Endings(Protocol):
    """How containers are ended here. `grace` in seconds, None for the container's own. Every method returns when it is
    done, and raises GameNodeError."""

    async def stop(self, container: Container, *, grace: float | None) -> None:
        """Ends it, as it wants to be ended; nothing starts it again."""
        ...

    async def restart(self, container: Container, *, grace: float | None) -> None:
        """Ends it and starts it; it is kept running as before."""
        ...

    async def remove(self, container: Container, *, force: bool) -> None:
        """Removes it. STATE_CONFLICT where it runs and not `force`."""
        ...


class Commands:
    """The commands of one agent, each carried out once and in a task of its own."""

    def __init__(
        self,
        engine: ContainerEngine | None,
        endings: Endings | None,
        *,
        cluster_id: str,
        engine_wait: float,
        group: asyncio.TaskGroup,
        reply: Callable[[str, GameNodeError | None], None],
    ) -> None:
        self._engine = engine
        self._endings = endings
        self._cluster_id = cluster_id
        self._engine_wait = engine_wait
        self._group = group
        self._reply = reply
        self._under_way: set[str] = set()
        #: How the last ones went, oldest first.
        self._done: OrderedDict[str, GameNodeError | None] = OrderedDict()

    def take(self, command: ContainerCommand) -> None:
        """Carries a command out, unless it has been or is being carried out; answers when that is done."""
        command_id = command.command_id
        if command_id in self._done:
            self._reply(command_id, self._done[command_id])
        elif command_id in self._under_way:
            logger.debug("the command is under way", extra={"command": command_id})
        elif len(self._under_way) >= AT_ONCE:
            problem = f"this node carries out {AT_ONCE} commands at once, and has them: try again in a moment"
            self._reply(command_id, GameNodeError(Code.LIMIT_EXCEEDED, problem))
        else:
            self._under_way.add(command_id)
            copy = ContainerCommand()
            copy.CopyFrom(command)
            self._group.create_task(self._carry_out(copy), name=f"container command {command_id}")

    async def _carry_out(self, command: ContainerCommand) -> None:
        result: GameNodeError | None = None
        try:
            await self._do(command)
        except GameNodeError as error:
            result = error
        except Exception:
            # Nothing an operator asks for may end the agent.
            logger.exception("a container command has failed", extra={"container": command.container})
            result = GameNodeError(Code.INTERNAL, "the agent failed; its log says why")
        finally:
            self._under_way.discard(command.command_id)
        self._done[command.command_id] = result
        while len(self._done) > REMEMBERED:
            self._done.popitem(last=False)
        self._reply(command.command_id, result)

    async def _do(self, command: ContainerCommand) -> None:
        engine, endings = self._engine, self._endings
        if engine is None or endings is None:
            raise GameNodeError(Code.ENGINE_UNAVAILABLE, "this agent was started without a container engine")
        await engine.ready(self._engine_wait)
        container = await engine.inspect(command.container)
        if container is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no container {command.container!r} on this node")
        if not is_own(container, self._cluster_id):
            raise GameNodeError(
                Code.PERMISSION_DENIED,
                f"container {container.name!r} was not made by this cluster: it is only shown, never touched",
            )
        grace = command.grace if command.grace >= 0 else None
        match command.action:
            case ContainerCommand.ACTION_STOP:
                await endings.stop(container, grace=grace)
            case ContainerCommand.ACTION_RESTART:
                await endings.restart(container, grace=grace)
            case ContainerCommand.ACTION_REMOVE:
                await endings.remove(container, force=command.force)
            case other:
                raise GameNodeError(Code.INVALID_ARGUMENT, f"this agent knows no container command {other}")
        logger.info(
            "a container command was carried out",
            extra={"action": ContainerCommand.Action.Name(command.action), "container": container.name},
        )
