"""What surrounds a step: its outputs, its environment, its workspace, its timers."""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_agent.clock import BootClock
from gamenode_agent.journal import Attempt
from gamenode_agent.recovery import Adopt, Harvest, Lost, Respawn, Resume, judge
from gamenode_agent.runner.advance import Happened, advance
from gamenode_agent.runner.environment import render
from gamenode_agent.runner.outputs import MAX_BYTES, parse_outputs, read_outputs
from gamenode_agent.runner.workspace import Workspaces
from gamenode_agent.steps import StepContext, unknown_kinds
from gamenode_agent.steps.run import spawn_request
from gamenode_agent.steps.tools import Tools
from gamenode_agent.supervisor.client import AttemptKey, AttemptReport, Phase
from gamenode_agent.timers import Timers
from gamenode_pipelines import tasks
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import StepEnded, TaskAccepted, TaskAssigned, TaskEvent, TaskStarted
from gamenode_pipelines.plan import Plan, Script, StepPlan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import NodeFacts, Task
from gamenode_proto.codec.plan import BundleFile

TOOLS = Tools(BootClock.from_wall(), "cluster", "node", "eu-1", None, (1, 2))

# -- outputs -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "outputs"),
    [
        (b"", {}),
        (b"\n  \n", {}),
        (b"a=1", {"a": "1"}),
        (b"a=1\r\nb = 2\r\n", {"a": "1", "b": " 2"}),
        (b"a=x=y\na=\n", {"a": ""}),
        (b"a<<END\none\ntwo=2\nEND\nb=3\n", {"a": "one\ntwo=2", "b": "3"}),
        (b"a<<END\nEND\n", {"a": ""}),
        (b"url=http://x/?a<<b", {"url": "http://x/?a<<b"}),
        ("map=ö".encode(), {"map": "ö"}),
    ],
)
def test_outputs_are_read(text: bytes, outputs: dict[str, str]) -> None:
    assert parse_outputs(text) == outputs


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (b"a", "line 1"),
        (b"a=1\nnope\n", "line 2"),
        (b"=1", "line 1"),
        (b"1a=1", "'1a'"),
        (b"a-b=1", "'a-b'"),
        (b"a<<\n", "KEY<<END"),
        (b"a<<END\nx\n", "'END'"),
        (b"a=\xff", "UTF-8"),
        (b"a=\0", "NUL"),
        (b"a" * 100 + b"=1", "no key"),
    ],
)
def test_bad_outputs_name_the_line(text: bytes, said: str) -> None:
    with pytest.raises(GameNodeError, match=said) as caught:
        parse_outputs(text)
    assert caught.value.code is Code.STEP_FAILED


@given(st.binary(max_size=200))
def test_any_bytes_are_outputs_or_a_clear_error(data: bytes) -> None:
    outputs: dict[str, str] = {}
    code = Code.STEP_FAILED
    try:
        outputs = parse_outputs(data)
    except GameNodeError as error:
        code = error.code
    assert code is Code.STEP_FAILED
    assert all(key.isidentifier() for key in outputs)


def test_the_output_file_may_be_missing_large_or_something_else(tmp_path: Path) -> None:
    path = tmp_path / "output"
    assert read_outputs(path) == {}
    path.write_bytes(b"a=" + b"x" * MAX_BYTES)
    with pytest.raises(GameNodeError) as caught:
        read_outputs(path)
    assert caught.value.code is Code.LIMIT_EXCEEDED
    path.unlink()
    for make in (os.mkdir, os.mkfifo, lambda p: os.symlink("/etc/passwd", p)):
        make(path)
        if path.is_fifo():
            assert read_outputs(path) == {}
        else:
            with pytest.raises(GameNodeError) as caught:
                read_outputs(path)
            assert caught.value.code is Code.STEP_FAILED
        path.rmdir() if path.is_dir() else path.unlink()


# -- environment -------------------------------------------------------------------------------------------------------


def task_of(plan: Plan) -> Task:
    node = NodeFacts("n1", "eu-1", {"region": "eu"})
    task = tasks.new_task(id="task", run_id="run", node=node, plan=plan, created_at=0.0)
    return tasks.step(task, plan, TaskEvent("task", 1, 0.0, TaskAssigned()))[0]


