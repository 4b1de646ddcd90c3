"""Every folder of `scenarios/` is a pipeline and what must come of it, run on a real server and agent."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import yaml

from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from support.cluster import Cluster, running_cluster, settled, start_run, state_of

SCENARIOS = sorted(path.parent for path in Path(__file__).parent.glob("scenarios/*/expected.yaml"))
#: What a scenario may say it expects; anything else is a mistake in the scenario.
KEYS = {
    "state", "error", "task_error", "steps", "errors", "logs", "order", "together", "attempts", "outputs", "absent",
}  # fmt: skip


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("scenarios"), agents=["eu-1"]) as cluster:
        yield cluster


def _word(enum: Any, prefix: str, value: int) -> str:
    return str(enum.Name(value)).removeprefix(prefix).lower()


async def _logs(cluster: Cluster, document: RunDocument) -> dict[str, str]:
    logs: dict[str, str] = {}
    async with cluster.gateway() as gateway:
        for status in sorted(document.logs, key=lambda status: status.ref.attempt):
            assert status.complete, f"the log of {status.ref.step_id} is not complete: {status}"
            piece = await gateway.state.read_log(status.ref, offset=0, limit=1 << 20)
            logs[status.ref.step_id] = piece.data.decode()
    return logs


@pytest.mark.asyncio(loop_scope="module")
@pytest.mark.parametrize("folder", SCENARIOS, ids=lambda path: path.name)
async def test_scenario(cluster: Cluster, folder: Path) -> None:
    expected = yaml.safe_load((folder / "expected.yaml").read_text())
    assert set(expected) <= KEYS
    async with cluster.gateway() as gateway:
        document = await start_run(gateway, (folder / "pipeline.yaml").read_text())
        await settled(gateway, document.run.id)
        async for update in gateway.pipelines.watch_run(document.run.id):
            if update.ended:
                break
        document = await gateway.pipelines.get_run(document.run.id)
    (task,) = document.tasks
    steps = {step.id: step for step in task.steps}
    errors = {step.id: (step.error.code, step.error.message) for step in task.steps if step.error.code}

    assert state_of(document) == expected["state"], (document.run.error, task.error, errors)
    assert {name: _word(common_pb2.StepState, "STEP_STATE_", step.state) for name, step in steps.items()} == expected[
        "steps"
    ], errors
    if "error" in expected:
        assert document.run.error.code == expected["error"]
    if "task_error" in expected:
        assert task.error.code == expected["task_error"], task.error
    for name, codes in expected.get("errors", {}).items():
        assert steps[name].error.code in ([codes] if isinstance(codes, str) else codes), steps[name].error
        assert steps[name].error.message
    for name, attempt in expected.get("attempts", {}).items():
        assert steps[name].attempt == attempt
    for name, outputs in expected.get("outputs", {}).items():
        assert dict(steps[name].outputs) == outputs
    for earlier, later in zip(expected.get("order", []), expected.get("order", [])[1:], strict=False):
        assert steps[earlier].finished_at <= steps[later].started_at
    if together := expected.get("together"):
        assert max(steps[name].started_at for name in together) < min(steps[name].finished_at for name in together)
    if "logs" in expected:
        logs = await _logs(cluster, document)
        assert {name: logs[name] for name in expected["logs"]} == expected["logs"]
    for path in expected.get("absent", []):
        assert not Path(path).exists(), f"{path} was made: a value became script text"
