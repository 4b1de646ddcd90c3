"""Builders of control API messages: small, whole, and the same every time."""

from __future__ import annotations

from typing import Any

from gamenode_proto.v1 import common_pb2, nodes_pb2, pipeline_management_pb2, state_management_pb2, work_pb2

#: 2026-01-02T03:04:05Z
T0 = 1_767_323_045.0


def a_node(name: str = "game-1", *, state: int = common_pb2.NODE_STATE_ONLINE, **labels: str) -> nodes_pb2.Node:
    """A node with metrics and every fact set."""
    return nodes_pb2.Node(
        id=f"{name.replace('-', '')}aaaaaaaaaaaa"[:12],
        name=name,
        state=common_pb2.NodeState.ValueType(state),
        admin_state=common_pb2.ADMIN_STATE_ACTIVE,
        labels=labels or {"role": "game"},
        facts=nodes_pb2.HostFacts(
            hostname="host",
            os="Debian 12",
            kernel="6.1",
            architecture="x86_64",
            agent_version="0.1.0",
            resources=nodes_pb2.Resources(cpus=4, memory_total=8 << 30, disk_total=100 << 30),
            addresses=["10.0.0.1"],
            capabilities=["cgroup"],
            slots=8,
        ),
        joined_at=T0 - 3600,
        connected_since=T0 - 60,
        last_seen=T0,
        address="10.0.0.1",
        clock_skew=0.25,
        metrics=nodes_pb2.Metrics(
            sampled_at=T0,
            cpu_percent=12.5,
            load1=0.5,
            memory_used=2 << 30,
            memory_percent=25.0,
            disk_used=10 << 30,
            disk_percent=10.0,
            net_rx_bytes_per_s=1024.0,
            net_tx_bytes_per_s=2048.0,
            processes=99,
            disks=[nodes_pb2.DiskUsage(mount="/", used=10 << 30, total=100 << 30)],
        ),
        tasks_running=1,
        certificate_not_after=T0 + 86400,
    )


def a_step(
    id: str = "one",
    *,
    state: int = common_pb2.STEP_STATE_SUCCEEDED,
    attempt: int = 1,
    exit_code: int | None = 0,
    error: common_pb2.Error | None = None,
    log: common_pb2.LogSummary | None = None,
) -> work_pb2.StepStatus:
    """A step that ran for two seconds."""
    step = work_pb2.StepStatus(
        id=id,
        state=common_pb2.StepState.ValueType(state),
        attempt=attempt,
        error=error,
        outputs={"answer": "42"},
        started_at=T0 + 1,
        finished_at=T0 + 3,
        log=log,
    )
    if exit_code is not None:
        step.exit_code = exit_code
    return step


def a_task(
    node: str = "game-1",
    *,
    id: str = "taskaaaaaaaa",
    state: int = common_pb2.TASK_STATE_SUCCEEDED,
    steps: list[work_pb2.StepStatus] | None = None,
    position: int = 0,
    finished: float = 3.0,
) -> work_pb2.Task:
    """A task on one node."""
    return work_pb2.Task(
        id=id,
        run_id="runaaaaaaaaa",
        node=work_pb2.NodeFacts(id="nodeaaaaaaaa", name=node),
        state=common_pb2.TaskState.ValueType(state),
        fence=1,
        steps=[a_step()] if steps is None else steps,
        created_at=T0,
        started_at=T0 + 1,
        finished_at=T0 + finished if finished else 0,
        position=position,
    )


def a_run(
    id: str = "runaaaaaaaaa", *, state: int = common_pb2.RUN_STATE_SUCCEEDED, total: int = 1, pipeline: str = "hello"
) -> work_pb2.Run:
    """A run of `hello`."""
    ended = state in (common_pb2.RUN_STATE_SUCCEEDED, common_pb2.RUN_STATE_FAILED, common_pb2.RUN_STATE_CANCELLED)
    error = common_pb2.Error(code="task_failed", message="1 task failed")
    return work_pb2.Run(
        id=id,
        pipeline=pipeline,
        pipeline_version=2,
        state=common_pb2.RunState.ValueType(state),
        error=error if state == common_pb2.RUN_STATE_FAILED else None,
        params={
            "port": common_pb2.Value(integer=27960),
            "mode": common_pb2.Value(text="ffa"),
            "fast": common_pb2.Value(boolean=True),
            "rate": common_pb2.Value(number=0.5),
        },
        note="because",
        created_at=T0,
        started_at=T0 + 1,
        finished_at=T0 + 4 if ended else 0,
        created_by="root",
        counts={"succeeded": 1},
        total=total,
        target="all",
    )


def a_log_status(step: str = "one", *, task: str = "taskaaaaaaaa") -> pipeline_management_pb2.LogStatus:
    """A whole log of two lines."""
    return pipeline_management_pb2.LogStatus(
        ref=common_pb2.AttemptRef(task_id=task, fence=1, step_id=step, attempt=1),
        bytes=12,
        lines=2,
        complete=True,
        sha256="ab" * 32,
    )


def a_run_document(*, state: int = common_pb2.RUN_STATE_SUCCEEDED) -> pipeline_management_pb2.RunDocument:
    """A run with one task and its log."""
    return pipeline_management_pb2.RunDocument(run=a_run(state=state), tasks=[a_task()], logs=[a_log_status()])


def an_engine(**facts: Any) -> nodes_pb2.EngineFacts:
    """An engine that answers, with every fact set."""
    whole = {
        "name": "docker",
        "address": "unix:///var/run/docker.sock",
        "available": True,
        "version": "20.10.24",
        "api_version": "1.41",
        "storage_driver": "overlay2",
        "cgroup_version": "2",
        "root_dir": "/var/lib/docker",
        "live_restore": True,
        "runtimes": ["runc"],
    }
    return nodes_pb2.EngineFacts(**{**whole, **facts})


def a_container(
    name: str = "oa-27960", *, node: str = "game-1", own: bool = True, **facts: Any
) -> state_management_pb2.NodeContainer:
    """A game server that has run for an hour; with `own=False` somebody else's database."""
    whole: dict[str, Any] = {
        "id": (name.replace("-", "") + "0" * 64)[:64],
        "name": name,
        "image": "gn/openarena:0.8.8" if own else "postgres:16",
        "state": "running",
        "created_at": T0 - 3601,
        "started_at": T0 - 3600,
        "own": own,
        "ports": ["27960:27960/udp"] if own else [],
        "restarts": 2 if own else 0,
        "usage": nodes_pb2.ContainerUsage(
            sampled_at=T0, cpu_percent=12.4, memory_used=20 << 20, memory_limit=512 << 20, pids=3
        ),
    }
    if own:
        made_by = common_pb2.AttemptRef(task_id="taskaaaaaaaa", fence=1, step_id="start", attempt=1)
        whole |= {"health": "healthy", "run_id": "runaaaaaaaaa", "made_by": made_by}
    return state_management_pb2.NodeContainer(
        node_id=f"{node.replace('-', '')}aaaaaaaaaaaa"[:12],
        node=node,
        container=nodes_pb2.Container(**{**whole, **facts}),
        seen_at=T0,
    )
