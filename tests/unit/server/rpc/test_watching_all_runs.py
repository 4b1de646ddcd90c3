"""The watch of all runs over the control socket: a snapshot, changes by run, deleted runs, a new beginning."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.store.retention import Retention
from support.scripted_agent import Site, site


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def test_all_runs_are_watched_from_a_snapshot_on(here: Site) -> None:
    agent = await here.agent("a")
    for _ in range(3):
        await here.run()
        await agent.perform()
    await agent.acked(12)
    before = (await here.call(here.pipelines.ListRuns, pb.ListRunsRequest())).runs
    store = here.server.core.store
    store.view.forget_run(before[0].id)  # ended, and not in memory any more
    live = await here.run()
    stream = here.stream(here.pipelines.WatchRuns, pb.WatchRunsRequest(limit=2))
    first = await stream.read()
    assert (first.snapshot, {run.id for run in first.runs}) == (True, {live.run.id, before[0].id})
    await here.call(here.pipelines.CancelRuns, pb.CancelRunsRequest(runs=[live.run.id]))
    changed = await stream.read()
    assert [(run.id, run.state) for run in changed.runs] == [(live.run.id, common_pb2.RUN_STATE_CANCELLING)]
    assert (changed.snapshot, changed.cursor > first.cursor) == (False, True)
    here.server.core.hub.mark_run(before[0].id)
    assert [run.id for run in (await stream.read()).runs] == [before[0].id]
    stream.cancel()


async def test_a_run_that_is_deleted_is_told_and_one_that_fell_behind_begins_anew(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await here.agent("a")
    old = (await here.run()).run.id
    await agent.perform()
    await agent.acked(4)
    stream = here.stream(here.pipelines.WatchRuns, pb.WatchRunsRequest())
    assert [run.id for run in (await stream.read()).runs] == [old]
    await here.server.core.store.prune(Retention(runs=-1.0))
    gone = await stream.read()
    assert (list(gone.removed), list(gone.runs)) == ([old], [])
    monkeypatch.setattr("gamenode_server.hub.CHANGED_RUNS", 0)
    new = (await here.run()).run.id
    again = await stream.read()
    assert (again.snapshot, [run.id for run in again.runs]) == (True, [new])
    stream.cancel()