def test_expressions_become_values_and_own_variables_win() -> None:
    step = StepPlan(
        "a",
        script=Script("sh", 'echo "$V1"', bindings={"V1": "params.map"}),
        env={"WHERE": "${{ node.labels.region }}-1", "GAMENODE_FENCE": "99"},
        workdir="${{ node.name }}",
    )
    plan = Plan("p", 1, (step,), params={"map": "$(touch x) `id`"}, env={"TZ": "UTC", "NAME": "${{ node.name }}"})
    rendered = render(task_of(plan), plan, step, own={"GAMENODE_FENCE": "1"})
    assert rendered.env == {
        "TZ": "UTC",
        "NAME": "eu-1",
        "WHERE": "eu-1",
        "V1": "$(touch x) `id`",
        "GAMENODE_FENCE": "1",
    }
    assert rendered.workdir == "eu-1"


def test_a_variable_no_program_can_be_given_is_refused() -> None:
    step = StepPlan("a", script=Script("sh", "true"), env={"BIG": "x" * 200_000})
    plan = Plan("p", 1, (step,))
    with pytest.raises(GameNodeError, match="BIG") as caught:
        render(task_of(plan), plan, step, own={})
    assert caught.value.code is Code.LIMIT_EXCEEDED


def _context(plan: Plan, folder: Path) -> StepContext:
    return StepContext(
        key=Attempt("task", 1, "a", 1),
        task=task_of(plan),
        plan=plan,
        step=plan.step("a"),
        workspace=str(folder / "work"),
        directory=str(folder),
        tools=TOOLS,
    )


@pytest.mark.parametrize(
    ("shell", "begins"),
    [("sh", ("/bin/sh", "-e")), ("bash", ("bash", "-eo", "pipefail")), ("python", ())],
)
def test_scripts_become_files(tmp_path: Path, shell: str, begins: tuple[str, ...]) -> None:
    step = StepPlan("a", script=Script(shell, "text"), workdir="sub")
    plan = Plan("p", 1, (step,))
    context = _context(plan, tmp_path)
    request = spawn_request(context)
    assert request.argv[: len(begins)] == begins
    assert Path(request.argv[-1]).read_text() == "text"
    assert request.cwd == str(tmp_path / "work" / "sub")
    assert request.env["GAMENODE_OUTPUT"] == str(tmp_path / "output")
    assert set(request.env) >= {f"GAMENODE_{name}" for name in ("RUN_ID", "TASK_ID", "STEP_ID", "ATTEMPT", "FENCE")}


def test_a_script_that_is_being_read_is_never_written_again(tmp_path: Path) -> None:
    context = _context(Plan("p", 1, (StepPlan("a", script=Script("sh", "echo all of it\n")),)), tmp_path)
    script = spawn_request(context).argv[-1]
    with open(script) as shell_reads:
        spawn_request(context)
        assert shell_reads.read() == "echo all of it\n", "an empty script succeeds, and its step never ran"


def test_an_argv_is_rendered_and_an_unknown_shell_named(tmp_path: Path) -> None:
    step = StepPlan("a", script=Script("none", argv=("echo", "${{ node.name }}")))
    plan = Plan("p", 1, (step,))
    context = StepContext(
        key=Attempt("task", 1, "a", 1),
        task=task_of(plan),
        plan=plan,
        step=step,
        workspace=str(tmp_path),
        directory=str(tmp_path),
        tools=TOOLS,
    )
    assert spawn_request(context).argv == ("echo", "eu-1")
    with pytest.raises(GameNodeError, match="fish"):
        spawn_request(replace(context, step=replace(step, script=Script("fish", "true"))))
    error = unknown_kinds(Plan("p", 1, (StepPlan("x", "container.fly"),)))
    assert error is not None
    assert "container.fly" in error.message
    assert unknown_kinds(plan) is None


# -- workspace ---------------------------------------------------------------------------------------------------------


def test_a_workspace_is_made_once_and_goes_after_success(tmp_path: Path) -> None:
    spaces = Workspaces(tmp_path / "work")
    files = [BundleFile("a/b.sh", b"x", 0o755)]
    work = Path(spaces.prepare("t", 1, files, shared=False))
    assert (work / "a/b.sh").stat().st_mode & 0o777 == 0o755
    (work / "mine").touch()
    assert spaces.prepare("t", 1, files, shared=False) == str(work)
    assert (work / "mine").exists()
    assert not spaces.finish("t", 1, succeeded=True)
    spaces.remove("t", 1)
    assert not work.exists()
    empty = Path(spaces.prepare("t", 2, [], shared=True))
    assert empty.stat().st_mode & 0o7777 == 0o1777
    assert spaces.finish("t", 2, succeeded=True)
    assert not empty.exists()
    assert spaces.finish("t", 3, succeeded=True)


