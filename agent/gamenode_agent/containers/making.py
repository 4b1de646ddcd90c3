"""Making the container of one attempt: once, however often the agent is interrupted.

The order is always the same: create, note, start. A container that is `created` has never run; one that this attempt
made is known by its labels, so that a note which was never written does no harm.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gamenode_agent.containers import images, specs
from gamenode_agent.containers.ending import end
from gamenode_agent.containers.naming import PORTS, StopWish, attempt_labels, job_name, made_by, stop_wish
from gamenode_agent.containers.outages import back, through
from gamenode_agent.containers.ports import taken_by
from gamenode_agent.engines.containers import (
    Container,
    ContainerEngine,
    ContainerSpec,
    HalfStarted,
    NotAsked,
    PortMapping,
)
from gamenode_agent.engines.inline import Handle, Stop
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import StopPolicy

if TYPE_CHECKING:  # the steps import this
    from gamenode_agent.steps.context import StepContext
    from gamenode_agent.steps.tools import Tools

#: How often other ports are chosen where somebody else was faster.
_PORT_TRIES = 5
#: Variables that say which attempt it is: another one's make no other container.
_OWN_ENV = "GAMENODE_"
_PLAIN_STOP = StopPolicy()


@dataclass(frozen=True, slots=True)
class Making:
    """What an attempt makes a container from. `env` is complete; `digest` names the spec but for the attempt's own."""

    tools: Tools
    key: Attempt
    run_id: str
    name: str
    values: Mapping[str, Any]
    env: Mapping[str, str]
    digest: str

    async def found(self, attempt: Handle) -> Container | None:
        """The container that this attempt has made, if it is there."""
        engine = self.tools.containers()
        noted = attempt.notes.get("id")
        there = await through(engine, lambda: engine.inspect(str(noted) if noted else self.name))
        return there if there is not None and made_by(there, self.tools, self.key) else None

    async def named(self) -> Container | None:
        """The container that has the name, whoever made it."""
        engine = self.tools.containers()
        there = await through(engine, lambda: engine.inspect(self.name))
        return there if there is not None and there.name == self.name else None

    async def make(self, attempt: Handle, made: Callable[[str], None] = lambda _id: None) -> Container:
        """Makes it and starts it; where that fails, nothing of it is left. NAME_CONFLICT where the name is taken.

        `made` hears of it before it is started.
        """
        engine = self.tools.containers()
        specs.check_here(self.values, engine.info, local=engine.address.startswith("unix:"))
        if self.values.get("pull") == "always":
            await images.pull(engine, self.values["image"], attempt)
        tries = _PORT_TRIES if any(port.host_port is None for port in self.values.get("ports") or ()) else 1
        while True:
            tries -= 1
            container = await self._create(attempt)
            made(container)
            try:
                return await started(engine, container, before=0.0)
            except GameNodeError as error:
                await through(engine, lambda: engine.remove(container, force=True))  # noqa: B023 - awaited here
                if error.code is not Code.INSUFFICIENT_RESOURCES or not tries:
                    raise
                attempt.say(f"{error.message}; choosing another one")

    async def _create(self, attempt: Handle) -> str:
        engine = self.tools.containers()
        spec = self._spec(await self._ports())
        while True:
            try:
                container = await engine.create(spec)
                break
            except GameNodeError as error:
                match error.code:
                    case Code.IMAGE_MISSING:
                        # Looked for only now: most of the time it is there.
                        await images.obtain(engine, spec.image, self.values.get("pull") or "missing", attempt)
                    case Code.ENGINE_UNAVAILABLE:
                        await back(engine)
                    case Code.NAME_CONFLICT if (there := await self.named()) and made_by(there, self.tools, self.key):
                        container = there.id  # made just before the engine went away
                        break
                    case _:
                        raise
        try:
            attempt.note(id=container)
        except OSError:
            await through(engine, lambda: engine.remove(container, force=True))
            raise
        return container

    async def _ports(self) -> tuple[PortMapping, ...]:
        wanted = self.values.get("ports") or ()
        if not wanted:
            return ()
        engine = self.tools.containers()
        everything = await through(engine, engine.containers)
        return specs.host_ports(self.values, self.tools.port_range, taken_by(everything))

    def _spec(self, ports: tuple[PortMapping, ...]) -> ContainerSpec:
        labels = attempt_labels(self.tools, self.run_id, self.key)
        if ports:
            labels[PORTS] = specs.ports_label(ports)
        return specs.build(self.values, name=self.name, env=self.env, labels=labels, digest=self.digest, ports=ports)


def making_of(context: StepContext) -> Making:
    """What an attempt of `container.run` or `container.job` makes. Raises GameNodeError for values that do not do."""
    values = context.values()
    env = context.container_env(values.get("env") or {})
    given = {name: value for name, value in env.items() if not name.startswith(_OWN_ENV)}
    return Making(
        tools=context.tools,
        key=context.key,
        run_id=context.task.run_id,
        name=values["name"] or job_name(context.key),
        values=values,
        env=env,
        digest=specs.spec_hash(values, given),
    )


async def started(engine: ContainerEngine, container: str, *, before: float) -> Container:
    """Starts a container once and returns it; `before` is when it was last started, as the engine showed it.

    Raises HalfStarted where the engine went away meanwhile, so that nobody knows whether it has run; CONTAINER_GONE,
    INSUFFICIENT_RESOURCES and whatever else the engine says.
    """
    cut_off: GameNodeError | None = None
    while True:
        try:
            await engine.start(container)
        except NotAsked:
            await back(engine)
        except GameNodeError as error:
            if error.code is not Code.ENGINE_UNAVAILABLE:
                raise
            await back(engine)
            cut_off = error
        found = await through(engine, lambda: engine.inspect(container))
        if found is None:
            raise GameNodeError(Code.CONTAINER_GONE, f"the container {container[:12]} was removed by somebody else")
        if found.started_at > before:
            return found  # it may have ended since: that is for others to see
        if cut_off is not None:
            raise HalfStarted(
                Code.STATE_CONFLICT,
                f"the container engine went away while it started {found.name}: it may have run",
            ) from cut_off


def stop_of(container: Container, stop: Stop) -> StopWish:
    """How an attempt's container is ended: as its `with.stop` says, then its step's `stop`, then its image's."""
    wish = stop_wish(container)
    own = stop.policy != _PLAIN_STOP
    return StopWish(
        command=wish.command,
        via=wish.via,
        signal=wish.signal or (stop.policy.signal if own else ""),
        grace=stop.policy.grace if wish.grace is None else wish.grace,
    )


async def undo(making: Making, attempt: Handle, stop: Stop) -> None:
    """Removes what the attempt has made; returns when nothing of it is left."""
    container = await making.found(attempt)
    if container is None:
        return
    tools, engine = making.tools, making.tools.containers()
    with tools.wishes.taking(container.id):
        await end(engine, container, stop_of(container, stop), force=stop.force)
        await through(engine, lambda: engine.remove(container.id, force=True))
