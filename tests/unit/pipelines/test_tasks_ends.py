"""Cancels, timeouts, and what they leave."""

from __future__ import annotations

import pytest

from gamenode_pipelines.effects import FinishTask, Ignored, StartFinallyTimer, StartStep, StopStep
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    FinallyTimedOut,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskRefused,
    TaskSkipped,
    TaskStarted,
    TaskTimedOut,
)
from gamenode_pipelines.plan import RetryPolicy, StepPlan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import outstanding
from support.task_stories import Story, plan_of

RETRY = RetryPolicy(attempts=9, backoff=1.0)
TWO = plan_of(
    "a", StepPlan("b", needs=("a",)), finally_=("tell", StepPlan("tidy", needs=("tell",))), finally_timeout=60.0
)


@pytest.mark.parametrize("assigned", [False, True])
def test_a_task_that_has_not_begun_is_cancelled_at_once(assigned: bool) -> None:
    story = Story(TWO, begun=False)
    if assigned:
        story.fold(TaskAssigned(), fence=1)
        story.fold(TaskAccepted())
    assert story.cancel(reason="wrong map") == ([FinishTask()] if assigned else [])
    assert (story.task.state, story.code) == (TaskState.CANCELLED, "cancelled")
    assert story.task.error is not None
    assert "wrong map" in story.task.error.message
    assert set(story.states.values()) == {"cancelled"}


def test_a_cancel_stops_what_runs_and_lets_finally_run() -> None:
    story = Story(TWO)
    assert story.cancel() == [StopStep("a", 1, False, "cancelled")]
    assert (story.task.state, story.states["b"]) == (TaskState.CANCELLING, "cancelled")
    assert outstanding(story.task, story.plan) == (StopStep("a", 1, False, "cancelled"),)
    assert story.ended("a", code=Code.CANCELLED) == [StartFinallyTimer(1065.0), StartStep("tell", 1)]
    assert story.task.outcome is TaskState.CANCELLED
    story.ended("tell")
    assert story.ended("tidy") == [FinishTask()]
    assert story.task.state is TaskState.CANCELLED


def test_a_step_that_ends_well_while_it_is_stopped_has_succeeded_but_the_task_is_cancelled() -> None:
    story = Story(plan_of("a"))
    story.cancel()
    assert story.ended("a", 0) == [FinishTask()]
    assert (story.states["a"], story.task.state) == ("succeeded", TaskState.CANCELLED)


def test_a_cancel_after_the_end_changes_nothing() -> None:
    story = Story(plan_of("a"))
    story.ended("a")
    (effect,) = story.cancel()
    assert isinstance(effect, Ignored)
    assert story.task.state is TaskState.SUCCEEDED


def test_a_cancel_while_finally_runs_comes_too_late() -> None:
    story = Story(TWO)
    story.ended("a")
    story.ended("b")
    assert story.cancel() == []
    assert story.task.cancel is not None  # on record
    story.ended("tell")
    story.ended("tidy")
    assert story.task.state is TaskState.SUCCEEDED


def test_waiting_steps_do_not_run_again_after_a_cancel() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY)))
    story.ended("a", 1)
    assert story.cancel() == [FinishTask()]
    assert (story.states["a"], story.task.state) == ("cancelled", TaskState.CANCELLED)


def test_a_step_that_fails_while_it_is_stopped_is_not_tried_again() -> None:
    story = Story(plan_of(StepPlan("a", retry=RETRY)))
    story.cancel()
    assert story.ended("a", 143) == [FinishTask()]
    assert (story.states["a"], story.task.state) == ("failed", TaskState.CANCELLED)


def test_a_step_that_was_to_start_does_not_after_a_cancel() -> None:
    story = Story(plan_of("a"), begun=False)
    story.fold(TaskAssigned(), fence=1)
    story.fold(TaskAccepted())
    assert story.fold_only(TaskStarted()) == [StartStep("a", 1)]
    story.cancel()
    assert isinstance(story.fold_only(StepStarted("a", 1))[0], Ignored)
    assert (story.states["a"], story.state) == ("cancelled", "cancelled")


@pytest.mark.parametrize("first_force", [False, True])
def test_a_cancel_asked_again_by_force_hurries_everything(first_force: bool) -> None:
    story = Story(TWO)
    assert story.cancel(force=first_force) == [StopStep("a", 1, first_force, "cancelled")]
    assert story.states["tell"] == "pending"  # force alone skips the grace, not the cleaning up
    assert story.cancel(force=True) == [StopStep("a", 1, True, "cancelled")]
    assert story.ended("a", code=Code.CANCELLED) == [FinishTask()]
    assert story.states == {"a": "cancelled", "b": "cancelled", "tell": "skipped", "tidy": "skipped"}
    assert story.task.state is TaskState.CANCELLED


def test_the_same_cancel_delivered_twice_is_one() -> None:
    story = Story(TWO)
    cancel = CancelRequested(CancelInfo("ops", force=True, at=5.0))
    story.fold(cancel)
    assert isinstance(story.fold(cancel)[0], Ignored)
    assert story.states["tell"] == "pending"


def test_force_asked_once_lets_finally_run_as_ever() -> None:
    story = Story(plan_of("a", finally_=(StepPlan("tell", retry=RETRY),), finally_timeout=60.0))
    story.cancel(force=True)
    story.ended("a", code=Code.CANCELLED)
    assert story.state == "running"
    assert outstanding(story.task, story.plan) == (StartFinallyTimer(story.task.finally_started_at + 60.0),)
    story.ended("tell", 1)
    assert story.states["tell"] == "waiting"


