"""Inlined pipelines and steps for a failure, as the task machine moves them."""

from __future__ import annotations

from typing import Any

import pytest

from gamenode_pipelines.errors import Code, IllegalTransition
from gamenode_pipelines.events import FinallyTimedOut, StepStarted, TaskLost, TaskTimedOut
from gamenode_pipelines.plan import GROUP, Argument, Inlined, OnLost, Plan, RetryPolicy, StepPlan
from gamenode_pipelines.scope import task_scope
from support.task_stories import Story, plan_of


def member(id: str, *needs: str, **more: Any) -> StepPlan:
    group = id.rpartition(".")[0]
    return StepPlan(id, group=group, needs=tuple(f"{group}.{need}" for need in needs), **more)


def group(id: str, *needs: str, **more: Any) -> StepPlan:
    return StepPlan(id, kind=GROUP, needs=needs, **more)


def deploying(*, arguments: tuple[Argument, ...] = (), on_lost: OnLost = OnLost.WAIT, **more: Any) -> Plan:
    return plan_of(
        "first",
        group("deploy", "first", **more),
        member("deploy.pull"),
        member("deploy.start", "pull"),
        StepPlan("after", needs=("deploy",)),
        finally_=(StepPlan("deploy.tidy"), StepPlan("last", needs=("deploy.tidy",))),
        scopes={"deploy": Inlined("other", 3, arguments)},
        on_lost=on_lost,
    )


def test_an_inlined_pipeline_is_one_step_to_those_around_it() -> None:
    story = Story(deploying())
    assert story.states["deploy"] == "pending"
    story.ended("first")
    assert (story.states["deploy"], story.states["deploy.pull"]) == ("running", "running")
    story.ended("deploy.pull")
    assert (story.states["deploy.start"], story.states["after"]) == ("running", "pending")
    story.ended("deploy.start")
    assert (story.states["deploy"], story.states["after"]) == ("succeeded", "running")
    story.ended("after")
    assert story.states["deploy.tidy"] == "running"
    story.ended("deploy.tidy")
    story.ended("last")
    assert story.state == "succeeded"


def test_it_fails_with_its_step_and_its_finally_runs() -> None:
    story = Story(deploying())
    story.ended("first")
    story.ended("deploy.pull", 3)
    assert (story.states["deploy"], story.states["deploy.start"], story.states["after"]) == (
        "failed",
        "skipped",
        "skipped",
    )
    assert story.states["deploy.tidy"] == "running"
    story.ended("deploy.tidy")
    story.ended("last")
    assert story.state == "failed"
    assert story.task.error is not None
    assert story.task.error.message == "step 'deploy' failed: step 'deploy.pull' failed: exited with 3"


def test_it_may_fail() -> None:
    story = Story(deploying(continue_on_error=True))
    story.ended("first")
    story.ended("deploy.pull", 3)
    assert (story.states["deploy"], story.states["after"]) == ("failed", "running")
    story.ended("after")
    story.ended("deploy.tidy")
    story.ended("last")
    assert story.state == "succeeded"


def test_its_condition_is_asked_once_and_for_all_of_it() -> None:
    story = Story(deploying(condition='steps.first.outputs.go == "yes"'))
    story.ended("first")
    skipped = ("deploy", "deploy.pull", "deploy.start")
    assert {story.states[id] for id in skipped} == {"skipped"}
    assert all(story.task.steps[id].error is None for id in skipped)
    assert story.states["after"] == "running"
    story.ended("after")
    assert (story.states["deploy.tidy"], story.states["last"]) == ("skipped", "running")


def test_what_held_it_back_holds_back_all_of_it() -> None:
    story = Story(deploying())
    story.ended("first", 1)
    assert (story.states["deploy"], story.states["deploy.start"]) == ("skipped", "skipped")
    assert story.task.steps["deploy.start"].error is not None
    assert story.states["deploy.tidy"] == "skipped"
    story.ended("last")
    assert story.state == "failed"


