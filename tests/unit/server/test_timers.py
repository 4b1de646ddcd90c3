"""What happens because time passes, on a clock that the test turns."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass

import pytest

from gamenode_pipelines.errors import Error
from gamenode_pipelines.events import StepStarted, TaskAccepted, TaskStarted
from gamenode_pipelines.plan import OnLost
from gamenode_pipelines.states import NodeState, TaskState
from gamenode_proto.v1 import plan_pb2
from gamenode_server.dispatch import Dispatch
from gamenode_server.intervals import Intervals
from gamenode_server.sessions import Session, Sessions
from gamenode_server.timers import Timers
from support.fleet import Fleet, fleet, plan_of

INTERVALS = Intervals()


@dataclass
class World:
    """A fleet whose effects are carried out, and the timers."""

    fleet: Fleet
    sessions: Sessions
    dispatch: Dispatch
    timers: Timers
    closed: list[tuple[str, Error]]

    async def connect(self, name: str) -> Session:
        session = Session(
            id=f"session-{name}", node_id=f"id-{name}", agent_run_id="x", address="", now=self.fleet.clock.now()
        )
        assert self.sessions.begin(session)
        await self.fleet.connect(name)
        self.carry_out()
        return session

    def carry_out(self) -> None:
        effects = list(self.fleet.effects)
        self.fleet.effects.clear()
        self.dispatch.carry_out(effects)

    async def pass_time(self, seconds: float, *, heard: Session | None = None) -> None:
        """Lets time pass second by second, with the timers ticking."""
        for _ in range(round(seconds)):
            self.fleet.clock.time += 1
            if heard is not None:
                self.sessions.heard(heard)
            await self.timers.tick()
            self.carry_out()

    def state(self, name: str) -> NodeState:
        return self.fleet.stored_node(f"id-{name}").state


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with fleet() as made:
        closed: list[tuple[str, Error]] = []
        sessions = Sessions(clock=made.clock, intervals=INTERVALS, hub=made.hub)
        dispatch = Dispatch(
            sessions=sessions,
            plans=made.plans,
            clock=made.clock,
            intervals=INTERVALS,
            cluster_id="c",
            sign=lambda ticket: plan_pb2.SignedTicket(ticket=ticket),
            end_calls=lambda node_id, error: closed.append((node_id, error)),
            labels=lambda _: {},
            version="0",
        )
        timers = Timers(
            store=made.store,
            sessions=sessions,
            dispatch=dispatch,
            plans=made.plans,
            clock=made.clock,
            intervals=INTERVALS,
            live_runs=made.store.view.live_runs,
            nodes=made.store.view.nodes,
        )
        yield World(made, sessions, dispatch, timers, closed)


async def frames(session: Session) -> list[str]:
    """The kinds of frame that wait to be sent."""
    found = []
    while session.out._frames:
        frame = await session.out.next()
        assert frame is not None
        found.append(str(frame.WhichOneof("body")))
    return found


async def test_silence_makes_a_node_suspect_then_offline(world: World) -> None:
    await world.fleet.node("a", online=False)
    session = await world.connect("a")
    await world.pass_time(100, heard=session)
    assert world.state("a") is NodeState.ONLINE
    await world.pass_time(20)
    assert world.state("a") is NodeState.SUSPECT
    assert session.out.closed
    world.sessions.end(session)
    await world.pass_time(39)
    assert world.state("a") is NodeState.SUSPECT
    await world.pass_time(1)
    assert world.state("a") is NodeState.OFFLINE
    await world.connect("a")
    assert world.state("a") is NodeState.ONLINE


async def test_a_stream_that_ends_while_its_session_is_stored_leaves_no_node_online_for_ever(world: World) -> None:
    await world.fleet.node("a", online=False)
    session = Session(id="session-a", node_id="id-a", agent_run_id="x", address="", now=world.fleet.clock.now())
    assert world.sessions.begin(session)
    world.sessions.end(session)
    await world.fleet.connect("a")
    world.carry_out()
    assert world.state("a") is NodeState.ONLINE
    await world.pass_time(61)
    assert world.state("a") is NodeState.OFFLINE


async def test_a_server_that_stood_still_blames_nobody(world: World) -> None:
    await world.fleet.node("a", online=False)
    session = await world.connect("a")
    await world.pass_time(5, heard=session)
    world.fleet.clock.time += 3600
    await world.timers.tick()
    assert world.state("a") is NodeState.ONLINE


async def test_after_a_start_a_node_has_time_to_come_back(world: World) -> None:
    node = await world.fleet.node("a")
    world.fleet.effects.clear()  # they were of the server before
    world.sessions.restore(world.fleet.stored_node(node))
    await world.pass_time(21)
    assert world.state("a") is NodeState.SUSPECT
    await world.pass_time(90)
    assert world.state("a") is NodeState.SUSPECT
    await world.pass_time(10)
    assert world.state("a") is NodeState.OFFLINE


async def test_an_assignment_is_sent_again_until_it_is_accepted(world: World) -> None:
    node = await world.fleet.node("a", online=False)
    session = await world.connect("a")
    await world.fleet.run(node)
    world.carry_out()
    assert await frames(session) == ["welcome", "assign"]
    await world.pass_time(4, heard=session)
    assert await frames(session) == []
    await world.pass_time(6, heard=session)
    assert await frames(session) == ["assign", "assign"]
    task = world.fleet.task()
    await world.fleet.report(node, (task, TaskAccepted()))
    session.accepted(task.id)
    await world.pass_time(20, heard=session)
    assert await frames(session) == []


async def test_what_nobody_has_heard_of_ends_and_the_run_with_it(world: World) -> None:
    node = await world.fleet.node("a", online=False)
    await world.fleet.run(node, plan=plan_of(timeout=40.0))
    await world.pass_time(50)
    assert world.fleet.task().state is TaskState.FAILED


async def test_a_task_whose_node_burnt_down_is_given_up(world: World) -> None:
    node = await world.fleet.node("a", online=False)
    session = await world.connect("a")
    await world.fleet.run(node, plan=plan_of(timeout=40.0, on_lost=OnLost.FAIL))
    task = world.fleet.task()
    await world.fleet.report(node, (task, TaskAccepted()), (task, TaskStarted()), (task, StepStarted("go", 1)))
    world.sessions.end(session)
    await world.pass_time(55)
    assert world.fleet.task().state is TaskState.RUNNING
    await world.pass_time(15)
    assert world.fleet.task().state is TaskState.FAILED
