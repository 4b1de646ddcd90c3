"""What is wrong with a document's shape, said to people: where, what, and what to do.

Turns pydantic's errors into problems with a place in the file. Keys that a later version will know are told apart from
keys that nobody knows: they are never ignored, and never called unknown.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

from pydantic import BaseModel, ValidationError

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.kinds.wrong import Wrong
from gamenode_pipelines.selectors import SelectorError
from gamenode_pipelines.spec import (
    MAX_STEPS,
    LimitsSpec,
    ParamSpec,
    PipelineSpec,
    RequiresSpec,
    RetrySpec,
    StepSpec,
    StopSpec,
    TargetsSpec,
)
from gamenode_pipelines.spec_fleet import ApprovalSpec, ConcurrencySpec, RolloutSpec
from gamenode_pipelines.spec_schedule import ScheduleSpec
from gamenode_pipelines.spec_steps import NothingToDo, StepProblem
from gamenode_pipelines.spec_trigger import TriggerSpec
from gamenode_pipelines.wording import UnknownWord, listed, nearest, shown

_SHAPES: Final[Mapping[tuple[str, ...], type[BaseModel]]] = {
    (): PipelineSpec,
    ("params", "*"): ParamSpec,
    ("targets",): TargetsSpec,
    ("requires",): RequiresSpec,
    ("rollout",): RolloutSpec,
    ("concurrency",): ConcurrencySpec,
    ("approval",): ApprovalSpec,
    ("schedule", "*"): ScheduleSpec,
    ("on", "*"): TriggerSpec,
    ("steps", "*"): StepSpec,
    ("steps", "*", "retry"): RetrySpec,
    ("steps", "*", "stop"): StopSpec,
    ("steps", "*", "limits"): LimitsSpec,
}
_NOT_YET: Final[Mapping[tuple[str, ...], Mapping[str, str]]] = {
    ("params", "*"): {"pattern": "`pattern`; check the value in a step"},
    ("steps", "*"): {
        "secrets": "`secrets`; read them on the node",
    },
}
#: What people write from other systems' habit.
_MEANT: Final[Mapping[str, str]] = {
    "cmd": "run", "command": "run", "commands": "run", "script": "run", "depends_on": "needs", "dependsOn": "needs",
    "after": "needs", "when": "if", "cwd": "workdir", "working-directory": "workdir", "working_directory": "workdir",
    "environment": "env", "variables": "env", "parameters": "params", "inputs": "params", "name": "pipeline",
    "retries": "retry", "jobs": "steps", "tasks": "steps", "always": "finally",
    "continue-on-error": "continue_on_error",
    "ignore_errors": "continue_on_error", "options": "values", "choices": "values", "selector": "select",
    "cpu": "cpus", "mem": "memory", "delay": "backoff", "tries": "attempts",
}  # fmt: skip


class Report(Protocol):
    """Is told of one problem after the other."""

    def __call__(self, place: tree.Place, message: str, *, suggestion: str = "", warning: bool = False) -> None:
        """Takes down a problem."""


@dataclass(frozen=True, slots=True)
class _Spot:
    """Where in a document an error is."""

    place: tree.Place
    node: tree.Node | None
    what: str


def report_shape(error: ValidationError, root: tree.Mapping, report: Report) -> None:
    """Reports each of pydantic's errors at its place."""
    for item in error.errors(include_url=False, include_input=False):
        location: tuple[Any, ...] = item["loc"]
        match item["type"]:
            case "extra_forbidden":
                _report_extra(location, root, report)
            case "missing":
                _report_missing(location, root, report)
            case "too_short" if _has_items(location, root):
                pass  # there are steps, and what is wrong with each is reported
            case _:
                spot = _spot(location, root)
                message = _message(item, spot.node)
                cause = item.get("ctx", {}).get("error")
                if isinstance(cause, Wrong):
                    _report_wrong(location, cause, root, report)
                    continue
                if isinstance(cause, NothingToDo) and _has_key(_spot(location[:-1], root).node, "run", "uses"):
                    continue  # there, but empty: reported as such
                suggestion = cause.suggestion if isinstance(cause, UnknownWord | StepProblem) else ""
                place = spot.place
                origin = getattr(cause, "__cause__", None)
                if isinstance(origin, SelectorError) and isinstance(spot.node, tree.Scalar):
                    place = spot.node.at(origin.offset)
                whole = isinstance(cause, StepProblem) or message.startswith("not yet")
                words = message if whole else spot.what + message
                report(place, words, suggestion=suggestion)


def _has_key(node: tree.Node | None, *names: str) -> bool:
    return isinstance(node, tree.Mapping) and any(name in node.entries for name in names)


def _has_items(location: tuple[Any, ...], root: tree.Mapping) -> bool:
    node = _spot(location, root).node
    return isinstance(node, tree.Sequence) and bool(node.items)