def test_a_cancel_stops_what_runs_in_it_and_its_finally_runs() -> None:
    story = Story(deploying())
    story.ended("first")
    story.cancel()
    assert (story.states["deploy"], story.states["deploy.pull"], story.states["deploy.start"]) == (
        "cancelled",
        "running",
        "cancelled",
    )
    story.ended("deploy.pull", code=Code.CANCELLED)
    assert story.states["deploy.tidy"] == "running"
    story.ended("deploy.tidy")
    story.ended("last")
    assert story.state == "cancelled"


def test_nobody_starts_it_as_a_step() -> None:
    story = Story(deploying())
    story.ended("first")
    with pytest.raises(IllegalTransition):
        story.fold_only(StepStarted("deploy", 1))


def test_parameters_are_typed_before_anything_of_it_starts() -> None:
    port = Argument("port", "${{ steps.first.outputs.port }}", "integer", min=1024, max=65535)
    story = Story(deploying(arguments=(port,)))
    story.ended("first", outputs={"port": "27960"})
    assert task_scope(story.task, story.plan, "deploy")["params"] == {"port": 27960}
    story = Story(deploying(arguments=(port,)))
    story.ended("first", outputs={"port": "80"})
    error = story.task.steps["deploy"].error
    assert error is not None
    assert error.code is Code.INVALID_ARGUMENT
    assert "parameter 'port' of pipeline 'other': 80 is less than 1024" in error.message
    assert (story.states["deploy.pull"], story.states["deploy.tidy"]) == ("skipped", "running")


def test_each_pipeline_sees_its_own_steps_by_its_own_names() -> None:
    story = Story(deploying())
    story.ended("first")
    story.ended("deploy.pull", outputs={"image": "a", "size": "1"})
    story.ended("deploy.start", outputs={"image": "b"})
    outside: Any = task_scope(story.task, story.plan)["steps"]
    inside: Any = task_scope(story.task, story.plan, "deploy")["steps"]
    assert set(outside) == {"first", "deploy", "after", "last"}
    assert outside["deploy"]["outputs"] == {"image": "b", "size": "1"}
    assert set(inside) == {"pull", "start", "tidy"}


def test_a_new_assignment_goes_on_within_it() -> None:
    plan = plan_of(
        group("deploy"),
        member("deploy.pull", idempotent=True),
        member("deploy.start", "pull", idempotent=True),
        scopes={"deploy": Inlined("other", 1)},
        on_lost=OnLost.RETRY,
    )
    story = Story(plan)
    story.ended("deploy.pull")
    story.lost("deploy.start")
    assert story.state == "lost"
    story.begin()
    assert story.states == {"deploy": "running", "deploy.pull": "succeeded", "deploy.start": "running"}
    story.ended("deploy.start")
    assert story.state == "succeeded"


def test_one_that_failed_and_might_stays_as_it_ended() -> None:
    plan = plan_of(
        group("deploy", continue_on_error=True),
        member("deploy.pull"),
        StepPlan("other", idempotent=True),
        scopes={"deploy": Inlined("other", 1)},
        on_lost=OnLost.RETRY,
    )
    story = Story(plan)
    story.ended("deploy.pull", 1)
    story.lost("other")
    story.begin()
    assert story.states == {"deploy": "failed", "deploy.pull": "failed", "other": "running"}


# -- on_failure --------------------------------------------------------------------------------------------------------


def answered(**more: Any) -> Plan:
    return plan_of(
        StepPlan("work", **more),
        StepPlan("tell", after_failure="work"),
        StepPlan("undo", after_failure="work", needs=("tell",)),
        StepPlan("next", needs=("work",)),
        finally_=("last",),
    )


