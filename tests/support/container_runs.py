"""Runs of pipelines with containers of the tests' image, and what became of them."""

from __future__ import annotations

import asyncio

import pytest

from gamenode_console.gateway import Gateway
from gamenode_proto.v1.pipeline_management_pb2 import RunDocument
from gamenode_proto.v1.work_pb2 import StepStatus
from support.cluster import settled
from support.docker_engine import DockerEngineProcess
from support.play import IMAGE

#: What every container of these is made with.
IN = f"image: {IMAGE}, network: none"
#: Says in the trace that it was started, and counts; TERM ends it.
_COUNT = (
    'trap "exit 143" TERM; '
    'echo "$GAMENODE_TASK_ID $GAMENODE_FENCE $GAMENODE_STEP_ID $GAMENODE_ATTEMPT" >> /effects/trace; '
    'i=0; while [ $i -lt $LINES ]; do echo "line $i"; i=$((i + 1)); sleep 0.05; done; exit $CODE'
)
COUNTING = f"""
pipeline: counting
params: {{folder: {{type: string}}, lines: {{type: integer}}, code: {{type: integer, default: 5}}}}
steps:
  - id: count
    uses: container.job
    with:
      {IN.replace(", ", chr(10) + "      ")}
      volumes: ["${{{{ params.folder }}}}:/effects"]
      env: {{LINES: "${{{{ params.lines }}}}", CODE: "${{{{ params.code }}}}"}}
      command: [sh, -c, '{_COUNT}']
"""


def ours_to_stop(engine: DockerEngineProcess) -> None:
    if not engine.private:
        pytest.skip("the engine of this machine is not ours to stop")


async def ended(gateway: Gateway, run_id: str) -> RunDocument:
    """The run's document once it and its logs have ended."""
    await settled(gateway, run_id)
    async with asyncio.timeout(30):
        async for update in gateway.pipelines.watch_run(run_id):
            if update.ended:
                break
    return await gateway.pipelines.get_run(run_id)


async def log_of(gateway: Gateway, document: RunDocument, step: str = "count") -> str:
    """The whole log of a step that had one attempt."""
    (status,) = (status for status in document.logs if status.ref.step_id == step)
    assert status.complete, status
    return (await gateway.state.read_log(status.ref, offset=0, limit=1 << 20)).data.decode()


def steps_of(document: RunDocument) -> dict[str, StepStatus]:
    (task,) = document.tasks
    return {step.id: step for step in task.steps}
