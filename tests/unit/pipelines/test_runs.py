"""How a run moves as its tasks do."""

from __future__ import annotations

import random

import pytest

from gamenode_pipelines import runs
from gamenode_pipelines.effects import CancelTasks, FinishRun, Ignored, RunEffect, SkipPendingTasks, StartTasks
from gamenode_pipelines.errors import Code, IllegalTransition
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.rollout import Rollout
from gamenode_pipelines.runs import Run, RunCancelRequested, RunCreated, TaskChanged
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.states import TaskState as T


class Fleet:
    """A run and its tasks, moved the way a shell moves them."""

    def __init__(self, total: int, *, max_parallel: int = 0, max_failures: int = 1) -> None:
        self.run = Run("run1", "demo", 1, total, rollout=Rollout(max_parallel, max_failures))
        self.tasks = [T.PENDING] * total
        self.now = 100.0
        self.effects: list[RunEffect] = []
        self.fold(RunCreated())

    def fold(self, event: runs.RunEvent) -> tuple[RunEffect, ...]:
        self.now += 1
        self.run, effects = runs.step(self.run, event, self.now)
        self.effects.extend(effects)
        for effect in effects:
            match effect:
                case StartTasks(count=count):
                    for position in range(self.run.started - count, self.run.started):
                        self.move(position, T.DISPATCHED)
                case SkipPendingTasks():
                    self._pending(T.SKIPPED)
                case CancelTasks():
                    self._pending(T.CANCELLED)
                    for position, state in enumerate(self.tasks):
                        if state is T.NEEDS_ATTENTION:
                            self.move(position, T.CANCELLED)
                case _:
                    pass
        return effects

    def _pending(self, state: TaskState) -> None:
        for position, task in enumerate(self.tasks):
            if task is T.PENDING:
                self.move(position, state)

    def move(self, position: int, *states: TaskState) -> tuple[RunEffect, ...]:
        effects: tuple[RunEffect, ...] = ()
        for state in states:
            old, self.tasks[position] = self.tasks[position], state
            effects = self.fold(TaskChanged(old, state))
        return effects

    @property
    def state(self) -> str:
        return str(self.run.state)


def test_a_run_starts_all_its_tasks_and_succeeds_with_them() -> None:
    fleet = Fleet(3)
    assert (fleet.state, fleet.run.started, fleet.run.started_at) == ("running", 3, 101.0)
    for position in range(3):
        fleet.move(position, T.RUNNING, T.SUCCEEDED)
    assert (fleet.state, fleet.run.error, fleet.run.counts) == ("succeeded", None, {T.SUCCEEDED: 3})
    assert fleet.effects[-1] == FinishRun()
    assert fleet.run.finished_at == fleet.now


def test_max_parallel_is_kept() -> None:
    fleet = Fleet(5, max_parallel=2)
    assert fleet.tasks == [T.DISPATCHED] * 2 + [T.PENDING] * 3
    assert fleet.move(1, T.RUNNING) == ()
    assert fleet.move(1, T.SUCCEEDED) == (StartTasks(1),)
    assert fleet.tasks[2] is T.DISPATCHED
    for position in (0, 2, 3, 4):
        assert sum(not t.ended and t is not T.PENDING for t in fleet.tasks) <= 2
        fleet.move(position, T.SUCCEEDED)
    assert fleet.state == "succeeded"


def test_too_many_failures_stop_the_rollout() -> None:
    fleet = Fleet(5, max_parallel=1, max_failures=2)
    fleet.move(0, T.FAILED)
    assert fleet.tasks[1] is T.DISPATCHED
    assert fleet.move(1, T.FAILED) == (SkipPendingTasks("the run stopped starting tasks after 2 failure(s)"),)
    assert fleet.tasks == [T.FAILED, T.FAILED, T.SKIPPED, T.SKIPPED, T.SKIPPED]
    assert fleet.state == "failed"
    assert fleet.run.error is not None
    assert (fleet.run.error.code, fleet.run.error.message) == (Code.TASK_FAILED, "2 of 5 tasks failed, 3 skipped")


