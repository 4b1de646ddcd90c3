"""The kinds of steps this agent can execute. A kind is a file here and a line in `KINDS`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

from gamenode_agent.engines.inline import InlineRequest
from gamenode_agent.steps.context import OUTPUT_FILE, StepContext
from gamenode_agent.steps.run import spawn_request
from gamenode_agent.supervisor.client import SpawnRequest
from gamenode_pipelines.errors import Code, Error
from gamenode_pipelines.plan import Plan

__all__ = ["KINDS", "OUTPUT_FILE", "StepContext", "unknown_kinds"]

#: What turns a step into something to start: a process, or what the agent carries out itself.
KINDS: Mapping[str, Callable[[StepContext], SpawnRequest | InlineRequest]] = MappingProxyType({"run": spawn_request})


def unknown_kinds(plan: Plan) -> Error | None:
    """Why this agent cannot execute the plan, where it has steps of a kind that is not known here."""
    for step in (*plan.steps, *plan.finally_):
        if step.kind not in KINDS:
            return Error(
                Code.INVALID_ARGUMENT,
                f"this agent does not know the step kind {step.kind!r} (step {step.id!r}); it knows"
                f" {', '.join(sorted(KINDS))}: is the agent older than the server?",
                {"kind": step.kind, "step": step.id},
            )
    return None
