"""What a host has changes while it is connected: stored, planned by, and said where it is news."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace

import pytest

from gamenode_proto.v1.nodes_pb2 import EngineFacts, HostFacts
from gamenode_server.controller.candidates import candidates
from gamenode_server.controller.facts import CHANGED, difference, engine_away, report_facts
from gamenode_server.store import queries
from support.fleet import Fleet, fleet

DOCKER = EngineFacts(name="docker", available=True, version="24.0.7")
AWAY = EngineFacts(name="docker", problem="no answer on /run/docker.sock")


@pytest.fixture
async def here() -> AsyncIterator[Fleet]:
    async with fleet() as made:
        yield made


async def report(here: Fleet, facts: HostFacts, *, epoch: int = 0) -> bool:
    op = report_facts(here.plans, node_id="id-a", epoch=epoch or here.epochs["id-a"], facts=facts.SerializeToString())
    return await here.apply(op)


async def news(here: Fleet) -> list[dict[str, str]]:
    events = (await here.store.read(queries.list_events)).events
    return [dict(event.data) for event in events if event.type == CHANGED]


async def test_an_engine_that_comes_and_goes_is_planned_by(here: Fleet) -> None:
    await here.node("a")
    assert await report(here, HostFacts(slots=8, capabilities=["docker"], engine=DOCKER))
    (there,) = candidates(here.store.view, {})
    assert (there.capabilities, there.engine_problem) == (frozenset({"docker"}), "")
    assert await report(here, HostFacts(slots=8, engine=AWAY))
    (away,) = candidates(here.store.view, {})
    assert (away.capabilities, away.engine_problem) == (frozenset(), AWAY.problem)
    assert await news(here) == [
        {"gained": "docker", "engine": "docker 24.0.7"},
        {"lost": "docker", "engine": f"docker is away: {AWAY.problem}"},
    ]


async def test_what_is_no_news_is_stored_and_not_told(here: Fleet) -> None:
    await here.node("a")
    facts = HostFacts(slots=8, addresses=["192.0.2.8"])
    assert await report(here, facts)
    assert not await report(here, facts)
    assert HostFacts.FromString(here.stored_node("id-a").facts).addresses == ["192.0.2.8"]
    assert await news(here) == []


async def test_a_session_that_is_no_longer_the_nodes_is_not_heard(here: Fleet) -> None:
    await here.node("a")
    old = here.epochs["id-a"]
    await here.connect("a")
    assert not await report(here, HostFacts(slots=1), epoch=old)


async def test_a_node_with_more_slots_takes_up_what_waits(here: Fleet) -> None:
    await here.node("a", slots=1)
    await here.run("id-a", id="first")
    await here.run("id-a", id="second")
    assert here.task(0, "second").fence == 0
    await report(here, HostFacts(slots=2))
    assert here.task(0, "second").fence == 1
    assert await news(here) == [{"slots": "2"}]


async def test_what_changed_while_a_node_was_away_is_told_with_its_next_session(here: Fleet) -> None:
    await here.node("a")
    await report(here, HostFacts(slots=8, capabilities=["docker"], engine=DOCKER))
    await here.connect("a")
    assert (await news(here))[-1] == {"lost": "docker", "engine": ""}


async def test_a_node_that_has_not_said_what_it_can_do_is_not_taken_to_lack_it(here: Fleet) -> None:
    await here.node("a", online=False)
    await here.apply(lambda tx: tx.put_node(replace(here.stored_node("id-a"), facts=b"")))
    (candidate,) = candidates(here.store.view, {})
    assert candidate.capabilities is None


def test_a_text_without_end_is_cut() -> None:
    told = difference(HostFacts(), HostFacts(engine=EngineFacts(name="docker", problem="x" * 10_000)))
    assert len(told["engine"]) == 500


def test_an_engine_is_away_where_there_is_or_was_one() -> None:
    def away(**engine: object) -> bool:
        return engine_away(HostFacts(engine=EngineFacts(name="docker", **engine)))  # type: ignore[arg-type]

    assert away(address="unix:///run/docker.sock", problem="no answer")
    assert away(version="24.0.7", problem="its socket is gone")
    assert not away(problem="no socket of an engine was found")
    assert not away(address="unix:///run/docker.sock", available=True)
