"""container.stop, .restart, .remove, .pull, .load: only what is ours, and again does no harm."""

from __future__ import annotations

import asyncio
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent.engines.containers import CLUSTER, STOP, Container, ContainerSpec, Image
from gamenode_agent.engines.inline import Result
from gamenode_pipelines.errors import Code, GameNodeError
from support.fake_engine import FakeEngine
from support.inline_attempts import Bench, FakeHandle
from support.play import IMAGE
from support.waiting import until


async def made(engine: FakeEngine, *play: str, cluster: str = "cluster", stop: Any = None) -> Container:
    labels = {CLUSTER: cluster, STOP: json.dumps(stop or {})}
    await engine.create(ContainerSpec(name="oa", image=IMAGE, command=play, labels=labels, stdin_open=True))
    await engine.start("oa")
    return engine.everything[next(iter(engine.everything))].shown


async def do(bench: Bench, kind: str, handle: FakeHandle | None = None, **values: Any) -> Result:
    return await bench.step(f"container.{kind}", values).run(handle or bench.handle())


async def shown(engine: FakeEngine) -> Container:
    found = await engine.inspect("oa")
    assert found is not None
    return found


@pytest.mark.parametrize("kind", ["stop", "restart", "remove"])
@pytest.mark.parametrize("cluster", ["", "another"])
async def test_what_is_not_ours_is_left_alone(kind: str, cluster: str) -> None:
    engine = FakeEngine()
    before = await made(engine, "sleep=60", cluster=cluster)
    with pytest.raises(GameNodeError, match="left alone") as caught:
        await do(Bench(engine), kind, name="oa", force=True)
    assert caught.value.code is Code.PERMISSION_DENIED
    assert await shown(engine) == before


async def test_stop_ends_it_and_the_wish_to_run() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    container = await made(engine, "sleep=60")
    for _ in range(2):
        await do(bench, "stop", name="oa")
    assert (await shown(engine)).exit_code == 143
    assert bench.tools.wishes.is_over(container.id)


async def test_a_container_says_by_itself_how_it_is_stopped() -> None:
    engine = FakeEngine()
    await made(engine, "read", "exit=9", stop={"command": ["quit"], "via": "stdin", "grace": 5})
    await do(Bench(engine), "stop", name="oa")
    assert (await shown(engine)).exit_code == 9


async def test_a_command_that_is_not_heeded_is_followed_by_the_signal() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60", stop={"command": ["exit=0"], "signal": "INT", "grace": 0.1})
    await do(Bench(engine), "stop", name="oa")
    assert (await shown(engine)).exit_code == 130


async def test_force_asks_nobody() -> None:
    engine = FakeEngine()
    await made(engine, "ignore-term", "sleep=60", stop={"grace": 60})
    await do(Bench(engine), "stop", name="oa", force=True)
    assert (await shown(engine)).exit_code == 137


async def test_grace_given_to_the_step_counts() -> None:
    engine = FakeEngine()
    await made(engine, "ignore-term", "print=up", "sleep=60", stop={"grace": 60})
    await until(lambda: next(iter(engine.everything.values())).log)
    await do(Bench(engine), "stop", name="oa", grace="50ms")
    assert (await shown(engine)).exit_code == 137


@pytest.mark.parametrize("kind", ["restart", "remove"])
@pytest.mark.parametrize("given", [{"grace": "50ms"}, {"force": True}])
async def test_a_restart_and_a_removal_heed_grace_and_force(kind: str, given: dict[str, Any]) -> None:
    engine = FakeEngine()
    ends: list[int | None] = []
    await made(engine, "ignore-term", "print=up", "sleep=60", stop={"grace": 60})
    await until(lambda: next(iter(engine.everything.values())).log)
    engine.subscribe(lambda event: ends.append(event.exit_code) if event and event.action == "die" else None)
    async with asyncio.timeout(30):
        await do(Bench(engine), kind, name="oa", **given)
    assert ends == [137]


@pytest.mark.parametrize("kind", ["stop", "remove"])
async def test_what_is_not_there_is_as_it_should_be(kind: str) -> None:
    bench = Bench(FakeEngine())
    handle = bench.handle()
    await do(bench, kind, handle, name="oa")
    assert "no container oa" in handle.said[0]


async def test_remove_ends_it_first() -> None:
    engine = FakeEngine()
    await made(engine, "sleep=60")
    await do(Bench(engine), "remove", name="oa")
    assert not engine.everything


async def test_restart_starts_it_once_whenever_the_agent_dies() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    before = await made(engine, "sleep=60")
    handle = bench.handle()
    await do(bench, "restart", handle, name="oa")
    once = await shown(engine)
    assert once.running
    assert once.started_at > before.started_at
    await do(bench, "restart", handle.again(), name="oa")
    assert await shown(engine) == once


async def test_a_restart_that_was_cut_short_is_gone_on_with() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    await made(engine, "sleep=60")
    handle = bench.handle()
    engine.fail_next("start", Code.INTERNAL)
    with pytest.raises(GameNodeError):
        await do(bench, "restart", handle, name="oa")
    assert not (await shown(engine)).running
    await do(bench, "restart", handle.again(), name="oa")
    assert (await shown(engine)).running


async def test_a_pull_takes_what_was_made_here_where_no_registry_has_it() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    done = await do(bench, "pull", handle, image=IMAGE)
    assert done.outputs["image_id"] == engine.images[IMAGE].id
    assert "is used" in handle.said[-1]
    engine.images[IMAGE] = Image("sha256:x", (IMAGE,), digests=(f"{IMAGE}@sha256:1",))
    with pytest.raises(GameNodeError, match="no registry has it") as caught:
        await do(bench, "pull", image=IMAGE)
    assert caught.value.code is Code.IMAGE_MISSING


async def test_an_archive_is_loaded_and_a_missing_one_named(tmp_path: Path) -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    archive = tmp_path / "game.tar"
    manifest = json.dumps([{"RepoTags": ["gn/oa:1"]}]).encode()
    with tarfile.open(archive, "w") as tar:
        entry = tarfile.TarInfo("manifest.json")
        entry.size = len(manifest)
        tar.addfile(entry, io.BytesIO(manifest))
    done = await do(bench, "load", **{"from": str(archive)})
    assert done.outputs["image"] == "gn/oa:1"
    with pytest.raises(GameNodeError, match="no archive") as caught:
        await do(bench, "load", **{"from": str(tmp_path / "none.tar")})
    assert caught.value.code is Code.NOT_FOUND
