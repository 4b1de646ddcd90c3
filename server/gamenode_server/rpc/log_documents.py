"""How the logs of a run stand, as messages, and which of them are still waited for."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from gamenode_pipelines.events import LogSummary
from gamenode_pipelines.task_state import Task
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.logs import LogRef, LogStore


def latest(tasks: Iterable[Task]) -> dict[LogRef, LogSummary | None]:
    """The log of the latest attempt of every step, and what it ended with.

    What ended well under an earlier assignment is not run again: its log is found by `stored`.
    """
    return {
        LogRef(task.run_id, task.id, task.fence, step.id, step.attempt): step.log
        for task in tasks
        for step in task.steps.values()
        if step.attempt and (task.fence == 1 or step.started_at >= task.started_at > 0)
    }


async def stored(logs: LogStore, run_id: str, tasks: Iterable[Task]) -> dict[LogRef, LogSummary | None]:
    """Every log of these tasks: those that have a byte, and those that ended without one."""
    refs = latest(tasks)
    if not refs:
        return refs
    ids = {task.id for task in tasks}
    for ref in await logs.logs_of(run_id):
        if ref.task_id in ids:
            refs.setdefault(ref, None)
    return refs


async def of_tasks(logs: LogStore, run_id: str, tasks: Iterable[Task]) -> list[pb.LogStatus]:
    """How every log of these tasks stands."""
    refs = await stored(logs, run_id, tasks)
    return [status.to_proto() for status in await logs.statuses(refs)] if refs else []


def of_refs(logs: LogStore, refs: Iterable[LogRef]) -> list[pb.LogStatus]:
    """How these logs stand, which have just changed."""
    return [status.to_proto() for ref in refs if (status := logs.known(ref)) is not None]


async def unsettled(logs: LogStore, awaited: Mapping[LogRef, LogSummary | None]) -> dict[LogRef, LogSummary | None]:
    """Those logs that are to end with something and have not ended here."""
    wanted = {ref: summary for ref, summary in awaited.items() if summary is not None and summary.bytes}
    if not wanted:
        return {}
    return {status.ref: wanted[status.ref] for status in await logs.statuses(wanted) if not status.ended}
