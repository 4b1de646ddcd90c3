"""A container as the server is told of it: of a foreign one no label, no command and nothing of its environment."""

from __future__ import annotations

from gamenode_agent.engines.containers import ATTEMPT, FENCE, RUN, STEP, TASK, Container, PortMapping, Usage
from gamenode_proto.v1 import nodes_pb2
from gamenode_proto.v1.common_pb2 import AttemptRef

#: More ports than this of one container are not told.
MOST_PORTS = 64


def shown(
    container: Container, *, own: bool, restarts: int = 0, usage: nodes_pb2.ContainerUsage | None = None
) -> nodes_pb2.Container:
    """The container as a message."""
    message = nodes_pb2.Container(
        id=container.id,
        name=container.name,
        image=container.image,
        state=container.state,
        oom_killed=container.oom_killed,
        health=container.health,
        created_at=container.created_at,
        started_at=container.started_at,
        finished_at=container.finished_at,
        own=own,
        ports=[port_text(port) for port in container.ports[:MOST_PORTS]],
        restarts=restarts,
        usage=usage,
    )
    if container.exit_code is not None and container.ended:
        message.exit_code = container.exit_code
    if own:
        message.run_id = container.labels.get(RUN, "")
        message.made_by.CopyFrom(_made_by(container))
    return message


def usage_of(container: Container, figures: Usage, cpu_percent: float, now: float) -> nodes_pb2.ContainerUsage:
    """What a container uses as a message. `cpu_percent` of one core."""
    return nodes_pb2.ContainerUsage(
        id=container.id,
        sampled_at=now,
        cpu_percent=cpu_percent,
        memory_used=figures.memory,
        memory_limit=container.memory_limit,
        pids=figures.pids,
    )


def port_text(port: PortMapping) -> str:
    """A published port in Docker's short syntax."""
    host = f"[{port.host_ip}]:" if ":" in port.host_ip else f"{port.host_ip}:" if port.host_ip else ""
    return f"{host}{port.host_port}:{port.container_port}/{port.protocol}"


def _made_by(container: Container) -> AttemptRef:
    labels = container.labels
    return AttemptRef(
        task_id=labels.get(TASK, ""),
        fence=_number(labels.get(FENCE, "")),
        step_id=labels.get(STEP, ""),
        attempt=_number(labels.get(ATTEMPT, "")),
    )


def _number(text: str) -> int:
    """A label's number; labels can be written by anybody, so what is none counts as 0."""
    return int(text) if text.isdecimal() and len(text) < 10 else 0
