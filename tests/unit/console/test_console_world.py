"""The world: what one thread puts, another takes once."""

from __future__ import annotations

from gamenode_console.model.world import EVENTS_KEPT, RUNS_KEPT, LinkState, World
from gamenode_proto.v1 import nodes_pb2, work_pb2


def node(name: str) -> nodes_pb2.Node:
    return nodes_pb2.Node(id=name, name=name)


def test_what_was_taken_is_not_taken_again() -> None:
    world = World()
    world.put_nodes([node("a"), node("b")], snapshot=True)
    world.put_nodes([node("a")])
    assert world.take().nodes == {"a", "b"}
    assert not world.take().any


def test_a_snapshot_removes_what_is_no_longer_there() -> None:
    world = World()
    world.put_nodes([node("a"), node("b")], snapshot=True)
    world.take()
    world.put_nodes([node("b")], snapshot=True)
    changes = world.take()
    assert (changes.nodes, changes.gone_nodes) == ({"b"}, {"a"})
    assert [each.id for each in world.node_list()] == ["b"]


def test_what_goes_and_comes_back_is_there() -> None:
    world = World()
    world.put_nodes([node("a")])
    world.put_nodes([], removed=["a"])
    world.put_nodes([node("a")])
    changes = world.take()
    assert (changes.nodes, changes.gone_nodes) == ({"a"}, set())


def test_events_come_once_and_in_order() -> None:
    world = World()
    world.put_events([work_pb2.Event(cursor=1), work_pb2.Event(cursor=2)])
    world.put_events([work_pb2.Event(cursor=2), work_pb2.Event(cursor=3)], resync=True)
    changes = world.take()
    assert [event.cursor for event in changes.events] == [1, 2, 3]
    assert changes.resync


def test_a_link_that_stays_lost_keeps_the_moment_it_was_lost() -> None:
    world = World()
    world.set_link(state=LinkState.LOST, since=10.0, text="refused")
    world.set_link(state=LinkState.LOST, since=20.0, text="refused again")
    assert (world.link.since, world.link.text) == (10.0, "refused again")
    world.set_link(state=LinkState.LIVE, since=30.0)
    assert world.link.since == 30.0


def test_a_screen_that_opens_sees_everything() -> None:
    world = World()
    world.put_nodes([node("a")])
    world.put_runs([work_pb2.Run(id="r")])
    world.take()
    everything = world.everything()
    assert (everything.nodes, everything.runs, everything.status) == ({"a"}, {"r"}, True)


def test_a_console_that_is_open_for_weeks_does_not_grow() -> None:
    world, most = World(), 0
    world.put_runs([work_pb2.Run(id="waits", created_at=1.0)], snapshot=True)
    for n in range(100_000):
        run = f"run-{n}"
        world.put_runs([work_pb2.Run(id=run, created_at=float(n))])
        world.put_runs([work_pb2.Run(id=run, created_at=float(n), finished_at=n + 1.0)])
        world.put_events([work_pb2.Event(cursor=n + 1, run_id=run)])
        if n % 1_000 == 0:
            changes = world.take()
            most = max(most, len(world.runs), len(changes.gone_runs), len(changes.runs))
    assert most <= 1.1 * RUNS_KEPT + 1
    assert {"waits", "run-99999"} <= set(world.runs), "what goes on and what has just ended stays"
    assert len(world.events) == EVENTS_KEPT
    assert len(world.everything().runs) == len(world.runs)


def test_a_run_that_is_let_go_is_told_as_gone() -> None:
    world = World()
    world.put_runs([work_pb2.Run(id="first", finished_at=1.0)])
    world.take()
    world.put_runs([work_pb2.Run(id=f"run-{n}", finished_at=n + 2.0) for n in range(int(1.2 * RUNS_KEPT))])
    changes = world.take()
    assert "first" in changes.gone_runs
    assert not changes.runs & changes.gone_runs
    assert changes.runs == set(world.runs)
