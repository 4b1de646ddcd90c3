"""Throws away what is old: records with their logs, logs where they take too much room, artifacts."""

from __future__ import annotations

import asyncio
import logging

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_server.artifacts.shelf import Shelf
from gamenode_server.config import ServerSettings
from gamenode_server.intervals import Intervals
from gamenode_server.logs import LogStore
from gamenode_server.logs.retention import Ended, LogRetention, choose
from gamenode_server.store import Store, queries
from gamenode_server.store.retention import Retention

logger = logging.getLogger(__name__)


async def keep_house(
    store: Store, logs: LogStore, artifacts: Shelf, settings: ServerSettings, intervals: Intervals
) -> None:
    """Throws away now and then until it is cancelled; a round that fails is repeated by the next."""
    records = Retention(runs=settings.keep_runs, failed_runs=settings.keep_failed_runs, events=settings.keep_events)
    space = LogRetention(age=settings.keep_runs, failed_age=settings.keep_failed_runs, total=settings.log_space)
    while True:
        await asyncio.sleep(intervals.retention)
        try:
            await clean(store, logs, records, space)
            await artifacts.sweep()
        except (GameNodeError, OSError) as error:
            logger.warning("what is old could not be deleted: %s", error)
        except Exception:
            logger.exception("what is old could not be deleted")


async def clean(store: Store, logs: LogStore, records: Retention, space: LogRetention) -> None:
    """One round."""
    await logs.remove_runs(await store.prune(records))
    usage = await logs.usage()
    if sum(run.bytes for run in usage) <= space.total:
        return
    live = frozenset(run.id for run in store.view.live_runs())
    ends = await store.read(queries.run_ends, [run.run_id for run in usage])
    ended = {run_id: Ended(at, failed=state is RunState.FAILED) for run_id, (at, state) in ends.items()}
    gone = choose(usage, ended, live, space, store.clock.now())
    if gone:
        logger.info("the logs of %d runs were deleted to stay below %d bytes", len(gone), space.total)
        await logs.remove_runs(gone)
