"""What a pipeline says of how its runs move over the fleet, for the server: never part of what nodes execute."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from gamenode_pipelines import expressions
from gamenode_pipelines.compile import requirements
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.gates import Approval, Concurrency
from gamenode_pipelines.placement import ANYTHING, Requires
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.rollout import AT_ONCE, RolloutPolicy, Share, policy_of
from gamenode_pipelines.runs import Run
from gamenode_pipelines.spec import PipelineSpec
from gamenode_pipelines.spec_fleet import RolloutSpec
from gamenode_pipelines.task_state import NodeFacts
from gamenode_pipelines.wording import shown

#: Kinds that take what players may be on away.
_DISTURBS: Final = frozenset({"container.stop", "container.restart", "container.remove"})
#: What names of groups and messages of approvals may refer to.
GROUP_ROOTS: Final = ("params", "node", "run")
MESSAGE_ROOTS: Final = ("params", "run")
_LONGEST_GROUP: Final = 200
_LEFT_OUT: Final = RolloutSpec.model_validate({})


@dataclass(frozen=True, slots=True)
class Conduct:
    """How runs of a pipeline go about their nodes."""

    rollout: RolloutPolicy = AT_ONCE
    requires: Requires = ANYTHING
    concurrency: Concurrency | None = None
    approval: Approval | None = None


def conduct_of(spec: PipelineSpec, plan: Plan) -> Conduct:
    """What the file says, and what holds where it says nothing."""
    rollout = spec.rollout or _LEFT_OUT
    approval = spec.approval.rule if spec.approval is not None else None
    if approval is not None:
        about = {"params": plan.params, "run": {"pipeline": plan.pipeline, "version": plan.version}}
        approval = replace(approval, message=expressions.render(approval.message, about))
    return Conduct(
        rollout=rollout.policy(max_parallel=Share(1) if disturbs(plan) else Share(0)),
        requires=requirements(spec),
        concurrency=spec.concurrency.rule if spec.concurrency is not None else None,
        approval=approval,
    )


def conduct_again(run: Run) -> Conduct:
    """As the run was made, for another one like it."""
    return Conduct(policy_of(run.rollout), run.requires, run.concurrency, run.approval)


def disturbs(plan: Plan) -> bool:
    """Whether the plan stops or replaces containers, so that without a `rollout` it goes node by node."""
    return any(
        step.kind in _DISTURBS or (step.kind == "container.run" and bool(step.with_.get("replace")))
        for step in plan.steps
    )


def per_task(concurrency: Concurrency) -> bool:
    """Whether the name of a group says something of the node."""
    return any("node" in expressions.roots_of(part.source) for part in expressions.find(concurrency.group))


def group_of_run(concurrency: Concurrency, run_id: str, plan: Plan) -> str:
    """The group that a run is in. INVALID_ARGUMENT where its name comes out empty."""
    return _group(concurrency, {"params": plan.params, "run": _run(run_id, plan)})


def group_of_task(concurrency: Concurrency, run_id: str, plan: Plan, node: NodeFacts) -> str:
    """The group that the run's task on a node is in. INVALID_ARGUMENT where its name comes out empty."""
    facts = {"id": node.id, "name": node.name, "labels": node.labels, "address": node.address}
    return _group(concurrency, {"params": plan.params, "run": _run(run_id, plan), "node": facts})


def _run(run_id: str, plan: Plan) -> dict[str, object]:
    return {"id": run_id, "pipeline": plan.pipeline, "version": plan.version}


def _group(concurrency: Concurrency, scope: expressions.Scope) -> str:
    name = expressions.render(concurrency.group, scope).strip()
    if not name or len(name) > _LONGEST_GROUP:
        said = f"is longer than {_LONGEST_GROUP} characters" if name else "comes out empty"
        raise GameNodeError(Code.INVALID_ARGUMENT, f"the name of its group {shown(concurrency.group)} {said}")
    return name
