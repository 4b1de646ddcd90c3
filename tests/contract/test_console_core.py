"""The console's core on a real server: the world is filled, a lost server is told and found again."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from gamenode_console import discovery
from gamenode_console.core.feeds import keep_filled
from gamenode_console.core.thread import CoreThread
from gamenode_console.gateway import Gateway
from gamenode_console.model.world import LinkState, World
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import SystemClock
from support.cluster import running_cluster, start_run
from support.waiting import until

HELLO = "pipeline: hello\nsteps:\n  - id: hello\n    run: echo hello\n"


@contextmanager
def core_on(data_dir: Path) -> Iterator[tuple[CoreThread, World]]:
    world = World()
    place = discovery.Place(data_dir, "the test")
    core = CoreThread(
        lambda thread: keep_filled(thread, world, lambda: discovery.find_target(place), clock=SystemClock())
    )
    core.start()
    try:
        yield core, world
    finally:
        assert core.stop(10)
    assert core.failure is None


async def who(gateway: Gateway) -> str:
    return (await gateway.administration.who_am_i()).cluster_id


async def test_the_world_is_filled_and_goes_on(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster, cluster.gateway() as gateway:
        with core_on(cluster.data_dir) as (core, world):
            await until(lambda: world.nodes_known and world.runs_known and world.status, what="everything to be known")
            assert world.link.state is LinkState.LIVE
            assert world.link.role == "admin"
            assert world.link.cluster_id == await core.ask(who)
            assert [node.name for node in world.node_list()] == ["eu-1"]
            run = await start_run(gateway, HELLO)
            await until(lambda: run.run.id in world.runs, what="the new run")
            await until(lambda: any(event.run_id == run.run.id for event in world.events), what="its events")


async def test_a_lost_server_is_told_and_what_is_asked_says_what_to_do(tmp_path: Path) -> None:
    async with running_cluster(tmp_path, agents=["eu-1"]) as cluster:
        with core_on(cluster.data_dir) as (core, world):
            await until(lambda: world.link.state is LinkState.LIVE and world.nodes_known)
            await cluster.server.kill(signal.SIGKILL)
            await until(lambda: world.link.state is LinkState.LOST, what="the loss to be told")
            since = world.link.since
            assert "no longer running" in world.link.text
            with pytest.raises(GameNodeError) as caught:
                await core.ask(who)
            assert caught.value.code is Code.DISCONNECTED
            assert "gamenode-server" in caught.value.message
            assert world.nodes, "what was known stays"
            await asyncio.sleep(1.5)  # several tries
            assert world.link.since == since
            cursor = world.events[-1].cursor
            await cluster.start_server()
            await until(lambda: world.link.state is LinkState.LIVE, what="the server to be found again")
            assert world.link.since > since
            await until(lambda: world.events[-1].cursor > cursor, what="what has happened meanwhile")
            cursors = [event.cursor for event in world.events]
            assert cursors == sorted(set(cursors)), "each once, in their order"
            assert await core.ask(who)


async def test_a_question_outlives_the_server_it_was_asked(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        with core_on(cluster.data_dir) as (core, world):
            await until(lambda: world.link.state is LinkState.LIVE)
            began = asyncio.Event()
            loop = asyncio.get_running_loop()
            go_on = asyncio.Event()

            async def across(gateway: Gateway) -> str:
                loop.call_soon_threadsafe(began.set)
                await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(go_on.wait(), loop))
                return await who(gateway)

            asked = loop.create_task(core.ask(across))
            await began.wait()
            await cluster.server.kill(signal.SIGKILL)
            await until(lambda: world.link.state is not LinkState.LIVE, what="the loss to be told")
            go_on.set()
            await cluster.start_server()
            assert await asyncio.wait_for(asked, 20)


async def test_without_a_server_it_goes_on_looking(tmp_path: Path) -> None:
    with core_on(tmp_path) as (_, world):
        await until(lambda: "no server" in world.link.text)
        assert world.link.state is LinkState.CONNECTING
        async with running_cluster(tmp_path.parent / "cluster") as cluster:
            (tmp_path / "server.json").write_text((cluster.data_dir / "server.json").read_text())
            await until(lambda: world.link.state is LinkState.LIVE, what="the server that came")
