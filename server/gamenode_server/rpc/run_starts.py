"""The calls that start runs, and what they compile: of a stored pipeline, of a file, or like a run that has ended."""

from __future__ import annotations

import hashlib
import secrets
from dataclasses import dataclass, replace

from gamenode_pipelines import placement
from gamenode_pipelines.compile import capabilities, placement_request
from gamenode_pipelines.compile_fleet import conduct_again, conduct_of
from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.runs import Run
from gamenode_pipelines.task_state import NodeFacts
from gamenode_pipelines.wording import listed
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.audit import recording
from gamenode_server.controller.compiler import Compiled
from gamenode_server.controller.create_run import NewRun, Work, create_run
from gamenode_server.controller.files import file_problems, files_of, packed
from gamenode_server.controller.ports import ports_taken
from gamenode_server.controller.retry import retry_nodes
from gamenode_server.controller.shelf import shelf
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.records import NewAudit, PipelineVersion
from gamenode_server.rpc import documents, finding
from gamenode_server.store.names import missing

MAX_NOTE = 1000
MAX_REQUEST_ID = 128

Request = pb.RunPipelineRequest | pb.RetryRunRequest


async def run_pipeline(core: Core, request: pb.RunPipelineRequest) -> pb.RunPipelineResponse:
    """Makes a run, once for each request id."""
    _check(request)
    compiled = await compiled_for(core, request)
    start = _Start(_work(compiled), placement_for(core, compiled, request), _target(request))
    return await _make(core, request, start, audit=recording.current())


async def start_by_itself(
    core: Core, request: pb.RunPipelineRequest, *, by: str, source: str, chain: tuple[str, ...] = ()
) -> str:
    """Makes the run of a schedule or a trigger (`source`), once for each request id; its id."""
    compiled = await compiled_for(core, request)
    start = _Start(_work(compiled), placement_for(core, compiled, request), _target(request), chain=chain)
    audit = NewAudit(
        principal=by,
        method="RunPipeline",
        target=request.name,
        outcome=recording.OK,
        request=recording.describe(request),
        source=source,
    )
    return (await _make(core, request, start, audit=audit, by=by)).run.run.id


async def retry_run(core: Core, request: pb.RetryRunRequest) -> pb.RunPipelineResponse:
    """Makes a run like one that has ended, once for each request id."""
    _check(request)
    run, tasks = await finding.run_and_tasks(core, await finding.run_id(core, request.run))
    nodes = retry_nodes(run, tasks, failed_only=request.failed_only)
    _check_there(core, run, nodes)
    work = await (_latest(core, run) if request.latest else _same(core, run))
    start = _Start(
        work,
        placement.Request(
            nodes=[node.id for node in nodes], requires=work.conduct.requires, capabilities=capabilities(work.plan)
        ),
        f"failed of {run.id}" if request.failed_only else run.target,
        retry_of=run.id,
    )
    return await _make(core, request, start, audit=recording.current(target=run.id))


async def stored_pipeline(core: Core, name: str, version: int) -> PipelineVersion:
    """A version of a pipeline (0: the newest); NOT_FOUND where there is none, or where it was removed."""
    pipelines = core.store.view.pipelines
    newest = pipelines.get(name)
    if newest is None:
        raise missing("pipeline", name, [key for key, found in pipelines.items() if not found.removed])
    if newest.removed and not version:
        raise GameNodeError(
            Code.NOT_FOUND,
            f"pipeline {name!r} was removed by {newest.created_by}; `gamenode pipeline history {name}` lists it still",
        )
    if version in (0, newest.version) and not newest.removed:
        return newest
    found = await core.store.apply(lambda tx: tx.pipeline(name, version))
    if found is None or found.removed:
        said = f"version {version} took it out of use" if found else f"it has no version {version}"
        raise GameNodeError(Code.NOT_FOUND, f"pipeline {name!r}: {said}; its newest is {newest.version}")
    return found


async def compiled_for(core: Core, request: pb.RunPipelineRequest) -> Compiled:
    """What the request would run."""
    params = documents.scalars(request.params)
    timeout = request.timeout
    find = shelf(core.store.view.pipelines)
    if request.HasField("source"):
        if request.name:
            raise GameNodeError(Code.INVALID_ARGUMENT, "a run is of a stored pipeline or of a file, not of both")
        source = request.source
        file = source.file or "(request)"
        (*loaded,) = await core.compiler.load(source.text, file)
        problems = [problem for pipeline in loaded for problem in file_problems(pipeline, source)]
        if problems:
            raise InvalidPipeline(problems)
        files = packed(file for pipeline in loaded for file in files_of(pipeline, source))
        return await core.compiler.compile(
            source.text, file, params, version=0, find=find, task_timeout=timeout, files=files
        )
    pipeline = await stored_pipeline(core, request.name, request.version)
    return await core.compiler.compile(
        pipeline.text,
        pipeline.name,
        params,
        version=pipeline.version,
        find=find,
        task_timeout=timeout,
        files=pipeline.files,
    )


