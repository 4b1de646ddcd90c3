"""The agent process, from an assignment to the last byte of the log, with its real supervisor and a fake server."""

from __future__ import annotations

import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code
from gamenode_pipelines.plan import OnLost, RetryPolicy, StopPolicy
from gamenode_pipelines.states import StepState, TaskState
from gamenode_proto.codec.plan import BundleFile
from support.agent_process import running_agent
from support.cluster import Agent
from support.fake_server import FakeServer, fake_server, plan_of, script
from support.waiting import until


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


@pytest.fixture
async def agent(tmp_path: Path, fake: FakeServer) -> AsyncIterator[Agent]:
    async with running_agent(tmp_path, fake) as agent:
        yield agent


async def test_a_task_runs_step_by_step_and_its_log_arrives_whole(fake: FakeServer, agent: Agent) -> None:
    assert agent.ready.startswith("connected node=eu-1 id=node1")
    plan = plan_of(
        script(
            "a",
            'echo "one $WHO"; echo "map=q3dm6" >> "$GAMENODE_OUTPUT"; echo two >&2',
            env={"WHO": "${{ node.name }}"},
        ),
        script("b", 'printf "%s" "$MAP"', needs=("a",), env={"MAP": "${{ steps.a.outputs.map }}"}),
        env={"TZ": "UTC"},
    )
    task = fake.new_task(plan)
    fake.assign(task)
    ended = await fake.settled(task.id)
    assert ended.state is TaskState.SUCCEEDED, ended
    assert fake.events(task.id) == ["accepted", "started", "step_started", "step_ended", "step_started", "step_ended"]
    assert ended.steps["a"].outputs == {"map": "q3dm6"}
    log = await fake.whole_log(task.id, "a")
    assert sorted(log.splitlines()) == [b"one eu-1", b"two"]
    assert await fake.whole_log(task.id, "b") == b"q3dm6"
    left = lambda: not list((agent.data_dir / "agent" / "attempts").glob("*.*.*.*"))  # noqa: E731
    await until(left, what="the attempts to be forgotten")
    assert not list((agent.data_dir / "agent" / "work").glob("*.1"))


async def test_a_failed_step_is_tried_again_and_then_fails_the_task(fake: FakeServer, agent: Agent) -> None:
    plan = plan_of(
        script("a", "exit 7", retry=RetryPolicy(attempts=2, backoff=0.05)),
        finally_=(script("z", 'test "$STATE" = failed', env={"STATE": "${{ task.state }}"}),),
    )
    task = fake.new_task(plan)
    fake.assign(task)
    ended = await fake.settled(task.id)
    assert ended.state is TaskState.FAILED
    step = ended.steps["a"]
    assert (step.attempt, step.exit_code, step.state) == (2, 7, StepState.FAILED)
    assert ended.steps["z"].state is StepState.SUCCEEDED
    assert fake.events(task.id).count("retry_due") == 1


async def test_bad_outputs_fail_a_step_that_would_have_succeeded(fake: FakeServer, agent: Agent) -> None:
    task = fake.new_task(plan_of(script("a", 'echo "nonsense" > "$GAMENODE_OUTPUT"')))
    fake.assign(task)
    ended = await fake.settled(task.id)
    error = ended.steps["a"].error
    assert error is not None
    assert error.code is Code.STEP_FAILED
    assert "line 1" in error.message


@pytest.mark.parametrize(
    ("step", "code"),
    [
        (script("a", "true", env={"X": "${{ params.nothing }}"}), Code.INVALID_ARGUMENT),
        (script("a", "true", user="no-such-user"), None),
        (script("a", "true", workdir="not/there"), None),
    ],
)
async def test_a_step_that_cannot_start_fails_with_its_reason(fake: FakeServer, agent: Agent, step, code) -> None:  # type: ignore[no-untyped-def]
    task = fake.new_task(plan_of(step))
    fake.assign(task)
    ended = await fake.settled(task.id)
    assert ended.state is TaskState.FAILED
    error = ended.steps["a"].error
    assert error is not None
    assert code in (None, error.code), error


async def test_python_bash_and_files_of_the_bundle(fake: FakeServer, agent: Agent) -> None:
    plan = plan_of(
        script("p", "import os, sys\nprint(sys.version_info.major, open('conf/a.cfg').read())", shell="python"),
        script("b", "false | true; echo not here", shell="bash", needs=("p",)),
    )
    task = fake.new_task(plan)
    fake.assign(task, files=[BundleFile("conf/a.cfg", b"hello")])
    ended = await fake.settled(task.id)
    assert await fake.whole_log(task.id, "p") == b"3 hello\n"
    assert ended.steps["b"].exit_code == 1


async def test_a_bundle_that_did_not_travel_is_fetched_once(fake: FakeServer, agent: Agent) -> None:
    plan = plan_of(script("a", "echo " + "x" * 500))
    for _ in range(2):
        task = fake.new_task(plan)
        digest = fake.assign(task, inline=False)
        assert (await fake.settled(task.id)).state is TaskState.SUCCEEDED
    assert fake.fetched == [digest]


