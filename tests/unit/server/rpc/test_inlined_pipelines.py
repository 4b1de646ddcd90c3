"""Pipelines that name others over the control socket: checked when stored, inlined and pinned when planned."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from support.scripted_agent import Site, site

INNER = """\
pipeline: inner
params: {port: {type: integer, default: 27960}}
steps: [{id: x, run: "true"}]
"""
OUTER = """\
pipeline: outer
steps:
  - id: deploy
    uses: pipeline
    with: {name: inner}
"""


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def apply(here: Site, *texts: str) -> list[str]:
    sources = [pb.PipelineSource(file=f"{at}.yaml", text=text) for at, text in enumerate(texts)]
    answer = await here.call(here.pipelines.ApplyPipelines, pb.ApplyPipelinesRequest(sources=sources))
    assert bool(answer.applied) is not bool(answer.problems)
    return [f"{problem.file}:{problem.line}:{problem.column}: {problem.message}" for problem in answer.problems]


async def planned(here: Site, request: pb.RunPipelineRequest) -> pb.RenderPipelineResponse:
    return await here.call(here.pipelines.RenderPipeline, request)


async def test_what_a_file_names_must_be_there_or_come_with_it(here: Site) -> None:
    assert await apply(here, OUTER) == ["0.yaml:5:18: step deploy: there is no pipeline 'inner'"]
    assert await apply(here, OUTER, INNER) == []
    assert await apply(here, OUTER.replace("name: inner", "name: innner")) == [
        "0.yaml:5:18: step deploy: there is no pipeline 'innner'; did you mean 'inner'?"
    ]


async def test_what_it_is_given_must_fit(here: Site) -> None:
    wrong = OUTER.replace("name: inner", "name: inner, params: {port: x, prt: 1}")
    (problem,) = await apply(here, f"{INNER}---\n{wrong}")
    assert problem.startswith(
        "0.yaml:9:18: step deploy: pipeline 'inner': it has no parameter 'prt'; did you mean 'port'?"
    )
    assert "parameter 'port': 'x' is not a whole number" in problem


async def test_no_circle_can_be_stored(here: Site) -> None:
    assert await apply(here, INNER, OUTER) == []
    circle = "pipeline: inner\nsteps: [{id: back, uses: pipeline, with: {name: outer}}]\n"
    assert await apply(here, circle) == [
        "0.yaml:2:49: step back.deploy: pipelines name each other in a circle: inner → outer → inner"
    ]


async def test_the_newest_version_is_planned_and_said(here: Site) -> None:
    await here.agent("a")
    await apply(here, INNER, OUTER)
    request = pb.RunPipelineRequest(name="outer", all=True)
    first = await planned(here, request)
    assert [(step.id, step.group) for step in first.plan.steps] == [("deploy", ""), ("deploy.x", "deploy")]
    assert [(each.step, each.pipeline, each.version) for each in first.plan.inlined] == [("deploy", "inner", 1)]
    assert (await planned(here, request)).bundle_digest == first.bundle_digest
    await apply(here, INNER.replace("id: x", "id: y"))
    second = await planned(here, request)
    assert [step.id for step in second.plan.steps] == ["deploy", "deploy.y"]
    assert second.plan.inlined[0].version == 2


async def test_one_that_was_removed_since_stops_the_run(here: Site) -> None:
    await apply(here, INNER, OUTER)
    await here.call(here.pipelines.RemovePipelines, pb.RemovePipelinesRequest(names=["inner"]))
    with pytest.raises(GameNodeError) as refused:
        await planned(here, pb.RunPipelineRequest(name="outer", all=True))
    assert refused.value.code is Code.NOT_FOUND
    assert "step deploy: pipeline 'inner' was removed by" in refused.value.message
