"""Other pipelines' steps in place of the steps that name them, when a run is planned.

A step `deploy` of kind `pipeline` stays, as the group of the steps it stands for; theirs are `deploy.pull`, and so on.
What their expressions see is kept beside the plan (`plan.Inlined`). The other pipeline's `finally` runs in that of the
pipeline around. Knows no store: who asks says how a pipeline is found.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import GROUP, Argument, Inlined, Scalar, StepPlan
from gamenode_pipelines.spec import MAX_STEPS, PipelineSpec, StepSpec
from gamenode_pipelines.wording import listed, nearest, shown

#: How deep pipelines may be in one another.
MAX_DEPTH: Final = 8
#: Characters of a step's whole id: it is part of file names.
MAX_ID: Final = 120


@dataclass(frozen=True, slots=True)
class Found:
    """A pipeline as it is now; version 0 is one that is not stored."""

    spec: PipelineSpec
    version: int


#: Gives the newest version of a pipeline; raises GameNodeError(NOT_FOUND) with the nearest name.
Find = Callable[[str], Found]


def nothing_stored(name: str) -> Found:
    """Finds nothing."""
    raise GameNodeError(Code.NOT_FOUND, f"there is no pipeline {shown(name)} here: without a server nothing is stored")


@dataclass(frozen=True, slots=True)
class Trouble:
    """What is wrong with the inlining of one step of the outermost pipeline: its place there, and what."""

    path: tuple[str | int, ...]
    step: str
    error: GameNodeError

    @property
    def said(self) -> str:
        """A line that names the step."""
        return f"step {self.step}: {self.error.message}" if self.step else self.error.message


@dataclass(slots=True)
class Inlining:
    """A pipeline's steps with those of others in them."""

    steps: tuple[StepPlan, ...] = ()
    finally_: tuple[StepPlan, ...] = ()
    scopes: dict[str, Inlined] = field(default_factory=dict)
    troubles: list[Trouble] = field(default_factory=list)


def inlined(spec: PipelineSpec, find: Find, make: Callable[[StepSpec], StepPlan]) -> Inlining:
    """The steps of a pipeline, those of others in their places; `make` compiles a step by itself.

    What is wrong is told of each step that names a pipeline, and not raised.
    """
    work = _Work(find, make)
    found = Inlining()
    main, cleanup = work.lay("steps", spec.steps, _Around((spec.name,)), found)
    final, more = work.lay("finally", spec.finally_, _Around((spec.name,)), found)
    found.steps = tuple(main)
    found.finally_ = _in_turn([cleanup, final, more])
    if len(found.steps) + len(found.finally_) > MAX_STEPS and not found.troubles:
        total = len(found.steps) + len(found.finally_)
        message = f"with the pipelines it names, pipeline {spec.name!r} has {total} steps; at most {MAX_STEPS} can be"
        found.troubles.append(Trouble((), "", GameNodeError(Code.LIMIT_EXCEEDED, message)))
    return found


@dataclass(frozen=True, slots=True)
class _Around:
    """Where steps are laid: in which pipelines, the outermost first, and for which step."""

    names: tuple[str, ...]
    scope: str = ""
    top: tuple[str | int, ...] = ()

    def id(self, name: str) -> str:
        return f"{self.scope}.{name}" if self.scope else name


