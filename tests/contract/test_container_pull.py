"""Images from a registry, with Docker: what comes, what is said on the way, and what ends it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from support.docker_engine import DockerEngineProcess, load, with_client
from support.engine_bench import docker_bench
from support.play_image import play_archive
from support.registry import Registry, registry
from support.waiting import until


@pytest.fixture
def shop(docker_engine: DockerEngineProcess) -> Iterator[Registry]:
    """A registry that has the image of the tests; the engine does not."""
    with_client(docker_engine.address, _forget_images)
    with registry(play_archive()) as server:
        yield server
    with_client(docker_engine.address, _forget_images)
    load(docker_engine.address, play_archive())


def _forget_images(api) -> None:  # type: ignore[no-untyped-def]
    for image in api.images(quiet=True):
        api.remove_image(image, force=True)


async def test_an_image_is_pulled_and_the_log_is_told(shop: Registry, docker_engine: DockerEngineProcess) -> None:
    async with docker_bench(docker_engine) as bench:
        assert await bench.engine.image(shop.reference) is None
        said: list[str] = []
        image = await bench.engine.pull(shop.reference, said.append)
        assert image == await bench.engine.image(shop.reference)
        assert image.tags == (shop.reference,)
        assert image.digests[0].startswith(shop.reference.removesuffix(":1") + "@sha256:")
        assert any("Pull complete" in line for line in said)
        assert any("Downloaded newer image" in line for line in said)
        assert len(said) < 10
        ended = await bench.ended("exit=3", image=shop.reference)
        assert ended.exit_code == 3


async def test_one_that_the_registry_does_not_have_is_missing(
    shop: Registry, docker_engine: DockerEngineProcess
) -> None:
    wanted = shop.reference.removesuffix("1") + "2"
    async with docker_bench(docker_engine) as bench:
        with pytest.raises(GameNodeError) as caught:
            await bench.engine.pull(wanted, lambda _: None)
    assert caught.value.code is Code.IMAGE_MISSING
    assert wanted in caught.value.message
    assert "manifest unknown" in caught.value.message


async def test_a_pull_that_is_cancelled_ends_at_once_and_leaves_no_thread(
    shop: Registry, docker_engine: DockerEngineProcess
) -> None:
    shop.held.clear()
    async with docker_bench(docker_engine) as bench:
        pulling = asyncio.get_running_loop().create_task(bench.engine.pull(shop.reference, lambda _: None))
        await until(lambda: any("/blobs/" in path for path in shop.asked), what="the download to begin")
        pulling.cancel()
        done, _ = await asyncio.wait([pulling], timeout=5)
        assert done
        assert pulling.cancelled()
        await until(lambda: not any(t.name == "docker-pull" for t in threading.enumerate()), what="its thread to end")
