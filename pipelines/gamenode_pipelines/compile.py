"""A checked spec and its parameters to the plan that nodes execute.

Fills in what a file leaves out (the step before as `needs`, default timeouts), never what only a node knows:
expressions travel as they are, and are rendered when a step starts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from gamenode_pipelines import expressions, placement, scripts
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.inlining import Find, Inlining, inlined, nothing_stored
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.plan import (
    DEFAULT_TIMEOUT,
    Limits,
    Plan,
    RetryPolicy,
    Scalar,
    Script,
    Setting,
    StepPlan,
    StopPolicy,
    surely_run,
)
from gamenode_pipelines.selectors import Selector
from gamenode_pipelines.spec import LimitsSpec, PipelineSpec, RetrySpec, StepSpec, StopSpec
from gamenode_pipelines.wording import listed, nearest, shown


def compile_plan(
    spec: PipelineSpec, params: Mapping[str, Scalar], *, version: int, find: Find = nothing_stored
) -> Plan:
    """The plan of a pipeline for these parameters; text from a command line is accepted for any type.

    Raises GameNodeError(INVALID_ARGUMENT) that lists every parameter that is unknown, missing or does not fit; its
    details map each one's name onto what is wrong with it. `find` finds the pipelines that its steps name; where one
    cannot be inlined, raises GameNodeError that says of each step why.
    """
    values = resolve_parameters(spec, params)
    whole = inline(spec, find)
    if whole.troubles:
        first = whole.troubles[0].error
        raise GameNodeError(first.code, "\n".join(each.said for each in whole.troubles), details=first.details)
    return Plan(
        pipeline=spec.pipeline,
        version=version,
        steps=whole.steps,
        finally_=whole.finally_,
        params=values,
        env=dict(spec.env),
        timeout=spec.timeout or DEFAULT_TIMEOUT,
        on_lost=spec.on_lost,
        scopes=whole.scopes,
    )


def inline(spec: PipelineSpec, find: Find) -> Inlining:
    """A pipeline's steps as plans have them, with those of the pipelines they name; what is wrong is told in it."""
    return inlined(spec, find, _step)


def resolve_parameters(spec: PipelineSpec, params: Mapping[str, Scalar]) -> dict[str, Scalar]:
    """Every parameter's value, typed: given or by default. Raises as `compile_plan` does."""
    wrong: dict[str, str] = {}
    values: dict[str, Scalar] = {}
    names = [parameter.name for parameter in spec.parameters]
    for name in params:
        if name not in names:
            close = nearest(name, names)
            hint = (
                f"; did you mean {close!r}?" if close else f"; there are {listed(names)}" if names else "; it has none"
            )
            wrong[name] = f"pipeline {spec.name!r} has no such parameter{hint}"
    for parameter in spec.parameters:
        if parameter.name in params:
            try:
                values[parameter.name] = parameter.convert(params[parameter.name])
            except ValueError as error:
                close = getattr(error, "suggestion", "")
                wrong[parameter.name] = str(error) + (f"; did you mean {close!r}?" if close else "")
        elif parameter.default is None:
            wrong[parameter.name] = f"must be given: -p {parameter.name}=… ({parameter.type})"
        else:
            values[parameter.name] = parameter.default
    if wrong:
        lines = [f"parameter {shown(name)}: {message}" for name, message in wrong.items()]
        raise GameNodeError(Code.INVALID_ARGUMENT, "\n".join(lines), details=wrong)
    return values


def capabilities(plan: Plan) -> frozenset[str]:
    """What a node must be able to do for this plan.

    A step that may be skipped asks for nothing: whether it runs at all is known on the node, and checked there again.
    """
    steps = (step for step in surely_run(plan) if step.kind in KINDS)
    return frozenset().union(*(KINDS[step.kind].capabilities(step.with_) for step in steps))


def placement_request(
    spec: PipelineSpec,
    *,
    capabilities: frozenset[str] = frozenset(),
    selectors: Sequence[str | Selector] = (),
    nodes: Sequence[str] = (),
    all: bool = False,
) -> placement.Request:
    """Where a run of this pipeline goes: its `targets`, narrowed by what the command line says.

    `capabilities` are what its plan needs (`capabilities(plan)`).
    """
    targets = spec.targets
    count = targets.count if targets else "all"
    return placement.Request(
        selectors=(*((targets.select,) if targets and targets.select else ()), *selectors),
        nodes=tuple(nodes),
        all=all or targets is not None,
        count=count if isinstance(count, int) else None,
        requires=requirements(spec),
        capabilities=capabilities,
    )


def requirements(spec: PipelineSpec) -> placement.Requires:
    """What the pipeline asks of a node's resources."""
    requires = spec.requires
    if requires is None:
        return placement.Requires()
    return placement.Requires(cpus=requires.cpus, memory=requires.memory, disk=requires.disk)


def _step(spec: StepSpec) -> StepPlan:
    return StepPlan(
        id=spec.id,
        kind=spec.uses or "run",
        condition=_condition(spec.if_),
        script=_script(spec),
        env=dict(spec.env),
        workdir=spec.workdir,
        user=spec.user,
        limits=_limits(spec.limits),
        timeout=spec.timeout or 0.0,
        retry=_retry(spec.retry),
        stop=_stop(spec.stop),
        idempotent=spec.idempotent or (spec.uses in KINDS and KINDS[spec.uses].idempotent),
        continue_on_error=spec.continue_on_error,
        with_={name: _setting(value) for name, value in spec.with_.items()},
    )


def _script(spec: StepSpec) -> Script | None:
    return _command(spec.run, spec.shell or "sh")


def _command(command: str | tuple[str, ...] | None, shell: str = "sh") -> Script | None:
    if command is None:
        return None
    if isinstance(command, str):
        return scripts.compile_script(shell, command).script
    return scripts.compile_argv(command).script


def _setting(value: Any) -> Setting:
    """A value of `with` as the bundle gives it back: names in the order of the alphabet, and no list."""
    if isinstance(value, Mapping):
        return {name: _setting(value[name]) for name in sorted(value)}
    return tuple(map(_setting, value)) if isinstance(value, list | tuple) else value


def _condition(text: str) -> str:
    whole = expressions.whole(text)
    return text.strip() if whole is None else whole


def _limits(spec: LimitsSpec | None) -> Limits:
    if spec is None:
        return Limits()
    return Limits(
        cpus=spec.cpus or 0.0,
        memory=spec.memory or 0,
        pids=spec.pids or 0,
        file_size=spec.file_size or 0,
        open_files=spec.open_files or 0,
        output=spec.output or 0,
    )


def _retry(spec: RetrySpec | None) -> RetryPolicy:
    if spec is None:
        return RetryPolicy()
    return RetryPolicy(attempts=spec.attempts, backoff=spec.backoff, max_backoff=spec.max_backoff, on=spec.on)


def _stop(spec: StopSpec | None) -> StopPolicy:
    return StopPolicy() if spec is None else StopPolicy(spec.signal, spec.grace, _command(spec.command))