async def test_cancel_ends_the_step_and_finally_still_runs(fake: FakeServer, agent: Agent) -> None:
    plan = plan_of(
        script("a", "echo started; sleep 100", stop=StopPolicy(grace=0.5)), finally_=(script("z", "echo tidy"),)
    )
    task = fake.new_task(plan)
    fake.assign(task)
    await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
    fake.cancel(task.id)
    ended = await fake.settled(task.id)
    assert ended.state is TaskState.CANCELLED
    assert ended.steps["a"].state is StepState.CANCELLED
    assert ended.steps["a"].error is not None
    assert "ann" in ended.steps["a"].error.message
    assert ended.steps["z"].state is StepState.SUCCEEDED


async def test_a_cancel_that_comes_before_its_task_wins(fake: FakeServer, agent: Agent) -> None:
    task = fake.new_task(plan_of(script("a", "echo no")))
    fake.cancel(task.id)
    await until(lambda: fake.events(task.id) == ["cancel_requested"], what="the cancel to be told")
    fake.assign(task)
    assert (await fake.settled(task.id)).state is TaskState.CANCELLED
    other = fake.new_task(plan_of(script("a", "true")))
    fake.assign(other)
    await fake.settled(other.id)
    assert fake.events(task.id) == ["cancel_requested"]


async def test_a_repeated_assignment_runs_once(fake: FakeServer, agent: Agent, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    task = fake.new_task(plan_of(script("a", f"echo x >> {trace}; sleep 0.3")))
    for _ in range(3):
        fake.assign(task)
    await fake.settled(task.id)
    fake.assign(task)
    other = fake.new_task(plan_of(script("a", "true")))
    fake.assign(other)
    await fake.settled(other.id)
    assert trace.read_text() == "x\n"
    assert fake.events(task.id).count("accepted") == 1


async def test_tickets_are_checked(fake: FakeServer, agent: Agent) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    changes = {
        "node": lambda ticket: setattr(ticket, "node_id", "node2"),
        "cluster": lambda ticket: setattr(ticket, "cluster_id", "other"),
        "fence": lambda ticket: setattr(ticket, "fence", 9),
        "time": lambda ticket: setattr(ticket, "not_after", 1000.0),
        "digest": lambda ticket: setattr(ticket, "bundle_digest", "0" * 64),
    }
    for what, change in changes.items():
        task = fake.new_task(plan_of(script("a", "echo no")))
        fake.assign(task, change=change)
        ended = await fake.settled(task.id)
        assert ended.state is TaskState.FAILED, what
        assert ended.error is not None
        assert ended.error.code is (Code.TIMEOUT if what == "time" else Code.INTEGRITY_FAILED), what
        assert fake.events(task.id) == ["refused"]
    task = fake.new_task(plan_of(script("a", "echo no")))
    fake.assign(task, key=Ed25519PrivateKey.generate())
    ended = await fake.settled(task.id)
    assert ended.error is not None
    assert ended.error.code is Code.INTEGRITY_FAILED


async def test_an_unknown_step_kind_is_refused_with_its_name(fake: FakeServer, agent: Agent) -> None:
    task = fake.new_task(plan_of(script("a", "true", kind="container.fly")))
    fake.assign(task)
    ended = await fake.settled(task.id)
    assert ended.error is not None
    assert "container.fly" in ended.error.message


async def test_a_newer_assignment_stops_the_older_one_first(fake: FakeServer, agent: Agent, tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    loop = f"trap '' TERM; echo $GAMENODE_FENCE start >> {trace}; while [ $GAMENODE_FENCE = 1 ]; do sleep 0.05; done"
    task = fake.new_task(plan_of(script("a", loop, idempotent=True), on_lost=OnLost.RETRY))
    fake.assign(task)
    await until(trace.exists, what="the first to start")
    from dataclasses import replace

    newer = replace(task, fence=2)
    fake.tasks[task.id] = newer
    fake.assign(newer)
    ended = await fake.settled(task.id)
    assert ended.state is TaskState.SUCCEEDED
    assert trace.read_text() == "1 start\n2 start\n"


async def test_a_task_timeout_ends_it(fake: FakeServer, agent: Agent) -> None:
    task = fake.new_task(plan_of(script("a", "sleep 100", stop=StopPolicy(grace=0.2)), timeout=0.4))
    fake.assign(task)
    ended = await fake.settled(task.id)
    assert ended.error is not None
    assert ended.error.code is Code.TASK_TIMEOUT


async def test_slots_are_kept_and_the_next_task_follows(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake, env={"GAMENODE_SLOTS": "1"}) as agent:
        plan = plan_of(script("a", "sleep 0.3"))
        first, second = fake.new_task(plan), fake.new_task(plan)
        fake.assign(first)
        fake.assign(second)
        await until(lambda: fake.events(second.id) == ["accepted"], what="the second to wait")
        assert "step_ended" not in fake.events(first.id)
        assert (await fake.settled(second.id)).state is TaskState.SUCCEEDED
        assert await agent.kill(signal.SIGTERM) == 0
        await until(lambda: fake.sessions[-1].goodbye == "stopped", what="the goodbye")


async def test_too_little_disk_refuses_new_work(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake, env={"GAMENODE_DISK_RESERVE": "100000g"}):
        task = fake.new_task(plan_of(script("a", "true")))
        fake.assign(task)
        ended = await fake.settled(task.id)
        assert ended.error is not None
        assert ended.error.code is Code.INSUFFICIENT_RESOURCES
        assert set(ended.error.details) >= {"needed", "free"}
