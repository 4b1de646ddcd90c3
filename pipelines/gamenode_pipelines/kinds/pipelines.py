"""The kind that stands for another pipeline's steps. They are inlined when a run is planned; nothing executes it."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, TEXT, Leaf, is_template
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, MappingOf, Record
from gamenode_pipelines.kinds.wrong import Item
from gamenode_pipelines.plan import GROUP
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

_NAME: Final = re.compile(r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?")


def _name(value: object) -> str:
    text = text_of(value)
    if not _NAME.fullmatch(text):
        raise ValueError(f"{shown(text)} cannot be a pipeline's name" if text else "is empty")
    return text


def _known_beforehand(given: Mapping[str, Any]) -> Iterable[Item]:
    if is_template(given.get("name")):
        yield Item(("name",), "must be a name without expressions: it is read when the run is planned")


PIPELINES: Final = (
    Kind(
        GROUP,
        "Another pipeline's steps, inlined when the run is planned.",
        Record(
            {
                "name": Field(Leaf("pipeline", _name, SCALAR_SCHEMA, empty=""), "The stored pipeline.", True),
                "params": Field(MappingOf(TEXT), "Its parameters by name; those left out have their defaults."),
            },
            GROUP,
            rule=_known_beforehand,
            meant={"pipeline": "name", "with": "params", "parameters": "params", "inputs": "params", "args": "params"},
        ),
    ),
)
