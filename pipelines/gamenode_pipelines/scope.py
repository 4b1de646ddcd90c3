"""What expressions see of a task: plain values, nothing else. Evaluates nothing but the plan's `env`."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.plan import Plan
from gamenode_pipelines.task_state import Step, Task


def task_scope(task: Task, plan: Plan) -> dict[str, object]:
    """The names an expression may use, for one task as it stands.

    `task.state` is the task's outcome once `finally` runs. A step's `outputs` are empty until it has ended. `env` holds
    the plan's environment, rendered where it has expressions of its own (which see everything here but `env`); one that
    cannot be rendered raises `expressions.ExpressionError`.
    """
    node = task.node
    scope: dict[str, object] = {
        "params": plan.params,
        "node": {"id": node.id, "name": node.name, "labels": node.labels, "address": node.address},
        "run": {"id": task.run_id, "pipeline": plan.pipeline, "version": plan.version},
        "task": {"id": task.id, "state": str(task.outcome or task.state), "fence": task.fence},
        "steps": {id: _step(step) for id, step in task.steps.items()},
    }
    scope["env"] = _env(plan.env, scope)
    return scope


def _step(step: Step) -> dict[str, object]:
    return {
        "state": str(step.state),
        "outputs": step.outputs,
        "attempt": step.attempt,
        "exit_code": "" if step.exit_code is None else step.exit_code,
        "error": "" if step.error is None else str(step.error.code),
    }


def _env(env: Mapping[str, str], scope: Mapping[str, object]) -> Mapping[str, str]:
    if not any("${{" in value for value in env.values()):
        return env
    from gamenode_pipelines import expressions  # the template engine: only where there is a template

    return {name: expressions.render(value, scope) if "${{" in value else value for name, value in env.items()}
