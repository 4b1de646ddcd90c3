"""Versions of pipelines over the control socket: they are kept, listed, and taken out of use without being lost."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.controller.pipelines import Source, sync_library
from support.scripted_agent import Site, site

TEXT = "pipeline: good\ndescription: fine\nsteps:\n  - {id: a, run: 'true'}\n"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def apply(here: Site, text: str) -> tuple[int, str]:
    request = pb.ApplyPipelinesRequest(sources=[pb.PipelineSource(file="x.yaml", text=text)])
    (applied,) = (await here.call(here.pipelines.ApplyPipelines, request)).applied
    return applied.version, applied.result


async def remove(here: Site, *names: str, reason: str = "") -> list[pb.Pipeline]:
    request = pb.RemovePipelinesRequest(names=names, reason=reason)
    return list((await here.call(here.pipelines.RemovePipelines, request)).removed)


async def versions(here: Site, name: str) -> list[tuple[int, str, bool]]:
    answer = await here.call(here.pipelines.ListPipelineVersions, pb.ListPipelineVersionsRequest(name=name))
    assert all(version.text == "" for version in answer.versions), "a list needs no texts"
    return [(version.version, version.description, version.removed) for version in answer.versions]


async def names(here: Site) -> list[str]:
    answer = await here.call(here.pipelines.ListPipelines, pb.ListPipelinesRequest())
    return [each.pipeline.name for each in answer.pipelines]


async def test_every_version_is_kept_and_listed_newest_first(here: Site) -> None:
    await apply(here, TEXT)
    await apply(here, TEXT.replace("fine", "better"))
    assert await versions(here, "good") == [(2, "better", False), (1, "fine", False)]
    with pytest.raises(GameNodeError) as refused:
        await versions(here, "goodd")
    assert refused.value.code is Code.NOT_FOUND
    assert "did you mean 'good'?" in refused.value.message


async def test_one_that_is_removed_is_not_used_and_not_lost(here: Site) -> None:
    await apply(here, TEXT)
    (gone,) = await remove(here, "good", "good", reason="nobody uses it")
    assert (gone.name, gone.version, gone.removed) == ("good", 2, True)
    assert "good" not in await names(here)
    for version, word in ((0, "was removed by"), (2, "version 2 took it out of use"), (3, "its newest is 2")):
        with pytest.raises(GameNodeError) as refused:
            await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good", version=version))
        assert refused.value.code is Code.NOT_FOUND
        assert word in refused.value.message
    with pytest.raises(GameNodeError):
        await here.call(here.pipelines.RunPipeline, pb.RunPipelineRequest(name="good", all=True))
    old = await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good", version=1))
    assert old.pipeline.text == TEXT
    assert await versions(here, "good") == [(2, "", True), (1, "fine", False)]


async def test_applying_it_again_brings_it_back_as_the_next_version(here: Site) -> None:
    await apply(here, TEXT)
    await remove(here, "good")
    assert await apply(here, TEXT) == (3, "created")
    assert "good" in await names(here)
    assert (await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good"))).pipeline.version == 3


async def test_where_one_of_several_is_not_there_none_is_removed(here: Site) -> None:
    await apply(here, TEXT)
    with pytest.raises(GameNodeError) as refused:
        await remove(here, "good", "nope")
    assert refused.value.code is Code.NOT_FOUND
    assert "good" in await names(here)
    await remove(here, "good")
    with pytest.raises(GameNodeError):
        await remove(here, "good")
    with pytest.raises(GameNodeError) as unnamed:
        await remove(here)
    assert unnamed.value.code is Code.INVALID_ARGUMENT


async def test_one_of_the_program_that_was_removed_does_not_come_back_by_itself(here: Site) -> None:
    library = [Source("good", TEXT, "fine")]
    await here.server.core.store.apply(sync_library(library))
    await remove(here, "good")
    (found,) = await here.server.core.store.apply(sync_library(library))
    assert (found.result, found.stored.removed) == ("unchanged", True)
    assert "good" not in await names(here)


async def test_a_removal_survives_a_restart(tmp_path: Path) -> None:
    async with site(tmp_path) as before:
        await apply(before, TEXT)
        await remove(before, "good")
    async with site(tmp_path) as after:
        assert "good" not in await names(after)
        assert [version for version, _, _ in await versions(after, "good")] == [2, 1]
