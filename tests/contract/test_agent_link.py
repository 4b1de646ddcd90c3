"""The agent's side of the wire against a server that goes away, falls silent, drains, resets and moves."""

from __future__ import annotations

import asyncio
import datetime
import json
import signal
import socket
import time
from collections.abc import AsyncIterator
from pathlib import Path

import psutil
import pytest

from gamenode_agent.identity import load_identity, save_identity
from gamenode_agent.keys import signing_request
from gamenode_pipelines.states import TaskState
from gamenode_proto.v1 import agent_link_pb2
from support.agent_process import agent_command, running_agent
from support.fake_server import FakeServer, fake_server, plan_of, script
from support.waiting import until

QUICK = {"GAMENODE_SILENCE_LIMIT": "500ms"}


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


async def test_hello_says_who_and_what_this_host_is(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        hello = fake.sessions[0].hello
        assert hello.node_id == "node1"
        assert hello.outbox_id
        assert (hello.protocol_min, hello.protocol_max) == (1, 1)
        assert hello.facts.resources.memory_total > 1 << 27
        assert hello.facts.slots == 8
        assert hello.facts.capabilities


async def test_heartbeats_come_with_metrics(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):

        def beats() -> list[agent_link_pb2.Heartbeat]:
            return [frame.heartbeat for frame in fake.sessions[0].frames if frame.HasField("heartbeat")]

        await until(lambda: len(beats()) >= 4, what="heartbeats")
        assert [beat.seq for beat in beats()[:4]] == [1, 2, 3, 4]
        sample = next(beat.metrics for beat in reversed(beats()) if beat.HasField("metrics"))
        assert sample.memory_used > 0
        assert sample.disk_used > 0
        assert sample.processes > 1
        assert 0 <= sample.cpu_percent <= 100
        assert sample.disks


async def test_a_silent_server_is_given_up_and_found_again(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake, env=QUICK):
        fake.echo = False
        began = time.monotonic()
        await until(lambda: len(fake.sessions) >= 2, what="another session")
        assert time.monotonic() - began < 3
        fake.echo = True
        await asyncio.sleep(1.0)
        count = len(fake.sessions)
        await asyncio.sleep(1.0)
        assert len(fake.sessions) == count


async def test_a_server_that_closes_the_session_is_called_again(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        for count in (2, 3):
            fake.send(ConnectionError("go away"))
            await fake.wait_connected(count)
        assert {seen.hello.agent_run_id for seen in fake.sessions} == {fake.sessions[0].hello.agent_run_id}
        assert fake.sessions[2].hello.max_epoch == 2


async def test_the_highest_epoch_outlives_the_process_that_saw_it(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        await asyncio.sleep(0.3)
        await agent.kill()
        await agent.start()
        await fake.wait_connected(2)
        assert fake.sessions[1].hello.max_epoch == 1


async def test_drain_keeps_away_for_as_long_as_the_server_says(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        began = time.monotonic()
        fake.send(agent_link_pb2.ServerFrame(drain=agent_link_pb2.Drain(retry_after=1.0, reason="upgrade")))
        await fake.wait_connected(2)
        assert time.monotonic() - began > 0.95


async def test_unknown_frames_are_borne(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        fake.send(agent_link_pb2.ServerFrame())
        task = fake.new_task(plan_of(script("a", "true")))
        fake.assign(task)
        assert (await fake.settled(task.id)).state is TaskState.SUCCEEDED
        assert len(fake.sessions) == 1


async def test_another_protocol_is_refused_with_a_reason(tmp_path: Path, fake: FakeServer) -> None:
    fake.welcome = lambda _hello, welcome: setattr(welcome, "protocol", 99)
    async with running_agent(tmp_path, fake, wait=False) as agent:
        await until(lambda: "protocol 99" in agent.log.read_text(), what="the reason")


@pytest.mark.parametrize("what", ["session", "outbox", "tasks", "nonsense"])
async def test_reset_by_hand(tmp_path: Path, fake: FakeServer, what: str) -> None:
    async with running_agent(tmp_path, fake):
        task = fake.new_task(plan_of(script("a", "sleep 60")))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        before = fake.sessions[0].hello.outbox_id
        fake.send(agent_link_pb2.ServerFrame(reset=agent_link_pb2.Reset(command_id="c1", what=what)))

        def result() -> agent_link_pb2.CommandResult | None:
            found = [frame.result for frame in fake.sessions[0].frames if frame.HasField("result")]
            return found[0] if found else None

        answer = await until(result, what="an answer")
        assert (answer.command_id, bool(answer.error.code)) == ("c1", what == "nonsense")
        match what:
            case "session" | "outbox":
                seen = await fake.wait_connected(2)
                assert (seen.hello.outbox_id == before) is (what == "session")
            case "tasks":
                assert (await fake.settled(task.id)).state is TaskState.CANCELLED


async def test_restart_makes_a_new_process_that_adopts(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(plan_of(script("a", "sleep 2; exit 3")))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        fake.send(agent_link_pb2.ServerFrame(restart=agent_link_pb2.Restart(command_id="c1")))
        seen = await fake.wait_connected(2)
        assert seen.hello.agent_run_id != fake.sessions[0].hello.agent_run_id
        assert agent.runs
        assert (await fake.settled(task.id)).steps["a"].exit_code == 3


async def test_forget_stops_what_is_no_longer_its_task(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(plan_of(script("a", "sleep 60")))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        item = agent_link_pb2.InventoryTask(task_id=task.id, fence=1)
        fake.send(agent_link_pb2.ServerFrame(forget=agent_link_pb2.Forget(tasks=[item])))
        left = lambda: not list((agent.data_dir / "agent" / "attempts").glob("*.*.*.*"))  # noqa: E731
        await until(left, what="the attempt to be gone")
        fake.send(ConnectionError("again"))
        assert not (await fake.wait_connected(2)).hello.inventory


async def test_the_inventory_says_what_is_held(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        task = fake.new_task(plan_of(script("a", "sleep 60")))
        fake.assign(task)
        await until(lambda: "step_started" in fake.events(task.id), what="the step to start")
        fake.send(ConnectionError("again"))
        (item,) = (await fake.wait_connected(2)).hello.inventory
        assert (item.task_id, item.fence) == (task.id, 1)


async def test_a_flood_of_logs_arrives_whole(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake):
        task = fake.new_task(plan_of(script("a", "yes 0123456789abcdef | head -c 20000000")))
        fake.assign(task)
        await fake.settled(task.id)
        assert len(await fake.whole_log(task.id, "a")) == 20_000_000


async def test_a_slow_server_makes_shipping_slow_down_and_not_stop(tmp_path: Path, fake: FakeServer) -> None:
    fake.log_delay = 0.15
    async with running_agent(tmp_path, fake, env={"GAMENODE_LOG_SLOW": "100ms", "GAMENODE_LOG_CHUNK": "64k"}):
        task = fake.new_task(plan_of(script("a", "yes 0123456789abcdef | head -c 600000")))
        fake.assign(task)
        await fake.settled(task.id)
        assert len(await fake.whole_log(task.id, "a")) == 600_000


async def test_a_log_goes_on_over_an_agent_restart_without_a_repeat(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        task = fake.new_task(plan_of(script("a", "for i in $(seq 60); do echo $i; sleep 0.05; done")))
        fake.assign(task)
        await until(lambda: fake.logs, what="the log to begin")
        await agent.kill()
        await agent.start()
        await fake.settled(task.id)
        assert await fake.whole_log(task.id, "a") == b"".join(b"%d\n" % i for i in range(1, 61))


async def test_a_certificate_is_renewed_in_time(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        await agent.kill()
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=3600)
        fake.certificate_ends = ends
        identity = load_identity(agent.data_dir / "agent")
        short = fake.certificate_for(signing_request(identity.key_pem, name="x"))
        save_identity(
            agent.data_dir / "agent", identity.renewed(key_pem=identity.key_pem, certificate_pem=short, ca_pem="")
        )
        await agent.start()

        def renewed() -> bool:
            found = load_identity(agent.data_dir / "agent")
            return found.certificate_pem != short

        await until(renewed, what="a new certificate")
        await until(
            lambda: fake.sessions[-1].hello and len(fake.sessions) >= 3 and fake.connected, what="a new session"
        )
        assert load_identity(agent.data_dir / "agent").key_pem != identity.key_pem


async def test_a_node_that_was_off_past_its_certificate_comes_back(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        await agent.kill()
        identity = load_identity(agent.data_dir / "agent")
        fake.certificate_ends = datetime.datetime(2021, 1, 1, tzinfo=datetime.UTC)
        old = fake.certificate_for(signing_request(identity.key_pem, name="x"))
        save_identity(
            agent.data_dir / "agent", identity.renewed(key_pem=identity.key_pem, certificate_pem=old, ca_pem="")
        )
        await agent.start()
        assert len(fake.sessions) == 2
        assert load_identity(agent.data_dir / "agent").lifetime[1] > time.time()


async def test_a_server_that_moved_is_found_by_set_server(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        old = fake.port
        await fake.stop()
        fake.port = 0
        await fake.start()
        assert fake.port != old
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "set-server", fake.address)
        assert code == 0
        assert fake.address in out
        await fake.wait_connected(2)


async def test_status_tells_how_it_stands(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "status", "-o", "json")
        found = json.loads(out)
        assert (code, found["running"], found["connected"], found["pid"]) == (0, True, True, agent.pid)
        await fake.stop()
        await asyncio.sleep(0.5)
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "status")
        assert code == 0
        assert "not connected" in out
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "stop")
        assert (code, out) == (0, f"stopped pid={agent.pid}\n")
        code, out, _ = await agent_command(tmp_path, agent.data_dir, "status")
        assert code == 1
        assert "does not run" in out


async def test_an_agent_stops_in_time_though_nothing_answers(tmp_path: Path, fake: FakeServer) -> None:
    async with running_agent(tmp_path, fake) as agent:
        with socket.create_server(("127.0.0.1", 0)) as hole:
            address = f"127.0.0.1:{hole.getsockname()[1]}"
            await agent_command(tmp_path, agent.data_dir, "set-server", address)
            await fake.stop()
            await asyncio.sleep(0.5)
            began = time.monotonic()
            assert await agent.kill(signal.SIGTERM) == 0
            assert time.monotonic() - began < 5
        assert "Traceback" not in agent.log.read_text()


async def test_idle_it_costs_next_to_nothing(tmp_path: Path, fake: FakeServer) -> None:
    fake.heartbeat, fake.metrics_interval = 5.0, 15.0
    async with running_agent(tmp_path, fake) as agent:
        process = psutil.Process(agent.pid)
        await asyncio.sleep(2.0)
        before = sum(process.cpu_times()[:2])
        await asyncio.sleep(6.0)
        used = (sum(process.cpu_times()[:2]) - before) / 6.0
        assert used < 0.02, f"{100 * used:.2f} % of a core"
        assert process.memory_info().rss < 80 << 20
