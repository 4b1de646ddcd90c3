"""Ports of hosts that a plan wants and others have."""

from __future__ import annotations

import pytest

from gamenode_pipelines import placement
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.ports import ports_taken
from gamenode_server.records import Node


def _plan(*ports: str) -> Plan:
    assert "container.run" in KINDS
    step = StepPlan("a", "container.run", with_={"name": "oa-${{ node.name }}", "image": "x", "ports": ports})
    return Plan("p", 1, (step,))


def _taken(container: nodes_pb2.Container, *ports: str) -> dict[str, str]:
    return ports_taken(_plan(*ports), [Node("n1", "eu-1")], lambda _: [container])


def _container(name: str = "other", port: str = "27960:27960/udp", state: str = "running") -> nodes_pb2.Container:
    return nodes_pb2.Container(name=name, state=state, ports=[port])


@pytest.mark.parametrize(
    ("container", "wanted", "taken"),
    [
        (_container(), "27960:1/udp", True),
        (_container(), "127.0.0.1:27960:1/udp", True),
        (_container(port="127.0.0.1:27960:27960/udp"), "127.0.0.2:27960:1/udp", False),
        (_container(port="127.0.0.1:27960:27960/udp"), "27960:1/udp", True),
        (_container(), "27960:1/tcp", False),
        (_container(), "27961:1/udp", False),
        (_container(), "27959-27961:1-3/udp", True),
        (_container(), "auto:1/udp", False),
        (_container(state="exited"), "27960:1/udp", False),
        (_container(name="oa-eu-1"), "27960:1/udp", False),
        (_container(port="nonsense"), "27960:1/udp", False),
    ],
)
def test_a_port_is_taken(container: nodes_pb2.Container, wanted: str, taken: bool) -> None:
    found = _taken(container, wanted)
    assert found == ({"n1": "port 27960/udp is taken by container other"} if taken else {})


def test_a_run_is_refused_with_the_port_and_whose_it_is() -> None:
    lacking = _taken(_container(), "27960:1/udp")
    fleet = [placement.Candidate("n1", "eu-1"), placement.Candidate("n2", "eu-2")]
    placed = placement.choose(fleet, placement.Request(all=True, lacking=lacking))
    assert [candidate.name for candidate in placed.chosen] == ["eu-2"]
    with pytest.raises(GameNodeError, match="eu-1 port 27960/udp is taken by container other") as refused:
        placement.choose(fleet, placement.Request(nodes=["eu-1"], lacking=lacking))
    assert refused.value.code is Code.INSUFFICIENT_RESOURCES


def test_what_is_kept_for_runs_that_have_not_ended_is_not_promised_twice() -> None:
    kept = placement.Requires(cpus=1.5, memory=6 << 30)
    candidate = placement.Candidate("n1", "eu-1", cpus=2, memory_available=8 << 30, kept=kept)
    asked = placement.Requires(cpus=1, memory=3 << 30)
    with pytest.raises(GameNodeError) as refused:
        placement.choose([candidate], placement.Request(requires=asked))
    assert "needs 1 cpus, has 2 (1.5 of it kept for runs that have not ended)" in refused.value.message
    assert "needs 3GiB of memory, has 8GiB free (6GiB of it kept" in refused.value.message
