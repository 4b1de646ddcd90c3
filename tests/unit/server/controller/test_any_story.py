"""What holds for every run, in whatever order nodes, people and time move it: on the real store, by hypothesis."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines import runs
from gamenode_pipelines.effects import StartStep
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import (
    CancelRequested,
    LogSummary,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskRefused,
    TaskStarted,
)
from gamenode_pipelines.gates import Approval
from gamenode_pipelines.plan import Plan, Script, StepPlan
from gamenode_pipelines.replay import replay
from gamenode_pipelines.rollout import Rollout
from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import RunState, StepState, TaskState
from gamenode_pipelines.task_state import Task, new_task, on_node
from gamenode_pipelines.tasks import outstanding
from gamenode_proto.codec.events import task_event_from_proto
from gamenode_server.controller.cancel import cancel_runs
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.resolve import resolve_task
from gamenode_server.controller.steering import decide_run, pause_run, resume_run
from gamenode_server.store.tx import Tx
from support.fleet import AUDIT, Fleet, fleet, plan_of

SCRIPT = Script(text="true")
PLANS = [
    plan_of(),
    plan_of(StepPlan(id="go", script=SCRIPT), finally_=(StepPlan(id="last", script=SCRIPT),)),
    plan_of(StepPlan(id="a", script=SCRIPT), StepPlan(id="b", needs=("a",), script=SCRIPT, continue_on_error=True)),
]
ROLLOUTS = st.builds(
    Rollout, st.integers(0, 3), st.integers(0, 3), st.integers(0, 3), st.sampled_from([0.0, 0.0, 30.0])
)
APPROVALS = st.sampled_from([None, None, Approval()])
PEOPLE = ("pause", "resume", "approve", "reject", "cancel", "kill")


@dataclass
class Story:
    """Runs of one group over the same nodes, and who moves them."""

    fleet: Fleet
    plan: Plan
    draw: Callable[[st.SearchStrategy[object]], object]
    ends: Counter[str] = field(default_factory=Counter)

    def choose(self, *choices: object) -> object:
        return self.draw(st.sampled_from(choices))

    def runs(self) -> list[Run]:
        return [self.fleet.stored_run(id) for id in ("r1", "r2")]

    def tasks(self) -> list[Task]:
        return [task for run in self.runs() for task in self.fleet.tasks(run.id)]

    async def turn(self, *, calm: bool) -> None:
        """One thing happens. When it is `calm`, people only do what nobody else can."""
        before = {task.id: task for task in self.tasks()}
        was = {run.id: run for run in self.runs()}
        movable = [task for task in before.values() if on_node(task)]
        if not calm and self.draw(st.integers(0, 4)) == 0:
            await self._person(self.choose(*was.values()), self.choose(*PEOPLE))  # type: ignore[arg-type]
        elif movable:
            await self._node(self.choose(*movable))  # type: ignore[arg-type]
        else:
            await self._only_a_person_or_time(list(was.values()))
        for run in self.runs():
            self._check(was[run.id], run, before)

    async def _person(self, run: Run, what: object) -> None:
        plans, id = self.fleet.plans, run.id
        operations = {
            "pause": pause_run(plans, run_id=id, by="ann", reason="", audit=AUDIT),
            "resume": resume_run(plans, run_id=id, by="ann", audit=AUDIT),
            "approve": decide_run(plans, run_id=id, approved=True, by="ann", reason="", audit=AUDIT),
            "reject": decide_run(plans, run_id=id, approved=False, by="ann", reason="", audit=AUDIT),
            "cancel": cancel_runs(plans, run_ids=[id], by="ann", reason="", force=False, audit=AUDIT),
            "kill": cancel_runs(plans, run_ids=[id], by="ann", reason="", force=True, audit=AUDIT),
        }
        refused = None
        try:
            await self.fleet.apply(operations[str(what)])
        except GameNodeError as error:
            refused = error.code
        assert refused in (None, Code.STATE_CONFLICT)
        assert refused is None or self.fleet.stored_run(id) == run

    async def _node(self, task: Task) -> None:
        node, running = task.node.id, [s for s in task.steps.values() if s.state is StepState.RUNNING]
        if task.state is TaskState.DISPATCHED:
            if self.draw(st.integers(0, 9)) == 0:
                await self.fleet.report(node, (task, TaskRefused(Error(Code.STORAGE_FULL, "full"))))
            else:
                await self.fleet.report(node, (task, TaskAccepted()), (task, TaskStarted()))
        elif (cancel := self.fleet.stored_run(task.run_id).cancel) is not None and task.cancel is None:
            await self.fleet.report(node, (task, CancelRequested(cancel)))
        elif running and self.draw(st.integers(0, 9)) == 0:
            await self.fleet.report(node, (task, StepLost(running[0].id, running[0].attempt, "rebooted")))
        elif running:
            code = self.choose(0, 0, 1)
            ended = StepEnded(running[0].id, running[0].attempt, exit_code=code, log=LogSummary())  # type: ignore[arg-type]
            await self.fleet.report(node, (task, ended))
        after = self.fleet.store.view.task(task.id)
        assert after is not None
        for step in after.steps.values():  # what a node starts by itself
            due = step.state is StepState.PENDING and self._is_due(after, step.id)
            if on_node(after) and after.state is not TaskState.DISPATCHED and due:
                await self.fleet.report(node, (after, StepStarted(step.id, step.attempt + 1)))
                break

    def _is_due(self, task: Task, step: str) -> bool:
        return any(isinstance(e, StartStep) and e.step_id == step for e in outstanding(task, self.plan))

    async def _only_a_person_or_time(self, there: list[Run]) -> None:
        """Nothing moves by itself: there is a reason, and what it asks for goes on."""
        run = next(run for run in there if not run.state.ended and not run.queued)
        stuck = [task for task in self.fleet.tasks(run.id) if task.state is TaskState.NEEDS_ATTENTION]
        if stuck:
            as_ = self.choose("succeeded", "failed", "retry")
            op = resolve_task(
                self.fleet.plans,
                run_id=run.id,
                node_id=stuck[0].node.id,
                as_=as_,
                by="ann",
                reason="",
                audit=AUDIT,  # type: ignore[arg-type]
            )
            await self.fleet.apply(op)
        elif run.hold is not None:
            await self._person(run, "resume")
        elif run.approval is not None and run.decision is None:
            await self._person(run, "approve")
        else:
            assert run.next_at > self.fleet.clock.time, f"nothing moves {run}"
            await self._time_passes()

    async def _time_passes(self) -> None:
        """Up to the next moment that something waits for; then the timers do what they do."""
        waiting = {run.id: run.next_at for run in self.runs() if run.next_at and not run.state.ended}
        self.fleet.clock.time = now = min(waiting.values())
        for id in [id for id, at in waiting.items() if at <= now]:
            await self.fleet.apply(lambda tx, id=id: self._settle(tx, id))  # type: ignore[misc]

    def _settle(self, tx: Tx, run_id: str) -> None:
        moves = Moves(tx, self.fleet.plans)
        moves.settle(run_id)
        moves.finish()

    def _check(self, was: Run, run: Run, before: dict[str, Task]) -> None:
        tasks = self.fleet.tasks(run.id)
        assert Counter(task.state for task in tasks) == run.counts
        if was.state.ended:
            assert run == was, "an end is an end"
        if run.state.ended and not was.state.ended:
            self.ends[run.id] += 1
            assert all(task.state.ended for task in tasks)
        under_way = [task for task in tasks if task.state is not TaskState.PENDING and not task.state.ended]
        assert not run.rollout.max_parallel or len(under_way) <= run.rollout.max_parallel
        begun = [task for task in tasks if task.fence and not before[task.id].fence]
        if not begun:
            return
        assert was.hold is None or run.hold is None
        assert run.approval is None or (run.decision is not None and run.decision.approved)
        assert not runs.stops_starting(was)
        assert was.next_at <= self.fleet.clock.time
        canary = min(run.rollout.canary, run.total)
        if run.counts.get(TaskState.SUCCEEDED, 0) < canary:
            assert all(task.position < canary for task in begun)
        (other,) = [each for each in self.runs() if each.id != run.id]
        assert not run.group or not other.begun or other.state.ended, "two runs of a group at a time"

    async def replayed(self) -> None:
        """What is stored is what the stored events make of the tasks as they were made."""
        stored = {task.id: task for task in self.tasks()}
        again = {
            id: new_task(
                id=id,
                run_id=task.run_id,
                node=task.node,
                plan=self.plan,
                created_at=task.created_at,
                position=task.position,
                group=task.group,
            )
            for id, task in stored.items()
        }
        async for batch in self.fleet.hub.subscribe(after=0, follow=False):
            for event in batch.events:
                if event.HasField("task_event"):
                    told = task_event_from_proto(event.task_event)
                    again[told.task_id] = replay(again[told.task_id], self.plan, [told])
        assert again == stored


@settings(max_examples=120, deadline=None)
@given(
    plan=st.sampled_from(PLANS),
    rollout=ROLLOUTS,
    approval=APPROVALS,
    nodes=st.integers(1, 5),
    group=st.sampled_from(["", "g"]),
    data=st.data(),
)
def test_any_story_of_two_runs_ends_once_and_can_be_replayed(
    plan: Plan, rollout: Rollout, approval: Approval | None, nodes: int, group: str, data: st.DataObject
) -> None:
    async def main() -> None:
        async with fleet() as there:
            ids = [await there.node(f"n{n}") for n in range(nodes)]
            story = Story(there, plan, data.draw)
            await there.run(*ids, id="r1", plan=plan, rollout=rollout, approval=approval, group=group)
            await there.run(*ids, id="r2", plan=plan, rollout=rollout, group=group)
            turns = 0
            while not all(run.state.ended for run in story.runs()):
                turns += 1
                assert turns < 500, story.runs()
                await story.turn(calm=turns > 60)
            assert story.ends == {"r1": 1, "r2": 1}
            assert {run.state for run in story.runs()} <= {RunState.SUCCEEDED, RunState.FAILED, RunState.CANCELLED}
            await story.replayed()

    asyncio.run(main())
