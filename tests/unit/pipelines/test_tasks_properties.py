"""What holds for every plan and every order of events, found by trying many."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines import tasks
from gamenode_pipelines.effects import FinishTask, Ignored, Reassign, StartStep, StopStep, TaskEffect
from gamenode_pipelines.errors import Code, Error, IllegalTransition
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    CancelWanted,
    FinallyTimedOut,
    RetryDue,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskEvent,
    TaskEventBody,
    TaskLost,
    TaskRefused,
    TaskResolved,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_pipelines.plan import GROUP, Inlined, OnLost, Plan, RetryOn, RetryPolicy, StepPlan
from gamenode_pipelines.replay import replay
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.tasks import Task, outstanding
from support.task_stories import task_of

NAMES = "abcdefg"


@st.composite
def plans(draw: st.DrawFn) -> Plan:
    """Any DAG, in any order in the file, with any policies, inlined pipelines and steps for a failure."""
    scopes: dict[str, Inlined] = {}
    cleanup: list[StepPlan] = []

    def part(names: str, group: str = "") -> tuple[StepPlan, ...]:
        made = []
        for at, name in enumerate(names):
            needs = draw(st.sets(st.sampled_from(names[:at]), max_size=3)) if at else set()
            made.append(
                StepPlan(
                    group + name,
                    needs=tuple(group + need for need in sorted(needs)),
                    group=group.rstrip("."),
                    condition=draw(st.sampled_from(["", "", "", "true", "false", 'task.state == "running"'])),
                    retry=RetryPolicy(
                        draw(st.integers(1, 3)), on=frozenset(draw(st.sets(st.sampled_from(RetryOn), min_size=1)))
                    ),
                    idempotent=draw(st.booleans()),
                    continue_on_error=draw(st.integers(0, 3)) == 0,
                )
            )
        laid: list[StepPlan] = []
        for step in draw(st.permutations(made)):
            answer = StepPlan(f"{step.id}_failed", after_failure=step.id, group=step.group)
            inner: tuple[StepPlan, ...] = ()
            if len(group) < 4 and draw(st.integers(0, 4)) == 0:
                step = replace(step, kind=GROUP, retry=RetryPolicy(), idempotent=False)
                scopes[step.id] = Inlined("other", 1)
                inner = part("pqr"[: draw(st.integers(1, 3))], f"{step.id}.")
                cleanup.append(StepPlan(f"{step.id}.last"))
            laid += [step, *inner, *([answer] if draw(st.integers(0, 3)) == 0 else [])]
        return tuple(laid)

    main = draw(st.integers(0, 5))
    steps = part(NAMES[:main])
    final = part("xyz"[: draw(st.integers(0, 3))])
    return Plan(
        "any",
        1,
        steps,
        (*final, *cleanup),
        scopes=scopes,
        on_lost=draw(st.sampled_from(OnLost)),
        finally_timeout=draw(st.sampled_from([0.0, 300.0])),
    )


@dataclass
class World:
    """A shell without a body: does what the effects say, in an order hypothesis chooses."""

    plan: Plan
    task: Task
    now: float = 1000.0
    events: list[TaskEvent] = field(default_factory=list)
    finished: int = 0
    started: list[tuple[str, int, int]] = field(default_factory=list)

    def fold(self, body: TaskEventBody, fence: int | None = None) -> tuple[TaskEffect, ...]:
        self.now += 1
        event = TaskEvent("task1", self.task.fence if fence is None else fence, self.now, body)
        before = self.task
        self.task, effects = tasks.step(before, self.plan, event)
        self.events.append(event)
        if any(isinstance(effect, Ignored) for effect in effects):
            assert self.task is before
            assert len(effects) == 1
        for effect in effects:
            if isinstance(effect, FinishTask):
                self.finished += 1
            elif isinstance(effect, StartStep):
                self.check_legal_start(effect)
                assert effect in outstanding(self.task, self.plan), "a shell that starts here starts it too"
                self.started.append((effect.step_id, effect.attempt, self.task.fence))
                follow = self.fold(StepStarted(effect.step_id, effect.attempt))
                assert not follow
        return effects

    def check_legal_start(self, start: StartStep) -> None:
        """Everything it needs is there, and nothing that succeeded runs again."""
        step = self.task.steps[start.step_id]
        assert step.state is StepState.PENDING
        assert start.attempt == step.attempt + 1
        plan = self.plan.step(start.step_id)
        assert step.final == (self.task.outcome is not None)
        assert plan.kind != GROUP
        assert not plan.group or self.task.steps[plan.group].open
        assert not plan.after_failure or self.task.steps[plan.after_failure].state is StepState.FAILED
        for need in plan.needs:
            other = self.task.steps[need]
            if step.final or plan.after_failure:
                assert other.state.ended
            else:
                fine = other.state is StepState.SUCCEEDED or (other.state is StepState.SKIPPED and other.error is None)
                assert fine or (other.state.ended and self.plan.step(need).continue_on_error)
        assert not any(s.state is StepState.LOST for s in self.task.steps.values() if not s.final and not step.final)


ENDS = [
    (0, None),
    (0, None),
    (0, None),
    (1, None),
    (None, Error(Code.STEP_TIMEOUT, "")),
    (None, Error(Code.OOM_KILLED, "")),
    (None, Error(Code.CANCELLED, "")),
]


@settings(max_examples=400, deadline=None)
@given(plan=plans(), data=st.data())
def test_every_story_ends_and_can_be_replayed(plan: Plan, data: st.DataObject) -> None:
    world = World(plan, task_of(plan))
    first = world.task
    world.fold(TaskAssigned(), 1)
    world.fold(TaskAccepted())
    world.fold(TaskStarted())
    spice = data.draw(st.integers(0, 3), label="how much goes wrong")
    for _ in range(400):
        task = world.task
        if task.state.ended:
            break
        if task.state is TaskState.NEEDS_ATTENTION:
            world.fold(TaskResolved(data.draw(st.sampled_from(["succeeded", "failed", "retry"])), "kim", ""))
            continue
        if task.state is TaskState.LOST:
            assert world.finished == task.fence
            assert outstanding(task, plan) == (Reassign(),)
            world.fold(TaskAssigned(), task.fence + 1)
            world.fold(TaskAccepted())
            world.fold(TaskStarted())
            continue
        assert tasks.on_node(task)
        running = [s for s in task.steps.values() if s.state is StepState.RUNNING and not s.open]
        waiting = [s for s in task.steps.values() if s.state is StepState.WAITING]
        assert running or waiting, "a task that moves has something that moves"
        if task.state is TaskState.CANCELLING:
            assert not waiting
        else:
            assert (task.state is TaskState.WAITING) == (not running)
        if spice and data.draw(st.integers(0, 9)) < spice:
            match data.draw(st.integers(0, 5)):
                case 0 if task.fence < 4:
                    for lost in running[:1]:
                        world.fold(StepLost(lost.id, lost.attempt, "rebooted"))
                case 1:
                    world.fold(CancelRequested(CancelInfo("ops", force=data.draw(st.booleans()), at=world.now)))
                case 2:
                    world.fold(TaskTimedOut())
                case 3 if task.outcome is not None:
                    world.now += plan.finally_timeout
                    world.fold(FinallyTimedOut())
                case 4 if world.events:  # something comes twice
                    again = data.draw(st.sampled_from(world.events[-8:]))
                    if not isinstance(again.body, CancelRequested | TaskTimedOut | FinallyTimedOut | RetryDue):
                        (effect,) = world.fold(again.body, again.fence)
                        assert isinstance(effect, Ignored)
                case _:
                    pass
            continue
        step = data.draw(st.sampled_from([*running, *waiting]))
        if step.state is StepState.WAITING:
            world.fold(RetryDue(step.id, step.attempt + 1))
        else:
            exit_code, error = data.draw(st.sampled_from(ENDS))
            world.fold(StepEnded(step.id, step.attempt, exit_code, error, jitter=0.5))
    task = world.task
    assert task.state.ended
    assert task.finished_at == world.now
    assert all(s.state.ended for s in task.steps.values())
    assert world.finished == task.fence  # exactly once an assignment
    assert (task.error is None) == (task.state is TaskState.SUCCEEDED)
    assert all(task.steps[part.id].attempt == 0 for part in plan.steps if part.kind == GROUP)
    assert len(set(world.started)) == len(world.started)
    assert replay(first, plan, world.events) == task
    for body in (StepEnded("a", 1, 0), CancelRequested(CancelInfo("ops")), TaskTimedOut()):
        assert isinstance(world.fold(body)[0], Ignored)
    assert world.task is task


ANY_BODY = st.one_of(
    st.sampled_from(
        [
            TaskAssigned(),
            TaskAccepted(),
            TaskStarted(),
            TaskTimedOut(),
            FinallyTimedOut(),
            TaskSkipped("enough"),
            TaskRefused(Error(Code.STORAGE_FULL, "")),
        ]
    ),
    st.builds(StepStarted, st.sampled_from("abx"), st.integers(0, 3)),
    st.builds(StepEnded, st.sampled_from("abx"), st.integers(0, 3), st.sampled_from([0, 1])),
    st.builds(StepLost, st.sampled_from("abx"), st.integers(0, 3), st.just("why")),
    st.builds(RetryDue, st.sampled_from("abx"), st.integers(0, 3)),
    st.builds(CancelRequested, st.builds(CancelInfo, st.just("ops"), st.just(""), st.booleans(), st.just(1.0))),
    st.builds(CancelWanted, st.builds(CancelInfo, st.just("ops"), st.just(""), st.booleans(), st.just(1.0))),
    st.builds(TaskLost, st.just("why"), st.booleans()),
    st.builds(TaskResolved, st.sampled_from(["succeeded", "failed", "retry"]), st.just("kim"), st.just("")),
)


@settings(max_examples=500, deadline=None)
@given(on_lost=st.sampled_from(OnLost), bodies=st.lists(st.tuples(st.integers(-1, 1), ANY_BODY), max_size=30))
def test_no_garbage_breaks_it(on_lost: OnLost, bodies: list[tuple[int, TaskEventBody]]) -> None:
    """Any event at any time is folded, ignored with a reason, or refused; and an end stays an end."""
    retry = RetryPolicy(2)
    steps = (StepPlan("a", retry=retry, idempotent=True), StepPlan("b", needs=("a",)))
    plan = Plan("any", 1, steps, (StepPlan("x", retry=retry),), on_lost=on_lost)
    task = task_of(plan)
    kept: list[TaskEvent] = []
    for at, (shift, body) in enumerate(bodies):
        event = TaskEvent("task1", task.fence + shift, 1001.0 + at, body)
        before, copy = task, repr(task)
        try:
            task, effects = tasks.step(before, plan, event)
        except IllegalTransition:
            assert repr(before) == copy
            continue
        kept.append(event)
        if before.state.ended or event.fence < before.fence:
            assert task is before
        assert task.fence >= before.fence
        if any(isinstance(effect, Ignored) for effect in effects):
            assert task is before
        for effect in effects:
            if isinstance(effect, StartStep | StopStep):
                assert task.state in (TaskState.RUNNING, TaskState.WAITING, TaskState.CANCELLING)
        if task.state.ended:
            assert task.finished_at
        outstanding(task, plan)
    assert replay(task_of(plan), plan, kept) == task
