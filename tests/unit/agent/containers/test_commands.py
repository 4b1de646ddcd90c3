"""What an operator does with containers: with our own only, once for each command, and never in the session's way."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from gamenode_agent.containers import commands as module
from gamenode_agent.containers.commands import Commands
from gamenode_agent.containers.ending import Endings
from gamenode_agent.containers.wishes import Wishes
from gamenode_agent.engines.containers import CLUSTER, Container, ContainerSpec
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand
from support.fake_engine import FakeEngine
from support.play import IMAGE, PROGRAM
from support.waiting import until

STOP, RESTART, REMOVE = ContainerCommand.ACTION_STOP, ContainerCommand.ACTION_RESTART, ContainerCommand.ACTION_REMOVE


class Desk:
    """Commands with their engine and what was answered."""

    def __init__(self, group: asyncio.TaskGroup) -> None:
        self.engine = FakeEngine()
        self.wishes = Wishes(None)
        self.answers: list[tuple[str, GameNodeError | None]] = []
        self.commands = Commands(
            self.engine,
            Endings(self.engine, self.wishes),
            cluster_id="c1",
            engine_wait=0.1,
            group=group,
            reply=lambda command_id, error: self.answers.append((command_id, error)),
        )

    async def make(self, name: str, cluster: str = "c1", *words: str) -> str:
        spec = ContainerSpec(
            name=name, image=IMAGE, command=(PROGRAM, *(words or ("sleep=60",))), labels={CLUSTER: cluster}
        )
        made = await self.engine.create(spec)
        await self.engine.start(made)
        return made

    async def shown(self, name: str) -> Container:
        found = await self.engine.inspect(name)
        assert found is not None
        return found

    async def do(
        self,
        action: ContainerCommand.Action.ValueType,
        container: str,
        *,
        command_id: str = "k1",
        grace: float = -1.0,
        force: bool = False,
    ) -> Code | None:
        """The code of what came of it, None if it was done."""
        count = len(self.answers)
        self.commands.take(
            ContainerCommand(command_id=command_id, action=action, container=container, grace=grace, force=force)
        )
        await until(lambda: len(self.answers) > count, every=0.01, what="an answer")
        answered, error = self.answers[-1]
        assert answered == command_id
        return error.code if error is not None else None


@asynccontextmanager
async def desk() -> AsyncIterator[Desk]:
    async with asyncio.TaskGroup() as group:
        made = Desk(group)
        yield made
    await made.engine.close()


async def test_a_stopped_container_is_not_started_again() -> None:
    async with desk() as host:
        made = await host.make("game")
        assert await host.do(STOP, "game") is None
        assert (await host.shown("game")).exit_code == 143
        assert host.wishes.is_over(made)


async def test_the_operators_grace_goes_before_the_containers() -> None:
    async with desk() as host:
        await host.make("deaf", "c1", "ignore-term", "sleep=60")
        assert await host.do(STOP, "deaf", grace=0.1) is None
        assert (await host.shown("deaf")).exit_code == 137


async def test_a_restarted_container_runs_and_is_kept_running() -> None:
    async with desk() as host:
        made = await host.make("game")
        await host.wishes.end(made, "stopped")
        assert await host.do(RESTART, "game") is None
        assert (await host.shown("game")).running
        assert not host.wishes.is_over(made)


async def test_a_running_container_is_removed_only_with_force() -> None:
    async with desk() as host:
        await host.make("game")
        assert await host.do(REMOVE, "game") is Code.STATE_CONFLICT
        assert (await host.shown("game")).running
        assert await host.do(REMOVE, "game", command_id="k2", force=True) is None
        assert await host.engine.inspect("game") is None


@pytest.mark.parametrize("action", [STOP, RESTART, REMOVE])
@pytest.mark.parametrize("cluster", ["another", ""])
async def test_a_foreign_container_is_never_touched(action: ContainerCommand.Action.ValueType, cluster: str) -> None:
    async with desk() as host:
        await host.make("theirs", cluster)
        before = await host.shown("theirs")
        assert await host.do(action, "theirs", force=True) is Code.PERMISSION_DENIED
        assert await host.shown("theirs") == before


async def test_what_cannot_be_done_is_answered_by_name() -> None:
    async with desk() as host:
        assert await host.do(STOP, "nobody") is Code.NOT_FOUND
        await host.make("game")
        assert await host.do(ContainerCommand.ACTION_UNSPECIFIED, "game", command_id="k2") is Code.INVALID_ARGUMENT
        host.engine.go_away()
        assert await host.do(STOP, "game", command_id="k3") is Code.ENGINE_UNAVAILABLE


async def test_a_command_that_comes_again_is_answered_from_memory() -> None:
    async with desk() as host:
        await host.make("game")
        assert await host.do(STOP, "game") is None
        await host.engine.start("game")
        assert await host.do(STOP, "game") is None
        assert (await host.shown("game")).running
        assert await host.do(STOP, "game", command_id="k2") is None
        assert not (await host.shown("game")).running


async def test_a_command_that_comes_again_before_it_is_done_is_done_once() -> None:
    async with desk() as host:
        await host.make("game")
        host.engine.slow(0.05)
        command = ContainerCommand(command_id="k1", action=RESTART, container="game", grace=-1)
        host.commands.take(command)
        await asyncio.sleep(0.01)
        host.commands.take(command)
        await until(lambda: host.answers, every=0.01, what="an answer")
        await asyncio.sleep(0.3)
        assert host.answers == [("k1", None)]
        assert host.engine.calls.count("start") == 2


async def test_a_failure_nobody_thought_of_ends_one_command_and_not_the_agent(monkeypatch: pytest.MonkeyPatch) -> None:
    async with desk() as host:
        await host.make("game")

        async def broken(_container: str) -> None:
            raise ZeroDivisionError

        with monkeypatch.context() as patched:
            patched.setattr(host.engine, "inspect", broken)
            assert await host.do(STOP, "game") is Code.INTERNAL
        assert await host.do(STOP, "game", command_id="k2") is None


async def test_too_many_at_once_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "AT_ONCE", 1)
    async with desk() as host:
        await host.make("game")
        host.engine.slow(0.05)
        host.commands.take(ContainerCommand(command_id="k1", action=STOP, container="game", grace=-1))
        assert await host.do(STOP, "game", command_id="k2") is Code.LIMIT_EXCEEDED


async def test_without_an_engine_it_says_so() -> None:
    answers: list[GameNodeError | None] = []
    async with asyncio.TaskGroup() as group:
        Commands(
            None,
            None,
            cluster_id="c1",
            engine_wait=0.1,
            group=group,
            reply=lambda _id, error: answers.append(error),
        ).take(ContainerCommand(command_id="k1", action=STOP, container="game"))
    assert [each.code for each in answers if each is not None] == [Code.ENGINE_UNAVAILABLE]
