"""What a server would answer a console's views, for pictures of them: one fleet, with something of everything."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

from gamenode_proto.v1 import (
    administration_pb2,
    common_pb2,
    nodes_pb2,
    pipeline_management_pb2,
    state_management_pb2,
    work_pb2,
)
from support.desk import NOW, run


def run_update() -> pipeline_management_pb2.RunUpdate:
    """A run on three nodes: one goes on, one waits, one failed."""

    def step(id: str, state: str, message: str = "") -> work_pb2.StepStatus:
        error = common_pb2.Error(code="exit_nonzero", message=message) if message else None
        return work_pb2.StepStatus(
            id=id,
            state=common_pb2.StepState.Value(f"STEP_STATE_{state}"),
            attempt=0 if state == "PENDING" else 1,
            started_at=0.0 if state == "PENDING" else NOW - 20,
            finished_at=NOW - 5 if state in ("SUCCEEDED", "FAILED") else 0.0,
            error=error,
        )

    def task(name: str, state: str, *steps: work_pb2.StepStatus) -> work_pb2.Task:
        return work_pb2.Task(
            id=f"t-{name}",
            run_id="aaaaaaaaaaaa",
            node=work_pb2.NodeFacts(id=f"id-{name}", name=name),
            state=common_pb2.TaskState.Value(f"TASK_STATE_{state}"),
            started_at=NOW - 20,
            steps=steps,
        )

    return pipeline_management_pb2.RunUpdate(
        run=run("aaaaaaaaaaaa", running=1, failed=1, pending=1),
        tasks=[
            task("eu-1", "RUNNING", step("pull", "SUCCEEDED"), step("install", "RUNNING"), step("check", "PENDING")),
            task("eu-2", "PENDING", step("pull", "PENDING"), step("install", "PENDING"), step("check", "PENDING")),
            task(
                "us-1",
                "FAILED",
                step("pull", "SUCCEEDED"),
                step("install", "FAILED", "exit status 1: no space left on device"),
                step("check", "SKIPPED"),
            ),
        ],
    )


class Answers:
    """A gateway double that answers what the views ask."""

    def __init__(self) -> None:
        self.pipelines = SimpleNamespace(list=self._list, get=self._get, render=self._render)
        self.state = SimpleNamespace(node_metrics=self._hour)
        self.containers = SimpleNamespace(list=self._containers)
        self.administration = SimpleNamespace(create_join_token=self._token)

    async def _list(self) -> list[pipeline_management_pb2.PipelineSummary]:
        def summary(name: str, description: str, **last: Any) -> pipeline_management_pb2.PipelineSummary:
            return pipeline_management_pb2.PipelineSummary(
                pipeline=pipeline_management_pb2.Pipeline(name=name, version=3, description=description),
                last_run=run(f"{name}-run", **last) if last else None,
            )

        return [
            summary("backup", "Keep a copy of the worlds", state="FAILED", failed=1),
            summary("deploy", "Start a game server and wait until it answers", state="SUCCEEDED", succeeded=2),
            summary("hello", "Say hello"),
        ]

    async def _get(self, name: str) -> pipeline_management_pb2.GetPipelineResponse:
        parameter = pipeline_management_pb2.Parameter
        text = common_pb2.Value(text="xonotic")
        return pipeline_management_pb2.GetPipelineResponse(
            pipeline=pipeline_management_pb2.Pipeline(name=name, version=3, description="Start a game server"),
            parameters=[
                parameter(name="game", type="choice", choices=["xonotic", "teeworlds"], default=text),
                parameter(name="port", type="integer", required=True, description="Where players connect"),
                parameter(name="dry", type="boolean"),
            ],
        )

    async def _render(self, _request: Any) -> pipeline_management_pb2.RenderPipelineResponse:
        return pipeline_management_pb2.RenderPipelineResponse()

    async def _hour(self, _node: str) -> state_management_pb2.GetNodeMetricsResponse:
        samples = [
            nodes_pb2.Metrics(
                sampled_at=NOW - 3600 + n * 60,
                cpu_percent=50 + 45 * ((n % 20) / 20),
                memory_percent=40 + n / 3,
                disk_percent=50.0,
                net_rx_bytes_per_s=1000.0 * n,
                net_tx_bytes_per_s=200.0 * (60 - n),
            )
            for n in range(60)
        ]
        return state_management_pb2.GetNodeMetricsResponse(samples=samples)

    async def _containers(self, **_given: Any) -> list[state_management_pb2.NodeContainer]:
        def container(name: str, state: str, *, own: bool) -> state_management_pb2.NodeContainer:
            shown = nodes_pb2.Container(id=f"id-{name}", name=name, state=state, image="games/xonotic:0.8", own=own)
            return state_management_pb2.NodeContainer(node="eu-1", container=shown)

        return [container("xonotic-26000", "running", own=True), container("watchtower", "exited", own=False)]

    async def _token(self, **_given: Any) -> administration_pb2.CreateJoinTokenResponse:
        return administration_pb2.CreateJoinTokenResponse(
            join_command="gamenode-agent join gn1.0123456789abcdef", expires_at=NOW + 3600
        )


def some_events() -> list[work_pb2.Event]:
    """What happened, oldest first."""
    return [
        work_pb2.Event(cursor=1, time=NOW - 300, type="node.connected", node_id="id-eu-1"),
        work_pb2.Event(cursor=2, time=NOW - 90, type="node.offline", node_id="id-eu-2"),
        work_pb2.Event(cursor=3, time=NOW - 60, type="run.created", run_id="aaaaaaaaaaaa"),
        work_pb2.Event(cursor=4, time=NOW - 5, type="step.failed", run_id="aaaaaaaaaaaa", step_id="install"),
    ]
