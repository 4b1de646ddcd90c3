"""The step kind `container.exec`: a command in a running container of ours. Its exit code is the step's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from gamenode_agent.containers import execs
from gamenode_agent.containers.naming import find_own
from gamenode_agent.containers.outages import begin, through
from gamenode_agent.engines.containers import ContainerEngine, ExecStatus
from gamenode_agent.engines.inline import Handle, InlineRequest, LostTrack, Result, Stop
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, GameNodeError


@dataclass(frozen=True, slots=True)
class ContainerExec:
    """One attempt."""

    tools: Tools
    name: str
    command: tuple[str, ...]
    user: str
    workdir: str
    env: Mapping[str, str]

    async def run(self, attempt: Handle) -> Result:
        """Runs it; of one that an earlier agent has begun, waits for the end."""
        engine = await begin(self.tools, attempt)
        noted = attempt.notes.get("exec")
        if noted is not None:
            return await self._resume(engine, str(noted), attempt)
        if attempt.resumed and not attempt.same_boot:
            raise LostTrack("the host was restarted, and what was noted of the command is gone")
        container = await find_own(engine, self.tools, self.name)
        if container is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no container {self.name!r} on this node")
        if not container.running:
            raise GameNodeError(
                Code.STATE_CONFLICT,
                f"the container {self.name} does not run (it is {container.state}): nothing can be run in it",
            )
        made = await engine.exec_create(container.id, self.command, user=self.user, workdir=self.workdir, env=self.env)
        attempt.note(exec=made, container=container.id)
        return await self._start(engine, made, attempt)

    async def end(self, attempt: Handle, stop: Stop) -> int | None:
        """Ends every process of it."""
        noted = attempt.notes.get("exec")
        if noted is None:
            return None
        engine = self.tools.containers()
        command = execs.Command(engine, str(noted), str(attempt.notes["container"]), attempt.key)
        return await command.end(name=stop.policy.signal, grace=0.0 if stop.force else stop.policy.grace)

    async def _start(self, engine: ContainerEngine, exec_id: str, attempt: Handle) -> Result:
        try:
            async for stream, data in engine.exec_start(exec_id):
                attempt.write(data, stream, self.tools.clock.now())
        except GameNodeError as error:
            if error.code is not Code.ENGINE_UNAVAILABLE:
                raise
            attempt.say("the container engine went away: what the command printed since is missing here")
        return await self._result(engine, exec_id, attempt)

    async def _resume(self, engine: ContainerEngine, exec_id: str, attempt: Handle) -> Result:
        status = await through(engine, lambda: engine.exec_inspect(exec_id))
        if status is not None and not status.running and status.exit_code is None:
            return await self._start(engine, exec_id, attempt)  # noted, and never started
        if status is not None:
            attempt.say("the agent was away: what the command printed meanwhile is missing here")
        return await self._result(engine, exec_id, attempt)

    async def _result(self, engine: ContainerEngine, exec_id: str, attempt: Handle) -> Result:
        status: ExecStatus | None = await execs.ended(engine, exec_id)
        if status is None:
            container = await through(engine, lambda: engine.inspect(str(attempt.notes["container"])))
            if container is None:
                raise GameNodeError(
                    Code.CONTAINER_GONE, f"the container {self.name} was removed while the command ran in it"
                )
            raise LostTrack("the container engine does not know the command any more")
        return Result(exit_code=status.exit_code)


def container_exec(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    values: dict[str, Any] = context.values()
    command = values["command"]
    if not command:
        raise GameNodeError(Code.INVALID_ARGUMENT, "with.command: a command is needed")
    return context.inline(
        ContainerExec(
            context.tools,
            values["name"],
            command,
            values["user"],
            values["workdir"],
            context.container_env(values.get("env") or {}),
        )
    )