def test_tasks_that_run_finish_after_the_rollout_stopped() -> None:
    fleet = Fleet(4, max_parallel=2)
    fleet.move(0, T.FAILED)
    assert (fleet.state, fleet.tasks[1:]) == ("running", [T.DISPATCHED, T.SKIPPED, T.SKIPPED])
    fleet.move(1, T.SUCCEEDED)
    assert fleet.state == "failed"


def test_a_task_that_might_start_but_has_not_is_skipped_too() -> None:
    run, _ = runs.step(Run("run1", "demo", 1, 2), RunCreated(), 1.0)
    run, _ = runs.step(run, TaskChanged(T.PENDING, T.DISPATCHED), 2.0)  # the other one's node is not there
    run, effects = runs.step(run, TaskChanged(T.DISPATCHED, T.FAILED), 3.0)
    assert effects == (SkipPendingTasks("the run stopped starting tasks after 1 failure(s)"),)
    assert runs.stops_starting(run)


def test_without_a_limit_failures_stop_nothing() -> None:
    fleet = Fleet(3, max_parallel=1, max_failures=0)
    for position in range(3):
        fleet.move(position, T.FAILED)
    assert fleet.run.error is not None
    assert fleet.run.error.message == "3 of 3 tasks failed"
    assert not any(isinstance(effect, SkipPendingTasks) for effect in fleet.effects)


def test_a_cancelled_run() -> None:
    fleet = Fleet(3, max_parallel=1)
    cancel = CancelInfo("ops", "wrong map", at=5.0)
    assert fleet.fold(RunCancelRequested(cancel)) == (CancelTasks(),)
    assert (fleet.state, fleet.run.cancel) == ("cancelling", cancel)
    assert fleet.tasks == [T.DISPATCHED, T.CANCELLED, T.CANCELLED]
    assert fleet.move(0, T.CANCELLING, T.CANCELLED) == (FinishRun(),)
    assert fleet.state == "cancelled"
    assert fleet.run.error is not None
    assert fleet.run.error.message == "cancelled by ops: wrong map"


def test_a_cancel_that_comes_too_late_for_every_task() -> None:
    fleet = Fleet(1)
    fleet.fold(RunCancelRequested(CancelInfo("ops")))
    fleet.move(0, T.SUCCEEDED)
    assert fleet.state == "succeeded"


def test_a_failure_under_a_cancel_starts_nothing() -> None:
    fleet = Fleet(3, max_parallel=2, max_failures=5)
    fleet.fold(RunCancelRequested(CancelInfo("ops")))
    assert fleet.move(0, T.FAILED) == ()
    fleet.move(1, T.CANCELLED)
    assert fleet.state == "cancelled"


def test_a_cancel_again() -> None:
    fleet = Fleet(2)
    cancel = CancelInfo("ops", at=1.0)
    fleet.fold(RunCancelRequested(cancel))
    assert isinstance(fleet.fold(RunCancelRequested(cancel))[0], Ignored)
    assert isinstance(fleet.fold(RunCancelRequested(CancelInfo("kim", at=2.0)))[0], Ignored)
    assert fleet.fold(RunCancelRequested(CancelInfo("kim", force=True, at=3.0))) == (CancelTasks(),)
    fleet.move(0, T.CANCELLED)
    fleet.move(1, T.CANCELLED)
    assert isinstance(fleet.fold(RunCancelRequested(CancelInfo("kim", at=4.0)))[0], Ignored)


def test_a_run_needs_attention_only_when_nothing_else_in_it_can_move() -> None:
    fleet = Fleet(2)
    fleet.move(0, T.RUNNING, T.NEEDS_ATTENTION)
    assert fleet.state == "running"
    fleet.move(1, T.RUNNING, T.SUCCEEDED)
    assert fleet.state == "needs_attention"
    fleet.move(0, T.LOST)
    assert fleet.state == "running"
    fleet.move(0, T.DISPATCHED, T.RUNNING, T.SUCCEEDED)
    assert fleet.state == "succeeded"


def test_a_rollout_does_not_walk_past_a_node_nobody_knows_the_state_of() -> None:
    fleet = Fleet(3, max_parallel=1)
    fleet.move(0, T.NEEDS_ATTENTION)
    assert (fleet.state, fleet.tasks[1]) == ("needs_attention", T.PENDING)
    fleet.move(0, T.SUCCEEDED)
    assert (fleet.state, fleet.tasks[1]) == ("running", T.DISPATCHED)


