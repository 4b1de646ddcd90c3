"""A container engine under test, the fake or Docker, with faults that both can have, and short words for containers."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

import pytest

from gamenode_agent.engines.containers import Container, ContainerEngine, ContainerSpec, LogLine
from gamenode_agent.engines.docker.engine import DockerEngine
from support.fake_engine import FakeEngine
from support.play import IMAGE, PROGRAM

if TYPE_CHECKING:
    from support.docker_engine import DockerEngineProcess

_numbers = itertools.count()


class Faults(Protocol):
    """What goes wrong, and is put right again."""

    async def away(self) -> None:
        """The engine is stopped, with its containers."""
        ...

    async def back(self) -> None: ...

    async def restart(self, *, live_restore: bool = False) -> None:
        """The engine is started anew; with live-restore its containers notice nothing."""
        ...

    async def lose(self, container: str) -> None:
        """Somebody removes a container by hand."""
        ...


class Bench:
    """An engine and its faults."""

    def __init__(self, engine: ContainerEngine, faults: Faults) -> None:
        self.engine = engine
        self.faults = faults

    def spec(self, *words: str, **fields: Any) -> ContainerSpec:
        """A container that plays these words, without a network, under a name of its own."""
        settings = {"name": f"play-{os.getpid()}-{next(_numbers)}", "image": IMAGE, "network": "none"} | fields
        return ContainerSpec(command=(PROGRAM, *words), **settings)

    async def started(self, *words: str, **fields: Any) -> str:
        """The id of one that runs."""
        container = await self.engine.create(self.spec(*words, **fields))
        await self.engine.start(container)
        return container

    async def ended(self, *words: str, **fields: Any) -> Container:
        """One that has ended."""
        async with asyncio.timeout(60):
            return await self.engine.wait(await self.started(*words, **fields))

    async def log(self, container: str, **how: Any) -> list[LogLine]:
        """What there is of its log; with `follow`, until it ends."""
        async with asyncio.timeout(60):
            return [line async for line in self.engine.logs(container, **how)]

    async def says(self, container: str, word: str) -> None:
        """Waits until a line of its log starts with this."""
        async with asyncio.timeout(60), contextlib.aclosing(self.engine.logs(container, follow=True)) as lines:  # type: ignore[type-var]
            async for line in lines:
                if line.data.startswith(word.encode()):
                    return
        raise AssertionError(f"it never said {word}")


def texts(lines: list[LogLine], stream: int = 1) -> list[str]:
    """The lines of one stream as text."""
    return [line.data.decode().rstrip("\n") for line in lines if line.stream == stream]


class _Scripted:
    def __init__(self, engine: FakeEngine) -> None:
        self._engine = engine

    async def away(self) -> None:
        self._engine.go_away(end=True)

    async def back(self) -> None:
        self._engine.come_back()

    async def restart(self, *, live_restore: bool = False) -> None:
        self._engine.go_away(end=not live_restore)
        await asyncio.sleep(0.1)
        self._engine.come_back()

    async def lose(self, container: str) -> None:
        self._engine.lose(container)


class _Real:
    def __init__(self, process: DockerEngineProcess) -> None:
        self._process = process

    async def away(self) -> None:
        if not self._process.private:
            pytest.skip("the engine of this machine is not ours to stop")
        await asyncio.to_thread(self._process.stop)

    async def back(self) -> None:
        await asyncio.to_thread(self._process.start)

    async def restart(self, *, live_restore: bool = False) -> None:
        if not self._process.private:
            pytest.skip("the engine of this machine is not ours to stop")
        await asyncio.to_thread(self._process.restart, live_restore=live_restore)

    async def lose(self, container: str) -> None:
        from support.docker_engine import with_client

        def remove(api: Any) -> None:
            api.remove_container(container, force=True)

        await asyncio.to_thread(with_client, self._process.address, remove)


@asynccontextmanager
async def fake_bench() -> AsyncIterator[Bench]:
    """The fake."""
    engine = FakeEngine()
    yield Bench(engine, _Scripted(engine))
    await engine.close()


@asynccontextmanager
async def docker_bench(process: DockerEngineProcess) -> AsyncIterator[Bench]:
    """Docker, found and watched."""
    engine = DockerEngine(process.address, retry=0.2)
    watching = asyncio.get_running_loop().create_task(engine.run())
    try:
        await engine.ready(20)
        yield Bench(engine, _Real(process))
    finally:
        watching.cancel()
        await asyncio.wait([watching])
        await engine.close()
        await asyncio.to_thread(process.clean)
