"""Runs with containers go to nodes that can have them; others are refused by name, before anything is stored."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import nodes_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from support.scripted_agent import ScriptedAgent, Site, site
from support.waiting import until

PIPELINE = """
pipeline: game
steps:
  - id: start
    uses: container.run
    with: {name: oa, image: "gn/oa:1", resources: {memory: 64m}}
"""
WORDS = ("docker", "docker.limits.memory")
AWAY = nodes_pb2.EngineFacts(name="docker", problem="no answer on /run/docker.sock")


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path, suspect=20.0, offline=60.0) as made:
        yield made


def facts(words: Sequence[str], engine: nodes_pb2.EngineFacts | None = None) -> nodes_pb2.HostFacts:
    return nodes_pb2.HostFacts(slots=8, capabilities=words, engine=engine)


async def with_facts(here: Site, name: str, told: nodes_pb2.HostFacts) -> ScriptedAgent:
    agent = await here.agent(name, open=False)
    await agent.open(facts=told)
    return agent


def request(**fields: object) -> pb.RunPipelineRequest:
    source = pb.PipelineSource(file="game.yaml", text=PIPELINE)
    return pb.RunPipelineRequest(source=source, **fields)  # type: ignore[arg-type]


async def refusal(here: Site, **fields: object) -> GameNodeError:
    """Why both a run and its rendering are refused, in the same words."""
    with pytest.raises(GameNodeError) as run:
        await here.call(here.pipelines.RunPipeline, request(**fields))
    with pytest.raises(GameNodeError) as rendered:
        await here.call(here.pipelines.RenderPipeline, request(**fields))
    assert (run.value.code, run.value.message) == (rendered.value.code, rendered.value.message)
    assert not here.server.core.store.view.live_runs()
    return run.value


async def test_a_named_node_without_its_engine_is_refused_with_the_engines_problem(here: Site) -> None:
    await with_facts(here, "a", facts((), AWAY))
    error = await refusal(here, nodes=["a"])
    assert error.code is Code.ENGINE_UNAVAILABLE
    assert "a has no container engine that answers: no answer on /run/docker.sock" in error.message


async def test_a_node_that_cannot_keep_a_limit_is_refused_with_what_it_lacks(here: Site) -> None:
    await with_facts(here, "a", facts(("docker",)))
    error = await refusal(here, all=True)
    assert error.code is Code.INSUFFICIENT_RESOURCES
    assert "docker.limits.memory" in error.message


async def test_the_run_goes_where_it_can_and_says_why_not_elsewhere(here: Site) -> None:
    await with_facts(here, "a", facts(WORDS))
    await with_facts(here, "b", facts((), AWAY))
    rendered = await here.call(here.pipelines.RenderPipeline, request(all=True))
    assert {choice.node: choice.chosen for choice in rendered.nodes} == {"a": True, "b": False}
    assert "no answer" in rendered.nodes[1].reason
    run = (await here.call(here.pipelines.RunPipeline, request(all=True))).run
    assert [task.node.name for task in run.tasks] == ["a"]


async def test_an_engine_that_comes_back_is_planned_with_at_once(here: Site) -> None:
    agent = await with_facts(here, "a", facts((), AWAY))
    await refusal(here, nodes=["a"])
    await agent.beat(facts=facts(WORDS))

    async def planned() -> bool:
        try:
            await here.call(here.pipelines.RenderPipeline, request(nodes=["a"]))
        except GameNodeError:
            return False
        return True

    await until(planned, what="the engine to be known")
    run = (await here.call(here.pipelines.RunPipeline, request(nodes=["a"]))).run
    assert [task.node.name for task in run.tasks] == ["a"]
