"""What a step kind gets to know about the attempt it prepares."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gamenode_agent.engines.inline import InlineRequest, InlineStep
from gamenode_agent.journal import Attempt
from gamenode_agent.runner.environment import checked, render
from gamenode_agent.steps.tools import Tools
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.scope import task_scope
from gamenode_pipelines.tasks import Task
from gamenode_proto.codec.plan import BundleFile

SCRIPT_FILE = "script"
OUTPUT_FILE = "output"
_HOST_PATHS = frozenset({"GAMENODE_WORKSPACE", "GAMENODE_OUTPUT"})


@dataclass(frozen=True, slots=True)
class StepContext:
    """One attempt about to start, with its task as it stands."""

    key: Attempt
    task: Task
    plan: Plan
    step: StepPlan
    #: The task's folder, where the step works.
    workspace: str
    #: The attempt's own folder; exists.
    directory: str
    tools: Tools
    #: Those that came with the task, as they came.
    files: Sequence[BundleFile] = ()

    def values(self) -> dict[str, Any]:
        """What the step's `with` says, every field of its kind, rendered, checked and typed.

        Raises GameNodeError(INVALID_ARGUMENT) with the field's name.
        """
        from gamenode_pipelines import kinds  # with the template engine, which most processes do without

        return kinds.rendered(self.step.kind, self.step.with_, task_scope(self.task, self.plan, self.step.scope))

    def container_env(self, own: Mapping[str, str]) -> dict[str, str]:
        """What a container of the step gets: the environment of the plan, of the step, and `own`, its `with.env`.

        On top, what says which attempt this is; folders of the host mean nothing in there. Raises GameNodeError.
        """
        env = {**render(self.task, self.plan, self.step, own={}).env, **own}
        marks = {name: value for name, value in self.own_env().items() if name not in _HOST_PATHS}
        return checked(env, marks)

    def inline(self, step: InlineStep) -> InlineRequest:
        """The attempt as something that the agent carries out itself, with the step's own time limit and stop."""
        return InlineRequest(self.key, self.directory, step, timeout=self.step.timeout, stop=self.step.stop)

    def own_env(self) -> dict[str, str]:
        """The variables that every process of a step gets."""
        key = self.key
        return {
            "GAMENODE_RUN_ID": self.task.run_id,
            "GAMENODE_TASK_ID": key.task_id,
            "GAMENODE_FENCE": str(key.fence),
            "GAMENODE_STEP_ID": key.step_id,
            "GAMENODE_ATTEMPT": str(key.attempt),
            "GAMENODE_NODE_NAME": self.task.node.name,
            "GAMENODE_WORKSPACE": self.workspace,
            "GAMENODE_OUTPUT": f"{self.directory}/{OUTPUT_FILE}",
        }