def test_a_cancel_of_a_run_that_needs_attention() -> None:
    fleet = Fleet(2, max_parallel=1)
    fleet.move(0, T.NEEDS_ATTENTION)
    fleet.fold(RunCancelRequested(CancelInfo("ops")))
    assert (fleet.state, fleet.tasks) == ("cancelled", [T.CANCELLED, T.CANCELLED])


def test_a_cancel_does_not_hide_that_only_a_person_can_move_it() -> None:
    fleet = Fleet(1)
    fleet.move(0, T.NEEDS_ATTENTION)
    run, effects = runs.step(fleet.run, RunCancelRequested(CancelInfo("ops")), 9.0)
    assert effects == (CancelTasks(),)
    assert run.state is RunState.NEEDS_ATTENTION  # its node may be out of reach; if not, the task's end follows


def test_a_run_being_cancelled_can_need_attention_and_go_on() -> None:
    fleet = Fleet(1)
    fleet.fold(RunCancelRequested(CancelInfo("ops")))
    fleet.move(0, T.NEEDS_ATTENTION)
    assert fleet.state == "needs_attention"
    fleet.move(0, T.RUNNING)
    assert fleet.state == "cancelling"


def test_a_run_of_nothing_succeeds() -> None:
    assert Fleet(0).state == "succeeded"


@pytest.mark.parametrize("change", [(T.RUNNING, T.SUCCEEDED), (T.LOST, T.DISPATCHED)])
def test_a_change_that_cannot_be_raises(change: tuple[TaskState, TaskState]) -> None:
    fleet = Fleet(2)
    with pytest.raises(IllegalTransition):
        runs.step(fleet.run, TaskChanged(*change), 1.0)


def test_nothing_changes_in_a_run_that_has_ended_or_not_begun() -> None:
    fleet = Fleet(1)
    fleet.move(0, T.SUCCEEDED)
    with pytest.raises(IllegalTransition):
        runs.step(fleet.run, TaskChanged(T.SUCCEEDED, T.FAILED), 1.0)
    with pytest.raises(IllegalTransition):
        runs.step(Run("r", "p", 1, 1), TaskChanged(T.PENDING, T.DISPATCHED), 1.0)
    assert isinstance(runs.step(Fleet(1).run, RunCreated(), 1.0)[1][0], Ignored)
    assert isinstance(runs.step(Fleet(1).run, TaskChanged(T.DISPATCHED, T.DISPATCHED), 1.0)[1][0], Ignored)


@pytest.mark.parametrize("seed", range(60))
def test_any_rollout_ends_within_its_rules(seed: int) -> None:
    rng = random.Random(seed)
    limit, failures = rng.randint(0, 4), rng.randint(0, 3)
    fleet = Fleet(rng.randint(1, 9), max_parallel=limit, max_failures=failures)
    while not fleet.run.state.ended:
        live = [p for p, t in enumerate(fleet.tasks) if t is not T.PENDING and not t.ended]
        assert live, fleet.run
        if limit:
            assert len(live) <= limit
        if rng.random() < 0.03:
            fleet.fold(RunCancelRequested(CancelInfo("ops", force=rng.random() < 0.5, at=fleet.now)))
            continue
        old = fleet.tasks[position := rng.choice(live)]
        new = rng.choice([T.RUNNING, T.WAITING, T.SUCCEEDED, T.SUCCEEDED, T.FAILED, T.NEEDS_ATTENTION, T.CANCELLED])
        if old is not new and (new is not T.CANCELLED or fleet.run.cancel is not None):
            fleet.move(position, new)
            stuck = [t for t in fleet.tasks if not t.ended and t is not T.PENDING]
            assert (fleet.run.state is RunState.NEEDS_ATTENTION) == (
                bool(stuck) and all(t is T.NEEDS_ATTENTION for t in stuck)
            )
    assert all(t.ended for t in fleet.tasks)
    assert {s: n for s in T if (n := fleet.tasks.count(s))} == dict(fleet.run.counts)
    assert fleet.effects.count(FinishRun()) == 1
    assert sum(isinstance(effect, SkipPendingTasks) for effect in fleet.effects) <= 1
    assert (fleet.state == "succeeded") == all(t is T.SUCCEEDED for t in fleet.tasks)
