"""Pipeline files to checked specs, with everything wrong reported at once, each thing at its line and column.

Takes text, never a path. Knows nothing of what a pipeline is used for.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Final

from pydantic import ValidationError

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.errors import InvalidPipeline, Problem
from gamenode_pipelines.lint import lint
from gamenode_pipelines.lint_files import check_files
from gamenode_pipelines.lint_fleet import check_fleet
from gamenode_pipelines.lint_schedules import check_schedules
from gamenode_pipelines.lint_triggers import check_triggers
from gamenode_pipelines.problems import report_shape
from gamenode_pipelines.spec import MAX_STEPS, PipelineSpec
from gamenode_pipelines.written import Written

#: Elements that a list or a mapping may have.
MAX_ITEMS: Final = 1000
#: Problems that are told of one file; the rest is a number.
MAX_PROBLEMS: Final = 100


@dataclass(frozen=True, slots=True)
class LoadedPipeline:
    """A pipeline of a file. `text` is its document alone, which loads to the same spec; `warnings` did not stop it."""

    name: str
    spec: PipelineSpec
    text: str
    warnings: tuple[Problem, ...] = ()


def load_pipelines(text: str | bytes, file: str) -> tuple[LoadedPipeline, ...]:
    """The pipelines of a file, one a document; `file` is its name for messages.

    Raises InvalidPipeline with every problem, warnings included, where there is an error among them. The same text is
    read once: the result is remembered.
    """
    if isinstance(text, bytes):
        text = decode(text, file)
    return _load(text.removeprefix("\ufeff"), file)


def decode(data: bytes, file: str) -> str:
    """A file's bytes as text; raises InvalidPipeline with the place of what is not UTF-8."""
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        before = data[: error.start].decode("utf-8")
        place = tree.place_of(before, len(before))
        message = f"the byte 0x{data[error.start]:02x} is not UTF-8; save the file in UTF-8"
        raise InvalidPipeline([Problem(file, place.line, place.column, message)]) from error


@lru_cache(maxsize=64)
def _load(text: str, file: str) -> tuple[LoadedPipeline, ...]:
    notes = _Notes(file)
    try:
        loaded = _load_documents(text, notes)
    except _Enough:
        loaded = ()
    if notes.failed:
        raise InvalidPipeline(notes.all())
    return loaded


def _load_documents(text: str, notes: _Notes) -> tuple[LoadedPipeline, ...]:
    documents = tree.read(text, notes.report) if tree.check_text(text, notes.report) else ()
    if not documents and not notes.failed:
        notes.report(tree.START, "the file holds no pipeline; it begins with `pipeline: NAME`")
    loaded: list[LoadedPipeline] = []
    names: dict[str, tree.Place] = {}
    for number, document in enumerate(documents):
        end = documents[number + 1].start if number + 1 < len(documents) else len(text)
        before = len(notes.problems)
        spec = _load_document(document.root, notes)
        if spec is None:
            continue
        place = _name_place(document.root)
        if first := names.get(spec.name):
            notes.report(place, f"pipeline {spec.name!r} is already in line {first.line} of this file; rename one")
        names.setdefault(spec.name, place)
        warnings = tuple(problem for problem in notes.problems[before:] if problem.warning)
        source = text if len(documents) == 1 else text[document.start : end]
        loaded.append(LoadedPipeline(spec.name, spec, source, warnings))
    return tuple(loaded)


def _load_document(root: tree.Node, notes: _Notes) -> PipelineSpec | None:
    """The document's spec, or None where its shape is wrong; everything is reported."""
    if not isinstance(root, tree.Mapping):
        notes.report(root.place, "a pipeline is a mapping of keys to values that begins with `pipeline: NAME`")
        return None
    if _too_many(root, notes):
        return None
    spec: PipelineSpec | None = None
    try:
        spec = PipelineSpec.model_validate(_plain(root, notes))
    except ValidationError as error:
        report_shape(error, root, notes.report)
    lint(root, notes.report)
    check_fleet(root, notes.report)
    if spec is not None:
        check_files(spec, root, notes.report)
    if spec is not None and spec.schedule:
        check_schedules(spec, root, notes.report)
    if spec is not None and spec.on:
        check_triggers(spec, root, notes.report)
    return spec


