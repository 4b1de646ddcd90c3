"""The kind that waits for an operator."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from gamenode_pipelines.kinds.fields import TEXT, is_template, words
from gamenode_pipelines.kinds.kind import Kind
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.kinds.wrong import Item


def _fixed(values: Mapping[str, Any]) -> Iterable[Item]:
    """Who is asked, and how often, is for the server to know."""
    for name in ("scope", "by"):
        if is_template(values.get(name)):
            yield Item((name,), "cannot be an expression: it must be known before the step begins")


APPROVALS: Final = (
    Kind(
        "approve",
        "Waits until somebody has agreed; a rejection fails it.",
        Record(
            {
                "message": Field(TEXT, "To what."),
                "scope": Field(
                    words(("run", "node")), "Whether one answer is for all nodes (`run`), or each node asks."
                ),
                "by": Field(words(("operator", "admin")), "The role that it takes; `operator` where left out."),
            },
            "approve",
            rule=_fixed,
            meant={"role": "by", "text": "message", "prompt": "message", "description": "message"},
        ),
        idempotent=True,
        outputs={"by": "who agreed", "reason": "what they said with it"},
    ),
)
