"""One watcher of one run: a snapshot, then what changes, until the run has ended and its logs have settled.

Keeps no backlog: a slow watcher sees the latest state of whatever changed since it last looked.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterable

from gamenode_pipelines.events import LogSummary
from gamenode_pipelines.runs import Run
from gamenode_pipelines.task_state import Task
from gamenode_proto.codec.work import run_to_proto, task_to_proto
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.core import Core
from gamenode_server.hub import Changes, Watch
from gamenode_server.logs import LogRef
from gamenode_server.rpc import finding, log_documents
from gamenode_server.rpc.pace import Pace


async def run_updates(core: Core, run_id: str) -> AsyncGenerator[pb.RunUpdate, None]:
    """Everything there is of the run, then what changes; `ended` is set in the last update.

    NOT_FOUND where the run is not kept any more.
    """
    with core.hub.watch_run(run_id) as watch:
        run, tasks = await finding.run_and_tasks(core, run_id)
        logs = await log_documents.of_tasks(core.logs, run_id, tasks)
        settling = Settling(core)
        over = await settling.is_over(run, tasks)
        yield _update(core, run, tasks, logs, ended=over)
        pace = Pace(core.intervals.watch)
        while not over:
            changes = await changes_within(watch, settling.patience(run))
            if changes:
                await pace.turn()
                changes.add(watch.take())
            run, tasks = await finding.run_and_tasks(core, run_id)
            over = await settling.is_over(run, tasks)
            changed = [task for task_id in changes.tasks if (task := core.store.view.task(task_id)) is not None]
            yield _update(core, run, changed, log_documents.of_refs(core.logs, changes.logs), ended=over)


class Settling:
    """Whether a run that has ended is over for its watchers: its logs are whole, or were waited for long enough."""

    def __init__(self, core: Core) -> None:
        self._core = core
        self._waiting: dict[LogRef, LogSummary | None] | None = None

    def patience(self, run: Run) -> float | None:
        """How much longer the logs are waited for, seconds; None while the run goes on."""
        if not run.state.ended:
            return None
        return max(0.0, run.finished_at + self._core.intervals.log_settle - self._core.clock.now())

    async def is_over(self, run: Run, tasks: Iterable[Task]) -> bool:
        """Whether nothing more is to be told of the run."""
        if not run.state.ended:
            return False
        if self._waiting is None:
            self._waiting = log_documents.latest(tasks)
        self._waiting = await log_documents.unsettled(self._core.logs, self._waiting)
        return not self._waiting or self.patience(run) == 0


async def changes_within(watch: Watch, seconds: float | None) -> Changes:
    """What changed; nothing, if that is all that happens within the time."""
    try:
        async with asyncio.timeout(seconds):
            return await watch.changed()
    except TimeoutError:
        return watch.take()


def _update(core: Core, run: Run, tasks: Iterable[Task], logs: Iterable[pb.LogStatus], *, ended: bool) -> pb.RunUpdate:
    return pb.RunUpdate(
        cursor=core.hub.newest,
        run=run_to_proto(run),
        tasks=[task_to_proto(task) for task in tasks],
        logs=logs,
        ended=ended,
    )
