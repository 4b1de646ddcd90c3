"""How a run moves over its nodes: canary, pauses, an operator's hold, approvals, turns."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from gamenode_pipelines import runs
from gamenode_pipelines.effects import AwaitTurn, FinishRun, RunEffect, SkipPendingTasks, StartTasks
from gamenode_pipelines.errors import Code, IllegalTransition
from gamenode_pipelines.events import CancelInfo
from gamenode_pipelines.gates import Approval, Decision, Hold
from gamenode_pipelines.rollout import Rollout, RolloutPolicy, Share, policy_of
from gamenode_pipelines.runs import (
    PauseOver,
    Run,
    RunAdmitted,
    RunCancelRequested,
    RunCreated,
    RunDecided,
    RunPaused,
    RunResumed,
    StepDecided,
    TaskChanged,
)
from gamenode_pipelines.states import RunState
from gamenode_pipelines.states import TaskState as T


class Scene:
    """A run and its tasks, moved the way a shell moves them, and its clock."""

    def __init__(self, total: int, rollout: Rollout, **run: object) -> None:
        self.run = replace(Run("r", "p", 1, total, rollout=rollout), **run)  # type: ignore[arg-type]
        self.tasks = [T.PENDING] * total
        self.now = 100.0
        self.effects: list[RunEffect] = []
        self.fold(RunCreated())

    def fold(self, event: runs.RunEvent) -> None:
        self.run, effects = runs.step(self.run, event, self.now)
        self.effects.extend(effects)
        for effect in effects:
            if isinstance(effect, StartTasks):
                self.assign()
            elif isinstance(effect, SkipPendingTasks):
                for position, task in enumerate(self.tasks):
                    if task is T.PENDING:
                        self.move(position, T.SKIPPED)

    def assign(self) -> None:
        for position in range(self.run.started):
            if self.tasks[position] is T.PENDING and runs.may_assign(self.run):
                self.move(position, T.RUNNING)

    def move(self, position: int, state: T) -> None:
        old, self.tasks[position] = self.tasks[position], state
        self.fold(TaskChanged(old, state, position))

    @property
    def words(self) -> str:
        return "".join(
            {T.PENDING: ".", T.RUNNING: "r", T.SUCCEEDED: "+", T.FAILED: "x"}.get(t, "-") for t in self.tasks
        )


def test_percentages_are_of_the_run_and_never_nothing() -> None:
    policy = RolloutPolicy(Share(25, percent=True), Share(1, percent=True), Share(10, percent=True))
    assert (policy.of(10), policy.of(3)) == (Rollout(3, 1, 1), Rollout(1, 1, 1))
    assert policy_of(policy.of(200)).of(7) == Rollout(50, 2, 20)


def test_the_others_begin_when_the_whole_canary_has_succeeded() -> None:
    scene = Scene(5, Rollout(3, 2, canary=2))
    assert scene.words == "rr..."
    scene.move(1, T.SUCCEEDED)
    assert scene.words == "r+..."
    scene.move(0, T.SUCCEEDED)
    assert scene.words == "++rrr"
    scene.move(2, T.FAILED)
    assert not runs.stops_starting(scene.run)


def test_a_canary_that_fails_ends_the_run_whatever_max_failures_says() -> None:
    scene = Scene(4, Rollout(0, 0, canary=2))
    scene.move(0, T.FAILED)
    assert scene.words == "xr--"
    scene.move(1, T.SUCCEEDED)
    assert (scene.run.state, scene.effects[-1]) == (RunState.FAILED, FinishRun())


def test_nothing_begins_for_a_while_after_an_end() -> None:
    scene = Scene(4, Rollout(2, 1, pause=10.0))
    scene.now = 105.0
    scene.move(0, T.SUCCEEDED)
    scene.now = 108.0
    scene.move(1, T.SUCCEEDED)
    assert (scene.words, scene.run.next_at, scene.run.state) == ("++..", 118.0, RunState.RUNNING)
    scene.now = 117.0
    scene.fold(PauseOver())
    assert scene.words == "++.."
    scene.now = 118.0
    scene.fold(PauseOver())
    assert (scene.words, scene.run.next_at) == ("++rr", 0.0)


def test_a_run_that_is_held_starts_nothing_and_goes_on_where_it_stood() -> None:
    scene = Scene(4, Rollout(1))
    scene.fold(RunPaused(Hold("ann", "look")))
    assert scene.run.state is RunState.PAUSED
    scene.move(0, T.SUCCEEDED)
    assert (scene.words, scene.run.state) == ("+...", RunState.PAUSED)
    scene.fold(RunResumed())
    assert (scene.words, scene.run.state, scene.run.hold) == ("+r..", RunState.RUNNING, None)
    with pytest.raises(IllegalTransition, match="not paused"):
        scene.fold(RunResumed())
    everything = Scene(2, Rollout())
    with pytest.raises(IllegalTransition, match="nothing to hold back"):
        everything.fold(RunPaused(Hold("ann")))


def test_a_run_waits_for_its_approval_and_then_for_its_turn() -> None:
    scene = Scene(2, Rollout(), approval=Approval(), group="maps")
    assert (scene.words, scene.run.state) == ("..", RunState.WAITING)
    scene.fold(RunDecided(Decision(True, "ann")))
    assert (scene.words, scene.run.state, scene.run.queued) == ("..", RunState.PENDING, True)
    assert scene.effects[-1] == AwaitTurn()
    scene.fold(RunAdmitted())
    assert (scene.words, scene.run.state, scene.run.begun) == ("rr", RunState.RUNNING, True)
    with pytest.raises(IllegalTransition, match="waits for no approval"):
        scene.fold(RunDecided(Decision(True, "kim")))


def test_a_run_that_is_rejected_ends_with_who_and_why() -> None:
    scene = Scene(2, Rollout(), approval=Approval())
    scene.fold(RunDecided(Decision(False, "ann", "not today")))
    assert (scene.words, scene.run.state) == ("--", RunState.FAILED)
    assert scene.run.error is not None
    assert (scene.run.error.code, scene.run.error.message) == (Code.REJECTED, "rejected by ann: not today")
    assert not scene.run.begun


def test_a_step_is_decided_once() -> None:
    scene = Scene(1, Rollout())
    first, second = Decision(True, "ann"), Decision(False, "kim")
    scene.fold(StepDecided("ask", first))
    scene.fold(StepDecided("ask", second))
    scene.fold(StepDecided(runs.decision_key("each", "n1"), second))
    assert runs.decided(scene.run, "ask", "n9") == first
    assert runs.decided(scene.run, "each", "n1") == second
    assert runs.decided(scene.run, "each", "n2") is None


@pytest.mark.parametrize("seed", range(200))
def test_any_story_keeps_the_rules_and_ends(seed: int) -> None:
    rng = random.Random(seed)
    total = rng.randint(1, 8)
    rollout = Rollout(rng.randint(0, 3), rng.randint(0, 3), rng.randint(0, 4), rng.choice((0.0, 5.0)))
    approval = Approval() if rng.random() < 0.3 else None
    scene = Scene(total, rollout, approval=approval, group=rng.choice(("", "g")))
    for _ in range(2000):
        if scene.run.state.ended:
            break
        scene.now += 1.0
        live = [p for p, t in enumerate(scene.tasks) if t is T.RUNNING]
        if rollout.max_parallel:
            assert len(live) <= rollout.max_parallel
        succeeded = scene.tasks.count(T.SUCCEEDED)
        if succeeded < min(rollout.canary, total):
            assert all(t in (T.PENDING, T.SKIPPED, T.CANCELLED) for t in scene.tasks[rollout.canary :])
        if scene.run.hold is not None:
            before = scene.run.started
        match rng.choice(("task", "task", "task", "pause", "resume", "time", "decide", "admit", "cancel")):
            case "task" if live:
                scene.move(rng.choice(live), rng.choice((T.SUCCEEDED, T.SUCCEEDED, T.SUCCEEDED, T.FAILED)))
            case "pause" if T.PENDING in scene.run.counts and scene.run.hold is None and scene.run.cancel is None:
                scene.fold(RunPaused(Hold("ann")))
                before = scene.run.started
            case "resume" if scene.run.hold is not None:
                scene.fold(RunResumed())
                scene.assign()
                before = scene.run.started
            case "time":
                scene.fold(PauseOver())
            case "decide" if scene.run.state is RunState.WAITING:
                scene.fold(RunDecided(Decision(rng.random() < 0.7, "ann")))
            case "admit":
                scene.fold(RunAdmitted())
            case "cancel" if rng.random() < 0.02:
                scene.fold(RunCancelRequested(CancelInfo("ops", at=scene.now)))
                for position, task in enumerate(scene.tasks):
                    if not task.ended and not scene.run.state.ended:
                        scene.move(position, T.CANCELLED)
            case _:
                pass
        if scene.run.hold is not None:
            assert scene.run.started == before, "nothing starts while it is held"
    assert scene.run.state.ended, (scene.run, scene.words)
    assert all(task.ended for task in scene.tasks)
    assert scene.effects.count(FinishRun()) == 1
    assert (scene.run.state is RunState.SUCCEEDED) == all(task is T.SUCCEEDED for task in scene.tasks)


def test_a_canary_that_is_cancelled_has_not_shown_that_it_works() -> None:
    scene = Scene(6, Rollout(max_parallel=2, max_failures=3, canary=2))
    scene.move(0, T.SUCCEEDED)
    scene.move(1, T.CANCELLED)
    assert scene.words == "+-----"
    assert scene.run.state is RunState.FAILED
    assert scene.run.error is not None
    assert scene.run.error.message == "0 of 6 tasks failed, 1 cancelled, 4 skipped"


def test_tasks_whose_place_is_taken_by_another_run_make_no_room_for_more() -> None:
    scene = Scene(8, Rollout(max_parallel=2))
    for position in (2, 3, 5):
        scene.move(position, T.CANCELLED)
    assert scene.words == "rr--.-.."
    scene.move(0, T.SUCCEEDED)
    assert scene.words == "+r--r-.."
    scene.move(1, T.SUCCEEDED)
    scene.move(4, T.SUCCEEDED)
    assert scene.words == "++--+-rr"


@pytest.mark.parametrize("gate", [{"approval": Approval()}, {"group": "g"}])
def test_tasks_of_a_run_that_has_not_begun_can_lose_their_place(gate: dict[str, object]) -> None:
    scene = Scene(3, Rollout(max_parallel=1, pause=5), **gate)
    scene.move(0, T.CANCELLED)
    assert (scene.words, scene.run.next_at) == ("-..", 0)
    scene.fold(RunAdmitted() if "group" in gate else RunDecided(Decision(True, "ann", "", 1.0)))
    assert scene.words == "-r."
    scene.now += 10
    scene.move(1, T.SUCCEEDED)
    scene.now += 10
    scene.fold(PauseOver())
    scene.move(2, T.SUCCEEDED)
    assert scene.run.state is RunState.FAILED, "not all of it was done"

    scene = Scene(2, Rollout(), **gate)
    scene.move(0, T.CANCELLED)
    scene.move(1, T.CANCELLED)
    assert (scene.run.state, scene.run.queued) == (RunState.FAILED, False)
    assert isinstance(scene.effects[-1], FinishRun)
