"""What a step's process finds in its environment, and its other templates, rendered when it starts."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.scope import task_scope
from gamenode_pipelines.tasks import Task

#: Linux takes no single variable longer than 128 KiB, name and all.
MAX_VARIABLE = 128 * 1024 - 1


@dataclass(frozen=True, slots=True)
class Rendered:
    """A step's templates with their values in them."""

    env: Mapping[str, str]
    argv: Sequence[str]
    workdir: str
    user: str


def render(task: Task, plan: Plan, step: StepPlan, *, own: Mapping[str, str]) -> Rendered:
    """Renders the step's templates and puts its environment together: the plan's, the step's, the script's bindings,
    and on top `own`, which nothing of them may replace.

    Raises GameNodeError(INVALID_ARGUMENT) for an expression that has no value.
    """
    script = step.script
    argv: Sequence[str] = script.argv if script is not None else ()
    bindings: Mapping[str, str] = script.bindings if script is not None else {}
    texts = (*plan.env.values(), *step.env.values(), *argv, step.workdir, step.user)
    if not bindings and not step.scope and not any("${{" in text for text in texts):
        return Rendered(checked({**plan.env, **step.env}, own), argv, step.workdir, step.user)

    from gamenode_pipelines import expressions  # most steps of most pipelines do without

    scope = task_scope(task, plan, step.scope)
    env: dict[str, str] = dict(scope["env"])  # type: ignore[call-overload] # the plan's, rendered
    for name, template in step.env.items():
        env[name] = expressions.render(template, scope)
    for name, source in bindings.items():
        env[name] = expressions.to_text(expressions.evaluate(source, scope))
    return Rendered(
        checked(env, own),
        [expressions.render(part, scope) for part in argv],
        expressions.render(step.workdir, scope),
        expressions.render(step.user, scope),
    )


def render_stop(task: Task, plan: Plan, step: StepPlan) -> tuple[Sequence[str], Mapping[str, str]]:
    """The command that ends the step, and the variables it has besides the step's; nothing where it has none.

    Raises GameNodeError(INVALID_ARGUMENT) for an expression that has no value.
    """
    command = step.stop.command
    if command is None:
        return (), {}
    from gamenode_pipelines import expressions

    scope = task_scope(task, plan, step.scope) if command.bindings or command.argv else {}
    env = {name: expressions.to_text(expressions.evaluate(source, scope)) for name, source in command.bindings.items()}
    if command.argv:
        return [expressions.render(part, scope) for part in command.argv], checked(env, {})
    return ("/bin/sh", "-e", "-c", command.text), checked(env, {})


def checked(env: dict[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """`env` with `own` on top. Raises GameNodeError(LIMIT_EXCEEDED) for a value that no program can be given."""
    env.update(own)
    for name, value in env.items():
        if len(name) + len(value.encode()) > MAX_VARIABLE:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED,
                f"the environment variable {name} is longer than {MAX_VARIABLE} bytes, which no program can be given;"
                " write it to a file",
                details={"limit": str(MAX_VARIABLE)},
            )
    return env
