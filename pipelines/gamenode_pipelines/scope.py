"""What expressions see of a task: plain values, nothing else. Evaluates nothing but the plan's `env`, and what inlined
pipelines are given.
"""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Argument, Plan, Scalar
from gamenode_pipelines.task_state import Step, Task


def task_scope(task: Task, plan: Plan, of: str = "") -> dict[str, object]:
    """The names an expression may use, for one task as it stands; `of` names the inlined pipeline it comes from.

    `task.state` is the task's outcome once `finally` runs. A step's `outputs` are empty until it has ended; those of an
    inlined pipeline are those of all its steps. `env` holds the plan's environment, rendered where it has expressions
    of its own (which see everything here but `env`). Raises GameNodeError (`expressions.ExpressionError`) for an
    environment or parameters that cannot be had.
    """
    node = task.node
    scope: dict[str, object] = {
        "params": arguments_of(task, plan, of) if of else plan.params,
        "node": {"id": node.id, "name": node.name, "labels": node.labels, "address": node.address},
        "run": {"id": task.run_id, "pipeline": plan.pipeline, "version": plan.version},
        "task": {"id": task.id, "state": str(task.outcome or task.state), "fence": task.fence},
        "steps": _steps(task, plan, f"{of}." if of else ""),
    }
    if of:
        inlined = plan.scopes[of]
        given = _env(inlined.given_env, task_scope(task, plan, _around(of))) if inlined.given_env else {}
        scope["env"] = {**_env(inlined.env, scope), **given}
    else:
        scope["env"] = _env(plan.env, scope)
    return scope


def arguments_of(task: Task, plan: Plan, of: str) -> dict[str, Scalar]:
    """The parameters of an inlined pipeline, typed; raises GameNodeError(INVALID_ARGUMENT) where one does not fit."""
    inlined = plan.scopes[of]
    values: dict[str, Scalar] = {}
    around: dict[str, object] | None = None
    for argument in inlined.arguments:
        value = argument.value
        if isinstance(value, str) and "${{" in value:
            around = around if around is not None else task_scope(task, plan, _around(of))
            try:
                value = _converted(argument, value, around)
            except ValueError as error:
                message = f"parameter {argument.name!r} of pipeline {inlined.pipeline!r}: {error}"
                raise GameNodeError(Code.INVALID_ARGUMENT, message) from error
        values[argument.name] = value
    return values


def _converted(argument: Argument, template: str, scope: Mapping[str, object]) -> Scalar:
    from gamenode_pipelines import expressions
    from gamenode_pipelines.parameters import Parameter, ParamType

    source = expressions.whole(template)
    value: Scalar | None
    value = expressions.render(template, scope) if source is None else expressions.evaluate(source, scope)
    parameter = Parameter(
        argument.name, ParamType(argument.type), choices=argument.choices, min=argument.min, max=argument.max
    )
    return parameter.convert("" if value is None else value)


def _around(of: str) -> str:
    return of.rpartition(".")[0]


def _steps(task: Task, plan: Plan, prefix: str) -> dict[str, object]:
    """The steps of one pipeline by the ids that it gives them."""
    if not plan.scopes:
        return {id: _step(step) for id, step in task.steps.items()}
    own = {
        id[len(prefix) :]: step
        for id, step in task.steps.items()
        if id.startswith(prefix) and "." not in id[len(prefix) :]
    }
    return {
        id: {**_step(step), "outputs": _outputs(task, prefix + id)} if prefix + id in plan.scopes else _step(step)
        for id, step in own.items()
    }


def _outputs(task: Task, group: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for id, step in task.steps.items():
        if id.startswith(f"{group}."):
            found.update(step.outputs)
    return found


def _step(step: Step) -> dict[str, object]:
    return {
        "state": str(step.state),
        "outputs": step.outputs,
        "attempt": step.attempt,
        "exit_code": "" if step.exit_code is None else step.exit_code,
        "error": "" if step.error is None else str(step.error.code),
        "message": "" if step.error is None else step.error.message,
    }


def _env(env: Mapping[str, str], scope: Mapping[str, object]) -> Mapping[str, str]:
    if not any("${{" in value for value in env.values()):
        return env
    from gamenode_pipelines import expressions  # the template engine: only where there is a template

    return {name: expressions.render(value, scope) if "${{" in value else value for name, value in env.items()}