def placement_for(core: Core, compiled: Compiled, request: pb.RunPipelineRequest) -> placement.Request:
    """Where the request would run it."""
    asked = placement_request(
        compiled.loaded.spec,
        capabilities=capabilities(compiled.plan),
        selectors=request.selectors,
        nodes=request.nodes,
        all=request.all,
    )
    return replace(asked, lacking=_ports_taken(core, compiled.plan))


def _ports_taken(core: Core, plan: Plan) -> dict[str, str]:
    return ports_taken(plan, core.store.view.nodes(), core.sessions.containers.of)


@dataclass(frozen=True, slots=True)
class _Start:
    work: Work
    placement: placement.Request
    target: str
    retry_of: str = ""
    chain: tuple[str, ...] = ()


async def _make(
    core: Core, request: Request, start: _Start, *, audit: NewAudit, by: str = ""
) -> pb.RunPipelineResponse:
    new = NewRun(
        run_id=make_id(secrets.token_bytes(ENTROPY_BYTES)),
        work=start.work,
        request=start.placement,
        measured=core.sessions.measured(),
        target=start.target,
        note=request.note,
        by=by or principals.current().name,
        request_id=request.request_id,
        request_sha256=_digest(request) if request.request_id else "",
        retry_of=start.retry_of,
        chain=start.chain,
    )
    created = await core.store.apply(create_run(core.plans, new, audit=audit))
    if len(created.tasks) < created.run.total:
        await core.dispatch.settled(created.run.id)
        return pb.RunPipelineResponse(run=await finding.run_document(core, created.run.id))
    return pb.RunPipelineResponse(run=documents.run_document(created.run, created.tasks))


def _work(compiled: Compiled) -> Work:
    conduct = conduct_of(compiled.loaded.spec, compiled.plan)
    return Work(compiled.plan, compiled.bundle, compiled.digest, conduct)


async def _same(core: Core, run: Run) -> Work:
    """What the run ran, to the byte, on the same terms."""
    digest = run.bundle_digest
    bundle = await core.store.apply(lambda tx: tx.bundle(digest))
    if bundle is None:
        raise GameNodeError(Code.DATA_LOSS, f"the store has no bundle {digest[:12]}…")
    return Work(core.plans.plan(digest, lambda _: bundle), bundle, digest, conduct_again(run))


async def _latest(core: Core, run: Run) -> Work:
    """What the newest version of the run's pipeline makes of its parameters."""
    if not run.pipeline_version:
        raise GameNodeError(
            Code.INVALID_ARGUMENT, f"run {run.id} was started from a file: no version of it is stored, so none is newer"
        )
    pipeline = await stored_pipeline(core, run.pipeline, 0)
    find = shelf(core.store.view.pipelines)
    compiled = await core.compiler.compile(
        pipeline.text, pipeline.name, run.params, version=pipeline.version, find=find, files=pipeline.files
    )
    return _work(compiled)


def _check(request: Request) -> None:
    for name, limit in (("note", MAX_NOTE), ("request_id", MAX_REQUEST_ID)):
        if len(getattr(request, name)) > limit:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{name} has more than {limit} characters")


def _check_there(core: Core, run: Run, nodes: list[NodeFacts]) -> None:
    gone = [node.name for node in nodes if core.store.view.node(node.id) is None]
    if gone:
        raise GameNodeError(
            Code.NOT_FOUND, f"of the nodes of run {run.id} not part of the fleet any more: {listed(gone, 8)}"
        )


def _target(request: pb.RunPipelineRequest) -> str:
    if request.all:
        return "all"
    return " ".join([*(f"-l {text}" for text in request.selectors), *request.nodes])


def _digest(request: Request) -> str:
    bare = type(request)()
    bare.CopyFrom(request)  # type: ignore[arg-type]  # it is of its own type
    bare.ClearField("request_id")
    kind = request.DESCRIPTOR.full_name.encode()
    return hashlib.sha256(kind + b"\0" + bare.SerializeToString(deterministic=True)).hexdigest()
