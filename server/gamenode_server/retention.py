"""Throws away what is old: records with their logs, and logs where they take too much room."""

from __future__ import annotations

import asyncio
import logging

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_server.config import ServerSettings
from gamenode_server.intervals import Intervals
from gamenode_server.logs import LogStore
from gamenode_server.logs.retention import Ended, LogRetention, choose
from gamenode_server.store import Store
from gamenode_server.store.retention import Retention

logger = logging.getLogger(__name__)


async def keep_house(store: Store, logs: LogStore, settings: ServerSettings, intervals: Intervals) -> None:
    """Throws away now and then until it is cancelled; a round that fails is repeated by the next."""
    records = Retention(runs=settings.keep_runs, failed_runs=settings.keep_failed_runs, events=settings.keep_events)
    space = LogRetention(age=settings.keep_runs, failed_age=settings.keep_failed_runs, total=settings.log_space)
    while True:
        await asyncio.sleep(intervals.retention)
        try:
            await clean(store, logs, records, space)
        except (GameNodeError, OSError) as error:
            logger.warning("what is old could not be deleted: %s", error)


async def clean(store: Store, logs: LogStore, records: Retention, space: LogRetention) -> None:
    """One round."""
    await logs.remove_runs(await store.prune(records))
    view = store.view
    usage = await logs.usage()
    if sum(run.bytes for run in usage) <= space.total:
        return
    live = frozenset(run.id for run in view.live_runs())
    ended: dict[str, Ended] = {}
    for each in usage:
        run = view.run(each.run_id)
        if run is not None and run.state.ended:
            ended[run.id] = Ended(run.finished_at, failed=run.state is RunState.FAILED)
    gone = choose(usage, ended, live, space, store.clock.now())
    if gone:
        logger.info("the logs of %d runs were deleted to stay below %d bytes", len(gone), space.total)
        await logs.remove_runs(gone)
