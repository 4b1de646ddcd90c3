"""A task in the hands of the agent, with a real journal and a supervisor that a test plays itself."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent import steps
from gamenode_agent.clock import BootClock
from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.journal import Attempt, Journal
from gamenode_agent.runner.admission import Admission
from gamenode_agent.runner.bundles import Bundle, Bundles
from gamenode_agent.runner.live import LiveTask
from gamenode_agent.runner.runner import Runner
from gamenode_agent.runner.shell import Shell
from gamenode_agent.runner.workspace import Workspaces
from gamenode_agent.steps.tools import Tools
from gamenode_agent.supervisor.client import AttemptKey, AttemptReport, Phase, SpawnRequest
from gamenode_pipelines import tasks
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import CancelInfo, CancelRequested, TaskAccepted, TaskAssigned, TaskEvent, TaskStarted
from gamenode_pipelines.plan import Plan, RetryOn, RetryPolicy, Script, StepPlan
from gamenode_pipelines.states import StepState, TaskState
from gamenode_pipelines.tasks import NodeFacts, Task
from support.waiting import until

PLAN = Plan("p", 1, (StepPlan("a", "run", script=Script(text="true")),))


@dataclass
class PlayedSupervisor:
    """What stands for `Attempts`: notes what it is asked, and loses its connection when it is told to."""

    directory_: Path
    spawned: list[Attempt] = field(default_factory=list)
    resumed: list[Attempt] = field(default_factory=list)
    stopped: list[Attempt] = field(default_factory=list)
    #: Both, in order.
    asked: list[Attempt] = field(default_factory=list)
    deaf: bool = False

    def directory(self, key: Attempt) -> str:
        return str(self.directory_ / ".".join(map(str, key)))

    def prepare(self, key: Attempt) -> str:
        Path(self.directory(key)).mkdir(exist_ok=True)
        return self.directory(key)

    async def start(self, request: SpawnRequest | InlineRequest, *, resumed: bool = False) -> AttemptReport:
        key = AttemptKey(*request.key)
        self.asked.append(Attempt(*key))
        (self.resumed if resumed else self.spawned).append(Attempt(*key))
        return AttemptReport(key, Phase.RUNNING)

    async def stop(self, key: Attempt, **_: Any) -> bool:
        if self.deaf:
            raise GameNodeError(Code.SUPERVISOR_LOST, "gone")
        self.asked.append(key)
        self.stopped.append(key)
        return True

    def forget(self, key: Attempt) -> None:
        pass


@dataclass
class World:
    group: asyncio.TaskGroup
    journal: Journal
    attempts: PlayedSupervisor
    shell: Shell
    runner: Runner
    doubts: list[bool]

    def task(self, plan: Plan) -> Task:
        task = tasks.new_task(id="t", run_id="r", node=NodeFacts("n", "n"), plan=plan, created_at=0.0)
        return tasks.step(task, plan, TaskEvent("t", 1, 0.0, TaskAssigned()))[0]

    async def started(self, plan: Plan, *, count: int = 1) -> LiveTask:
        live = LiveTask(self.shell, self.task(plan), plan, digest="d")
        self.runner._live["t"] = live
        live.accept(TaskAccepted(), TaskStarted(), bundle=None)
        await until(lambda: len(self.attempts.spawned) == count, every=0.005, what="the first steps")
        return live


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    journal = Journal(tmp_path / "journal.db")
    attempts = PlayedSupervisor(tmp_path)
    doubts: list[bool] = []
    async with asyncio.TaskGroup() as group:
        shell = Shell(
            group=group,
            journal=journal,
            clock=BootClock.from_wall(),
            attempts=attempts,  # type: ignore[arg-type]
            tools=Tools(BootClock.from_wall(), "c", "n", "n", None, (1, 2)),
            workspaces=Workspaces(tmp_path / "work"),
            log_ended=lambda _key, _log: None,
            on_commit=lambda live, seq: made.runner.committed(live, seq),
            on_finished=lambda live: made.runner.release(live),
            on_doubt=lambda: doubts.append(True),
            storage_retry=0.05,
            boot_id="boot",
        )

        async def fetch(_digest: str, _task: str) -> bytes:
            raise AssertionError("nothing is fetched here")

        admission: Admission = None  # type: ignore[assignment] # nothing is admitted here
        runner = Runner(
            shell,
            admission=admission,
            bundles=Bundles(journal, fetch),
            slots=8,
            server_clock=lambda: 0.0,
            acked=lambda: 0,
        )
        made = World(group, journal, attempts, shell, runner, doubts)
        yield made
    await journal.close()


def ended(key: Attempt, code: int = 0) -> AttemptReport:
    return AttemptReport(AttemptKey(*key), Phase.ENDED, exit_code=code)


@pytest.mark.parametrize("name", ["timeout", "finally", "a"])
async def test_a_step_of_any_name_is_tried_again(world: World, name: str) -> None:
    retry = RetryPolicy(2, backoff=0.2, max_backoff=0.2, on=frozenset({RetryOn.EXIT}))
    again = StepPlan(name, "run", script=Script(text="false"), retry=retry)
    beside = StepPlan("beside", "run", script=Script(text="true"))
    live = await world.started(replace(PLAN, steps=(again, beside)), count=2)
    live.attempt_ended(ended(Attempt("t", 1, name, 1), 1))
    live.attempt_ended(ended(Attempt("t", 1, "beside", 1)))
    await until(lambda: len(world.attempts.spawned) == 3, seconds=2.0, every=0.005, what="the second attempt")
    live.attempt_ended(ended(Attempt("t", 1, name, 2)))
    await until(lambda: live.task.state is TaskState.SUCCEEDED, every=0.005, what="the task's end")


async def test_a_stop_that_got_lost_is_asked_for_again(world: World) -> None:
    live = await world.started(PLAN)
    key = Attempt("t", 1, "a", 1)
    world.attempts.deaf = True
    live.deliver(CancelRequested(CancelInfo("me", "", False, 1.0)))
    await until(lambda: world.doubts, every=0.005, what="the doubt")
    world.attempts.deaf = False
    assert world.runner.settle({key: AttemptReport(AttemptKey(*key), Phase.RUNNING)}) == []
    await until(lambda: world.attempts.stopped == [key], seconds=2.0, every=0.005, what="another stop")
    live.attempt_ended(ended(key, 143))
    await until(lambda: live.task.state.ended, every=0.005, what="the task's end")


async def test_what_was_started_while_the_supervisor_was_asked_is_left_alone(world: World) -> None:
    live = await world.started(PLAN)
    assert world.runner.settle({}) == []
    live.attempt_ended(ended(Attempt("t", 1, "a", 1)))
    await until(lambda: live.task.state is TaskState.SUCCEEDED, every=0.005, what="the task's end")
    assert len(world.attempts.spawned) == 1


async def test_an_end_that_is_told_while_tasks_are_taken_up_is_not_lost(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The supervisor pushes it after it said "running", and before the task is there to hear it."""
    live = await world.started(PLAN)
    key = Attempt("t", 1, "a", 1)
    world.runner._live.clear()
    world.attempts.spawned.clear()
    await world.journal.close()
    contents = (journal := Journal(world.journal.path)).contents
    world.shell.journal._writer = journal._writer  # the same file, opened again
    running = {key: AttemptReport(AttemptKey(*key), Phase.RUNNING)}

    async def stored(_self: Bundles, _digest: str) -> Bundle:
        world.runner.attempt_ended(ended(key))
        return Bundle(live.plan, ())

    monkeypatch.setattr(Bundles, "stored", stored)
    assert (await world.runner.restore(contents, running, boot_id="boot"))[1] == []
    await until(lambda: not world.runner.live_keys(), seconds=2.0, every=0.005, what="the task's end")
    assert world.attempts.spawned == []


