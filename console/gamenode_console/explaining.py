"""What a key of a pipeline file is for, fields of step kinds included: paths in, documents out. Pure.

The keys of the file itself are explained by its schema, the fields of `with` by the kinds' own tables.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any

from gamenode_pipelines import schema
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS, Kind
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.wording import nearest, shown

Document = Mapping[str, Any]


def explain(path: str) -> Document:
    """What stands at a dotted path: a key (`steps.retry`), a kind (`container.run`), or a field of one.

    `steps.with.` in front of a kind may be left out where no key has its name; a field without its kind
    (`steps.with.ports`) is looked for in all of them. Raises GameNodeError(NOT_FOUND) with the nearest word where there
    is none.
    """
    parts = [part for part in path.split(".") if part]
    if parts[:1] in (["steps"], ["finally"]) and parts[1:2] in (["with"], ["uses"]):
        if not parts[2:]:
            return {**_key(path), "keys": {name: kind.summary for name, kind in KINDS.items()}}
        return _of_kind(path, parts[2:], steps=True)
    if len(parts) == 1 and parts[0] in KINDS:  # a key of the file has the same name, and comes first
        return _key(path)
    if parts and any(name.partition(".")[0] == parts[0] for name in KINDS):
        return _of_kind(path, parts, steps=False)
    return _key(path)


def paths() -> list[tuple[str, str]]:
    """Every kind and every key of the file's top, with a line on each: for completion."""
    kinds = [(name, kind.summary) for name, kind in KINDS.items()]
    return [
        *_key("")["keys"].items(),
        *((f"steps.{name}", text) for name, text in _key("steps")["keys"].items()),
        *kinds,
    ]


def _key(path: str) -> Document:
    try:
        found = schema.explain(path)
    except GameNodeError as error:
        kind = nearest(path, KINDS) if "." in path else None
        if kind is None or "did you mean" in error.message:
            raise
        raise GameNodeError(error.code, f"{error.message}; did you mean the step kind {kind!r}?") from None
    return {**asdict(found), "keys": dict(found.keys), "outputs": {}}


def _document(path: str, type: str, description: str, keys: Mapping[str, str], **more: Any) -> Document:
    about = {"path": path, "type": type, "description": description, "required": False, "default": "", "keys": keys}
    return {**about, "outputs": {}, **more}


def _of_kind(path: str, parts: list[str], *, steps: bool) -> Document:
    """A kind, a field of one, kinds by the first part of their name, or (`steps`) a field wherever it is."""
    for length in (2, 1):
        kind = KINDS.get(".".join(parts[:length]))
        if kind is not None:
            return _kind(path, kind) if len(parts) <= length else _field(path, kind, parts[length:])
    family = {name: kind.summary for name, kind in KINDS.items() if name.startswith(f"{parts[0]}.")}
    if len(parts) == 1 and family:
        return _document(path, "step kinds", f"Kinds of steps that `uses` takes, about {parts[0]}s.", family)
    if steps and not family:
        return _anywhere(path, parts)
    close = nearest(".".join(parts[:2]), KINDS)
    raise GameNodeError(
        Code.NOT_FOUND,
        f"there is no step kind {shown('.'.join(parts[:2]))}" + (f"; did you mean {close!r}?" if close else ""),
    )


def _kind(path: str, kind: Kind) -> Document:
    again = "may be run again" if kind.idempotent else "is never run again unasked"
    return _document(
        path,
        f"step kind, {again}",
        kind.summary,
        {name: _line(field) for name, field in kind.fields.items()},
        outputs=dict(kind.outputs or {}),
    )


def _line(field: Field) -> str:
    if field.later:
        return f"(not yet: {field.later})"
    return f"{field.doc} Required." if field.required else field.doc


def _find(kind: Kind, names: list[str]) -> Field | None:
    fields: Mapping[str, Field] = kind.fields
    field: Field | None = None
    for name in names:
        field = fields.get(name)
        if field is None:
            return None
        fields = field.type.fields if isinstance(field.type, Record) else {}
    return field


def _field(path: str, kind: Kind, names: list[str]) -> Document:
    field = _find(kind, names)
    if field is None:
        inner = _find(kind, names[:-1])
        fields = kind.fields if len(names) == 1 else getattr(inner and inner.type, "fields", {})
        close = nearest(names[-1], fields)
        hint = f"; did you mean {close!r}?" if close else ""
        raise GameNodeError(Code.NOT_FOUND, f"{kind.name} has no field {shown('.'.join(names))}{hint}")
    return _document(
        path,
        field.type.word,
        _line(field) if field.later else field.doc,
        {name: _line(inner) for name, inner in field.type.fields.items()} if isinstance(field.type, Record) else {},
        required=field.required,
        default="" if field.default is None else str(field.default),
    )


def _anywhere(path: str, names: list[str]) -> Document:
    """A field of `with` by its name: in each kind that has it."""
    found = {f"{kind.name}.{'.'.join(names)}": _line(field) for kind in KINDS.values() if (field := _find(kind, names))}
    if not found:
        close = nearest(names[0], {name for kind in KINDS.values() for name in kind.fields} | set(KINDS))
        hint = f"; did you mean {close!r}?" if close else ""
        raise GameNodeError(Code.NOT_FOUND, f"no kind of step has a field {shown('.'.join(names))}{hint}")
    return _document(path, "field", f"A field of {len(found)} kinds of steps, in each of which it says:", found)