# -- folding and time --------------------------------------------------------------------------------------------------


def test_one_batch_folds_all_that_follows_by_itself() -> None:
    plan = Plan("p", 1, (StepPlan("a"), StepPlan("b", needs=("a",))))
    moved = advance(task_of(plan), plan, [Happened(TaskAccepted(), 1.0), Happened(TaskStarted(), 1.0)], now=1.0)
    assert [type(event.body).__name__ for event in moved.events] == ["TaskAccepted", "TaskStarted", "StepStarted"]
    moved = advance(moved.task, plan, [Happened(StepEnded("a", 1, 0), 2.0)], now=3.0)
    assert [(type(event.body).__name__, event.at) for event in moved.events] == [
        ("StepEnded", 2.0),
        ("StepStarted", 3.0),
    ]
    again = advance(moved.task, plan, [Happened(StepEnded("a", 1, 0), 2.0)], now=4.0)
    assert not again.events
    impossible = advance(moved.task, plan, [Happened(StepEnded("zzz", 1, 0), 2.0)], now=4.0)
    assert not impossible.events
    done = advance(moved.task, plan, [Happened(StepEnded("b", 1, 0), 5.0)], now=5.0)
    assert done.finished
    assert done.task.state is TaskState.SUCCEEDED


@dataclass
class Hand:
    at: float = 0.0

    def now(self) -> float:
        return self.at


async def test_timers_go_by_the_clock_and_not_by_the_loop(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamenode_agent.timers.LONGEST", 0.01)
    clock, timers, fired = Hand(), Timers(Hand()), []
    timers = Timers(clock)
    timers.set("a", 100.0, lambda: fired.append("a"))
    timers.set("b", 50.0, lambda: fired.append("never"))
    timers.set("b", 200.0, lambda: fired.append("b"))
    timers.set("c", 10.0, lambda: fired.append("never"))
    timers.drop("c")
    await asyncio.sleep(0.05)
    assert fired == []
    clock.at = 150.0
    await asyncio.sleep(0.05)
    assert fired == ["a"]
    timers.clear()
    clock.at = 999.0
    await asyncio.sleep(0.05)
    assert fired == ["a"]


# -- recovery ----------------------------------------------------------------------------------------------------------


def report(phase: Phase, *, may: bool = True) -> AttemptReport:
    return AttemptReport(AttemptKey("t", 1, "a", 1), phase, may_have_started=may)


@pytest.mark.parametrize(
    ("found", "same_boot", "kind"),
    [
        (report(Phase.RUNNING), True, Adopt),
        (report(Phase.RUNNING), False, Lost),
        (report(Phase.ENDED), True, Harvest),
        (report(Phase.ENDED), False, Harvest),
        (report(Phase.UNKNOWN), True, Lost),
        (report(Phase.UNKNOWN), False, Lost),
        (report(Phase.UNKNOWN, may=False), True, Respawn),
        (report(Phase.UNKNOWN, may=False), False, Lost),
    ],
)
def test_the_table_of_what_may_have_run(found: AttemptReport, same_boot: bool, kind: type) -> None:
    assert isinstance(judge(found, same_boot=same_boot), kind)


@pytest.mark.parametrize(
    ("found", "same_boot", "kind"),
    [
        (report(Phase.RUNNING), True, Adopt),
        (report(Phase.ENDED), False, Harvest),
        (report(Phase.INTERRUPTED), True, Resume),
        (report(Phase.INTERRUPTED), False, Resume),
        (replace(report(Phase.UNKNOWN), lost="nobody knows"), True, Lost),
        (replace(report(Phase.UNKNOWN), lost="nobody knows"), False, Lost),
        (replace(report(Phase.UNKNOWN), may_have_started=False), True, Respawn),
        (replace(report(Phase.UNKNOWN), may_have_started=False), False, Resume),
    ],
)
def test_the_table_of_what_the_agent_itself_may_have_done(found: AttemptReport, same_boot: bool, kind: type) -> None:
    """Its kind finds out how far it got; only what never began is begun from new."""
    assert isinstance(judge(found, same_boot=same_boot, inline=True), kind)
