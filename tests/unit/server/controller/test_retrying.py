"""Where a run is repeated: its nodes, or those where it did not succeed; never while it could still change."""

from __future__ import annotations

from dataclasses import replace

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState, TaskState
from gamenode_pipelines.task_state import Task
from gamenode_server.controller.retry import retry_nodes
from support.stores import a_run, a_task

RUN = replace(a_run("r1"), state=RunState.FAILED)


def tasks(*states: TaskState) -> list[Task]:
    return [replace(a_task(f"t{at}", "r1", f"n{at}", position=at), state=state) for at, state in enumerate(states)]


MIXED = tasks(TaskState.SUCCEEDED, TaskState.FAILED, TaskState.CANCELLED, TaskState.SKIPPED)


def test_all_of_it_or_only_where_it_did_not_succeed() -> None:
    assert [node.id for node in retry_nodes(RUN, MIXED, failed_only=False)] == ["n0", "n1", "n2", "n3"]
    assert [node.id for node in retry_nodes(RUN, MIXED, failed_only=True)] == ["n1", "n2", "n3"]


def test_a_run_that_succeeded_can_be_repeated_but_nothing_of_it_failed() -> None:
    run, done = replace(RUN, state=RunState.SUCCEEDED), tasks(TaskState.SUCCEEDED)
    assert [node.id for node in retry_nodes(run, done, failed_only=False)] == ["n0"]
    with pytest.raises(GameNodeError, match="nothing to retry in run r1: every task of it succeeded") as raised:
        retry_nodes(run, done, failed_only=True)
    assert raised.value.code is Code.STATE_CONFLICT
    with pytest.raises(GameNodeError, match="it has no tasks"):
        retry_nodes(replace(RUN, state=RunState.CANCELLED), [], failed_only=False)


@pytest.mark.parametrize("state", [state for state in RunState if not state.ended])
def test_a_run_that_has_not_ended_is_refused(state: RunState) -> None:
    with pytest.raises(GameNodeError) as raised:
        retry_nodes(replace(RUN, state=state), MIXED, failed_only=True)
    assert raised.value.code is Code.STATE_CONFLICT
    if state is not RunState.NEEDS_ATTENTION:
        assert f"is {state}: only a run that has ended" in raised.value.message


def test_one_that_needs_attention_says_how_to_resolve_it() -> None:
    stuck = tasks(TaskState.FAILED, TaskState.NEEDS_ATTENTION)
    with pytest.raises(GameNodeError, match=f"gamenode run resolve r1 --node {stuck[1].node.name} --as"):
        retry_nodes(replace(RUN, state=RunState.NEEDS_ATTENTION), stuck, failed_only=True)
