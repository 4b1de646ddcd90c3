"""What the server is told of the engine, in fixed words."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from gamenode_agent.config import AgentSettings
from gamenode_agent.containers.assembly import open_engine
from gamenode_agent.containers.facts import capabilities, engine_facts
from gamenode_agent.containers.shown import port_text
from gamenode_agent.engines.containers import EngineInfo, PortMapping
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.settings import load
from support.fake_engine import FakeEngine


def engine_with(**changes: Any) -> FakeEngine:
    engine = FakeEngine()
    assert engine.info is not None
    engine.info = dataclasses.replace(engine.info, **changes)
    return engine


async def test_an_engine_that_answers_has_words_for_all_it_can() -> None:
    engine = engine_with(networks=("none", "host"), missing_limits=("cpus",), runtimes=("runc", "nvidia"))
    assert capabilities(engine) == [
        "docker",
        "docker.limits.memory",
        "docker.limits.pids",
        "docker.gpus",
        "docker.network.host",
        "docker.network.none",
    ]


async def test_an_engine_that_is_away_can_nothing_and_says_why() -> None:
    engine = FakeEngine()
    engine.go_away("start it")
    assert capabilities(engine) == []
    facts = engine_facts(engine)
    assert facts is not None
    assert (facts.available, facts.problem, facts.version) == (False, "start it", "99.0")


async def test_an_engine_that_never_answered_is_told_of_too() -> None:
    engine = FakeEngine()
    engine.info, engine.available, engine.problem = None, False, "there is none"
    facts = engine_facts(engine)
    assert facts is not None
    assert (facts.name, facts.problem, facts.version) == ("docker", "there is none", "")


def test_an_agent_that_does_without_tells_nothing() -> None:
    assert open_engine(AgentSettings(docker_host="none")) is None
    assert capabilities(None) == []
    assert engine_facts(None) is None


def test_facts_hold_what_the_engine_said_of_itself() -> None:
    info = EngineInfo("docker", "27.5", "1.47", "/d", "overlay2", "2", live_restore=True, runtimes=("runc", "crun"))
    engine = FakeEngine.__new__(FakeEngine)
    engine.info, engine.available, engine.problem = info, True, ""
    facts = engine_facts(engine)
    assert facts is not None
    assert (facts.root_dir, facts.storage_driver, facts.cgroup_version) == ("/d", "overlay2", "2")
    assert facts.live_restore
    assert list(facts.runtimes) == ["crun", "runc"]


@pytest.mark.parametrize(
    ("port", "text"),
    [
        (PortMapping(27960, "udp", 27001), "27001:27960/udp"),
        (PortMapping(80, "tcp", 8080, "127.0.0.1"), "127.0.0.1:8080:80/tcp"),
        (PortMapping(80, "tcp", 8080, "::1"), "[::1]:8080:80/tcp"),
    ],
)
def test_ports_are_written_as_they_are_published(port: PortMapping, text: str) -> None:
    assert port_text(port) == text


@pytest.mark.parametrize("wrong", ["27000", "27001-27000", "0-5", "a-b", "1-65536", "27000-"])
def test_a_range_of_ports_has_a_first_and_a_last(wrong: str) -> None:
    with pytest.raises(GameNodeError) as caught:
        load(AgentSettings, flags={"port_range": wrong})
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_range_of_ports_is_settable() -> None:
    assert load(AgentSettings, flags={"port_range": "27000-27010"}).ports == (27000, 27010)
