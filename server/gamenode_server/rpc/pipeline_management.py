"""The pipeline management service: requests to operations and queries, records to answers. Decides nothing."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Any, get_args

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline, Problem
from gamenode_pipelines.load import LoadedPipeline
from gamenode_pipelines.states import TaskState
from gamenode_proto.codec.work import run_to_proto, task_to_proto
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_proto.v1 import pipeline_management_pb2_grpc
from gamenode_server.audit import recording
from gamenode_server.controller import turns
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.explain import World, explain_run
from gamenode_server.controller.files import file_problems, files_of, packed
from gamenode_server.controller.pipelines import Source, apply_pipelines, remove_pipelines
from gamenode_server.controller.resolve import Resolution, resolve_task
from gamenode_server.controller.shelf import inlining_problems, shelf
from gamenode_server.controller.slots import holds_slot
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.rpc import documents, finding, rendering, run_starts, run_steering, schedules
from gamenode_server.rpc.run_watch import run_updates
from gamenode_server.rpc.runs_watch import runs_updates
from gamenode_server.schedules.scheduler import Scheduler
from gamenode_server.store import queries
from gamenode_server.store.names import missing
from gamenode_server.triggers.circles import circle_problems

Context = grpc.aio.ServicerContext[Any, Any]

MAX_REASON = 1000


class PipelineManagement(pipeline_management_pb2_grpc.PipelineManagementServicer):
    """Serves operators."""

    def __init__(self, core: Core, scheduler: Scheduler) -> None:
        self._core = core
        self._scheduler = scheduler

    # -- templates -----------------------------------------------------------------------------------------------------

    async def ApplyPipelines(self, request: pb.ApplyPipelinesRequest, context: Context) -> pb.ApplyPipelinesResponse:
        """Stores every pipeline of every text, or none of them."""
        problems: list[Problem] = []
        sources: dict[str, Source] = {}
        read: list[tuple[LoadedPipeline, pb.PipelineSource]] = []
        for source in request.sources:
            try:
                loaded = await self._core.compiler.load(source.text, source.file)
            except InvalidPipeline as error:
                problems.extend(error.problems)
                continue
            for pipeline in loaded:
                problems.extend(pipeline.warnings)
                if pipeline.name in sources:
                    problems.append(Problem(source.file, 1, 1, f"pipeline {pipeline.name!r} is given twice"))
                problems.extend(file_problems(pipeline, source))
                files = packed(files_of(pipeline, source))
                sources[pipeline.name] = Source(pipeline.name, pipeline.text, pipeline.spec.description, files)
                read.append((pipeline, source))
        find = shelf(self._core.store.view.pipelines, {pipeline.name: pipeline.spec for pipeline, _ in read})
        for pipeline, source in read:
            problems.extend(inlining_problems(pipeline, source.file, source.text, find))
        new = [(pipeline, source.file, source.text) for pipeline, source in read]
        problems.extend(await circle_problems(new, self._core.store.view.pipelines, self._core.compiler))
        answer = pb.ApplyPipelinesResponse(problems=map(documents.problem_document, problems))
        if any(not problem.warning for problem in problems):
            return answer
        if not sources:
            raise GameNodeError(Code.INVALID_ARGUMENT, "there is no pipeline to store")
        op = apply_pipelines(
            list(sources.values()),
            by=principals.current().name,
            audit=recording.current(target=",".join(sources)),
            dry_run=request.dry_run,
        )
        for applied in await self._core.store.apply(op):
            answer.applied.add(name=applied.stored.name, version=applied.stored.version, result=applied.result)
        return answer

    async def ListPipelines(self, request: pb.ListPipelinesRequest, context: Context) -> pb.ListPipelinesResponse:
        """The newest version of every pipeline."""
        return pb.ListPipelinesResponse(pipelines=await self._core.store.read(queries.list_pipelines))

    async def GetPipeline(self, request: pb.GetPipelineRequest, context: Context) -> pb.GetPipelineResponse:
        """One version of a pipeline, with its parameters."""
        pipeline = await run_starts.stored_pipeline(self._core, request.name, request.version)
        (loaded,) = await self._core.compiler.load(pipeline.text, pipeline.name)
        return pb.GetPipelineResponse(
            pipeline=documents.pipeline_document(pipeline),
            parameters=map(documents.parameter_document, loaded.spec.parameters),
        )

    async def ListPipelineVersions(
        self, request: pb.ListPipelineVersionsRequest, context: Context
    ) -> pb.ListPipelineVersionsResponse:
        """What was stored of a pipeline, newest first."""
        found = await self._core.store.read(queries.pipeline_versions, request.name)
        if not found:
            raise missing("pipeline", request.name, self._core.store.view.pipelines)
        versions = [documents.pipeline_document(version) for version in found]
        for version in versions:
            version.ClearField("text")
        return pb.ListPipelineVersionsResponse(versions=versions)

    async def RemovePipelines(self, request: pb.RemovePipelinesRequest, context: Context) -> pb.RemovePipelinesResponse:
        """Takes pipelines out of use."""
        if not request.names:
            raise GameNodeError(Code.INVALID_ARGUMENT, "which pipelines? none is named")
        for name in request.names:
            await run_starts.stored_pipeline(self._core, name, 0)
        _reason(request.reason, required=False)
        audit = recording.current(target=",".join(request.names)[:MAX_REASON])
        op = remove_pipelines(request.names, by=principals.current().name, audit=audit)
        return pb.RemovePipelinesResponse(removed=map(documents.pipeline_document, await self._core.store.apply(op)))

    async def RenderPipeline(self, request: pb.RunPipelineRequest, context: Context) -> pb.RenderPipelineResponse:
        """What would run, and where; nothing is stored."""
        return await rendering.render(self._core, request)

    # -- runs ----------------------------------------------------------------------------------------------------------

    async def RunPipeline(self, request: pb.RunPipelineRequest, context: Context) -> pb.RunPipelineResponse:
        """Makes a run, once for each request id."""
        return await run_starts.run_pipeline(self._core, request)

    async def RetryRun(self, request: pb.RetryRunRequest, context: Context) -> pb.RunPipelineResponse:
        """Makes a run like one that has ended."""
        return await run_starts.retry_run(self._core, request)

    async def ListRuns(self, request: pb.ListRunsRequest, context: Context) -> pb.ListRunsResponse:
        """Runs, newest first."""
        page = await self._core.store.read(
            queries.list_runs, state=request.state, pipeline=request.pipeline, limit=request.limit, after=request.after
        )
        return pb.ListRunsResponse(runs=page.runs, more=page.more)

    async def GetRun(self, request: pb.GetRunRequest, context: Context) -> pb.RunDocument:
        """A run with its tasks and logs."""
        return await finding.run_document(self._core, await finding.run_id(self._core, request.run))

    async def CancelRuns(self, request: pb.CancelRunsRequest, context: Context) -> pb.CancelRunsResponse:
        """Asks runs to end."""
        if not request.runs:
            raise GameNodeError(Code.INVALID_ARGUMENT, "which runs? none is named")
        run_ids = [await finding.run_id(self._core, text) for text in request.runs]
        op = cancel_runs(
            self._core.plans,
            run_ids=run_ids,
            by=principals.current().name,
            reason=_reason(request.reason, required=False),
            force=request.force,
            audit=recording.current(target=",".join(run_ids)[:MAX_REASON]),
        )
        return pb.CancelRunsResponse(runs=map(run_to_proto, await self._core.store.apply(op)))

    async def SetRunPaused(self, request: pb.SetRunPausedRequest, context: Context) -> pb.RunDocument:
        """Holds a run back, or lets it go on."""
        return await run_steering.set_paused(self._core, request)

    async def Decide(self, request: pb.DecideRequest, context: Context) -> pb.RunDocument:
        """Says whether a run may begin, or its tasks may go on behind a step."""
        return await run_steering.decide(self._core, request)

    async def ResolveTask(self, request: pb.ResolveTaskRequest, context: Context) -> pb.ResolveTaskResponse:
        """A person's word on a task."""
        run_id = await finding.run_id(self._core, request.run)
        answer = getattr(request, "as")
        as_: Resolution | None = next((word for word in get_args(Resolution) if word == answer), None)
        if as_ is None:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"a task is resolved as {', '.join(get_args(Resolution))}, not as {answer!r}"
            )
        reason = _reason(request.reason, required=True)
        _, tasks = await finding.run_and_tasks(self._core, run_id)
        if request.node:
            task = finding.task_on(tasks, request.node)
        else:
            stuck = [task for task in tasks if task.state is TaskState.NEEDS_ATTENTION]
            if len(stuck) != 1:
                raise GameNodeError(
                    Code.INVALID_ARGUMENT, f"on which node? {len(stuck)} tasks of run {run_id} need attention"
                )
            task = stuck[0]
        op = resolve_task(
            self._core.plans,
            run_id=run_id,
            node_id=task.node.id,
            as_=as_,
            by=principals.current().name,
            reason=reason,
            audit=recording.current(target=f"{run_id}/{task.node.name}"),
        )
        return pb.ResolveTaskResponse(task=task_to_proto(await self._core.store.apply(op)))

    async def ExplainRun(self, request: pb.ExplainRunRequest, context: Context) -> pb.ExplainRunResponse:
        """Why a run does not move."""
        core, view = self._core, self._core.store.view
        run, tasks = await finding.run_and_tasks(core, await finding.run_id(core, request.run))
        plan = core.plans.known(run.bundle_digest)
        if plan is None:
            plan = await core.store.apply(lambda tx: core.plans.plan(run.bundle_digest, tx.bundle))
        nodes = {node.id: node for task in tasks if (node := view.node(task.node.id)) is not None}
        world = World(
            nodes=nodes,
            taken={node_id: sum(map(holds_slot, view.live_tasks_on(node_id))) for node_id in nodes},
            grace=core.intervals.task_grace,
            now=core.clock.now(),
            groups=turns.holders(run, tasks, view.live_runs(), view.live_tasks_in, core.clock.now()),
        )
        summary, lines = explain_run(run, tasks, plan, world)
        return pb.ExplainRunResponse(
            summary=summary,
            tasks=[pb.Explanation(task_id=line.task_id, node=line.node, text=line.text) for line in lines],
        )

    async def WatchRun(self, request: pb.WatchRunRequest, context: Context) -> AsyncIterator[pb.RunUpdate]:
        """A run as it goes on, to its end."""
        run_id = await finding.run_id(self._core, request.run)
        async with aclosing(run_updates(self._core, run_id)) as updates:
            async for update in updates:
                yield update

    async def ListSchedules(self, request: pb.ListSchedulesRequest, context: Context) -> pb.ListSchedulesResponse:
        """Pipelines that start by themselves."""
        return await schedules.listed(self._scheduler, request, now=self._core.clock.now())

    async def SetSchedulesPaused(
        self, request: pb.SetSchedulesPausedRequest, context: Context
    ) -> pb.ListSchedulesResponse:
        """Pauses schedules, or lets them go on."""
        _reason(request.reason, required=False)
        return await schedules.paused(self._scheduler, request, now=self._core.clock.now())

    async def WatchRuns(self, request: pb.WatchRunsRequest, context: Context) -> AsyncIterator[pb.RunsUpdate]:
        """The newest runs and those that have not ended, then runs as they change."""
        async with aclosing(runs_updates(self._core, request.limit)) as updates:
            async for update in updates:
                yield update


def _reason(text: str, *, required: bool) -> str:
    if required and not text.strip():
        raise GameNodeError(Code.INVALID_ARGUMENT, "this needs a reason")
    if len(text) > MAX_REASON:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"the reason has more than {MAX_REASON} characters")
    return text
