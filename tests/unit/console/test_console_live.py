"""The live view's model: what is shown when not all fits, and what changed as lines."""

from __future__ import annotations

from typing import Any

from gamenode_console import live, outcomes
from gamenode_console.documents import Document, runs
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2, work_pb2
from support.control_messages import T0, a_run, a_step, a_task

RUNNING = common_pb2.TASK_STATE_RUNNING
DONE = common_pb2.TASK_STATE_SUCCEEDED
FAILED = common_pb2.TASK_STATE_FAILED
PENDING = common_pb2.TASK_STATE_PENDING


def update(*tasks: work_pb2.Task, total: int = 0, ended: bool = False, **about: Any) -> Document:
    run = a_run(state=common_pb2.RUN_STATE_RUNNING, total=total or len(tasks), **about)
    return runs.run_update(pipeline_management_pb2.RunUpdate(run=run, tasks=tasks, ended=ended, cursor=1))


def fleet() -> live.LiveRun:
    model = live.LiveRun()
    tasks = [a_task(f"n{i:02}", id=f"task{i:08}", state=DONE, position=i, finished=3 + i) for i in range(10)]
    tasks += [a_task("moving", id="moving", state=RUNNING, position=20, finished=0)]
    tasks += [a_task("broken", id="broken", state=FAILED, position=21)]
    tasks += [a_task("later", id="later", state=PENDING, position=22, steps=[], finished=0)]
    model.apply(update(*tasks))
    return model


def test_trouble_comes_first_then_what_moves_then_the_newest_ends() -> None:
    view = fleet().view(room=20, now=T0 + 60)
    assert [row.node for row in view.rows][:4] == ["broken", "moving", "n09", "n08"]
    assert view.rows[-1].node == "later"
    assert view.hidden == ""
    assert view.summary == "13 tasks: 10 succeeded, 1 running, 1 failed, 1 pending"


def test_what_does_not_fit_is_counted() -> None:
    view = fleet().view(room=4, now=T0 + 60)
    assert [row.node for row in view.rows] == ["broken", "moving", "n09"]
    assert view.hidden == "and 10 more: 9 succeeded, 1 pending"


def test_many_failures_do_not_hide_what_moves() -> None:
    model = live.LiveRun()
    tasks = [a_task(f"bad{i}", id=f"bad{i:05}", state=FAILED, position=i) for i in range(9)]
    tasks += [a_task(f"go{i}", id=f"go{i:05}", state=RUNNING, position=10 + i, finished=0) for i in range(9)]
    model.apply(update(*tasks))
    view = model.view(room=7, now=T0 + 9)
    assert [row.node for row in view.rows] == ["bad0", "bad1", "bad2", "go0", "go1", "go2"]
    assert view.hidden == "and 12 more: 6 failed, 6 running"


def test_few_moving_tasks_leave_their_room_to_trouble() -> None:
    model = live.LiveRun()
    tasks = [a_task(f"bad{i}", id=f"bad{i:05}", state=FAILED, position=i) for i in range(9)]
    tasks += [a_task("go", id="go", state=RUNNING, position=10, finished=0)]
    model.apply(update(*tasks))
    assert [row.node for row in model.view(room=7, now=T0).rows] == [*(f"bad{i}" for i in range(5)), "go"]


def test_later_updates_replace_only_what_changed() -> None:
    model = fleet()
    model.apply(update(a_task("moving", id="moving", state=DONE, position=20, finished=99), total=13))
    assert len(model.tasks) == 13
    assert model.view(room=20, now=T0).rows[1].node == "moving"


def test_a_row_says_what_the_task_does_now() -> None:
    running = a_step("build", state=common_pb2.STEP_STATE_RUNNING, attempt=2, exit_code=None)
    running.finished_at = 0
    model = live.LiveRun()
    model.apply(update(a_task(state=RUNNING, steps=[a_step(), running], finished=0)))
    (row,) = model.view(room=5, now=T0 + 11).rows
    assert row.steps == ("succeeded", "running")
    assert row.now == "build try 2 10s"


def test_a_row_of_a_failed_task_says_why_and_cannot_move_the_cursor() -> None:
    error = common_pb2.Error(code="exit_nonzero", message="exit 3\x1b[2J\nmore")
    model = live.LiveRun()
    model.apply(update(a_task(state=FAILED, steps=[a_step(state=common_pb2.STEP_STATE_FAILED, error=error)])))
    assert model.view(room=5, now=T0).rows[0].now == "one: exit 3␛[2J ⏎ more"


def test_a_view_before_the_first_news() -> None:
    assert live.LiveRun().view(room=5, now=T0).rows == ()


def test_every_state_has_two_symbols_of_one_cell() -> None:
    assert set(live.SYMBOLS) == {str(state) for state in live_states()}
    assert all(len(symbol) == 1 and symbol[-1:].isprintable() for pair in live.SYMBOLS.values() for symbol in pair)
    assert len({plain for _, plain in live.SYMBOLS.values()}) == len(live.SYMBOLS)


def live_states() -> list[str]:
    from gamenode_pipelines.states import StepState

    return [state.value for state in StepState]


def test_transitions_are_said_once() -> None:
    transitions = live.Transitions()
    running = a_step("one", state=common_pb2.STEP_STATE_RUNNING, exit_code=None)
    running.finished_at = 0
    first = transitions.feed(update(a_task(state=RUNNING, steps=[running], finished=0)))
    assert first == ["one running", "game-1: running"]
    assert transitions.feed(update(a_task(state=RUNNING, steps=[running], finished=0))) == []
    failed = a_step("one", state=common_pb2.STEP_STATE_FAILED, exit_code=3)
    assert transitions.feed(update(a_task(state=FAILED, steps=[failed]))) == [
        "one failed in 2.0s, exit 3",
        "game-1: failed",
    ]


def test_what_a_state_means_to_who_waits() -> None:
    assert outcomes.exit_of("running") is None
    assert outcomes.exit_of("cancelling") is None
    assert outcomes.exit_of("succeeded") is ExitCode.OK
    assert outcomes.exit_of("failed") is ExitCode.FAILED
    assert outcomes.exit_of("cancelled") is ExitCode.CANCELLED
    assert outcomes.exit_of("needs_attention") is ExitCode.NEEDS_ATTENTION
    assert outcomes.exit_of("waiting") is ExitCode.NEEDS_ATTENTION
    attention = runs.run(a_run(state=common_pb2.RUN_STATE_NEEDS_ATTENTION))
    assert "gamenode run resolve runaaaaaaaaa" in outcomes.sentence(attention)