def _report_extra(location: tuple[Any, ...], root: tree.Mapping, report: Report) -> None:
    *owner, key = location
    pattern = _pattern(owner)
    spot = _spot(tuple(owner), root)
    place = spot.node.key_place(key) if isinstance(spot.node, tree.Mapping) else spot.place
    if later := _NOT_YET.get(pattern, {}).get(key):
        report(place, f"not yet: {later}")
        return
    names = _names(_SHAPES[pattern]) if pattern in _SHAPES else ()
    meant = _MEANT.get(key, "")
    suggestion = meant if meant in names else nearest(key, names)
    message = f"unknown key {shown(key)}{_inside(owner)}"
    report(place, message if suggestion else f"{message}; there are {listed(names, 20)}", suggestion=suggestion)


def _report_wrong(location: tuple[Any, ...], wrong: Wrong, root: tree.Mapping, report: Report) -> None:
    """Reports what is wrong in a step's `with`, each thing at its own place."""
    for item in wrong.items:
        path: tuple[Any, ...] = (*location, *item.path)
        owner, last = path[:-1], path[-1]
        spot = _spot(path, root)
        place, words = spot.place, spot.what + item.message
        if item.on_key or item.missing:
            above = _spot(owner, root)
            place = above.place
            if isinstance(above.node, tree.Mapping) and last in above.node.entries:
                if item.missing:
                    continue  # there, but empty: reported as such
                place = above.node.key_place(last)
            words = item.message
        report(place, words, suggestion=item.suggestion)


def _report_missing(location: tuple[Any, ...], root: tree.Mapping, report: Report) -> None:
    *owner, key = location
    spot = _spot(tuple(owner), root)
    if isinstance(spot.node, tree.Mapping) and spot.node.get(key):
        return  # there, but empty or of another kind: reported as such
    examples = {"id": "id: build", "pipeline": "pipeline: my-pipeline"}
    example = f", like `{examples[key]}`" if key in examples else ""
    if key == "steps":
        example = ": a list of what is done, each with an `id` and a `run` or `uses`"
    report(spot.place, f"`{key}` is missing{_inside(owner)}{example}")


def _message(item: Mapping[str, Any], node: tree.Node | None) -> str:
    found = (
        "a list" if isinstance(node, tree.Sequence) else "a mapping" if isinstance(node, tree.Mapping) else "a value"
    )
    match item["type"]:
        case "value_error":
            return str(item["ctx"]["error"])
        case "model_type" | "dict_type" | "model_attributes_type":
            return f"must be a mapping of keys to values, not {found}"
        case "tuple_type" | "list_type":
            return f"must be a list (each item begins with `- `), not {found}"
        case "too_short":
            return "is empty; a pipeline needs at least one step"
        case "too_long":
            return f"has more than {MAX_STEPS} steps; split the pipeline"
        case _:
            return str(item["msg"])


def _spot(location: tuple[Any, ...], root: tree.Mapping) -> _Spot:
    """The node a pydantic location means, as far as it exists, and how to call it in a sentence."""
    node: tree.Node = root
    place = root.place
    names: list[str] = []
    for part in location:
        if part == "[key]":
            return _Spot(place, node, "")
        if isinstance(node, tree.Mapping) and part in node.entries:
            key, node = node.entries[part]
            place = key.place if isinstance(node, tree.Mapping | tree.Sequence) else node.place
            if isinstance(node, tree.Scalar) and not isinstance(location[-1], int) and part == location[-1]:
                place = node.place
        elif isinstance(node, tree.Mapping) and part == 0:
            continue  # it stands alone where a list may be
        elif isinstance(node, tree.Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            place = node.place
        else:
            break
        if isinstance(part, str):
            names.append(part)
    last = names[-1] if names else ""
    return _Spot(place, node, f"`{last[:64]}` " if last else "")


def _inside(owner: list[Any]) -> str:
    """Where a key is missing or too much, for a sentence."""
    match _pattern(owner):
        case ():
            return ""
        case ("steps", "*"):
            return " in a step"
        case ("params", "*"):
            return f" in parameter {shown(str(owner[1]))}"
        case (*_, name, "*"):
            return f" in `{name}`"
        case pattern:
            return f" in `{pattern[-1]}`"


def _pattern(location: tuple[Any, ...] | list[Any]) -> tuple[str, ...]:
    """A location without what differs from file to file: `finally` is as `steps`."""
    parts = ["*" if isinstance(part, int) else part for part in location]
    if parts[:1] == ["finally"]:
        parts[0] = "steps"
    if len(parts) > 1 and parts[0] == "params":
        parts[1] = "*"
    if parts[2:4] == ["on_failure", "*"]:
        del parts[2:4]
    return tuple(parts)


def _names(shape: type[BaseModel]) -> tuple[str, ...]:
    return tuple(field.alias or name for name, field in shape.model_fields.items())


def key_names() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Every mapping of a file with the keys it may have, for tests and documentation."""
    for pattern, shape in _SHAPES.items():
        yield pattern, _names(shape)