# -- what the agent carries out itself ---------------------------------------------------------------------------------

INLINE = Plan("p", 1, (StepPlan("a", "played"),))
KEY = Attempt("t", 1, "a", 1)
INTERRUPTED = AttemptReport(AttemptKey(*KEY), Phase.INTERRUPTED)


@pytest.fixture
def played_kind(monkeypatch: pytest.MonkeyPatch) -> list[GameNodeError]:
    """The kind `played`; what is put into the list, it raises when an attempt is prepared."""
    problems: list[GameNodeError] = []

    def played(context: steps.StepContext) -> InlineRequest:
        if problems:
            raise problems.pop()
        return InlineRequest(context.key, context.directory, None)  # type: ignore[arg-type] # nothing carries it out

    monkeypatch.setattr(steps, "KINDS", {"played": played})
    return problems


def next_agent(world: World, live: LiveTask) -> LiveTask:
    """The task as another agent has it from the journal, before it knows what became of its attempts."""
    again = LiveTask(world.shell, live.task, live.plan, digest="d")
    again.running.add(KEY)
    world.runner._live["t"] = again
    return again


@pytest.mark.usefixtures("played_kind")
async def test_what_an_earlier_agent_began_is_taken_up_again(world: World) -> None:
    live = next_agent(world, await world.started(INLINE))
    assert live.settle({KEY: INTERRUPTED}, lambda _: True) == []
    await until(lambda: world.attempts.resumed == [KEY], every=0.005, what="the attempt to be taken up")
    live.attempt_ended(replace(ended(KEY), outputs={"map": "oa_dm1"}))
    await until(lambda: live.task.state is TaskState.SUCCEEDED, every=0.005, what="the task's end")
    assert live.task.steps["a"].outputs == {"map": "oa_dm1"}
    assert world.attempts.spawned == [KEY]


