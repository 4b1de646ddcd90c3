"""What a step kind gets to know about the attempt it prepares."""

from __future__ import annotations

from dataclasses import dataclass

from gamenode_agent.journal import Attempt
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.tasks import Task

SCRIPT_FILE = "script"
OUTPUT_FILE = "output"


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
