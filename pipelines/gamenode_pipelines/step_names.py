"""The steps of a file as far as their names can be read, whatever else is wrong with them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from gamenode_pipelines import yaml_tree as tree


@dataclass(slots=True)
class NamedStep:
    """A step as far as its names can be read. `before` has a bit for each step that must have ended."""

    node: tree.Mapping
    id: tree.Scalar | None
    needs: list[tuple[tree.Place, str]]
    before: int = 0
    #: What runs when it has failed.
    answers: list[NamedStep] = field(default_factory=list)


@dataclass(slots=True)
class NamedSteps:
    """The steps of `steps` or of `finally`."""

    name: str
    steps: list[NamedStep] = field(default_factory=list)
    index: dict[str, int] = field(default_factory=dict)


def read_steps(root: tree.Mapping, name: str) -> NamedSteps:
    """The steps under a key of the file."""
    group = NamedSteps(name)
    node = root.get(name)
    for item in node.items if isinstance(node, tree.Sequence) else ():
        if not isinstance(item, tree.Mapping):
            continue
        step = _step_of(item)
        answers = item.get("on_failure")
        if isinstance(answers, tree.Sequence):
            step.answers = [_step_of(answer) for answer in answers.items if isinstance(answer, tree.Mapping)]
        if step.id is not None:
            group.index.setdefault(step.id.text, len(group.steps))
        group.steps.append(step)
    return group


def _step_of(item: tree.Mapping) -> NamedStep:
    id = item.get("id")
    return NamedStep(item, id if isinstance(id, tree.Scalar) else None, list(_needed(item.get("needs"))))


def _needed(node: tree.Node | None) -> Iterator[tuple[tree.Place, str]]:
    for item in node.items if isinstance(node, tree.Sequence) else (node,):
        if isinstance(item, tree.Scalar) and item.value is not None:
            yield item.place, item.text


def circle(waits: list[set[int]], stuck: set[int]) -> list[int]:
    """One circle among steps that all wait for another of them, in the order they wait."""
    way: list[int] = []
    seen: dict[int, int] = {}
    number = min(stuck)
    while number not in seen:
        seen[number] = len(way)
        way.append(number)
        number = min(waits[number] & stuck)
    return way[seen[number] :]
