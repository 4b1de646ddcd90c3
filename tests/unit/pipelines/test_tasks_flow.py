"""What may start when, what a failure holds back, and what a task comes to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gamenode_pipelines.effects import FinishTask, Ignored, StartFinallyTimer, StartRetryTimer, StartStep
from gamenode_pipelines.errors import Code, IllegalTransition
from gamenode_pipelines.events import RetryDue, StepEnded, StepStarted, TaskAccepted, TaskAssigned, TaskStarted
from gamenode_pipelines.plan import RetryOn, RetryPolicy, StepPlan
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.tasks import outstanding
from support.task_stories import Story, plan_of

CHAIN = plan_of("a", StepPlan("b", needs=("a",)), StepPlan("c", needs=("b",)))
FORK = plan_of(
    "a", StepPlan("left", needs=("a",)), StepPlan("right", needs=("a",)), StepPlan("join", needs=("left", "right"))
)


def test_a_task_of_one_step_succeeds() -> None:
    story = Story(plan_of("a"), begun=False)
    assert story.task.state is TaskState.PENDING
    story.fold(TaskAssigned(), fence=1)
    assert (story.task.state, story.task.fence, story.task.accepted) == (TaskState.DISPATCHED, 1, False)
    story.fold(TaskAccepted())
    assert story.task.accepted
    assert story.fold(TaskStarted()) == [StartStep("a", 1)]
    assert (story.task.state, story.task.started_at) == (TaskState.RUNNING, 1003.0)
    step = story.task.steps["a"]
    assert (step.state, step.attempt, step.started_at) == (StepState.RUNNING, 1, 1003.0)
    assert story.ended("a", outputs={"map": "dm1"}) == [FinishTask()]
    assert (story.task.state, story.task.error, story.task.finished_at) == (TaskState.SUCCEEDED, None, 1004.0)
    step = story.task.steps["a"]
    assert (step.state, step.exit_code, step.outputs) == (StepState.SUCCEEDED, 0, {"map": "dm1"})


def test_a_step_starts_when_all_it_needs_is_there() -> None:
    story = Story(FORK)
    assert story.ended("a") == [StartStep("left", 1), StartStep("right", 1)]
    assert story.ended("right") == []
    assert story.ended("left") == [StartStep("join", 1)]
    assert story.ended("join") == [FinishTask()]
    assert story.task.state is TaskState.SUCCEEDED


def test_needs_may_point_forward() -> None:
    story = Story(plan_of(StepPlan("last", needs=("mid",)), StepPlan("mid", needs=("first",)), "first"))
    assert story.states == {"last": "pending", "mid": "pending", "first": "running"}
    assert story.ended("first", 1) == [FinishTask()]
    assert story.states == {"last": "skipped", "mid": "skipped", "first": "failed"}


def test_a_failure_holds_back_what_depends_on_it_and_names_itself() -> None:
    story = Story(CHAIN)
    assert story.ended("a", 3) == [FinishTask()]
    assert story.states == {"a": "failed", "b": "skipped", "c": "skipped"}
    assert story.task.state is TaskState.FAILED
    assert story.task.error is not None
    assert story.task.error.code is Code.STEP_FAILED
    assert story.task.error.details == {"step": "a", "code": "exit_nonzero", "exit_code": "3"}
    assert "exited with 3" in story.task.error.message
    held = story.task.steps["c"].error
    assert held is not None
    assert held.details["step"] == "a"  # the cause, not the step between


def test_independent_branches_go_on_after_a_failure() -> None:
    story = Story(plan_of("bad", StepPlan("after", needs=("bad",)), "slow", StepPlan("more", needs=("slow",))))
    story.ended("bad", 1)
    assert story.state == "running"
    assert story.ended("slow") == [StartStep("more", 1)]
    assert story.ended("more") == [FinishTask()]
    assert story.states == {"bad": "failed", "after": "skipped", "slow": "succeeded", "more": "succeeded"}
    assert story.task.state is TaskState.FAILED


def test_the_failure_that_came_first_is_named() -> None:
    story = Story(plan_of("a", "b"))
    story.ended("b", 2)
    story.ended("a", 1)
    assert story.task.error is not None
    assert story.task.error.details["step"] == "b"


def test_a_failure_that_may_happen_lets_the_rest_run() -> None:
    story = Story(plan_of(StepPlan("a", continue_on_error=True), StepPlan("b", needs=("a",))))
    assert story.ended("a", 1) == [StartStep("b", 1)]
    story.ended("b")
    assert story.states == {"a": "failed", "b": "succeeded"}
    assert story.task.state is TaskState.SUCCEEDED


def test_a_step_somebody_killed_counts_as_failed() -> None:
    story = Story(CHAIN)
    story.ended("a", code=Code.CANCELLED)
    assert story.states == {"a": "cancelled", "b": "skipped", "c": "skipped"}
    assert story.task.state is TaskState.FAILED


def test_an_empty_plan_succeeds() -> None:
    assert Story(plan_of()).task.state is TaskState.SUCCEEDED


def test_steps_that_can_never_start_fail_the_task() -> None:
    story = Story(plan_of(StepPlan("a", needs=("b",)), StepPlan("b", needs=("a",))))
    assert story.task.state is TaskState.FAILED
    assert story.code == "internal"


# -- finally -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("exit_code", "outcome"), [(0, TaskState.SUCCEEDED), (1, TaskState.FAILED)])
def test_finally_runs_whatever_became_of_the_rest(exit_code: int, outcome: TaskState) -> None:
    story = Story(plan_of("a", finally_=("tell",), finally_timeout=60.0))
    assert story.ended("a", exit_code) == [StartFinallyTimer(1064.0), StartStep("tell", 1)]
    assert (story.task.state, story.task.outcome, story.task.finally_started_at) == (TaskState.RUNNING, outcome, 1004.0)
    assert story.ended("tell") == [FinishTask()]
    assert story.task.state is outcome


def test_finally_needs_are_only_an_order() -> None:
    story = Story(plan_of("a", finally_=("x", StepPlan("y", needs=("x",)))))
    story.ended("a")
    assert story.ended("x", 1) == [StartStep("y", 1)]


def test_a_failing_finally_fails_a_task_that_had_succeeded() -> None:
    story = Story(plan_of("a", finally_=("tell",)))
    story.ended("a")
    story.ended("tell", 7)
    assert story.task.state is TaskState.FAILED
    assert story.task.error is not None
    assert story.task.error.details["step"] == "tell"


def test_a_failing_finally_keeps_the_first_error() -> None:
    story = Story(plan_of("a", finally_=("tell",)))
    story.ended("a", 2)
    story.ended("tell", 7)
    assert story.task.error is not None
    assert story.task.error.details["step"] == "a"


def test_a_finally_step_that_may_fail_changes_nothing() -> None:
    story = Story(plan_of("a", finally_=(StepPlan("tell", continue_on_error=True),)))
    story.ended("a")
    story.ended("tell", 7)
    assert story.task.state is TaskState.SUCCEEDED


# -- retry -------------------------------------------------------------------------------------------------------------

RETRY = RetryPolicy(attempts=3, backoff=8.0, max_backoff=10.0)


def test_a_failed_attempt_is_tried_again_after_its_delay() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY)))
    assert story.ended("a", 1, jitter=0.5) == [StartRetryTimer("a", 2, 1008.0)]
    step = story.task.steps["a"]
    assert (step.state, step.attempt, step.retry_at, step.exit_code) == (StepState.WAITING, 1, 1008.0, 1)
    assert story.task.state is TaskState.WAITING
    assert story.due("a") == [StartStep("a", 2)]
    assert (story.task.state, story.task.steps["a"].attempt) == (TaskState.RUNNING, 2)
    assert story.ended("a", 1, jitter=0.5) == [StartRetryTimer("a", 3, 1014.0)]  # 16 s, at most 10, half of it
    story.due("a")
    assert story.ended("a", 1) == [FinishTask()]
    assert (story.task.state, story.task.steps["a"].attempt) == (TaskState.FAILED, 3)


def test_a_task_waits_only_when_everything_does() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY), StepPlan("b", retry=RETRY)))
    story.ended("a", 1, jitter=0.1)
    assert story.state == "running"
    story.ended("b", 1, jitter=0.1)
    assert story.state == "waiting"
    story.due("a")
    assert story.state == "running"


@pytest.mark.parametrize(
    ("code", "on", "again"),
    [
        (Code.STEP_TIMEOUT, RetryOn.TIMEOUT, True),
        (Code.STEP_TIMEOUT, RetryOn.EXIT, False),
        (Code.OOM_KILLED, RetryOn.RESOURCE, True),
        (Code.RESOURCE_LIMIT, RetryOn.RESOURCE, True),
        (Code.IMAGE_MISSING, RetryOn.EXIT, True),
        (Code.ENGINE_UNAVAILABLE, RetryOn.EXIT, True),
        (Code.CANCELLED, RetryOn.EXIT, False),
        (Code.REJECTED, RetryOn.EXIT, False),
        (Code.INVALID_ARGUMENT, RetryOn.EXIT, False),
        (Code.SUPERVISOR_LOST, RetryOn.LOST, False),  # it may have run, and the step is not idempotent
    ],
)
def test_what_is_tried_again(code: Code, on: RetryOn, again: bool) -> None:
    story = Story(plan_of(StepPlan("a", retry=RetryPolicy(attempts=2, on=frozenset({on})))))
    story.ended("a", code=code)
    assert (story.states["a"] == "waiting") is again


def test_a_retry_that_is_not_due_any_more_is_ignored() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY)))
    story.ended("a", 1)
    story.due("a")
    before = story.task
    assert isinstance(story.fold(RetryDue("a", 2))[0], Ignored)
    assert story.task is before


# -- repeats and impossible events -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "again",
    [TaskAccepted(), TaskStarted(), StepStarted("a", 1), StepEnded("a", 1, 0), StepEnded("a", 1, 1)],
    ids=repr,
)
def test_a_repeated_event_is_ignored_with_a_reason(again: TaskAccepted) -> None:
    story = Story(CHAIN)
    story.ended("a")
    before = story.task
    (effect,) = story.fold(again)
    assert isinstance(effect, Ignored)
    assert effect.reason
    assert story.task is before


def test_a_late_attempt_is_ignored() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY)))
    story.ended("a", 1)
    story.due("a")
    assert isinstance(story.fold(StepEnded("a", 1, 0))[0], Ignored)
    assert story.states["a"] == "running"


def test_an_ended_task_ignores_everything() -> None:
    story = Story(plan_of("a"))
    story.ended("a")
    for body in (TaskAccepted(), TaskStarted(), StepStarted("a", 2), StepEnded("a", 1, 1), TaskAssigned()):
        (effect,) = story.fold(body, fence=1)
        assert isinstance(effect, Ignored)
    assert story.task.state is TaskState.SUCCEEDED


@pytest.mark.parametrize(
    "body",
    [StepStarted("b", 1), StepStarted("a", 3), StepEnded("a", 2, 0), StepEnded("b", 1, 0), StepStarted("nope", 1)],
    ids=repr,
)
def test_what_cannot_be_raises_and_changes_nothing(body: StepStarted) -> None:
    story = Story(CHAIN)
    before = story.task
    with pytest.raises(IllegalTransition):
        story.fold(body)
    assert story.task == before


def test_nothing_starts_before_the_assignment_is_accepted() -> None:
    story = Story(CHAIN, begun=False)
    for body in (TaskAccepted(), TaskStarted(), StepStarted("a", 1)):
        with pytest.raises(IllegalTransition):
            story.fold(body)
    story.fold(TaskAssigned(), fence=1)
    with pytest.raises(IllegalTransition):
        story.fold(TaskStarted())
    with pytest.raises(IllegalTransition):
        story.fold(StepStarted("a", 1))


def test_an_event_of_another_task_is_a_bug() -> None:
    story = Story(CHAIN)
    story.task = replace(story.task, id="other")
    with pytest.raises(IllegalTransition, match="task1"):
        story.ended("a")


# -- what a shell that starts has to do again --------------------------------------------------------------------------


def test_outstanding_effects_follow_from_the_state() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY), "b", finally_=("tell",), finally_timeout=60.0))
    assert outstanding(story.task, story.plan) == ()
    story.ended("a", 1, jitter=0.5)
    assert outstanding(story.task, story.plan) == (StartRetryTimer("a", 2, 1008.0),)
    story.fold_only(RetryDue("a", 2))
    assert outstanding(story.task, story.plan) == (StartStep("a", 2),)
    story.fold_only(StepStarted("a", 2))
    story.ended("a")
    story.ended("b")
    assert outstanding(story.task, story.plan) == (StartFinallyTimer(story.task.finally_started_at + 60.0),)
    story.ended("tell")
    assert outstanding(story.task, story.plan) == ()
