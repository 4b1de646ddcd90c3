"""What may have run: lost steps, lost nodes, and the assignments after them. The table of the design, §4."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from gamenode_pipelines.effects import FinishTask, Ignored, Reassign, StartRetryTimer, StartStep
from gamenode_pipelines.errors import Code, IllegalTransition
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    StepEnded,
    StepLost,
    StepStarted,
    TaskAccepted,
    TaskAssigned,
    TaskLost,
    TaskResolved,
    TaskStarted,
)
from gamenode_pipelines.plan import OnLost, Plan, RetryOn, RetryPolicy, StepPlan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.task_flow import MAX_ASSIGNMENTS
from gamenode_pipelines.tasks import on_node, outstanding
from support.task_stories import Story, plan_of


def one(*, idempotent: bool = False, on_lost: OnLost = OnLost.WAIT, **more: Any) -> Plan:
    return plan_of(StepPlan("a", idempotent=idempotent, **more), on_lost=on_lost)


AGAIN = plan_of(
    StepPlan("pull", idempotent=True),
    StepPlan("start", needs=("pull",), idempotent=True),
    StepPlan("check", needs=("start",)),
    on_lost=OnLost.RETRY,
)


@pytest.mark.parametrize(
    ("idempotent", "on_lost", "state", "step", "effects"),
    [
        (True, OnLost.RETRY, "lost", "lost", [FinishTask(), Reassign()]),
        (False, OnLost.RETRY, "needs_attention", "lost", [FinishTask()]),
        (True, OnLost.WAIT, "needs_attention", "lost", [FinishTask()]),
        (False, OnLost.WAIT, "needs_attention", "lost", [FinishTask()]),
        (True, OnLost.FAIL, "failed", "failed", [FinishTask()]),
        (False, OnLost.FAIL, "failed", "failed", [FinishTask()]),
    ],
)
def test_a_lost_step(idempotent: bool, on_lost: OnLost, state: str, step: str, effects: list[object]) -> None:
    story = Story(one(idempotent=idempotent, on_lost=on_lost))
    assert story.lost("a") == effects
    assert (story.state, story.states["a"]) == (state, step)
    assert story.task.error is not None
    assert "the host was restarted" in story.task.error.message


def test_a_lost_step_that_fails_has_the_code_lost_and_finally_runs() -> None:
    story = Story(plan_of("a", finally_=("tell",), on_lost=OnLost.FAIL))
    assert StartStep("tell", 1) in story.lost("a")
    error = story.task.steps["a"].error
    assert error is not None
    assert error.code is Code.LOST


def test_a_lost_step_may_be_retried_in_the_same_assignment() -> None:
    policy = RetryPolicy(attempts=2, backoff=4.0, on=frozenset({RetryOn.LOST}))
    story = Story(one(idempotent=True, retry=policy))
    assert story.lost("a") == [StartRetryTimer("a", 2, 1008.0)]
    assert story.due("a") == [StartStep("a", 2)]
    story.lost("a")
    assert story.state == "needs_attention"
    assert Story(one(retry=policy)).lost("a") == [FinishTask()]  # not idempotent: never


def test_nothing_new_begins_once_a_step_is_lost_and_the_assignment_ends_with_the_last_one() -> None:
    plan = plan_of(
        StepPlan("gone", idempotent=True),
        "slow",
        StepPlan("next", needs=("slow",)),
        StepPlan("again", retry=RetryPolicy(attempts=3)),
        on_lost=OnLost.RETRY,
    )
    story = Story(plan)
    story.ended("again", 1)
    assert story.lost("gone") == []
    assert (story.state, story.states["again"]) == ("running", "pending")
    assert story.ended("slow") == [FinishTask(), Reassign()]
    assert story.states == {"gone": "lost", "slow": "succeeded", "next": "pending", "again": "pending"}


def test_a_failure_beside_a_lost_step_decides() -> None:
    story = Story(plan_of("gone", "bad", StepPlan("after", needs=("gone",))))
    story.lost("gone")
    story.ended("bad", 1)
    assert (story.state, story.code) == ("failed", "step_failed")
    assert story.states["after"] == "skipped"


def test_a_lost_step_of_a_cancelled_task_just_counts_as_over() -> None:
    story = Story(one())
    story.cancel()
    assert story.lost("a") == [FinishTask()]
    assert (story.state, story.states["a"]) == ("cancelled", "lost")


def test_what_was_lost_never_holds_back_the_cleaning_up() -> None:
    story = Story(plan_of("a", finally_=("tell",)))
    story.cancel()
    story.fold_only(StepLost("a", 1, "the host was restarted"))
    assert StartStep("tell", 1) in outstanding(story.task, story.plan)


@pytest.mark.parametrize(
    ("idempotent", "on_lost", "state"),
    [(True, OnLost.RETRY, "running"), (False, OnLost.RETRY, "needs_attention"), (False, OnLost.FAIL, "failed")],
)
def test_a_lost_finally_step(idempotent: bool, on_lost: OnLost, state: str) -> None:
    story = Story(plan_of("a", finally_=(StepPlan("tell", idempotent=idempotent),), on_lost=on_lost))
    story.ended("a")
    story.lost("tell")
    assert story.state == state
    if state == "running":
        assert story.task.steps["tell"].attempt == 2


# -- the next assignment -----------------------------------------------------------------------------------------------


def test_what_succeeded_is_not_run_again() -> None:
    story = Story(AGAIN)
    story.ended("pull", outputs={"digest": "abc"})
    story.lost("start")
    assert (story.state, outstanding(story.task, story.plan)) == ("lost", (Reassign(),))
    story.fold(TaskAssigned(), fence=2)
    task = story.task
    assert (task.state, task.fence, task.accepted, task.error, task.started_at) == (
        TaskState.DISPATCHED,
        2,
        False,
        None,
        0.0,
    )
    assert story.states == {"pull": "succeeded", "start": "pending", "check": "pending"}
    story.fold(TaskAccepted())
    assert story.fold(TaskStarted()) == [StartStep("start", 2)]
    assert story.task.steps["pull"].outputs == {"digest": "abc"}
    story.ended("start")
    story.ended("check")
    assert story.state == "succeeded"


@pytest.mark.parametrize("body", [StepEnded("start", 1, 0), TaskAccepted(), StepStarted("start", 1)], ids=repr)
def test_an_old_assignment_has_no_say(body: StepEnded) -> None:
    story = Story(AGAIN)
    story.ended("pull")
    story.lost("start")
    story.fold(TaskAssigned(), fence=2)
    before = story.task
    (effect,) = story.fold(body, fence=1)
    assert isinstance(effect, Ignored)
    assert "old fence" in effect.reason
    assert story.task is before


@pytest.mark.parametrize(("fence", "body"), [(3, TaskAssigned()), (2, TaskAccepted()), (3, StepEnded("pull", 1, 0))])
def test_a_fence_from_the_future_is_a_bug(fence: int, body: StepEnded) -> None:
    story = Story(AGAIN)
    with pytest.raises(IllegalTransition):
        story.fold(body, fence=fence)


def test_only_a_lost_task_is_assigned_again() -> None:
    story = Story(AGAIN)
    with pytest.raises(IllegalTransition):
        story.fold(TaskAssigned(), fence=2)
    assert isinstance(story.fold(TaskAssigned(), fence=1)[0], Ignored)


def test_a_task_that_is_lost_again_and_again_needs_a_person() -> None:
    story = Story(one(idempotent=True, on_lost=OnLost.RETRY))
    for _ in range(MAX_ASSIGNMENTS - 1):
        story.lost("a")
        assert story.state == "lost"
        story.begin()
    story.lost("a")
    assert (story.state, story.task.fence) == ("needs_attention", MAX_ASSIGNMENTS)


# -- a person's word ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("as_", "code"), [("succeeded", ""), ("failed", "task_failed")])
def test_a_person_says_what_became_of_it(as_: Any, code: str) -> None:
    story = Story(plan_of("a", StepPlan("b", needs=("a",))))
    story.lost("a")
    assert story.fold(TaskResolved(as_, "kim", "looked at the host")) == []
    assert (story.state, story.code) == (as_, code)
    assert story.states == {"a": "lost", "b": "skipped"}


def test_a_person_has_it_run_again() -> None:
    story = Story(plan_of("ok", StepPlan("bad", needs=("ok",)), finally_=("tell", StepPlan("tidy", needs=("tell",)))))
    story.ended("ok")
    story.ended("bad", 1)
    story.ended("tell")
    story.lost("tidy")
    assert story.state == "needs_attention"
    assert story.fold(TaskResolved("retry", "kim", "fixed the disk")) == [Reassign()]
    story.fold(TaskAssigned(), fence=2)
    # The main part runs again in part, so `finally` cleans up after it again.
    assert story.states == {"ok": "succeeded", "bad": "pending", "tell": "pending", "tidy": "pending"}
    assert (story.task.outcome, story.task.steps["bad"].attempt) == (None, 1)


def test_after_a_main_part_that_went_well_only_the_rest_of_finally_runs_again() -> None:
    story = Story(plan_of("ok", finally_=("tell", StepPlan("tidy", needs=("tell",)))))
    story.ended("ok")
    story.ended("tell")
    story.lost("tidy")
    story.fold(TaskResolved("retry", "kim", ""))
    story.begin()
    assert story.states == {"ok": "succeeded", "tell": "succeeded", "tidy": "running"}


def test_only_a_stuck_task_is_resolved() -> None:
    story = Story(one())
    with pytest.raises(IllegalTransition):
        story.fold(TaskResolved("failed", "kim", ""))


def test_a_task_that_needs_attention_can_be_cancelled() -> None:
    story = Story(one())
    story.lost("a")
    assert not on_node(story.task)
    assert story.cancel() == []
    assert story.state == "cancelled"


# -- the server loses sight of a node ----------------------------------------------------------------------------------


@pytest.mark.parametrize("gone", [False, True])
@pytest.mark.parametrize(
    ("idempotent", "on_lost", "state"),
    [
        (True, OnLost.RETRY, "lost"),
        (False, OnLost.RETRY, "needs_attention"),
        (True, OnLost.WAIT, "needs_attention"),
        (False, OnLost.FAIL, "failed"),
    ],
)
def test_a_lost_assignment(idempotent: bool, on_lost: OnLost, state: str, gone: bool) -> None:
    story = Story(one(idempotent=idempotent, on_lost=on_lost))
    effects = story.fold(TaskLost("node eu-1 is out of reach", gone))
    assert effects == ([Reassign()] if state == "lost" and gone else [])
    assert (story.state, story.code) == (state, "lost")


def test_every_step_that_has_not_ended_may_have_run_out_of_sight() -> None:
    story = Story(AGAIN)  # `check` is not idempotent, and nobody has heard of it yet
    story.fold(TaskLost("wiped", gone=True))
    assert story.state == "needs_attention"


def test_what_was_assigned_may_have_run_even_if_nobody_heard_of_it() -> None:
    story = Story(one(on_lost=OnLost.RETRY), begun=False)
    story.fold(TaskAssigned(), fence=1)
    story.fold(TaskLost("wiped", gone=True))
    assert story.state == "needs_attention"


@pytest.mark.parametrize("lost_at", range(5))
def test_a_node_that_was_only_out_of_reach_is_taken_up_where_it_stood(lost_at: int) -> None:
    plan = plan_of("a", StepPlan("b", needs=("a",)), finally_=("tell",))
    seen, straight = Story(plan, begun=False), Story(plan, begun=False)
    for story in (seen, straight):
        story.fold(TaskAssigned(), fence=1)
        story.fold(TaskAccepted(), at=2000.0)
    tale: list[Callable[[Story], object]] = [
        lambda s: s.fold(TaskStarted(), at=2001.0),
        lambda s: s.fold(StepEnded("a", 1, 0), at=2002.0),
        lambda s: s.fold(CancelRequested(CancelInfo("ops", at=1.0)), at=2003.0),
        lambda s: s.fold(StepEnded("b", 1, 1), at=2004.0),
        lambda s: s.fold(StepEnded("tell", 1, 0), at=2005.0),
    ]
    for at, tell in enumerate(tale):
        if at == lost_at:
            before = seen.task
            seen.fold(TaskLost("offline"), at=9999.0)
            assert (seen.state, seen.task.lost_from) == ("needs_attention", before.state)
            assert seen.task.steps == before.steps
            assert on_node(seen.task)
        tell(seen)
        tell(straight)
        assert seen.task == straight.task


def test_what_a_node_says_again_takes_its_task_up() -> None:
    story = Story(one())
    before = story.task
    story.fold(TaskLost("offline"))
    story.fold(TaskAccepted())
    assert story.task == before


def test_a_node_that_comes_back_without_a_memory_settles_it() -> None:
    story = Story(one())
    story.fold(TaskLost("offline"))
    assert isinstance(story.fold(TaskLost("offline"))[0], Ignored)
    assert story.fold(TaskLost("wiped", gone=True)) == []
    assert (story.state, story.states["a"], story.task.lost_from) == ("needs_attention", "lost", None)
    assert isinstance(story.fold(StepEnded("a", 1, 0))[0], Ignored)
    assert isinstance(story.fold(TaskLost("wiped", gone=True))[0], Ignored)


def test_a_node_that_comes_back_without_a_memory_has_harmless_work_run_again() -> None:
    story = Story(one(idempotent=True, on_lost=OnLost.RETRY))
    story.fold(TaskLost("offline"))
    assert (story.state, outstanding(story.task, story.plan)) == ("lost", ())  # the node may still tell
    assert story.fold(TaskLost("wiped", gone=True)) == [Reassign()]
    assert outstanding(story.task, story.plan) == (Reassign(),)
    story.begin()
    assert story.task.steps["a"].attempt == 2


def test_a_task_whose_outcome_stands_is_not_given_out_again() -> None:
    plan = plan_of("a", finally_=(StepPlan("tell", idempotent=True),), on_lost=OnLost.RETRY)
    story = Story(plan)
    story.ended("a", 1)
    story.fold(TaskLost("wiped", gone=True))
    assert story.state == "needs_attention"


def test_a_task_that_is_being_ended_is_not_given_out_again() -> None:
    story = Story(one(idempotent=True, on_lost=OnLost.RETRY))
    story.cancel()
    story.fold(TaskLost("offline", gone=True))
    assert story.state == "needs_attention"
