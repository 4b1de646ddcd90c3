"""Every file of `fleet_scenarios/` is pipelines, what people and machines do meanwhile, and what must come of it.

On one real server with four real agents of two slots each. What a step waits for is opened by name (`open`).
"""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.exits import exit_for
from gamenode_proto.v1 import common_pb2, pipeline_management_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from gamenode_proto.v1.work_pb2 import Task
from support.cluster import Cluster, running_cluster, state_of
from support.waiting import until

SCENARIOS = sorted((Path(__file__).parent / "fleet_scenarios").glob("*.yaml"))
AGENTS = ("eu-1", "eu-2", "eu-3", "eu-4")
EXPECTATIONS = {
    "state", "error", "tasks", "steps", "step_errors", "at_once", "first_alone", "after", "after_task", "never_began",
    "events",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    directory = tmp_path_factory.mktemp("fleet")
    async with running_cluster(directory, agents=AGENTS, env={"GAMENODE_SLOTS": "2"}) as cluster:
        yield cluster


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("file", SCENARIOS, ids=lambda path: path.stem)
async def test_scenario(cluster: Cluster, file: Path, tmp_path: Path) -> None:
    scenario = yaml.safe_load(file.read_text())
    assert set(scenario) == {"about", "pipelines", "script", "expect"}
    scene = Scene(cluster, tmp_path, list(map(str.strip, scenario["pipelines"].split("\n---\n"))))
    for action in scenario["script"]:
        await scene.act(dict(action))
    for name, expected in scenario["expect"].items():
        await scene.check(name, expected)


def _state(message: Any) -> str:
    prefix, enum = (
        ("TASK_STATE_", common_pb2.TaskState) if isinstance(message, Task) else ("STEP_STATE_", common_pb2.StepState)
    )
    return str(enum.Name(message.state)).removeprefix(prefix).lower()


@dataclass
class Scene:
    """A scenario under way: its runs by the names that the file gives them."""

    cluster: Cluster
    gates: Path
    pipelines: list[str]
    runs: dict[str, str] = field(default_factory=dict)

    async def act(self, action: dict[str, Any]) -> None:
        """One line of the script."""
        match action:
            case {"start": name, **rest}:
                await self._start(name, rest)
            case {"until": name, **state}:
                await until(lambda: self._reached(name, state), seconds=60, what=f"{name} to be {state}")
            case {"open": gate}:
                (self.gates / gate).touch()
            case {"cli": words, **rest}:
                await self.cluster.cli(*(self.runs.get(word, word) for word in words), code=rest.get("code", 0))
            case {"says": name, "text": text}:
                await until(lambda: self._says(name, text), seconds=30, what=f"{name} to say {text!r}")
            case {"server": "kill"}:
                await self.cluster.server.kill(signal.SIGKILL)
                await self.cluster.start_server()
            case {"agent": name, "do": what}:
                agent = next(agent for agent in self.cluster.agents if agent.name == name)
                await (agent.kill(signal.SIGKILL) if what == "kill" else agent.start())
            case _:
                raise AssertionError(f"a scenario cannot say {action}")

    async def _start(self, name: str, rest: dict[str, Any]) -> None:
        text = next(
            text for text in self.pipelines if rest.get("pipeline") is None or f"pipeline: {rest['pipeline']}\n" in text
        )
        params = {**rest.get("params", {})}
        if "gates:" in text:
            params["gates"] = str(self.gates)
        request = pipeline_management_pb2.RunPipelineRequest(
            source=pipeline_management_pb2.PipelineSource(file="scenario.yaml", text=text),
            params={key: common_pb2.Value(text=value) for key, value in params.items()},
            nodes=() if rest["nodes"] == "all" else rest["nodes"],
            all=rest["nodes"] == "all",
            request_id=os.urandom(8).hex(),
        )
        async with self.cluster.gateway() as gateway:
            if "code" not in rest:
                self.runs[name] = (await gateway.pipelines.run(request)).run.id
                return
            with pytest.raises(GameNodeError, match=rest["error"]) as refused:
                await gateway.pipelines.run(request)
            assert exit_for(refused.value.code) == rest["code"]

    async def document(self, name: str) -> RunDocument:
        """A run as it stands."""
        async with self.cluster.gateway() as gateway:
            return await gateway.pipelines.get_run(self.runs[name])

    async def _says(self, name: str, text: str) -> bool:
        async with self.cluster.gateway() as gateway:
            answer = await gateway.pipelines.explain(self.runs[name])
        return text in "\n".join([answer.summary, *(task.text for task in answer.tasks)])

    async def _reached(self, name: str, state: Mapping[str, Any]) -> bool:
        document = await self.document(name)
        now = state_of(document)
        if now.ended and now != state.get("state", now):
            raise AssertionError(f"{name} has ended as {now}: {document.run.error} {document.tasks}")
        return _fits(document, state)

    async def check(self, name: str, expected: Mapping[str, Any]) -> None:
        """What must have come of a run."""
        assert set(expected) <= EXPECTATIONS
        document = await self.document(name)
        assert _fits(document, expected), document
        if "error" in expected:
            assert document.run.error.code == expected["error"]
        tasks = {task.node.name: task for task in document.tasks}
        for node, errors in expected.get("step_errors", {}).items():
            found = {step.id: step.error.code for step in tasks[node].steps if step.error.code}
            assert found.items() >= errors.items()
        for node in expected.get("never_began", ()):
            assert not tasks[node].started_at
        spans = [(task.started_at, task.finished_at) for task in document.tasks if task.started_at]
        if "at_once" in expected:
            assert max(sum(a <= start < b for a, b in spans) for start, _ in spans) == expected["at_once"]
        if count := expected.get("first_alone"):
            ordered = sorted(spans)
            assert max(end for _, end in ordered[:count]) <= ordered[count][0]
        if before := expected.get("after"):
            assert (await self.document(before)).run.finished_at <= document.run.started_at
        if at := expected.get("after_task"):
            (other,) = [task for task in (await self.document(at[0])).tasks if task.node.name == at[1]]
            assert other.finished_at <= tasks[at[1]].started_at
        if "events" in expected:
            assert [each for each in await self._events(name) if each in expected["events"]] == expected["events"]

    async def _events(self, name: str) -> list[str]:
        found: list[str] = []
        async with self.cluster.gateway() as gateway:
            async for batch in gateway.state.watch_events(run=self.runs[name], follow=False):
                found += [event.type for event in batch.events]
        return found


def _fits(document: RunDocument, state: Mapping[str, Any]) -> bool:
    if "state" in state and state_of(document) != state["state"]:
        return False
    tasks = {task.node.name: task for task in document.tasks}
    if any(_state(tasks[node]) != wanted for node, wanted in state.get("tasks", {}).items()):
        return False
    steps = {node: {step.id: _state(step) for step in task.steps} for node, task in tasks.items()}
    return all(steps[node].items() >= wanted.items() for node, wanted in state.get("steps", {}).items())
