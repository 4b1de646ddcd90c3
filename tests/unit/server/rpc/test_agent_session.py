"""The control stream over real TLS: a scripted agent against a whole server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.events import (
    CancelInfo,
    CancelRequested,
    LogSummary,
    StepEnded,
    StepStarted,
    TaskAccepted,
    TaskStarted,
)
from gamenode_pipelines.states import NodeState, RunState
from gamenode_proto import tickets
from gamenode_proto.codec.plan import bundle_from_bytes
from gamenode_proto.v1 import agent_link_pb2, state_management_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.store import queries
from support.scripted_agent import Site, site
from support.waiting import until


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


def state_of(here: Site, run_id: str) -> RunState:
    run = here.server.core.store.view.run(run_id)
    assert run is not None
    return run.state


async def test_a_run_from_the_operator_to_the_agent_and_back(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    assign = await agent.perform()
    ticket = tickets.verify(here.server.core.cluster.ticket_public_key, assign.ticket)
    assert (ticket.task_id, ticket.fence, ticket.node_id) == (assign.task.id, 1, agent.node_id)
    assert ticket.bundle_digest == run.run.bundle_digest
    assert ticket.not_after > here.server.core.clock.now()
    plan, _ = bundle_from_bytes(assign.bundle)
    assert plan.params == {"word": "hi"}
    await agent.acked(4)
    assert state_of(here, run.run.id) is RunState.SUCCEEDED


async def test_a_bundle_travels_once_in_a_session(here: Site) -> None:
    agent = await here.agent("a")
    await here.run()
    assert (await agent.perform()).bundle
    await agent.acked(4)
    await here.run()
    assert not (await agent.perform()).bundle


async def test_the_welcome_says_where_to_go_on(here: Site) -> None:
    agent = await here.agent("a")
    await here.run()
    await agent.perform()
    await agent.acked(4)
    welcome = await agent.open()
    assert welcome.acked == 4
    assert welcome.epoch == 2
    assert welcome.incarnation
    assert welcome.config.heartbeat_interval == pytest.approx(0.1)
    assert list(welcome.config.addresses) == []


async def test_addresses_that_the_operator_named_are_pushed(tmp_path: Path) -> None:
    async with site(tmp_path, advertise=("gn.example:7443",)) as here:
        agent = await here.agent("a", open=False)
        welcome = await agent.open()
    assert "gn.example:7443" in welcome.config.addresses


async def test_a_heartbeat_is_echoed_and_shows_in_the_list_of_nodes(here: Site) -> None:
    agent = await here.agent("a", role="game")
    metrics = agent_link_pb2.Heartbeat(seq=7, tasks_running=2).metrics
    metrics.cpu_percent = 12.5
    await agent.beat(7, metrics=metrics, now=here.server.core.clock.now() + 90)
    assert (await agent.read_until("ack")).heartbeat == 7
    answer = await here.call(here.state.ListNodes, state_management_pb2.ListNodesRequest(selectors=["role=game,!none"]))
    (node,) = answer.nodes
    assert node.metrics.cpu_percent == 12.5
    assert node.clock_skew == pytest.approx(90, abs=5)
    assert node.facts.agent_version == "9.9"
    samples = await here.call(here.state.GetNodeMetrics, state_management_pb2.GetNodeMetricsRequest(node="a"))
    assert [sample.cpu_percent for sample in samples.samples] == [12.5]


async def test_a_second_session_of_the_node_ends_the_first(here: Site) -> None:
    agent = await here.agent("a")
    first = agent.call
    await agent.open()
    second, agent.call = agent.call, first
    assert (await agent.end_of_session()).code is Code.SUPERSEDED
    agent.call = second
    await agent.beat(3)
    assert (await agent.read_until("ack")).heartbeat == 3


async def test_two_agents_with_one_identity_are_quarantined(here: Site) -> None:
    agent = await here.agent("a")
    error: GameNodeError | None = None
    for number in range(12):
        try:
            await agent.open(agent_run_id=f"agent{number % 2}")
        except GameNodeError as refused:
            error = refused
            break
    assert error is not None
    assert error.code is Code.QUARANTINED
    node = here.server.core.store.view.node(agent.node_id)
    assert node is not None
    assert node.state is NodeState.QUARANTINED


async def test_an_agent_that_starts_often_is_not_taken_for_two(here: Site) -> None:
    agent = await here.agent("a")
    for number in range(12):
        await agent.open(agent_run_id=f"start{number}")


async def test_duplicate_records_are_acknowledged_and_have_no_effect(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    await agent.perform()
    await agent.acked(4)
    before = here.server.core.hub.newest
    agent.seq = 0
    await agent.report(
        run.tasks[0].id, TaskAccepted(), TaskStarted(), StepStarted("go", 1), StepEnded("go", 1, exit_code=1)
    )
    await agent.acked(4)
    assert here.server.core.hub.newest == before
    assert state_of(here, run.run.id) is RunState.SUCCEEDED


async def test_a_gap_closes_the_session_and_the_next_one_goes_on_from_the_ack(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    assign = await agent.read_until("assign")
    agent.seq = 1
    await agent.report(assign.task.id, TaskStarted())
    assert (await agent.end_of_session()).code is Code.PROTOCOL_ERROR
    agent.seq = 0
    assert (await agent.open(inventory=[])).acked == 0
    await agent.perform()
    await agent.acked(4)
    assert state_of(here, run.run.id) is RunState.SUCCEEDED


async def test_a_report_on_another_nodes_task_is_denied_audited_and_changes_nothing(here: Site) -> None:
    mine, other = await here.agent("a"), await here.agent("b")
    run = await here.run(all=False, nodes=["a"])
    assign = await mine.read_until("assign")
    await other.report(assign.task.id, TaskAccepted())
    assert (await other.end_of_session()).code is Code.PERMISSION_DENIED
    rows = await here.server.core.store.read(queries.list_audit, user="node:b")
    assert [(row.outcome, row.target) for row in rows] == [("permission_denied", assign.task.id)]
    task = here.server.core.store.view.task(run.tasks[0].id)
    assert task is not None
    assert not task.accepted
    node = here.server.core.store.view.node(other.node_id)
    assert node is not None
    assert node.outbox_acked == 0


async def test_a_hello_for_another_node_is_denied(here: Site) -> None:
    agent = await here.agent("a", open=False)
    with pytest.raises(GameNodeError) as raised:
        await agent.open(node_id="nodebbbbbbbb")
    assert raised.value.code is Code.PERMISSION_DENIED


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"protocol_min": 2, "protocol_max": 3}, Code.VERSION_MISMATCH),
        ({"outbox_id": ""}, Code.PROTOCOL_ERROR),
        ({"inventory": [agent_link_pb2.InventoryTask(task_id="x", fence=1, state=99)]}, Code.PROTOCOL_ERROR),  # type: ignore[arg-type]
    ],
)
async def test_a_bad_hello_is_refused_with_its_reason(here: Site, changes: dict[str, object], code: Code) -> None:
    agent = await here.agent("a", open=False)
    with pytest.raises(GameNodeError) as raised:
        await agent.open(**changes)
    assert raised.value.code is code


async def test_a_first_frame_that_is_no_hello_is_refused(here: Site) -> None:
    agent = await here.agent("a", open=False)
    agent.call = agent.stub.Session()
    await agent.beat()
    assert (await agent.end_of_session()).code is Code.PROTOCOL_ERROR


async def test_a_record_that_makes_no_sense_does_not_hold_up_what_comes_behind_it(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    record = agent_link_pb2.OutboxRecord(seq=1)
    record.task_event.task_id = run.tasks[0].id
    await agent.send_records([record])
    agent.seq = 1
    await agent.report(run.tasks[0].id, TaskAccepted())
    await agent.acked(2)
    assert here.server.core.store.view.task(run.tasks[0].id).accepted  # type: ignore[union-attr]


async def test_an_assignment_that_is_not_acknowledged_is_sent_again_until_it_is(here: Site) -> None:
    agent = await here.agent("a")
    await here.run()
    first = await agent.read_until("assign")
    second = await keep_alive(agent, "assign")
    assert (second.task.id, second.task.fence) == (first.task.id, first.task.fence)
    await agent.report(first.task.id, TaskAccepted())
    await agent.acked(1)
    agent.frames.clear()
    async with asyncio.timeout(3):
        for beat in range(8):
            await asyncio.sleep(0.1)
            await agent.beat(100 + beat)
        while (await agent.read()).ack.heartbeat < 107:
            pass
    assert all(frame.WhichOneof("body") != "assign" for frame in agent.frames)


async def keep_alive(agent: object, kind: str) -> agent_link_pb2.Assign:
    """The next frame of a kind, with heartbeats meanwhile."""
    from support.scripted_agent import ScriptedAgent

    assert isinstance(agent, ScriptedAgent)

    enough = asyncio.Event()  # not cancelled: a write that is cancelled ends the call

    async def beats() -> None:
        while not enough.is_set():
            await agent.beat()
            await asyncio.sleep(0.1)

    async with asyncio.TaskGroup() as group:
        group.create_task(beats())
        found = await agent.read_until(kind)
        enough.set()
    return found  # type: ignore[no-any-return]


async def test_a_cancel_reaches_the_agent_and_ends_the_run(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    assign = await agent.read_until("assign")
    task_id = assign.task.id
    await agent.report(task_id, TaskAccepted(), TaskStarted(), StepStarted("go", 1))
    await agent.acked(3)
    (going,) = (
        await here.call(here.pipelines.CancelRuns, pb.CancelRunsRequest(runs=[run.run.id[:6]], reason="enough"))
    ).runs
    assert going.state == 5
    cancel = await agent.read_until("cancel")
    assert cancel.cancel.reason == "enough"
    await agent.report(
        task_id,
        CancelRequested(CancelInfo(by=cancel.cancel.by, reason="enough")),
        StepEnded("go", 1, error=Error(Code.CANCELLED, "cancelled"), log=LogSummary()),
    )
    await agent.acked(5)
    assert state_of(here, run.run.id) is RunState.CANCELLED


async def test_goodbye_is_offline_at_once_and_a_lost_stream_is_not(here: Site) -> None:
    left, lost = await here.agent("a"), await here.agent("b")
    await left.send(agent_link_pb2.AgentFrame(goodbye=agent_link_pb2.Goodbye(reason="upgrade")))
    lost.call.cancel()
    view = here.server.core.store.view
    await until(lambda: view.node(left.node_id).state is NodeState.OFFLINE)  # type: ignore[union-attr]
    await until(lambda: here.server.core.sessions.get(lost.node_id) is None)
    assert view.node(lost.node_id).state is NodeState.ONLINE  # type: ignore[union-attr]
    await until(lambda: view.node(lost.node_id).state is NodeState.SUSPECT)  # type: ignore[union-attr]
    await until(lambda: view.node(lost.node_id).state is NodeState.OFFLINE)  # type: ignore[union-attr]


async def test_a_silent_session_is_closed_and_the_node_comes_back_by_itself(here: Site) -> None:
    agent = await here.agent("a")
    assert (await agent.end_of_session()).code is Code.TIMEOUT
    await agent.open()
    assert here.server.core.store.view.node(agent.node_id).state is NodeState.ONLINE  # type: ignore[union-attr]


async def test_revoking_ends_the_session_within_a_second_and_lets_nobody_back(here: Site) -> None:
    agent = await here.agent("a")
    async with asyncio.timeout(1):
        await here.call(here.state.RevokeNode, state_management_pb2.RevokeNodeRequest(node="a", reason="stolen"))
        assert (await agent.end_of_session()).code is Code.REVOKED
    with pytest.raises(GameNodeError) as raised:
        await agent.open()
    assert raised.value.code is Code.REVOKED


async def test_a_bundle_is_given_to_who_has_a_task_of_it(here: Site) -> None:
    mine, other = await here.agent("a"), await here.agent("b")
    run = await here.run(all=False, nodes=["a"])
    request = agent_link_pb2.FetchBundleRequest(digest=run.run.bundle_digest, task_id=run.tasks[0].id)
    data = b"".join([chunk.data async for chunk in mine.stub.FetchBundle(request)])
    assert bundle_from_bytes(data)[0].pipeline == "demo"
    with pytest.raises(Exception, match="not a task of this node"):
        _ = [chunk async for chunk in other.stub.FetchBundle(request)]


async def test_after_a_restart_of_the_server_everything_goes_on(tmp_path: Path) -> None:
    async with site(tmp_path) as here:
        agent = await here.agent("a")
        run = await here.run()
        assign = await agent.read_until("assign")
        await agent.report(assign.task.id, TaskAccepted(), TaskStarted(), StepStarted("go", 1))
        await agent.acked(3)
    async with site(tmp_path) as again:
        view = again.server.core.store.view
        assert view.run(run.run.id).state is RunState.RUNNING  # type: ignore[union-attr]
        assert view.node(agent.node_id).state is NodeState.ONLINE  # type: ignore[union-attr]
        await until(lambda: view.node(agent.node_id).state is NodeState.SUSPECT)  # type: ignore[union-attr]


async def test_a_full_disk_acknowledges_nothing_and_heals_by_itself(
    here: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent = await here.agent("a")
    run = await here.run()
    assign = await agent.read_until("assign")
    store = here.server.core.store
    room, apply = asyncio.Event(), store.apply

    async def full(op: Any) -> Any:
        if not room.is_set():
            raise GameNodeError(Code.STORAGE_FULL, "no space")
        return await apply(op)

    monkeypatch.setattr(store, "apply", full)
    monkeypatch.setattr(store, "writable", room.wait)
    await agent.report(
        assign.task.id, TaskAccepted(), TaskStarted(), StepStarted("go", 1), StepEnded("go", 1, exit_code=0)
    )
    await agent.beat(5)
    ack = await agent.read_until("ack")
    assert (ack.acked, ack.heartbeat) == (0, 5)
    room.set()
    await agent.acked(4)
    assert state_of(here, run.run.id) is RunState.SUCCEEDED
