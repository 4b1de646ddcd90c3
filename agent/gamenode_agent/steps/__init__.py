"""The kinds of steps this agent can execute. A kind is a file here and a line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.steps.approve import approve
from gamenode_agent.steps.artifact_put import artifact_put
from gamenode_agent.steps.check_http import check_http
from gamenode_agent.steps.check_tcp import check_tcp
from gamenode_agent.steps.container_exec import container_exec
from gamenode_agent.steps.container_job import container_job
from gamenode_agent.steps.container_load import container_load
from gamenode_agent.steps.container_pull import container_pull
from gamenode_agent.steps.container_remove import container_remove
from gamenode_agent.steps.container_restart import container_restart
from gamenode_agent.steps.container_run import container_run
from gamenode_agent.steps.container_stop import container_stop
from gamenode_agent.steps.container_wait import container_wait
from gamenode_agent.steps.context import OUTPUT_FILE, StepContext
from gamenode_agent.steps.file_fetch import file_fetch
from gamenode_agent.steps.file_write import file_write
from gamenode_agent.steps.game_gate import game_gate
from gamenode_agent.steps.game_query import game_query
from gamenode_agent.steps.game_rcon import game_rcon
from gamenode_agent.steps.run import spawn_request
from gamenode_agent.supervisor.client import SpawnRequest
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import GROUP, Plan

__all__ = ["KINDS", "OUTPUT_FILE", "StepContext", "is_inline", "unknown_kinds"]

#: What turns a step into something to start: a process, or what the agent carries out itself.
KINDS: Mapping[str, Callable[[StepContext], SpawnRequest | InlineRequest]] = MappingProxyType(
    {
        "run": spawn_request,
        "approve": approve,
        "artifact.put": artifact_put,
        "check.http": check_http,
        "check.tcp": check_tcp,
        "container.exec": container_exec,
        "container.job": container_job,
        "container.load": container_load,
        "container.pull": container_pull,
        "container.remove": container_remove,
        "container.restart": container_restart,
        "container.run": container_run,
        "container.stop": container_stop,
        "container.wait": container_wait,
        "file.fetch": file_fetch,
        "file.write": file_write,
        "game.gate": game_gate,
        "game.query": game_query,
        "game.rcon": game_rcon,
    }
)
#: The kinds that are processes; every other the agent carries out itself.
_PROCESSES = frozenset({"run"})


def is_inline(kind: str) -> bool:
    """Whether the agent carries out steps of this kind itself."""
    return kind not in _PROCESSES


def unknown_kinds(plan: Plan) -> Error | None:
    """Why this agent cannot execute the plan, where it has steps of a kind that is not known here."""
    for step in (*plan.steps, *plan.finally_):
        if step.kind not in KINDS and step.kind != GROUP:
            return Error(
                Code.INVALID_ARGUMENT,
                f"this agent does not know the step kind {step.kind!r} (step {step.id!r}); it knows"
                f" {', '.join(sorted(KINDS))}: is the agent older than the server?",
                {"kind": step.kind, "step": step.id},
            )
    return None
