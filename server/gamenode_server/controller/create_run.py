"""Makes a run: chooses its nodes, stores it with its tasks, and gives out what can be given out, in one transaction."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from gamenode_pipelines import placement
from gamenode_pipelines.compile_fleet import Conduct
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.gates import OnConflict
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_state import Task
from gamenode_server.controller import turns
from gamenode_server.controller.cancel import cancel_run
from gamenode_server.controller.candidates import Measured, candidates
from gamenode_server.controller.fanout import begin_fanout
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.slots import node_facts
from gamenode_server.controller.turns import Groups
from gamenode_server.records import NewAudit
from gamenode_server.store.tx import Tx


@dataclass(frozen=True, slots=True)
class Work:
    """What a run does. `digest` is the hex SHA-256 of `bundle`, which has the plan."""

    plan: Plan
    bundle: bytes
    digest: str
    conduct: Conduct


@dataclass(frozen=True, slots=True)
class NewRun:
    """What is asked for. `request_sha256` is over everything that was asked, the request's id left out."""

    run_id: str
    work: Work
    request: placement.Request
    measured: Measured
    target: str
    note: str
    by: str
    request_id: str
    request_sha256: str
    #: The run that this one repeats.
    retry_of: str = ""
    #: The pipelines whose runs have led to it.
    chain: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CreatedRun:
    """A run with the tasks it has so far. `new` is False where an earlier request of the same id made it."""

    run: Run
    tasks: Sequence[Task]
    new: bool


def create_run(plans: Plans, new: NewRun, *, audit: NewAudit) -> Callable[[Tx], CreatedRun]:
    """Makes the run, once for every (principal, request id).

    ALREADY_EXISTS where the id was used for something else; whatever `placement.choose` raises where no node fits.
    """

    def op(tx: Tx) -> CreatedRun:
        if new.request_id:
            answer = tx.answer(new.by, new.request_id)
            if answer is not None:
                return _again(tx, new, answer)
        work, plan = new.work, new.work.plan
        placed = placement.choose(candidates(tx, new.measured), new.request)
        rollout = work.conduct.rollout.of(len(placed.chosen))
        node_ids = [candidate.node_id for candidate in placement.ordered(placed.chosen, rollout.order, new.run_id)]
        moves = Moves(tx, plans, actor=new.by)
        groups = _groups(tx, new, node_ids)
        _meet(tx, moves, new, groups)
        run = Run(
            id=new.run_id,
            pipeline=plan.pipeline,
            pipeline_version=plan.version,
            total=len(node_ids),
            params=plan.params,
            note=new.note,
            created_at=tx.now,
            created_by=new.by,
            bundle_digest=work.digest,
            counts={TaskState.PENDING: len(node_ids)},
            rollout=rollout,
            approval=work.conduct.approval,
            concurrency=work.conduct.concurrency,
            group=groups.run,
            requires=work.conduct.requires,
            target=new.target,
            retry_of=new.retry_of,
            chain=new.chain,
        )
        tx.put_bundle(work.digest, work.bundle)
        plans.remember(work.digest, plan, work.bundle)
        made = begin_fanout(tx, moves, run, plan, node_ids, groups.tasks)
        if new.request_id:
            tx.put_answer(new.by, new.request_id, new.request_sha256, run.id)
        tx.audit(audit)
        moves.finish()
        return CreatedRun(moves.run(run.id), [moves.task(task.id) or task for task in made], new=True)

    return op


def _groups(tx: Tx, new: NewRun, node_ids: Sequence[str]) -> Groups:
    nodes = [node_facts(node) for node_id in node_ids if (node := tx.node(node_id)) is not None]
    return turns.groups_of(new.work.conduct.concurrency, new.run_id, new.work.plan, nodes)


def _meet(tx: Tx, moves: Moves, new: NewRun, groups: Groups) -> None:
    """Deals with what is in the run's groups already, as its rule says."""
    rule = new.work.conduct.concurrency
    if rule is None or rule.on_conflict is OnConflict.QUEUE:
        return
    runs = moves.live_runs_in(groups.run) if groups.run else []
    tasks = [task for group in sorted(set((groups.tasks or {}).values())) for task in moves.live_tasks_in(group)]
    turns.check_free(rule, runs, tasks)
    room = turns.made_room(new.run_id, new.work.plan.pipeline, tx.now)
    for run in runs:
        cancel_run(tx, moves, run, room)
    for task in tasks:
        moves.cancel_task(task, room)


def _again(tx: Tx, new: NewRun, answer: tuple[str, str]) -> CreatedRun:
    sha256, run_id = answer
    if sha256 != new.request_sha256:
        raise GameNodeError(
            Code.ALREADY_EXISTS,
            f"request id {new.request_id!r} was used for another request, which made run {run_id}",
            details={"run": run_id},
        )
    run = tx.run(run_id)
    if run is None:
        raise GameNodeError(Code.NOT_FOUND, f"run {run_id}, which this request made, is not kept any more")
    return CreatedRun(run, tx.tasks_of(run_id), new=False)
