"""The kinds of steps that `uses` names: what their `with` takes, checked and typed.

Stdlib only: the agent, which checks again what it has rendered, does without the validators of files.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from gamenode_pipelines import expressions
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds.approvals import APPROVALS
from gamenode_pipelines.kinds.artifacts import ARTIFACTS
from gamenode_pipelines.kinds.checks import CHECKS
from gamenode_pipelines.kinds.containers import CONTAINERS
from gamenode_pipelines.kinds.fields import is_template
from gamenode_pipelines.kinds.files import FILES
from gamenode_pipelines.kinds.games import GAMES
from gamenode_pipelines.kinds.gates import GATES
from gamenode_pipelines.kinds.healthcheck import Health as Health
from gamenode_pipelines.kinds.kind import Kind as Kind
from gamenode_pipelines.kinds.pipelines import PIPELINES
from gamenode_pipelines.kinds.ports import Port as Port
from gamenode_pipelines.kinds.volumes import Volume as Volume
from gamenode_pipelines.kinds.wrong import Path, Wrong, spelled
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.wording import nearest, shown

#: Every kind that works, by name.
KINDS: Final[Mapping[str, Kind]] = {
    kind.name: kind for kind in (*APPROVALS, *ARTIFACTS, *CONTAINERS, *CHECKS, *FILES, *GAMES, *GATES, *PIPELINES)
}


def check(kind: str, values: Mapping[str, Setting]) -> dict[str, Any]:
    """Every field of the kind, typed: as given, or what stands for one that is not. Expressions are plain text here.

    Raises GameNodeError(INVALID_ARGUMENT) that names each thing that is wrong with its path (`with.ports[0]: …`).
    """
    try:
        checked: dict[str, Any] = _kind(kind).record.check(values)
    except Wrong as wrong:
        raise GameNodeError(Code.INVALID_ARGUMENT, wrong.said("with")) from wrong
    return checked


def rendered(kind: str, with_: Mapping[str, Setting], scope: expressions.Scope) -> dict[str, Any]:
    """The fields with their expressions evaluated, checked as `check` does.

    A value that is one whole `${{ }}` keeps its type; an optional field other than text that comes out empty counts as
    not given. Raises GameNodeError(INVALID_ARGUMENT).
    """
    guards = _kind(kind).guards
    values = {name: _rendered(value, scope, (name,), guards.get(name)) for name, value in with_.items()}
    return check(kind, values)


def _rendered(value: Any, scope: expressions.Scope, path: Path, guard: expressions.Guard | None) -> Any:
    match value:
        case str() if is_template(value):
            try:
                if (source := expressions.whole(value)) is None:
                    return expressions.render(value, scope, guard)
                found = expressions.evaluate(source, scope, guard)
            except expressions.ExpressionError as error:
                where = spelled(path, "with")
                raise GameNodeError(error.code, f"{where}: {error.message}", details=error.details) from error
            return "" if found is None else found
        case Mapping():
            return {name: _rendered(item, scope, (*path, name), guard) for name, item in value.items()}
        case tuple() | list():
            return tuple(_rendered(item, scope, (*path, number), guard) for number, item in enumerate(value))
        case _:
            return value


def _kind(name: str) -> Kind:
    kind = KINDS.get(name)
    if kind is None:
        close = nearest(name, KINDS)
        hint = f"; did you mean {close!r}?" if close else ""
        raise GameNodeError(Code.INVALID_ARGUMENT, f"there is no step kind {shown(name)}{hint}")
    return kind
