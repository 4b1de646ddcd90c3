"""The calls of the pipeline management interface."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from gamenode_console.gateway.link import Link
from gamenode_proto.v1 import pipeline_management_pb2 as messages
from gamenode_proto.v1 import work_pb2
from gamenode_proto.v1.pipeline_management_pb2_grpc import PipelineManagementStub

if TYPE_CHECKING:
    from gamenode_proto.v1.pipeline_management_pb2_grpc import PipelineManagementAsyncStub


class PipelineCalls:
    """Templates, and the runs made from them."""

    def __init__(self, link: Link) -> None:
        self._link = link
        self._stub: PipelineManagementAsyncStub = PipelineManagementStub(link.channel)

    async def apply(
        self, sources: Sequence[messages.PipelineSource], *, dry_run: bool = False
    ) -> messages.ApplyPipelinesResponse:
        """Stores pipelines, or says every problem and stores none."""
        request = messages.ApplyPipelinesRequest(sources=sources, dry_run=dry_run)
        return await self._link.call(self._stub.ApplyPipelines, request, repeatable=True)

    async def list(self) -> Sequence[messages.PipelineSummary]:
        """Every pipeline in its newest version, with its newest run."""
        request = messages.ListPipelinesRequest()
        return (await self._link.call(self._stub.ListPipelines, request, repeatable=True)).pipelines

    async def get(self, name: str, *, version: int = 0) -> messages.GetPipelineResponse:
        """One version of a pipeline (0: the newest) with its parameters."""
        request = messages.GetPipelineRequest(name=name, version=version)
        return await self._link.call(self._stub.GetPipeline, request, repeatable=True)

    async def versions(self, name: str) -> Sequence[messages.Pipeline]:
        """Every stored version of a pipeline, newest first, without texts."""
        request = messages.ListPipelineVersionsRequest(name=name)
        return (await self._link.call(self._stub.ListPipelineVersions, request, repeatable=True)).versions

    async def remove(self, names: Sequence[str], *, reason: str = "") -> Sequence[messages.Pipeline]:
        """Takes pipelines out of use."""
        request = messages.RemovePipelinesRequest(names=names, reason=reason)
        return (await self._link.call(self._stub.RemovePipelines, request)).removed

    async def render(self, request: messages.RunPipelineRequest) -> messages.RenderPipelineResponse:
        """What a run would do, and where."""
        return await self._link.call(self._stub.RenderPipeline, request, repeatable=True)

    async def run(self, request: messages.RunPipelineRequest) -> messages.RunDocument:
        """Starts a run. With a `request_id` a lost answer is asked for again, and nothing starts twice."""
        response = await self._link.call(self._stub.RunPipeline, request, repeatable=bool(request.request_id))
        return response.run

    async def retry(self, request: messages.RetryRunRequest) -> messages.RunDocument:
        """Starts a run like one that has ended. With a `request_id` a lost answer is asked for again, as in `run`."""
        response = await self._link.call(self._stub.RetryRun, request, repeatable=bool(request.request_id))
        return response.run

    async def list_runs(
        self, *, state: str = "", pipeline: str = "", limit: int = 0, after: str = ""
    ) -> messages.ListRunsResponse:
        """Runs, newest first; `after` continues below that run."""
        request = messages.ListRunsRequest(state=state, pipeline=pipeline, limit=limit, after=after)
        return await self._link.call(self._stub.ListRuns, request, repeatable=True)

    async def get_run(self, run: str) -> messages.RunDocument:
        """A run with its tasks."""
        return await self._link.call(self._stub.GetRun, messages.GetRunRequest(run=run), repeatable=True)

    async def cancel(self, runs: Sequence[str], *, force: bool = False, reason: str = "") -> Sequence[work_pb2.Run]:
        """Asks for the end of runs; a second time changes nothing."""
        request = messages.CancelRunsRequest(runs=runs, force=force, reason=reason)
        return (await self._link.call(self._stub.CancelRuns, request, repeatable=True)).runs

    async def pause(self, run: str, *, paused: bool, reason: str = "") -> messages.RunDocument:
        """Holds a run back, or lets it go on."""
        request = messages.SetRunPausedRequest(run=run, paused=paused, reason=reason)
        return await self._link.call(self._stub.SetRunPaused, request)

    async def decide(
        self, run: str, *, approved: bool, step: str = "", node: str = "", reason: str = ""
    ) -> messages.RunDocument:
        """Says whether a run may begin, or its tasks may go on behind a step."""
        request = messages.DecideRequest(run=run, step=step, node=node, approved=approved, reason=reason)
        return await self._link.call(self._stub.Decide, request)

    async def resolve(self, run: str, *, node: str, outcome: str, reason: str) -> work_pb2.Task:
        """Says what became of a task that cannot move by itself."""
        request = messages.ResolveTaskRequest(run=run, node=node, reason=reason, **{"as": outcome})
        return (await self._link.call(self._stub.ResolveTask, request)).task

    async def explain(self, run: str) -> messages.ExplainRunResponse:
        """Why a run does not move."""
        return await self._link.call(self._stub.ExplainRun, messages.ExplainRunRequest(run=run), repeatable=True)

    async def schedules(self, name: str = "", *, count: int = 1) -> Sequence[messages.Schedule]:
        """Pipelines that start by themselves, each with its next times."""
        request = messages.ListSchedulesRequest(name=name, count=count)
        return (await self._link.call(self._stub.ListSchedules, request, repeatable=True)).schedules

    async def pause_schedules(
        self, names: Sequence[str], *, paused: bool, reason: str = ""
    ) -> Sequence[messages.Schedule]:
        """Pauses schedules, or lets them go on."""
        request = messages.SetSchedulesPausedRequest(names=names, paused=paused, reason=reason)
        return (await self._link.call(self._stub.SetSchedulesPaused, request, repeatable=True)).schedules

    async def watch_run(self, run: str) -> AsyncIterator[messages.RunUpdate]:
        """A snapshot, then what changes, until the run has ended and its logs have settled.

        After a lost connection a snapshot comes again.
        """
        request = messages.WatchRunRequest(run=run)
        async for update in self._link.resume(
            lambda: self._link.stream(self._stub.WatchRun, request), over=lambda: False
        ):
            yield update
            if update.ended:
                return

    async def watch_runs(self, *, limit: int = 0) -> AsyncIterator[messages.RunsUpdate]:
        """A snapshot of the newest runs and of all that have not ended, then runs as they change. Never ends.

        `limit` is how many of the newest (0: the server's choice). A snapshot comes again after a lost connection.
        """
        request = messages.WatchRunsRequest(limit=limit)
        async for update in self._link.resume(
            lambda: self._link.stream(self._stub.WatchRuns, request), over=lambda: False
        ):
            yield update