def test_force_stops_finally_too() -> None:
    story = Story(TWO)
    story.cancel()
    story.ended("a", code=Code.CANCELLED)
    assert story.cancel(force=True) == [StopStep("tell", 1, True, "cancelled")]
    assert StopStep("tell", 1, True, "cancelled") in outstanding(story.task, story.plan)
    assert story.ended("tell", code=Code.CANCELLED) == [FinishTask()]
    assert (story.states["tidy"], story.task.state) == ("skipped", TaskState.CANCELLED)


def test_force_that_cuts_a_success_s_finally_short_makes_it_cancelled() -> None:
    story = Story(TWO)
    story.ended("a")
    story.ended("b")
    story.cancel(force=True)
    story.ended("tell")
    assert (story.task.state, story.code) == (TaskState.CANCELLED, "cancelled")


def test_a_second_plain_cancel_is_ignored() -> None:
    story = Story(TWO)
    story.cancel()
    assert isinstance(story.cancel()[0], Ignored)


# -- timeouts ----------------------------------------------------------------------------------------------------------


def test_a_task_out_of_time_fails_after_finally() -> None:
    story = Story(TWO)
    assert story.fold(TaskTimedOut()) == [StopStep("a", 1, False, "task_timeout")]
    assert story.task.state is TaskState.CANCELLING
    story.ended("a", code=Code.TASK_TIMEOUT)
    story.ended("tell")
    story.ended("tidy")
    assert (story.task.state, story.code) == (TaskState.FAILED, "task_timeout")
    assert story.states["b"] == "cancelled"


def test_a_cancel_after_the_timeout_does_not_change_the_outcome() -> None:
    story = Story(TWO)
    story.fold(TaskTimedOut())
    assert story.cancel() == []
    assert story.cancel(force=True) == [StopStep("a", 1, True, "task_timeout")]
    story.ended("a", code=Code.TASK_TIMEOUT)
    assert (story.task.state, story.code) == (TaskState.FAILED, "task_timeout")


def test_a_timeout_after_the_cancel_is_ignored() -> None:
    story = Story(TWO)
    story.cancel()
    assert isinstance(story.fold(TaskTimedOut())[0], Ignored)


def test_a_timeout_while_finally_runs_is_ignored() -> None:
    story = Story(TWO)
    story.ended("a", 1)
    assert isinstance(story.fold(TaskTimedOut())[0], Ignored)


def test_a_task_can_run_out_of_time_before_it_has_a_slot() -> None:
    story = Story(TWO, begun=False)
    story.fold(TaskAssigned(), fence=1)
    story.fold(TaskAccepted())
    assert story.fold(TaskTimedOut()) == [FinishTask()]
    assert (story.task.state, story.code) == (TaskState.FAILED, "task_timeout")


def test_finally_out_of_time_fails_a_success() -> None:
    story = Story(TWO)
    story.ended("a")
    story.ended("b")
    assert story.fold(FinallyTimedOut(), at=1065.0) == [StopStep("tell", 1, False, "task_timeout")]
    assert story.state == "cancelling"
    assert StopStep("tell", 1, False, "task_timeout") in outstanding(story.task, story.plan)
    # Asked again (the agent was restarted), it is stopped again.
    assert story.fold(FinallyTimedOut(), at=1066.0) == [StopStep("tell", 1, False, "task_timeout")]
    assert story.ended("tell", code=Code.TASK_TIMEOUT) == [FinishTask()]
    assert (story.task.state, story.code, story.states["tidy"]) == (TaskState.FAILED, "task_timeout", "skipped")


def test_finally_out_of_time_keeps_a_failure() -> None:
    story = Story(TWO)
    story.ended("a", 1)
    story.fold(FinallyTimedOut(), at=1065.0)
    story.ended("tell", code=Code.TASK_TIMEOUT)
    assert (story.task.state, story.code) == (TaskState.FAILED, "step_failed")


def test_a_finally_step_lost_while_it_is_stopped_has_failed() -> None:
    story = Story(TWO)
    story.ended("a")
    story.ended("b")
    story.fold(FinallyTimedOut(), at=1065.0)
    assert story.lost("tell") == [FinishTask()]
    assert (story.state, story.states["tell"]) == ("failed", "failed")


def test_no_attempt_of_finally_begins_after_its_time() -> None:
    story = Story(plan_of("a", finally_=(StepPlan("tell", retry=RETRY),), finally_timeout=60.0))
    story.ended("a")
    story.fold(FinallyTimedOut(), at=1064.0)
    assert story.ended("tell", 1) == [FinishTask()]


# -- never begun -------------------------------------------------------------------------------------------------------


def test_a_refused_task_fails_with_the_agents_error() -> None:
    story = Story(TWO, begun=False)
    story.fold(TaskAssigned(), fence=1)
    error = Error(Code.INSUFFICIENT_RESOURCES, "no space left")
    assert story.fold(TaskRefused(error)) == [FinishTask()]
    assert (story.task.state, story.task.error) == (TaskState.FAILED, error)
    assert set(story.states.values()) == {"skipped"}


def test_a_pending_task_can_be_skipped() -> None:
    story = Story(TWO, begun=False)
    assert story.fold(TaskSkipped("2 tasks failed")) == []
    assert story.task.state is TaskState.SKIPPED
    assert set(story.states.values()) == {"skipped"}