@pytest.mark.usefixtures("played_kind")
async def test_what_an_earlier_agent_was_ending_is_taken_up_and_then_stopped(world: World) -> None:
    live = await world.started(INLINE)
    live.deliver(CancelRequested(CancelInfo("me", "", False, 1.0)))
    await until(lambda: world.attempts.stopped, every=0.005, what="the stop")
    world.attempts.asked.clear()
    world.attempts.stopped.clear()
    again = next_agent(world, live)
    again.settle({KEY: INTERRUPTED}, lambda _: True)
    await until(lambda: world.attempts.stopped == [KEY], every=0.005, what="another stop")
    assert world.attempts.resumed == [KEY]
    assert len(world.attempts.asked) == 2
    again.attempt_ended(replace(ended(KEY, 137), error=Error(Code.CANCELLED, "by me")))
    await until(lambda: again.task.state is TaskState.CANCELLED, every=0.005, what="the task's end")


async def test_what_cannot_be_taken_up_again_is_lost_and_not_failed(
    world: World, played_kind: list[GameNodeError]
) -> None:
    live = next_agent(world, await world.started(INLINE))
    played_kind.append(GameNodeError(Code.ENGINE_UNAVAILABLE, "no engine any more"))
    live.settle({KEY: INTERRUPTED}, lambda _: True)
    await until(lambda: live.task.steps["a"].state is StepState.LOST, every=0.005, what="the step to be lost")
    error = live.task.steps["a"].error
    assert error is not None
    assert "it cannot be taken up again: no engine any more" in error.message


@pytest.mark.usefixtures("played_kind")
async def test_an_attempt_that_lost_track_is_lost(world: World) -> None:
    live = await world.started(INLINE)
    live.attempt_ended(AttemptReport(AttemptKey(*KEY), Phase.UNKNOWN, lost="the container is gone"))
    await until(lambda: live.task.steps["a"].state is StepState.LOST, every=0.005, what="the step to be lost")
    error = live.task.steps["a"].error
    assert error is not None
    assert "the container is gone" in error.message


async def test_a_step_that_cannot_be_prepared_has_a_log_that_is_whole(
    world: World, played_kind: list[GameNodeError]
) -> None:
    played_kind.append(GameNodeError(Code.INVALID_ARGUMENT, "with.port: no"))
    live = LiveTask(world.shell, world.task(INLINE), INLINE, digest="d")
    world.runner._live["t"] = live
    live.accept(TaskAccepted(), TaskStarted(), bundle=None)
    await until(lambda: live.task.state is TaskState.FAILED, every=0.005, what="the task's end")
    log = live.task.steps["a"].log
    assert log is not None
    assert (log.bytes, log.sha256) == (0, hashlib.sha256(b"").hexdigest())
    assert world.attempts.spawned == []
