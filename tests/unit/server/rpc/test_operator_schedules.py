"""Schedules of a whole server: listed, paused, and started for real when it comes back."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_proto.v1 import state_management_pb2 as state_pb
from gamenode_server.schedules import progress
from gamenode_server.store.tx import Tx
from support.scripted_agent import Site, site
from support.waiting import until

TEXT = (
    "pipeline: nightly\nparams: {keep: {type: integer, default: 3}}\ntargets: {select: role=game}\n"
    "schedule:\n  - {id: night, cron: '0 4 * * *', params: {keep: 9}}\n"
    "  - {id: noon, cron: '0 12 * * MON', enabled: false}\n"
    "steps:\n  - {id: a, run: 'true'}\n"
)
NAME = "nightly/night"


async def apply(here: Site) -> None:
    request = pb.ApplyPipelinesRequest(sources=[pb.PipelineSource(file="x.yaml", text=TEXT)])
    assert (await here.call(here.pipelines.ApplyPipelines, request)).problems == []


async def schedules(here: Site, name: str = "", count: int = 0) -> list[pb.Schedule]:
    request = pb.ListSchedulesRequest(name=name, count=count)
    return list((await here.call(here.pipelines.ListSchedules, request)).schedules)


async def set_paused(here: Site, *names: str, paused: bool) -> list[pb.Schedule]:
    request = pb.SetSchedulesPausedRequest(names=names, paused=paused, reason="disks")
    return list((await here.call(here.pipelines.SetSchedulesPaused, request)).schedules)


async def make_due(here: Site) -> None:
    """As if the server had last looked two days ago."""

    def op(tx: Tx) -> None:
        kept = progress.kept(tx, NAME)
        assert kept is not None
        progress.keep(tx, NAME, replace(kept, since=tx.now - 2 * 86400))

    await here.server.core.store.apply(op)


async def test_they_are_listed_as_soon_as_they_are_stored(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        assert await schedules(here) == []
        await apply(here)
        night, noon = await schedules(here, "nightly", 3)
        assert (night.pipeline, night.id, night.cron) == ("nightly", "night", "0 4 * * *")
        assert dict(night.params) == {"keep": "9"}
        assert [later - time for time, later in zip(night.next, night.next[1:], strict=False)] == [86400.0, 86400.0]
        assert (noon.enabled, list(noon.next)) == (False, [])
        with pytest.raises(GameNodeError) as refused:
            await schedules(here, "nightly/nigt")
        assert (refused.value.code, "did you mean 'nightly/night'?" in refused.value.message) == (Code.NOT_FOUND, True)
        for count in (-1, 1001):
            with pytest.raises(GameNodeError):
                await schedules(here, NAME, count)


async def test_they_are_paused_and_resumed_by_name_or_by_pipeline(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await apply(here)
        (night,) = await set_paused(here, NAME, paused=True)
        assert (night.paused_reason, list(night.next)) == ("disks", [])
        assert night.paused_by
        both = await set_paused(here, "nightly", paused=True)
        assert [each.id for each in both] == ["night", "noon"]
    async with site(tmp_path) as here:
        assert all(each.paused_by for each in await schedules(here)), "over a restart too"
        assert [each.paused_by for each in await set_paused(here, "nightly", paused=False)] == ["", ""]
        with pytest.raises(GameNodeError):
            await set_paused(here, paused=True)
        with pytest.raises(GameNodeError):
            await set_paused(here, NAME, "other", paused=True)
        assert not any(each.paused_by for each in await schedules(here)), "all or none"


async def test_a_start_that_was_missed_makes_a_run_with_its_parameters(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await here.agent("game-1", role="game")
        await apply(here)
        await schedules(here)
        await make_due(here)
    async with site(tmp_path) as here:

        async def started() -> pb.Schedule | None:
            (night,) = await schedules(here, NAME)
            return night if night.last_time else None

        night = await until(started, what="the start")
        assert night.last_error == ""
        document = await here.call(here.pipelines.GetRun, pb.GetRunRequest(run=night.last_run))
        assert (document.run.created_by, document.run.note) == ("schedule:nightly/night", "schedule night")
        assert document.run.params["keep"].integer == 9


async def test_a_start_that_finds_no_node_is_something_to_look_at(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        await apply(here)
        await schedules(here)
        await make_due(here)
    async with site(tmp_path) as here:

        async def attention() -> list[str]:
            status = await here.call(here.state.GetStatus, state_pb.GetStatusRequest())
            return [each.text for each in status.attention if each.kind == "schedule"]

        (text,) = await until(attention, what="the failed start")
        assert text.startswith("schedule nightly/night could not start its run: ")
        await set_paused(here, NAME, paused=True)
        assert await attention() == []
