"""The step kind `container.job`: runs a container to its end. Its exit code is the step's, its output the step's log.

The container goes once its end is noted and its log is whole; until then it is the evidence of what became of it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from gamenode_agent.containers.ending import Endings, end
from gamenode_agent.containers.forks import Forks
from gamenode_agent.containers.making import Making, making_of, started, stop_of, undo
from gamenode_agent.containers.naming import is_own, same_step, who
from gamenode_agent.containers.outages import Witness, begin, through
from gamenode_agent.containers.spool import Spool
from gamenode_agent.engines.containers import Container, ContainerEngine, HalfStarted
from gamenode_agent.engines.inline import Handle, InlineRequest, LostTrack, Result, Stop
from gamenode_agent.failures import leaves
from gamenode_agent.steps.context import StepContext
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.plan import StopPolicy
from gamenode_proto.process.clock import wall_clock

#: What the end of a log may take after the container's; then the rest is asked for anew.
LOG_PATIENCE = 10.0

_END = "end"
_FAILED = Stop(Code.STEP_FAILED, "the step has failed", force=False, policy=StopPolicy())


@dataclass(slots=True)
class ContainerJob:
    """One attempt."""

    tools: Tools
    making: Making
    _forks: list[Forks] = field(default_factory=list, init=False)

    async def run(self, attempt: Handle) -> Result:
        """Runs it, or goes on with it."""
        if _END in attempt.notes:
            return await self._finish(attempt.notes[_END])
        engine = await begin(self.tools, attempt)
        container = await self._resumed(engine, attempt) if attempt.resumed else None
        if container is None:
            await self._make_room(engine, attempt)
        try:
            ended, by_engine = await self._attend(engine, container, attempt)
            noted = self._verdict(ended, by_engine)
        except Exception as error:
            # Whatever could not be done for it: an attempt that has failed leaves nothing that goes on.
            await undo(self.making, attempt, _FAILED)
            if isinstance(error, HalfStarted):
                raise LostTrack(error.message) from error
            raise
        finally:
            for watch in self._forks:
                watch.close()
        if attempt.resumed:  # it may have ended while nobody looked; the engine's clock is the wall's
            noted["at"] = ended.finished_at + self.tools.clock.now() - wall_clock()
        attempt.note(**{_END: noted})
        return await self._finish(noted)

    async def end(self, attempt: Handle, stop: Stop) -> int | None:
        """Stops it as it wants to be stopped, and removes it."""
        if _END in attempt.notes:  # it was faster
            return (await self._finish(attempt.notes[_END])).exit_code
        container = await self.making.found(attempt)
        if container is None:
            return None
        engine = self.tools.containers()
        code: int | None = None
        if container.state != "created":
            ended = await self._stop(engine, container, attempt, stop)
            code = ended.exit_code if ended is not None else None
        attempt.note(**{_END: {"exit_code": code, "code": str(stop.code), "message": stop.reason, "id": container.id}})
        await through(engine, lambda: engine.remove(container.id, force=True))
        return code

    # -- how it began --------------------------------------------------------------------------------------------------

    async def _resumed(self, engine: ContainerEngine, attempt: Handle) -> Container | None:
        """The container of an earlier agent; None if there never was one."""
        found = await self.making.found(attempt)
        if found is None:
            if not attempt.same_boot:
                raise LostTrack("the host was restarted, and there is no container of this attempt")
            if "id" in attempt.notes:
                raise _gone(self.making.name)
            return None
        if found.state != "created" and not attempt.same_boot:
            raise LostTrack(f"the host was restarted while the container {found.name} ran")
        return found

    async def _make_room(self, engine: ContainerEngine, attempt: Handle) -> None:
        """What an earlier attempt of this step has left under the name goes; so does what `replace` allows to."""
        there = await self.making.named() if self._may_be_taken(attempt) else None
        if there is None:
            return
        tools = self.tools
        if not is_own(there, tools.cluster_id) or not (
            self.making.values.get("replace") or same_step(there, tools, self.making.key)
        ):
            raise GameNodeError(
                Code.NAME_CONFLICT,
                f"the name {self.making.name!r} is taken: {who(there, tools)}",
                details={"name": self.making.name, "holder": there.id},
            )
        attempt.say(f"removing the container {there.name} ({there.id[:12]}) of an earlier attempt")
        endings = Endings(engine, tools.wishes)
        await endings.stop(there, grace=None)
        await endings.remove(there, force=True)

    def _may_be_taken(self, attempt: Handle) -> bool:
        """Names made of an attempt's key are looked at only where one like it may have been before."""
        return bool(self.making.values.get("name")) or attempt.resumed or attempt.key.fence > 1

    # -- while it runs -------------------------------------------------------------------------------------------------

    async def _attend(
        self, engine: ContainerEngine, there: Container | None, attempt: Handle
    ) -> tuple[Container, bool]:
        """Has it run and copies its log until it has ended; how it did, and whether its engine ended it."""
        beside: list[asyncio.Task[Any]] = []
        try:
            async with asyncio.TaskGroup() as group:
                witness = Witness(engine)

                def made(container: str) -> None:
                    witness.note()
                    if self.making.values["resources"]["pids"]:
                        self._forks.append(Forks(container))
                        beside.append(group.create_task(self._limit_forks(engine, container, self._forks[-1])))

                container = await self._running(engine, there, attempt, made)
                spool = Spool(engine, container.id, attempt)
                following = group.create_task(self._follow(engine, spool))
                beside.append(group.create_task(witness.watch(container.id)))
                ended = await engine.wait(container.id)
                away = await witness.engine_away()
                whole = await self._end_of_log(following)
                for task in beside:
                    task.cancel()
        except BaseExceptionGroup as failures:
            for failure in leaves(failures):
                raise failure from None
            raise
        if not whole:
            await through(engine, spool.rest)
        if away and witness.survives:  # what it wrote while nobody read may have gone with it
            attempt.say("the container ended while its engine was away: the end of its output may be missing")
        return ended, away and not witness.survives

    async def _running(
        self, engine: ContainerEngine, there: Container | None, attempt: Handle, made: Callable[[str], None]
    ) -> Container:
        if there is None:
            return await self.making.make(attempt, made)
        made(there.id)
        return await started(engine, there.id, before=0.0) if there.state == "created" else there

    async def _follow(self, engine: ContainerEngine, spool: Spool) -> None:
        try:
            await through(engine, spool.follow)
        except GameNodeError as error:
            if error.code is not Code.CONTAINER_GONE:  # whoever waits for its end says so
                raise

    async def _end_of_log(self, following: asyncio.Task[None]) -> bool:
        """Whether the log of a container that has ended came to its end by itself."""
        await asyncio.wait([following], timeout=LOG_PATIENCE)
        return not following.cancel()

    async def _limit_forks(self, engine: ContainerEngine, container: str, watch: Forks) -> None:
        await watch.wait(engine)
        with contextlib.suppress(GameNodeError):  # it has ended by itself
            await through(engine, lambda: engine.kill(container))

    # -- how it ended --------------------------------------------------------------------------------------------------

    def _verdict(self, ended: Container, by_engine: bool) -> dict[str, Any]:
        code = ended.exit_code
        error: Error | None = None
        if code and self._forks and self._forks[-1].refused():
            most = self.making.values["resources"]["pids"]
            error = Error(
                Code.RESOURCE_LIMIT,
                f"stopped at its limit: more than {most} processes",
                {"limit": "pids", "value": str(most)},
            )
        elif ended.oom_killed and code:
            most = ended.memory_limit
            error = Error(
                Code.OOM_KILLED,
                f"killed: it needed more than its {most} bytes of memory",
                {"limit": "memory", "value": str(most)},
            )
        elif by_engine:
            error = Error(
                Code.ENGINE_UNAVAILABLE,
                f"the container engine was stopped or restarted, and the container with it (exit code {code})",
                {"exit_code": str(code)},
            )
        found: dict[str, Any] = {"exit_code": code, "id": ended.id}
        if error is not None:
            found |= {"code": str(error.code), "message": error.message, "details": dict(error.details)}
        return found

    async def _finish(self, noted: dict[str, Any]) -> Result:
        """Removes the container and tells the end that is noted: interrupted anywhere, the same is told again."""
        engine = self.tools.containers()
        try:
            await engine.remove(noted["id"])
        except GameNodeError as error:
            if error.code is Code.STATE_CONFLICT:
                raise  # it runs again: somebody else's doing, and not an end
            await self.tools.wishes.leave(noted["id"])
        failed = None
        if "code" in noted:
            failed = Error(Code(noted["code"]), noted["message"], noted.get("details", {}))
        return Result(exit_code=noted["exit_code"], error=failed, ended_at=noted.get("at", 0.0))

    async def _stop(
        self, engine: ContainerEngine, container: Container, attempt: Handle, stop: Stop
    ) -> Container | None:
        """Ends it while its log is copied on; how it ended, None where it is gone."""
        spool = Spool(engine, container.id, attempt)
        ended: Container | None = container
        whole = False
        if container.running:
            try:
                async with asyncio.TaskGroup() as group:
                    following = group.create_task(self._follow(engine, spool))
                    ended = await end(engine, container, stop_of(container, stop), force=stop.force)
                    whole = await self._end_of_log(following)
            except BaseExceptionGroup as failures:
                for failure in leaves(failures):
                    raise failure from None
                raise
        if ended is not None and not whole:
            await through(engine, spool.rest)
        return ended


def _gone(name: str) -> GameNodeError:
    return GameNodeError(
        Code.CONTAINER_GONE, f"the container {name} was removed by somebody else before its end was known"
    )


def container_job(context: StepContext) -> InlineRequest:
    """What to do for one attempt."""
    return context.inline(ContainerJob(context.tools, making_of(context)))
