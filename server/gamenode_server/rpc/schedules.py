"""Schedules for operators, and the runs that schedules start."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.audit import recording
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.records import NewAudit
from gamenode_server.rpc import run_starts
from gamenode_server.schedules import progress
from gamenode_server.schedules.scheduler import Entry, Scheduler
from gamenode_server.store.names import missing

MAX_COUNT = 1000


async def listed(scheduler: Scheduler, request: pb.ListSchedulesRequest, *, now: float) -> pb.ListSchedulesResponse:
    """Schedules by name, each with its next times."""
    if not 0 <= request.count <= MAX_COUNT:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"at most {MAX_COUNT} times, not {request.count}")
    await scheduler.sync()
    found = _named(scheduler, request.name) if request.name else scheduler.entries()
    return pb.ListSchedulesResponse(schedules=[_document(each, now, request.count or 1) for each in found])


async def paused(
    scheduler: Scheduler, request: pb.SetSchedulesPausedRequest, *, now: float
) -> pb.ListSchedulesResponse:
    """Pauses or resumes every schedule that is named, or none."""
    if not request.names:
        raise GameNodeError(Code.INVALID_ARGUMENT, "which schedules? none is named")
    await scheduler.sync()
    found = {each.name: each for name in request.names for each in _named(scheduler, name)}
    op = progress.set_paused(
        list(found),
        paused=request.paused,
        by=principals.current().name,
        reason=request.reason,
        audit=recording.current(target=",".join(found)[: recording.MAX_TEXT]),
    )
    await scheduler.set_paused(op)
    return pb.ListSchedulesResponse(schedules=[_document(each, now, 1) for each in found.values()])


def _named(scheduler: Scheduler, name: str) -> list[Entry]:
    """`PIPELINE/ID`, or every schedule of a `PIPELINE`."""
    entries = scheduler.entries()
    found = [each for each in entries if name in (each.name, each.pipeline)]
    if not found:
        raise missing("schedule", name, {word for each in entries for word in (each.name, each.pipeline)})
    return found


def _document(entry: Entry, now: float, count: int) -> pb.Schedule:
    schedule, kept = entry.schedule, entry.progress
    starts = schedule.enabled and not kept.paused_by
    return pb.Schedule(
        pipeline=entry.pipeline,
        id=schedule.id,
        cron=schedule.cron,
        timezone=schedule.timezone,
        catch_up=schedule.catch_up,
        on_overlap=schedule.on_overlap,
        params=dict(schedule.params),
        enabled=schedule.enabled,
        paused_by=kept.paused_by,
        paused_reason=kept.paused_reason,
        next=islice(schedule.times(now), count) if starts else (),
        waiting=kept.waiting,
        last_time=kept.last_time,
        last_run=kept.last_run,
        last_error=kept.last_error,
    )


class ScheduledRuns:
    """What the scheduler does with runs, as the server does it for operators."""

    def __init__(self, core: Core) -> None:
        self._core = core

    async def start(self, pipeline: str, params: Mapping[str, str], *, by: str, request_id: str, note: str) -> str:
        """Starts a run once for every request id; its id."""
        values = {name: common_pb2.Value(text=text) for name, text in params.items()}
        request = pb.RunPipelineRequest(name=pipeline, params=values, request_id=request_id, note=note)
        return await run_starts.start_by_itself(self._core, request, by=by, source="schedule")

    async def cancel(self, run_id: str, *, by: str, reason: str) -> None:
        """Asks a run to end."""
        audit = NewAudit(
            principal=by,
            method="CancelRuns",
            target=run_id,
            outcome=recording.OK,
            request="",
            source="schedule",
            reason=reason,
        )
        op = cancel_runs(self._core.plans, run_ids=[run_id], by=by, reason=reason, force=False, audit=audit)
        await self._core.store.apply(op)

    def goes_on(self, run_id: str) -> bool:
        """Whether a run has not ended."""
        run = self._core.store.view.run(run_id)
        return run is not None and not run.state.ended
