"""Conditions of steps, and what expressions see of a task."""

from __future__ import annotations

from gamenode_pipelines import expressions
from gamenode_pipelines.errors import Code
from gamenode_pipelines.plan import StepPlan
from gamenode_pipelines.scope import task_scope
from support.task_stories import Story, plan_of


def test_a_step_whose_condition_is_false_is_skipped_and_lets_others_run() -> None:
    plan = plan_of(
        StepPlan("eu", condition='node.labels.region == "eu"'),
        StepPlan("us", condition='node.labels.region == "us"'),
        StepPlan("after", needs=("us",)),
    )
    story = Story(plan)
    assert story.states == {"eu": "running", "us": "skipped", "after": "running"}
    assert story.task.steps["us"].error is None


def test_a_condition_sees_what_earlier_steps_said() -> None:
    plan = plan_of("look", StepPlan("act", needs=("look",), condition='steps.look.outputs.players == "0"'))
    for players, state in (("0", "running"), ("3", "skipped")):
        story = Story(plan)
        story.ended("look", outputs={"players": players})
        assert story.states["act"] == state


def test_a_condition_that_cannot_be_evaluated_fails_its_step() -> None:
    story = Story(plan_of(StepPlan("a", condition="params.nope.deeper > 3"), StepPlan("b", needs=("a",))))
    assert story.states == {"a": "failed", "b": "skipped"}
    error = story.task.steps["a"].error
    assert error is not None
    assert error.code is Code.INVALID_ARGUMENT
    assert story.state == "failed"


def test_a_failing_condition_may_be_tolerated() -> None:
    plan = plan_of(
        StepPlan("a", condition="params.nope.deeper > 3", continue_on_error=True), StepPlan("b", needs=("a",))
    )
    assert Story(plan).states == {"a": "failed", "b": "running"}


def test_skips_by_condition_cascade_in_one_event() -> None:
    plan = plan_of(
        StepPlan("c", needs=("b",), condition="false"),
        StepPlan("b", needs=("a",), condition="false"),
        StepPlan("a", condition="false"),
    )
    story = Story(plan)
    assert set(story.states.values()) == {"skipped"}
    assert story.state == "succeeded"


def test_finally_sees_the_outcome() -> None:
    failed = StepPlan("failed", condition='task.state == "failed"')
    fine = StepPlan("fine", condition='task.state == "succeeded"')
    for exit_code, states in ((1, ("running", "skipped")), (0, ("skipped", "running"))):
        story = Story(plan_of("a", finally_=(failed, fine)))
        story.ended("a", exit_code)
        assert (story.states["failed"], story.states["fine"]) == states


def test_the_scope_has_these_names_and_no_others() -> None:
    plan = plan_of("a", params={"map": "dm1"}, env={"TZ": "UTC", "MAP": "${{ params.map }}!"})
    story = Story(plan)
    story.ended("a", outputs={"k": "v"})
    scope = task_scope(story.task, plan)
    assert set(scope) == {"params", "node", "run", "task", "steps", "env"}
    assert scope["env"] == {"TZ": "UTC", "MAP": "dm1!"}
    assert (
        expressions.render("${{ steps.a.outputs.k }} ${{ node.name }} ${{ task.state }}", scope) == "v eu-1 succeeded"
    )
    assert expressions.render("${{ steps.a.outputs.none }}|", scope) == "|"
