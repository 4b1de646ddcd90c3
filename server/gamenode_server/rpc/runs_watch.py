"""One watcher of all runs: the newest and those that have not ended, then whatever changes, a few times a second.

Keeps no backlog: a slow watcher sees the latest state of the runs that changed since it last looked, and one that fell
too far behind begins anew. Tells nothing of tasks.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable

from gamenode_proto.codec.work import run_to_proto
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.core import Core
from gamenode_server.rpc.pace import Pace
from gamenode_server.store import queries

#: Runs of a snapshot beside those that have not ended, where the watcher does not say how many.
NEWEST = 200


async def runs_updates(core: Core, limit: int) -> AsyncGenerator[pb.RunsUpdate, None]:
    """A snapshot with the `limit` newest runs (0: `NEWEST`), then what changes, until the watcher goes."""
    with core.hub.watch_runs() as watch:
        yield await _snapshot(core, limit)
        pace = Pace(core.intervals.watch)
        while True:
            changes = await watch.changed()
            await pace.turn()
            changes.add(watch.take())
            yield await (_snapshot(core, limit) if changes.behind else _changed(core, changes.runs))


async def _snapshot(core: Core, limit: int) -> pb.RunsUpdate:
    page = await core.store.read(queries.list_runs, limit=limit if limit > 0 else NEWEST)
    view = core.store.view
    runs = {run.id: run for run in page.runs}
    # What is in memory is never older than what was just read.
    runs |= {run.id: run_to_proto(run) for run_id in runs if (run := view.run(run_id)) is not None}
    runs |= {run.id: run_to_proto(run) for run in view.live_runs() if run.id not in runs}
    return pb.RunsUpdate(runs=runs.values(), snapshot=True, cursor=core.hub.newest)


async def _changed(core: Core, run_ids: Iterable[str]) -> pb.RunsUpdate:
    known, rest = [], []
    for run_id in run_ids:
        run = core.store.view.run(run_id)
        if run is not None:
            known.append(run_to_proto(run))
        else:
            rest.append(run_id)  # ended and not in memory any more, or deleted
    if rest:
        known.extend(await core.store.read(queries.runs_named, rest))
    removed = sorted(set(rest) - {run.id for run in known})
    return pb.RunsUpdate(runs=known, removed=removed, cursor=core.hub.newest)
