"""Placement: which nodes, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.placement import Candidate, Placement, Request, Requires, choose
from gamenode_pipelines.selectors import parse
from gamenode_pipelines.states import AdminState, NodeState

GIB = 1024**3
A = Candidate("id-a", "a", {"role": "game", "region": "eu"}, cpus=4, memory_available=8 * GIB, disk_free=50 * GIB)
B = Candidate("id-b", "b", {"role": "game", "region": "us"}, cpus=8, memory_available=16 * GIB, disk_free=50 * GIB)
C = Candidate("id-c", "c", {"role": "web"})
FLEET = (C, A, B)


def names(placement: Placement) -> list[str]:
    return [candidate.name for candidate in placement.chosen]


def refused(*fleet: Candidate, request: Request) -> GameNodeError:
    with pytest.raises(GameNodeError) as caught:
        choose(fleet, request)
    return caught.value


@pytest.mark.parametrize(
    ("request_", "chosen"),
    [
        (Request(all=True), ["a", "b", "c"]),
        (Request(selectors=["role=game"]), ["a", "b"]),
        (Request(selectors=[parse("role=game"), "region=us"]), ["b"]),
        (Request(nodes=["c"]), ["c"]),
        (Request(nodes=["id-c", "a"]), ["a", "c"]),
        (Request(nodes=["a", "a"]), ["a"]),
        (Request(selectors=["role=game"], nodes=["a"]), ["a"]),
        (Request(all=True, count=1), ["b"]),
        (Request(selectors=["role=game"], count=2), ["a", "b"]),
        (Request(all=True, requires=Requires(cpus=6)), ["b", "c"]),
    ],
)
def test_nodes_are_chosen(request_: Request, chosen: list[str]) -> None:
    assert names(choose(FLEET, request_)) == chosen


def test_one_node_needs_no_saying_which() -> None:
    assert names(choose([A], Request())) == ["a"]


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (Request(), Code.INVALID_ARGUMENT, "there are 3 nodes and no targets; say which: --node NODE"),
        (Request(selectors=[""]), Code.INVALID_ARGUMENT, "say which"),
        (Request(selectors=["a in ("]), Code.INVALID_ARGUMENT, "at character 7"),
        (Request(nodes=["aa"]), Code.NOT_FOUND, "there is no node 'aa'"),
        (Request(nodes=["x", "y"]), Code.NOT_FOUND, "'x' and 'y'"),
        (Request(selectors=["role=db"]), Code.NOT_FOUND, "a does not match role=db"),
        (Request(selectors=["role=web"], nodes=["a"]), Code.STATE_CONFLICT, "a: does not match role=web"),
        (Request(selectors=["role=game"], count=3), Code.INSUFFICIENT_RESOURCES, "3 nodes are wanted and 2 can"),
        (
            Request(selectors=["role=game"], requires=Requires(memory=32 * GIB)),
            Code.INSUFFICIENT_RESOURCES,
            "a needs 32GiB of memory, has 8GiB free, b needs 32GiB of memory, has 16GiB free",
        ),
        (
            Request(nodes=["a", "b"], requires=Requires(cpus=6, disk=GIB)),
            Code.INSUFFICIENT_RESOURCES,
            "a needs 6 cpus, has 4",
        ),
    ],
)
def test_a_run_without_nodes_is_refused_with_the_reason(request_: Request, code: Code, words: str) -> None:
    error = refused(*FLEET, request=request_)
    assert error.code is code
    assert words in error.message


def test_an_empty_fleet_says_what_to_do() -> None:
    error = refused(request=Request(all=True))
    assert (error.code, "node token" in error.message) == (Code.NOT_FOUND, True)


STATES = [
    # state, admin state, taken by a selector, taken by name
    (NodeState.ONLINE, AdminState.ACTIVE, True, True),
    (NodeState.SUSPECT, AdminState.ACTIVE, True, True),
    (NodeState.OFFLINE, AdminState.ACTIVE, False, True),
    (NodeState.NEVER_CONNECTED, AdminState.ACTIVE, False, True),
    (NodeState.QUARANTINED, AdminState.ACTIVE, False, False),
    (NodeState.REVOKED, AdminState.ACTIVE, False, False),
    (NodeState.ONLINE, AdminState.CORDONED, False, False),
    (NodeState.ONLINE, AdminState.DRAINING, False, False),
    (NodeState.ONLINE, AdminState.DISABLED, False, False),
    (NodeState.OFFLINE, AdminState.DISABLED, False, False),
]


@pytest.mark.parametrize(("state", "admin", "selected", "named"), STATES)
def test_states_decide_who_takes_work(state: NodeState, admin: AdminState, selected: bool, named: bool) -> None:
    node = replace(A, state=state, admin_state=admin)
    placement = choose([node, B], Request(selectors=["role=game"]))
    assert ("a" in names(placement)) is selected
    reason = next(choice.reason for choice in placement.considered if choice.name == "a")
    assert (reason == "fits") is selected
    if named:
        assert names(choose([node, B], Request(nodes=["a"]))) == ["a"]
    else:
        assert refused(node, B, request=Request(nodes=["a"])).code is Code.STATE_CONFLICT


def test_the_best_placed_come_first() -> None:
    busy = replace(B, tasks_running=4)
    suspect = replace(C, state=NodeState.SUSPECT)
    assert names(choose([suspect, busy, A], Request(all=True, count=2))) == ["a", "b"]
    assert [choice.reason for choice in choose([suspect, busy, A], Request(all=True, count=2)).considered] == [
        "fits",
        "fits",
        "fits, but 2 better placed",
    ]


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        node_id=st.text("abcdef", min_size=4, max_size=4),
        name=st.text("xyz", min_size=1, max_size=3),
        labels=st.dictionaries(st.sampled_from(["a", "b"]), st.sampled_from(["1", "2"])),
        state=st.sampled_from(NodeState),
        admin_state=st.sampled_from(AdminState),
        tasks_running=st.integers(0, 8),
        memory_available=st.none() | st.integers(0, GIB),
    ),
    max_size=8,
    unique_by=(lambda candidate: candidate.node_id, lambda candidate: candidate.name),
)


@given(CANDIDATES, st.none() | st.integers(1, 4), st.none() | st.integers(1, GIB))
def test_every_node_is_accounted_for_whatever_their_order(
    fleet: list[Candidate], count: int | None, memory: int | None
) -> None:
    request = Request(selectors=["a"], all=True, count=count, requires=Requires(memory=memory))
    try:
        placement = choose(fleet, request)
    except GameNodeError as error:
        outcome = error.code
        assert outcome in (Code.NOT_FOUND, Code.INSUFFICIENT_RESOURCES)
        return
    assert choose(reversed(fleet), request) == placement
    assert {choice.node_id for choice in placement.considered} == {candidate.node_id for candidate in fleet}
    chosen = {choice.node_id for choice in placement.considered if choice.chosen}
    assert chosen == {candidate.node_id for candidate in placement.chosen}
    assert count is None or len(placement.chosen) == count
    for candidate in placement.chosen:
        assert "a" in candidate.labels
        assert candidate.admin_state is AdminState.ACTIVE
        assert memory is None or candidate.memory_available is None or candidate.memory_available >= memory


DOCKER = frozenset({"docker", "docker.limits.memory", "docker.network.host"})
ABLE = replace(A, capabilities=DOCKER)
UNABLE = replace(B, capabilities=frozenset(), engine_problem="cannot connect to /var/run/docker.sock")
LIMITED = replace(C, capabilities=frozenset({"docker", "docker.network.host"}))
UNKNOWN = Candidate("id-d", "d")


def needing(*words: str, **more: Any) -> Request:
    return Request(**{"all": True, "capabilities": frozenset(words), **more})


def test_a_node_must_be_able_to_do_what_is_needed() -> None:
    fleet = (ABLE, UNABLE, LIMITED, UNKNOWN)
    assert names(choose(fleet, needing())) == ["a", "b", "c", "d"]
    assert names(choose(fleet, needing("docker"))) == ["a", "c", "d"]
    placed = choose(fleet, needing("docker", "docker.limits.memory"))
    assert names(placed) == ["a", "d"]
    assert {choice.name: choice.reason for choice in placed.considered if not choice.chosen} == {
        "b": "has no container engine that answers: cannot connect to /var/run/docker.sock",
        "c": "cannot do docker.limits.memory",
    }


@pytest.mark.parametrize(
    ("request_", "code", "words"),
    [
        (
            needing("docker", "docker.gpus", nodes=["b"]),
            Code.ENGINE_UNAVAILABLE,
            "containers cannot run: b has no container engine that answers: cannot connect to /var/run/docker.sock",
        ),
        (needing("docker", nodes=["a", "b"]), Code.ENGINE_UNAVAILABLE, "containers cannot run: b has"),
        (needing("docker", "docker.gpus", nodes=["c"]), Code.INSUFFICIENT_RESOURCES, "c cannot do docker.gpus"),
        (needing("docker", "docker.gpus"), Code.INSUFFICIENT_RESOURCES, "a cannot do docker.gpus, b has no container"),
        (needing("docker", selectors=["region=us"]), Code.ENGINE_UNAVAILABLE, "no node can run containers"),
        (needing("docker", selectors=["region=us"], requires=Requires(cpus=99)), Code.INSUFFICIENT_RESOURCES, "cpus"),
        (needing("docker", count=3), Code.ENGINE_UNAVAILABLE, "3 nodes are wanted and 2 can take the run: b has no"),
    ],
)
def test_what_is_lacking_is_said(request_: Request, code: Code, words: str) -> None:
    error = refused(ABLE, UNABLE, LIMITED, request=request_)
    assert error.code is code
    assert words in error.message


def test_what_a_node_could_do_before_it_went_is_not_held_against_it() -> None:
    away = replace(UNABLE, state=NodeState.OFFLINE)
    assert names(choose([away], needing("docker", nodes=["b"]))) == ["b"]
