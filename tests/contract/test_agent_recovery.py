"""What an agent finds when it comes back: after kills at every place, lost supervisors, another boot, a full disk."""

from __future__ import annotations

import asyncio
import os
import re
import signal
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.plan import Plan, RetryOn, RetryPolicy, StepPlan, StopPolicy
from gamenode_pipelines.states import StepState, TaskState
from support.agent_process import running_agent
from support.fake_server import FakeServer, fake_server, plan_of, script
from support.waiting import until

LINES = 20
COUNT = f"""
echo "$GAMENODE_ATTEMPT" >> "$TRACE"
i=0
while [ $i -lt {LINES} ]; do echo "line $i"; i=$((i+1)); sleep 0.05; done
"""
EXPECTED = b"".join(b"line %d\n" % i for i in range(LINES))


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


def counting(trace: Path, **changes: Any) -> Plan:
    return plan_of(script("a", f"{COUNT}exit 5", env={"TRACE": str(trace)}, **changes))


async def test_a_killed_agent_adopts_what_runs(tmp_path: Path, fake: FakeServer) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(counting(trace))
        fake.assign(task)
        await until(trace.exists, what="the step to start")
        await agent.kill()
        await agent.start()
        ended = await fake.settled(task.id)
        assert (ended.steps["a"].exit_code, ended.steps["a"].attempt) == (5, 1)
        assert await fake.whole_log(task.id, "a") == EXPECTED
        assert trace.read_text() == "1\n"


async def test_an_end_while_the_agent_is_away_is_harvested_with_its_time(tmp_path: Path, fake: FakeServer) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(counting(trace))
        fake.assign(task)
        await until(trace.exists, what="the step to start")
        await agent.kill()
        await asyncio.sleep(2.5)
        await agent.start()
        ended = await fake.settled(task.id)
        step = ended.steps["a"]
        assert step.exit_code == 5
        assert 0.9 < step.finished_at - step.started_at < 2.2
        assert await fake.whole_log(task.id, "a") == EXPECTED


FAILPOINTS = sorted(
    {
        name
        for path in (Path(__file__).parents[2] / "agent").rglob("*.py")
        for name in re.findall(r'failpoint\("([^"]+)"\)', path.read_text())
        if not name.startswith("artifacts.")  # where contents are under way; see test_artifact_steps.py
    }
)


@pytest.mark.parametrize("name", FAILPOINTS)
async def test_killed_at_a_failpoint_the_effect_happens_once(tmp_path: Path, fake: FakeServer, name: str) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake) as agent:
        await agent.kill()
        await agent.start(env={"GAMENODE_FAILPOINTS": f"{name}=kill"}, wait=False)
        note = StepPlan("note", "file.write", with_={"path": f"{trace}.note", "content": "written"})
        task = fake.new_task(replace(counting(trace), finally_=(note,)))
        assert agent.process is not None
        deadline = asyncio.get_running_loop().time() + 8
        while agent.process.returncode is None:
            if fake.connected and not fake.events(task.id):
                fake.assign(task)
            await asyncio.sleep(0.1)
            assert asyncio.get_running_loop().time() < deadline, f"never passed {name}"
        await agent.start()
        await fake.wait_connected()
        if not fake.events(task.id):
            fake.assign(task)
        ended = await fake.settled(task.id)
        assert ended.steps["a"].exit_code == 5
        assert trace.read_text() == "1\n"
        assert await fake.whole_log(task.id, "a") == EXPECTED
        assert ended.steps["note"].attempt == 1
        assert Path(f"{trace}.note").read_text() == "written"


@pytest.mark.parametrize("idempotent", [True, False])
async def test_attempts_whose_keeper_died_are_judged(tmp_path: Path, fake: FakeServer, idempotent: bool) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake) as agent:
        retry = RetryPolicy(attempts=2, backoff=0.01, on=frozenset({RetryOn.LOST}))
        task = fake.new_task(counting(trace, idempotent=idempotent, retry=retry))
        fake.assign(task)
        await until(trace.exists, what="the step to start")
        pid = agent.supervisor_pid
        assert pid is not None
        os.kill(pid, signal.SIGKILL)
        ended = await fake.settled(task.id)
        if idempotent:
            assert (ended.steps["a"].exit_code, ended.steps["a"].attempt) == (5, 2)
            assert trace.read_text() == "1\n2\n"
        else:
            assert ended.state is TaskState.NEEDS_ATTENTION
            assert ended.steps["a"].state is StepState.LOST
        other = fake.new_task(plan_of(script("a", "true")))
        fake.assign(other)
        assert (await fake.settled(other.id)).state is TaskState.SUCCEEDED


