"""What a kind of step is: its name, what it is for, the fields of its `with`, and what it needs of a node."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from gamenode_pipelines.expressions import Guard
from gamenode_pipelines.kinds.shapes import Field, Record


def _nothing(values: Mapping[str, Any]) -> frozenset[str]:
    return frozenset()


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of step. `capabilities` says of given values what a node must be able to do, in the words of its agent.

    `outputs` are what later steps can ask of it, each with what it is.
    """

    name: str
    summary: str
    record: Record
    idempotent: bool = False
    capabilities: Callable[[Mapping[str, Any]], frozenset[str]] = _nothing
    outputs: Mapping[str, str] | None = None
    #: By field: what looks at the value of each expression in it.
    guards: Mapping[str, Guard] = field(default_factory=dict)

    @property
    def fields(self) -> Mapping[str, Field]:
        """What its `with` takes, by name."""
        return self.record.fields
