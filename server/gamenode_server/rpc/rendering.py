"""What a run would be, before there is one: its nodes and why, its order, what it waits for, its commands."""

from __future__ import annotations

from statistics import median

from gamenode_pipelines import placement
from gamenode_pipelines.compile_fleet import Conduct, conduct_of
from gamenode_pipelines.foreseen import commands
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.quantities import format_duration
from gamenode_pipelines.task_state import NodeFacts
from gamenode_proto.codec.gates import approval_to_proto, rollout_to_proto
from gamenode_proto.codec.plan import plan_to_proto
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.controller import turns
from gamenode_server.controller.candidates import candidates
from gamenode_server.controller.slots import node_facts
from gamenode_server.core import Core
from gamenode_server.rpc import run_starts
from gamenode_server.store import queries

#: Stands for the id of a run that is not made.
_NO_RUN = "render"
#: So many runs are looked at for the usual duration.
_HISTORY = 20
#: On so many nodes conditions are looked at.
_NODES = 200


async def render(core: Core, request: pb.RunPipelineRequest) -> pb.RenderPipelineResponse:
    """What would run, and where; nothing is stored."""
    compiled = await run_starts.compiled_for(core, request)
    plan = compiled.plan
    view = core.store.view
    wanted = run_starts.placement_for(core, compiled, request)
    placed = placement.choose(candidates(view, core.sessions.measured()), wanted)
    conduct = conduct_of(compiled.loaded.spec, plan)
    rollout = conduct.rollout.of(len(placed.chosen))
    order = placement.ordered(placed.chosen, rollout.order, _NO_RUN)
    nodes = [node_facts(node) for each in order if (node := view.node(each.node_id)) is not None]
    answer = pb.RenderPipelineResponse(
        plan=plan_to_proto(plan),
        nodes=[
            pb.NodeChoice(node_id=choice.node_id, node=choice.name, chosen=choice.chosen, reason=choice.reason)
            for choice in placed.considered
        ],
        bundle_digest=compiled.digest,
        rollout=rollout_to_proto(rollout),
        order=[node.name for node in nodes],
        waits=_waits(core, conduct, plan, nodes),
        steps=_steps(plan, nodes),
    )
    if conduct.approval is not None:
        answer.approval.CopyFrom(approval_to_proto(conduct.approval))
    took = await core.store.read(queries.durations, pipeline=plan.pipeline, limit=_HISTORY) if plan.version else []
    if took:
        answer.usual, answer.usual_of = median(took), len(took)
    return answer


def _waits(core: Core, conduct: Conduct, plan: Plan, nodes: list[NodeFacts]) -> list[str]:
    """What the run would wait for: its groups, where they are taken."""
    view, now = core.store.view, core.clock.now()
    groups = turns.groups_of(conduct.concurrency, _NO_RUN, plan, nodes)
    lines: list[str] = []
    if groups.run:
        holder = turns.run_holding(run for run in view.live_runs() if run.group == groups.run)
        if holder is not None:
            since = format_duration(max(0, round(now - holder.started_at)))
            lines.append(f"run {holder.id} of {holder.pipeline} has group {groups.run!r}, since {since}")
    for group in sorted(set((groups.tasks or {}).values())):
        task = next((task for task in view.live_tasks_in(group) if turns.holds(task)), None)
        if task is not None:
            lines.append(f"run {task.run_id} has group {group!r} with its task on {task.node.name}")
    return lines


def _steps(plan: Plan, nodes: list[NodeFacts]) -> list[pb.ForeseenStep]:
    if not nodes:
        return []
    first, *others = nodes[:_NODES]
    found = {
        command.step: pb.ForeseenStep(id=command.step, kind=command.kind, text=command.text)
        for command in commands(plan, first)
    }
    conditional = any(step.condition for step in (*plan.steps, *plan.finally_))
    for node in (first, *others) if conditional else ():
        for command in commands(plan, node):
            if command.skipped:
                found[command.step].skipped_on.append(node.name)
    return list(found.values())
