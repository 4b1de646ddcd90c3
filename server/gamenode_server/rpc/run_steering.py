"""What operators say of runs that are under way: held, let go on, approved, rejected."""

from __future__ import annotations

from functools import partial

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.gates import Decision
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.audit import recording
from gamenode_server.controller.steering import decide_run, decide_step, pause_run, resume_run
from gamenode_server.core import Core
from gamenode_server.identity import principals
from gamenode_server.identity.principals import Principal, Role
from gamenode_server.rpc import finding

MAX_REASON = 1000


async def set_paused(core: Core, request: pb.SetRunPausedRequest) -> pb.RunDocument:
    """Holds a run back, or lets it go on."""
    run_id = await finding.run_id(core, request.run)
    by, audit = principals.current().name, recording.current(target=run_id)
    if request.paused:
        op = pause_run(core.plans, run_id=run_id, by=by, reason=_reason(request.reason), audit=audit)
    else:
        op = resume_run(core.plans, run_id=run_id, by=by, audit=audit)
    await core.store.apply(op)
    return await finding.run_document(core, run_id)


async def decide(core: Core, request: pb.DecideRequest) -> pb.RunDocument:
    """Says whether a run may begin, or its tasks may go on behind a step."""
    run_id = await finding.run_id(core, request.run)
    by, reason = principals.current().name, _reason(request.reason)
    if not request.approved and not reason.strip():
        raise GameNodeError(Code.INVALID_ARGUMENT, "a rejection needs a reason")
    if not request.step:
        run, _ = await finding.run_and_tasks(core, run_id)
        if run.approval is not None:
            _check_role(run.approval.by, caller=principals.current())
        audit = recording.current(target=run_id)
        op = decide_run(core.plans, run_id=run_id, approved=request.approved, by=by, reason=reason, audit=audit)
        await core.store.apply(op)
        return await finding.run_document(core, run_id)
    node_id = finding.node(core, request.node).id if request.node else ""
    approved = request.approved
    await core.store.apply(
        decide_step(
            core.plans,
            run_id=run_id,
            step_id=request.step,
            node_id=node_id,
            decision=lambda now: Decision(approved, by, reason, now),
            may=partial(_check_role, caller=principals.current()),
            audit=recording.current(target=f"{run_id}/{request.step}"),
        )
    )
    return await finding.run_document(core, run_id)


def _check_role(needed: str, *, caller: Principal) -> None:
    """Raises PERMISSION_DENIED where the caller's role does not cover the one that is asked for."""
    if caller.role is None or not caller.role.covers(Role(needed)):
        raise GameNodeError(
            Code.PERMISSION_DENIED,
            f"this approval takes the role {needed}, and {caller.name} is {caller.role or 'none'}",
        )


def _reason(text: str) -> str:
    if len(text) > MAX_REASON:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"the reason has more than {MAX_REASON} characters")
    return text
