"""The stored pipelines as planning finds them when a step names one, and what is wrong in the files that do."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.compile import inline
from gamenode_pipelines.errors import Code, GameNodeError, Problem
from gamenode_pipelines.inlining import Find, Found, names_of
from gamenode_pipelines.load import LoadedPipeline, load_pipelines
from gamenode_pipelines.spec import PipelineSpec
from gamenode_server.records import PipelineVersion
from gamenode_server.store.names import missing


def shelf(stored: Mapping[str, PipelineVersion], beside: Mapping[str, PipelineSpec] | None = None) -> Find:
    """Finds the newest version of a pipeline in use; those that are being stored come `beside` and first."""

    def find(name: str) -> Found:
        if beside is not None and name in beside:
            return Found(beside[name], 0)
        newest = stored.get(name)
        if newest is None:
            raise missing("pipeline", name, [key for key, found in stored.items() if not found.removed])
        if newest.removed:
            raise GameNodeError(Code.NOT_FOUND, f"pipeline {name!r} was removed by {newest.created_by}")
        return Found(load_pipelines(newest.text, name)[0].spec, newest.version)

    return find


def versions_named(spec: PipelineSpec, find: Find) -> tuple[tuple[str, int], ...]:
    """The pipelines that this one names, and those that they name, with their versions; -1 for what is not there."""
    found: dict[str, int] = {}
    waiting = [*names_of(spec)]
    while waiting:
        name = waiting.pop()
        if name in found:
            continue
        try:
            other = find(name)
        except GameNodeError:
            found[name] = -1  # said where it is inlined
            continue
        found[name] = other.version
        waiting += names_of(other.spec)
    return tuple(sorted(found.items()))


def inlining_problems(loaded: LoadedPipeline, file: str, text: str, find: Find) -> Iterator[Problem]:
    """Why steps of a file cannot be inlined, each at its place; `text` is the whole file."""
    if not names_of(loaded.spec):
        return
    for trouble in inline(loaded.spec, find).troubles:
        place = _place(text, loaded.name, trouble.path)
        yield Problem(file, place.line, place.column, trouble.said)


def _place(text: str, name: str, path: tuple[str | int, ...]) -> tree.Place:
    for document in tree.read(text.removeprefix("\ufeff"), lambda *_: None):
        node: tree.Node = document.root
        named = node.get("pipeline") if isinstance(node, tree.Mapping) else None
        if not isinstance(named, tree.Scalar) or named.text != name:
            continue
        for part in (*path, "with", "name"):
            inner: tree.Node | None = None
            if isinstance(node, tree.Mapping) and isinstance(part, str):
                inner = node.get(part)
            elif isinstance(node, tree.Sequence) and isinstance(part, int):
                inner = node.items[part]
            if inner is None:
                break
            node = inner
        return node.place if path else named.place
    return tree.START