async def test_nothing_is_adopted_over_another_boot(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(plan_of(script("a", "echo here; sleep 60")))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        await asyncio.sleep(0.3)
        await agent.kill()
        await agent.start(env={"GAMENODE_BOOT_ID": "another"})
        ended = await fake.settled(task.id)
        assert ended.state is TaskState.NEEDS_ATTENTION
        assert fake.sessions[-1].hello.boot_id == "another"


async def test_timers_go_on_after_a_restart(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        slow = fake.new_task(plan_of(script("a", "sleep 60", stop=StopPolicy(grace=0.1)), timeout=3.0))
        retried = fake.new_task(
            plan_of(script("a", '[ "$GAMENODE_ATTEMPT" = 2 ]', retry=RetryPolicy(attempts=2, backoff=6.0)))
        )
        fake.assign(slow)
        fake.assign(retried)
        await until(lambda: "step_ended" in fake.events(retried.id), what="the first attempt to fail")
        await agent.kill()
        await agent.start()
        ended = await fake.settled(slow.id)
        assert ended.error is not None
        assert ended.error.code == "task_timeout"
        assert ended.finished_at - ended.started_at < 5.0
        assert (await fake.settled(retried.id)).state is TaskState.SUCCEEDED


async def test_a_cancel_goes_on_after_a_restart(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        stubborn = "trap '' TERM; while :; do sleep 0.1; done"
        task = fake.new_task(plan_of(script("a", stubborn, stop=StopPolicy(grace=1.0))))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        fake.cancel(task.id)
        await until(lambda: "cancel_requested" in fake.events(task.id), what="the cancel to be taken")
        await agent.kill()
        await agent.start()
        assert (await fake.settled(task.id)).state is TaskState.CANCELLED


async def test_work_goes_on_without_a_server_and_is_told_later_in_order(tmp_path: Path, fake: FakeServer) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake):
        task = fake.new_task(counting(trace))
        fake.assign(task)
        await until(trace.exists, what="the step to start")
        await fake.stop()
        await asyncio.sleep(2.0)
        await fake.start()
        ended = await fake.settled(task.id)
        assert ended.steps["a"].exit_code == 5
        assert await fake.whole_log(task.id, "a") == EXPECTED


async def test_what_was_not_acknowledged_is_sent_again_once(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        fake.ack_updates = False
        task = fake.new_task(plan_of(script("a", "true")))
        fake.assign(task)
        await until(lambda: len([f for f in fake.sessions[0].frames if f.HasField("updates")]) >= 2, what="records")
        fake.send(ConnectionError("gone"))
        fake.ack_updates = True
        assert (await fake.settled(task.id)).state is TaskState.SUCCEEDED
        assert sorted(fake.records) == list(range(1, fake.acked + 1))


async def test_a_restored_server_gets_old_records_again(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        task = fake.new_task(plan_of(script("a", "true")))
        fake.assign(task)
        await fake.settled(task.id)
        until_then = fake.acked
        fake.records.clear()
        fake.acked, fake.epoch = 0, 0
        fake.send(ConnectionError("restored"))
        await until(lambda: fake.acked >= until_then, what="the records to come again")
        assert fake.epoch == 2, "above what the agent saw"


async def test_an_outbox_that_is_older_than_what_the_server_has_gets_a_new_id(tmp_path: Path, fake: FakeServer) -> None:
    fake.welcome = lambda hello, welcome: setattr(welcome, "acked", 1000) if hello.outbox_id == first[0] else None
    first: list[str] = [""]
    async with running_agent(tmp_path, fake):
        first[0] = fake.outbox_id
        fake.send(ConnectionError("look again"))
        seen = await fake.wait_connected(3)
        await until(lambda: fake.sessions[-1].hello.outbox_id != first[0], what="a new outbox id")
        assert seen.hello.outbox_first == 1


async def test_a_full_disk_refuses_nothing_that_has_happened(tmp_path: Path, fake: FakeServer) -> None:
    """The journal cannot be written for a while: the end of the step is told when it can."""
    async with running_agent(tmp_path, fake, wait=False) as agent:
        await agent.wait_ready()
        await agent.kill()
        # error:N fails the Nth commit only; the first ones are the start and the acceptance.
        await agent.start(env={"GAMENODE_FAILPOINTS": "journal.before_commit=error:4"})
        task = fake.new_task(plan_of(script("a", "true")))
        fake.assign(task)
        assert (await fake.settled(task.id)).state is TaskState.SUCCEEDED


async def test_a_second_agent_on_the_same_data_is_refused(tmp_path: Path, fake: FakeServer) -> None:
    from support.agent_process import agent_command

    async with running_agent(tmp_path, fake) as agent:
        code, _, err = await agent_command(tmp_path, agent.data_dir, "run")
        assert code == 6
        assert str(agent.pid) in err


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
async def test_a_stopped_agent_leaves_its_steps_alone(tmp_path: Path, fake: FakeServer, how: signal.Signals) -> None:
    trace = tmp_path / "trace"
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(counting(trace))
        fake.assign(task)
        await until(trace.exists, what="the step to start")
        assert await agent.kill(how) == 0
        assert fake.sessions[-1].goodbye == "stopped"
        await agent.start()
        assert (await fake.settled(task.id)).steps["a"].exit_code == 5
        assert "Traceback" not in agent.log.read_text()


def test_there_are_failpoints() -> None:
    assert len(FAILPOINTS) >= 8