def test_what_is_for_a_failure_runs_after_it_and_the_task_stays_failed() -> None:
    story = Story(answered())
    story.ended("work", 7)
    assert (story.states["tell"], story.states["undo"], story.states["next"]) == ("running", "pending", "skipped")
    seen: Any = task_scope(story.task, story.plan)["steps"]
    assert (seen["work"]["error"], seen["work"]["exit_code"]) == ("exit_nonzero", 7)
    assert seen["work"]["message"] == "exited with 7"
    story.ended("tell", 1)
    assert story.states["undo"] == "running"
    story.ended("undo")
    story.ended("last")
    assert story.state == "failed"
    assert story.task.error is not None
    assert story.task.error.details["step"] == "work"


def test_it_waits_for_the_last_attempt() -> None:
    story = Story(answered(retry=RetryPolicy(2)))
    story.ended("work", 7)
    assert (story.states["work"], story.states["tell"]) == ("waiting", "pending")
    story.due("work")
    story.ended("work")
    assert (story.states["tell"], story.states["undo"], story.states["next"]) == ("skipped", "skipped", "running")
    assert story.task.steps["tell"].error is None


def test_a_failure_that_may_be_is_answered_too() -> None:
    story = Story(answered(continue_on_error=True))
    story.ended("work", 7)
    assert (story.states["tell"], story.states["next"]) == ("running", "running")
    for id in ("tell", "undo", "next", "last"):
        story.ended(id)
    assert story.state == "succeeded"


def test_an_answer_that_fails_fails_the_task() -> None:
    story = Story(answered(continue_on_error=True))
    for id, code in (("work", 7), ("tell", 1), ("undo", 0), ("next", 0), ("last", 0)):
        story.ended(id, code)
    assert story.state == "failed"


@pytest.mark.parametrize("how", ["cancel", "timeout"])
def test_nothing_answers_the_end_of_the_task_itself(how: str) -> None:
    story = Story(answered())
    if how == "cancel":
        story.cancel()
        story.ended("work", code=Code.CANCELLED)
    else:
        story.fold(TaskTimedOut())
        story.ended("work", code=Code.TASK_TIMEOUT)
    assert (story.states["tell"], story.states["undo"], story.states["last"]) == ("cancelled", "cancelled", "running")
    story.ended("last")
    assert story.state == ("cancelled" if how == "cancel" else "failed")


def test_a_cancel_ends_the_answer() -> None:
    story = Story(answered())
    story.ended("work", 7)
    story.cancel()
    assert (story.states["tell"], story.states["undo"]) == ("running", "cancelled")
    story.ended("tell", code=Code.CANCELLED)
    story.ended("last")
    assert story.state == "cancelled"


def test_a_step_that_runs_again_is_answered_again() -> None:
    plan = plan_of(
        StepPlan("work", idempotent=True),
        StepPlan("tell", after_failure="work"),
        StepPlan("long", idempotent=True),
        on_lost=OnLost.RETRY,
    )
    story = Story(plan)
    story.ended("work", 7)
    story.ended("tell")
    story.fold(TaskLost("its node is gone", gone=True))
    story.begin()
    assert story.states == {"work": "running", "tell": "pending", "long": "running"}
    story.ended("work", 8)
    assert story.states["tell"] == "running"
    assert story.task.steps["tell"].attempt == 2


def test_a_failure_in_finally_is_answered_there() -> None:
    plan = plan_of("work", finally_=(StepPlan("tidy"), StepPlan("tell", after_failure="tidy")))
    story = Story(plan)
    story.ended("work")
    story.ended("tidy", 1)
    assert story.states["tell"] == "running"
    story.fold(FinallyTimedOut())
    story.ended("tell", code=Code.TASK_TIMEOUT)
    assert story.state == "failed"


def test_an_inlined_pipelines_failure_is_answered() -> None:
    plan = plan_of(
        group("deploy"),
        member("deploy.pull"),
        StepPlan("undo", after_failure="deploy"),
        scopes={"deploy": Inlined("other", 1)},
    )
    story = Story(plan)
    story.ended("deploy.pull", 1)
    assert story.states["undo"] == "running"
    story.ended("undo")
    assert story.state == "failed"
