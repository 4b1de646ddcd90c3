"""What a person may type for a run or a node: its whole id, its name, or the first characters of its id."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from difflib import get_close_matches

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.ids import MIN_PREFIX
from gamenode_server.records import Node

#: How many candidates an ambiguous prefix names.
CANDIDATES = 10


def resolve_node(nodes: Iterable[Node], text: str) -> Node:
    """The node that `text` stands for: exact id, then name, then unique id prefix (at least 4 characters).

    Raises GameNodeError: NOT_FOUND with the nearest name, INVALID_ARGUMENT with the candidates.
    """
    prefixed: list[Node] = []
    named: Node | None = None
    names: list[str] = []
    for node in nodes:
        if node.id == text:
            return node
        if node.name == text:
            named = node
        if len(text) >= MIN_PREFIX and node.id.startswith(text):
            prefixed.append(node)
        names.append(node.name)
    if named is not None:
        return named
    if len(prefixed) > 1:
        raise ambiguous("node", text, [f"{node.id} ({node.name})" for node in prefixed])
    if not prefixed:
        raise missing("node", text, names)
    return prefixed[0]


def ambiguous(kind: str, text: str, candidates: Sequence[str]) -> GameNodeError:
    """What is said where a prefix fits several."""
    shown = ", ".join(candidates[:CANDIDATES]) + (", …" if len(candidates) > CANDIDATES else "")
    return GameNodeError(
        Code.INVALID_ARGUMENT, f"{kind} {text!r} could be any of {shown}", details={"candidates": shown}
    )


def missing(kind: str, text: str, names: Iterable[str] = ()) -> GameNodeError:
    """What is said where nothing fits, with the nearest of `names`."""
    if not text:
        return GameNodeError(Code.INVALID_ARGUMENT, f"which {kind}? its name or id is empty")
    near = get_close_matches(text, list(names), n=1)
    if near:
        return GameNodeError(
            Code.NOT_FOUND, f"there is no {kind} {text!r}; did you mean {near[0]!r}?", details={"suggestion": near[0]}
        )
    return GameNodeError(Code.NOT_FOUND, f"there is no {kind} {text!r}")
