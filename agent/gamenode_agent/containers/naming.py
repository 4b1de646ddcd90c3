"""Whose container is it: names, labels, and how one says by itself that it is to be stopped and kept alive.

Evidence lives in labels, because they come and go with the container.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from gamenode_agent.containers.outages import through
from gamenode_agent.engines.containers import (
    ATTEMPT,
    CLUSTER,
    FENCE,
    LABEL,
    NODE,
    RESTART,
    RUN,
    STEP,
    STOP,
    TASK,
    Container,
    ContainerEngine,
)
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:  # the steps import this
    from gamenode_agent.steps.tools import Tools

#: The host ports it was given, as JSON: {"27960/udp": 27960}. An engine forgets those of a container that has ended.
PORTS: Final = f"{LABEL}ports"


@dataclass(frozen=True, slots=True)
class StopWish:
    """How a container wants to be stopped. Empty and None: as the image or the engine has it."""

    command: tuple[str, ...] = ()
    #: `exec` runs the command in the container, `stdin` writes it to the container's input.
    via: str = "exec"
    signal: str = ""
    grace: float | None = None


def attempt_labels(tools: Tools, run_id: str, key: Attempt) -> dict[str, str]:
    """What every container carries that an attempt makes."""
    return {
        CLUSTER: tools.cluster_id,
        NODE: tools.node_id,
        RUN: run_id,
        TASK: key.task_id,
        STEP: key.step_id,
        ATTEMPT: str(key.attempt),
        FENCE: str(key.fence),
    }


def job_name(key: Attempt) -> str:
    """The name of a job's container where its step gives none."""
    return f"gn-{key.task_id}-{key.step_id}-{key.attempt}"


def is_own(container: Container, cluster_id: str) -> bool:
    """Whether this cluster made it: what it did not make is never touched."""
    return bool(cluster_id) and container.labels.get(CLUSTER) == cluster_id


def made_by(container: Container, tools: Tools, key: Attempt) -> bool:
    """Whether exactly this attempt, on this node, made it."""
    wanted = attempt_labels(tools, "", key)
    return all(container.labels.get(label) == value for label, value in wanted.items() if label != RUN)


def same_step(container: Container, tools: Tools, key: Attempt) -> bool:
    """Whether an attempt of the same step of the same task made it, under whatever assignment."""
    labels = container.labels
    return is_own(container, tools.cluster_id) and (labels.get(TASK), labels.get(STEP)) == (key.task_id, key.step_id)


def check_own(container: Container, tools: Tools) -> None:
    """Raises PERMISSION_DENIED for a container that is not this cluster's, and says whose it is."""
    if not is_own(container, tools.cluster_id):
        raise GameNodeError(
            Code.PERMISSION_DENIED,
            f"{who(container, tools)}: it is left alone",
            details={"container": container.name, "id": container.id},
        )


async def find_own(engine: ContainerEngine, tools: Tools, name: str) -> Container | None:
    """The container of this name or id, None if there is none; PERMISSION_DENIED for one that is not ours."""
    found = await through(engine, lambda: engine.inspect(name))
    if found is not None:
        check_own(found, tools)
    return found


def who(container: Container, tools: Tools) -> str:
    """A sentence about who made a container."""
    labels, name = container.labels, f"the container {container.name!r} ({container.id[:12]})"
    cluster = labels.get(CLUSTER)
    if cluster is None:
        return f"{name} was not made by GameNode"
    if cluster != tools.cluster_id:
        return f"{name} belongs to another cluster ({cluster})"
    step = f"step {labels.get(STEP, '?')!r} of task {labels.get(TASK, '?')}"
    where = "" if labels.get(NODE) == tools.node_id else " for another node of this cluster"
    return f"{name} was made by {step}{where}"


def stop_label(stop: StopWish) -> str:
    """How it is to be stopped, for its label."""
    return json.dumps({"command": stop.command, "via": stop.via, "signal": stop.signal, "grace": stop.grace})


def stop_wish(container: Container) -> StopWish:
    """How a container of ours says that it is to be stopped; labels can be written by anybody, so rubbish says
    nothing."""
    try:
        found: Any = json.loads(container.labels.get(STOP, "{}"))
        grace = found.get("grace")
        command = tuple(str(word) for word in found.get("command") or ())
        via = "stdin" if found.get("via") == "stdin" else "exec"
        return StopWish(command, via, str(found.get("signal") or ""), None if grace is None else float(grace))
    except (ValueError, TypeError, AttributeError):
        return StopWish()


def restart_label(container: Container) -> str:
    """Its restart policy; `no` where it has none."""
    return container.labels.get(RESTART, "no") or "no"


def given_ports(labels: Mapping[str, str]) -> dict[str, int]:
    """The host ports a container of ours was given, by `27960/udp`."""
    try:
        found: Any = json.loads(labels.get(PORTS, "{}"))
        return {str(name): int(port) for name, port in found.items()}
    except (ValueError, TypeError, AttributeError):
        return {}