def _too_many(root: tree.Mapping, notes: _Notes) -> bool:
    """Reports more steps, or a longer list or mapping, than can be checked in good time."""
    groups = [group for key in ("steps", "finally") if isinstance(group := root.get(key), tree.Sequence)]
    items = [item for group in groups for each in group.items for item in (each, *_answers(each))]
    if len(items) > MAX_STEPS:
        place = items[MAX_STEPS].place
        notes.report(place, f"the pipeline has {len(items)} steps; at most {MAX_STEPS} are allowed: split it")
        return True
    waiting: list[tree.Node] = [root]
    while waiting:
        node = waiting.pop()
        if isinstance(node, tree.Scalar):
            continue
        inner = node.items if isinstance(node, tree.Sequence) else [value for _, value in node.entries.values()]
        if len(inner) > MAX_ITEMS:
            notes.report(node.place, f"there are {len(inner)} elements here; at most {MAX_ITEMS} are allowed")
            return True
        waiting += inner
    return False


def _answers(step: tree.Node) -> Iterator[tree.Node]:
    """The steps of its `on_failure`, and, though they may have none, of theirs."""
    answers = step.get("on_failure") if isinstance(step, tree.Mapping) else None
    for answer in answers.items if isinstance(answers, tree.Sequence) else ():
        yield answer
        yield from _answers(answer)


def _plain(node: tree.Node, notes: _Notes) -> Any:
    """A node as the spec takes it. What has no value is reported and left out; depth is bounded by the reader."""
    if isinstance(node, tree.Scalar):
        if node.value is None or isinstance(node.value, str):
            return node.value
        return Written(node.text, node.value)
    if isinstance(node, tree.Sequence):
        for item in node.items:
            if _is_empty(item):
                notes.report(item.place, "the item has no value; write one or remove the `-`")
        return [_plain(item, notes) for item in node.items if not _is_empty(item)]
    for name, (key, value) in node.entries.items():
        if _is_empty(value):
            notes.report(key.place, f'`{name[:64]}` has no value; write one ("" for an empty text) or remove it')
    return {name: _plain(value, notes) for name, (_, value) in node.entries.items() if not _is_empty(value)}


def _is_empty(node: tree.Node) -> bool:
    return isinstance(node, tree.Scalar) and node.value is None


def _name_place(root: tree.Node) -> tree.Place:
    node = root.get("pipeline") if isinstance(root, tree.Mapping) else None
    return node.place if node else root.place


class _Enough(Exception):
    """So much is wrong that reading on tells nobody anything."""


class _Notes:
    """Collects the problems of one file."""

    def __init__(self, file: str) -> None:
        self._file = file
        self._more = False
        self._seen: set[Problem] = set()
        self.problems: list[Problem] = []
        self.failed = False

    def report(self, place: tree.Place, message: str, *, suggestion: str = "", warning: bool = False) -> None:
        """Takes down a problem, the same one only once; raises _Enough when there are too many."""
        problem = Problem(self._file, place.line, place.column, message, suggestion, warning)
        self.failed = self.failed or not warning
        if problem in self._seen or (warning and len(self.problems) >= MAX_PROBLEMS // 2):
            return
        if len(self.problems) >= MAX_PROBLEMS:
            self._more = True
            raise _Enough
        self._seen.add(problem)
        self.problems.append(problem)

    def all(self) -> tuple[Problem, ...]:
        """Every problem in the order of the file."""
        ordered = sorted(self.problems, key=lambda problem: (problem.line, problem.column))
        if self._more:
            last = ordered[-1]
            ordered.append(Problem(self._file, last.line, last.column, "there are more problems; correct these first"))
        return tuple(ordered)
