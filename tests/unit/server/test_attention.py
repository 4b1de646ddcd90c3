"""What somebody should look at, oldest first."""

from __future__ import annotations

from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState, RunState
from gamenode_proto.v1.nodes_pb2 import EngineFacts, HostFacts
from gamenode_server.records import Node
from gamenode_server.status.attention import Attention, attention

NOW = 1_000_000.0


def ask(
    *, runs: tuple[Run, ...] = (), nodes: tuple[Node, ...] = (), storage: str = "ok", **skews: float
) -> list[Attention]:
    return attention(runs=runs, nodes=nodes, skews=skews, now=NOW, wall=NOW, storage=storage)


def run(state: RunState, started_at: float) -> Run:
    return Run("r" + state, "demo", 1, 1, state=state, started_at=started_at)


def node(name: str, state: NodeState = NodeState.ONLINE, **more: float) -> Node:
    return Node(id=name, name=name, state=state, **more)  # type: ignore[arg-type]


def test_nothing_is_wrong_with_what_goes_its_way() -> None:
    assert ask(runs=(run(RunState.RUNNING, 1.0),), nodes=(node("a"), node("b", NodeState.NEVER_CONNECTED))) == []


def test_the_oldest_comes_first() -> None:
    found = ask(
        runs=(run(RunState.NEEDS_ATTENTION, NOW - 10),),
        nodes=(node("lost", NodeState.OFFLINE, last_seen=NOW - 60), node("odd", NodeState.QUARANTINED, last_seen=NOW)),
    )
    assert [(item.kind, item.name) for item in found] == [("node", "lost"), ("run", "demo"), ("node", "odd")]
    assert all(item.hint for item in found)


def test_a_clock_a_certificate_and_a_full_disk() -> None:
    late = node("late", certificate_not_after=NOW + 3600)
    found = ask(nodes=(node("off"), late), storage="storage_full", off=-90.0)
    texts = " | ".join(item.text for item in found)
    assert "1m30s behind" in texts
    assert "ends in 1h" in texts
    assert "disk is full" in texts


def test_an_engine_that_is_away_on_a_node_that_is_there() -> None:
    facts = HostFacts(engine=EngineFacts(name="docker", problem="no answer on /run/docker.sock")).SerializeToString()
    there = Node(id="a", name="a", state=NodeState.ONLINE, facts=facts)
    gone = Node(id="b", name="b", state=NodeState.OFFLINE, facts=facts, last_seen=NOW)
    found = attention(
        runs=(), nodes=(there, gone), skews={}, now=NOW, wall=NOW, storage="ok", engines_away={"a": 5.0, "b": 5.0}
    )
    assert [(item.kind, item.name, item.since) for item in found] == [("node", "a", 5.0), ("node", "b", NOW)]
    assert found[0].text == "docker is away on a: no answer on /run/docker.sock"