class _Work:
    def __init__(self, find: Find, make: Callable[[StepSpec], StepPlan]) -> None:
        self._find = find
        self._make = make
        self._laid = 0

    def lay(
        self, key: str, specs: Sequence[StepSpec], around: _Around, into: Inlining, *, group: str = ""
    ) -> tuple[list[StepPlan], list[StepPlan]]:
        """The steps of one list, and what their pipelines have to do at the end."""
        steps: list[StepPlan] = []
        cleanup: list[StepPlan] = []
        before: tuple[str, ...] = ()
        for number, spec in enumerate(specs):
            needs = before if spec.needs is None else tuple(dict.fromkeys(map(around.id, spec.needs)))
            before = (around.id(spec.id),)
            here = around if around.top else replace(around, top=(key, number))
            self._put(spec, needs, "", group, here, into, steps, cleanup)
            answered: tuple[str, ...] = ()
            for place, answer in enumerate(spec.on_failure):
                there = around if around.top else replace(around, top=(key, number, "on_failure", place))
                self._put(answer, answered, around.id(spec.id), group, there, into, steps, cleanup)
                answered = (around.id(answer.id),)
        return steps, cleanup

    def _put(
        self,
        spec: StepSpec,
        needs: tuple[str, ...],
        failed: str,
        group: str,
        around: _Around,
        into: Inlining,
        steps: list[StepPlan],
        cleanup: list[StepPlan],
    ) -> None:
        """One step, and the pipeline that it stands for."""
        own = replace(self._make(spec), id=around.id(spec.id), needs=needs, group=group, after_failure=failed)
        steps.append(own)
        self._laid += 1
        if own.kind != GROUP:
            return
        try:
            inner, last = self._pipeline(spec, own, around, into)
        except GameNodeError as error:
            into.troubles.append(Trouble(around.top, own.id, error))
            return
        steps += inner
        cleanup += last

    def _pipeline(
        self, spec: StepSpec, own: StepPlan, around: _Around, into: Inlining
    ) -> tuple[list[StepPlan], list[StepPlan]]:
        name = str(spec.with_["name"])
        way = " → ".join((*around.names, name))
        if name in around.names:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"pipelines name each other in a circle: {way}")
        if len(around.names) > MAX_DEPTH:
            raise GameNodeError(Code.LIMIT_EXCEEDED, f"pipelines are more than {MAX_DEPTH} deep in one another: {way}")
        found = self._find(name)
        other = found.spec
        if other.files:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"pipeline {name!r} has `files`, which travel only with runs of its own"
            )
        deepest = max(len(step.id) for step in (*other.steps, *other.finally_))
        if len(own.id) + 1 + deepest > MAX_ID:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED, f"the ids of its steps, like {own.id}.{other.steps[0].id}, would be too long"
            )
        if self._laid + len(other.steps) + len(other.finally_) > MAX_STEPS:
            raise GameNodeError(
                Code.LIMIT_EXCEEDED, f"with the pipelines it names, it has more than {MAX_STEPS} steps; split it"
            )
        given: Any = spec.with_.get("params", {})
        into.scopes[own.id] = Inlined(
            name, found.version, arguments(other, given), env=dict(other.env), given_env=dict(spec.env)
        )
        inside = _Around((*around.names, name), own.id, around.top)
        main, cleanup = self.lay("steps", other.steps, inside, into, group=own.id)
        final, more = self.lay("finally", other.finally_, inside, into)
        return main, list(_in_turn([cleanup, final, more]))


def arguments(spec: PipelineSpec, given: Mapping[str, Scalar]) -> tuple[Argument, ...]:
    """The parameters of an inlined pipeline; raises GameNodeError(INVALID_ARGUMENT) that says all that is wrong."""
    wrong: list[str] = []
    names = [parameter.name for parameter in spec.parameters]
    for name in given:
        if name not in names:
            close = nearest(name, names)
            there = f"there are {listed(names)}" if names else "it has none"
            wrong.append(f"it has no parameter {shown(name)}; {f'did you mean {close!r}?' if close else there}")
    made: list[Argument] = []
    for parameter in spec.parameters:
        value = given.get(parameter.name, parameter.default)
        if value is None:
            wrong.append(f"parameter {parameter.name!r} must be given under `with.params` ({parameter.type})")
            continue
        if not (isinstance(value, str) and "${{" in value):
            try:
                value = parameter.convert(value)
            except ValueError as error:
                close = getattr(error, "suggestion", "")
                wrong.append(f"parameter {parameter.name!r}: {error}" + (f"; did you mean {close!r}?" if close else ""))
                continue
        made.append(
            Argument(
                parameter.name, value, str(parameter.type), parameter.choices, min=parameter.min, max=parameter.max
            )
        )
    if wrong:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"pipeline {spec.name!r}: {'; '.join(wrong)}")
    return tuple(made)


def names_of(spec: PipelineSpec) -> tuple[str, ...]:
    """The pipelines that a pipeline's steps name."""
    steps = [one for each in (*spec.steps, *spec.finally_) for one in (each, *each.on_failure)]
    return tuple(dict.fromkeys(str(step.with_["name"]) for step in steps if step.uses == GROUP and step.with_))


def _in_turn(parts: Sequence[Sequence[StepPlan]]) -> tuple[StepPlan, ...]:
    """Lists of steps one after the other: what waits for nothing in one waits for the one before."""
    laid: list[StepPlan] = []
    last: tuple[str, ...] = ()
    for part in parts:
        for step in part:
            free = not step.needs and not step.group and not step.after_failure
            laid.append(replace(step, needs=last) if free else step)
        last = tuple(step.id for step in part if not step.group) or last
    return tuple(laid)
