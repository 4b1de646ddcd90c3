"""Goes through a step's `with` as it stands in a file: each single value, with the type it is to have."""

from __future__ import annotations

from collections.abc import Iterator

from gamenode_pipelines import yaml_tree as tree
from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.kinds.fields import FieldType
from gamenode_pipelines.kinds.shapes import below


def single_values(step: tree.Mapping) -> Iterator[tuple[tree.Scalar, FieldType | None]]:
    """The values of a step's `with` in the order of the file; the type is None where the file names no such field."""
    uses, settings = step.get("uses"), step.get("with")
    if settings is None:
        return
    kind = KINDS.get(uses.text) if isinstance(uses, tree.Scalar) else None
    yield from _values(settings, kind.record if kind else None)


def _values(node: tree.Node, type: FieldType | None) -> Iterator[tuple[tree.Scalar, FieldType | None]]:
    if isinstance(node, tree.Scalar):
        yield node, type
        return
    parts = (
        [("", item) for item in node.items]
        if isinstance(node, tree.Sequence)
        else [(name, value) for name, (_, value) in node.entries.items()]
    )
    for name, value in parts:
        inner = below(type, name)
        if isinstance(value, tree.Scalar):
            yield value, inner
        else:
            yield from _values(value, inner)
