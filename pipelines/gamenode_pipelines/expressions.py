"""`${{ }}` expressions: finding them in text, checking their names, evaluating them.

Owns what an expression may say and see: `params`, `node`, `run`, `task`, `steps` and `env`, and nothing else of the
process. A label, output or variable that does not exist is empty; any other unknown name is an error. Plain paths such
as `node.name` are looked up directly, everything else goes through a sandbox that is imported when it is first needed.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.wording import listed, nearest, shown

#: What an expression may begin with.
ROOTS: Final = ("params", "node", "run", "task", "steps", "env")
#: Characters an expression may have, and those its result may have.
MAX_SOURCE: Final = 2000
MAX_RESULT: Final = 1024 * 1024

#: The names these have, as `scope` makes them. What is below `labels` and `outputs` is open.
_FIXED_NAMES: Final = {
    "node": frozenset({"id", "name", "labels", "address"}),
    "run": frozenset({"id", "pipeline", "version"}),
    "task": frozenset({"id", "state", "fence"}),
}
_STEP_NAMES: Final = frozenset({"state", "outputs", "exit_code", "attempt", "error", "message"})

_PART: Final = re.compile(
    r"""\$\{\{((?:[^"'}]|"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'|\}(?!\}))*)(\}\})?""",
    re.DOTALL,
)
_PATH: Final = re.compile(r"\s*([a-z]+)((?:\.[A-Za-z_][A-Za-z0-9_]*)+)\s*", re.ASCII)

#: What can be asked of: the values of `ROOTS`, each a mapping that may nest.
Scope = Mapping[str, object]
#: Looks at a value as text, and at whether it is all there is, and raises ValueError for one that will not do.
Guard = Callable[[str, bool], None]


class ExpressionError(GameNodeError):
    """An expression that cannot be read, or whose value cannot be had."""

    def __init__(self, source: str, message: str, *, suggestion: str = "") -> None:
        hint = f"; did you mean {suggestion!r}?" if suggestion else ""
        super().__init__(Code.INVALID_ARGUMENT, f"expression {shown(source.strip())}: {message}{hint}")
        self.problem = message
        self.suggestion = suggestion


class Missing(str):
    """What a label, output or variable that does not exist is: an empty text that knows it was not there."""

    __slots__ = ()


MISSING: Final = Missing()


@dataclass(frozen=True, slots=True)
class Expression:
    """A `${{ }}` of a template: what is inside, and where the `${{` and what follows the `}}` are."""

    source: str
    start: int
    end: int
    closed: bool = True


@lru_cache(maxsize=512)
def find(template: str) -> tuple[Expression, ...]:
    """The expressions of a text in order. One without its `}}` is there too, not `closed`."""
    if "${{" not in template:
        return ()
    return tuple(Expression(m[1], m.start(), m.end(), m[2] is not None) for m in _PART.finditer(template))


def blank(template: str) -> str:
    """The text with a `_` for every expression: what can be read of it before the values are known."""
    return _PART.sub("_", template) if "${{" in template else template


def whole(template: str) -> str | None:
    """The expression, where a text is one `${{ }}` and nothing else."""
    parts = find(template.strip())
    if len(parts) == 1 and parts[0].closed and parts[0].start == 0 and parts[0].end == len(template.strip()):
        return parts[0].source.strip()
    return None


def evaluate(
    source: str,
    scope: Scope,
    guard: Guard | None = None,
    *,
    whole: bool = True,
    roots: tuple[str, ...] = ROOTS,
) -> Scalar | None:
    """The value of an expression, given without its `${{ }}`; `roots` is what it may begin with.

    Raises ExpressionError where it cannot be read, names something that does not exist, is no single value, or is one
    that the guard refuses.
    """
    value = _value(source, scope, roots)
    if value is None or isinstance(value, str | int | float | bool):
        if guard is not None:
            try:
                guard(to_text(value), whole)
            except ValueError as error:
                raise ExpressionError(source, str(error)) from error
        if isinstance(value, str):
            return _checked(source, str(value) if type(value) is not str else value)
        return value
    raise ExpressionError(source, f"is {_kind(value)}, not a single value")


def is_true(source: str, scope: Scope) -> bool:
    """Whether a condition holds. Empty text, 0, false, nothing and empty lists do not; an empty condition does."""
    return not source or bool(_value(source, scope))


def render(template: str, scope: Scope, guard: Guard | None = None, *, roots: tuple[str, ...] = ROOTS) -> str:
    """A text with each `${{ }}` replaced by its value: `true`, `false`, numbers as written, nothing as ''.

    Raises ExpressionError as `evaluate` does.
    """
    parts = find(template)
    if not parts:
        return template
    pieces: list[str] = []
    position = size = 0
    for part in parts:
        if not part.closed:
            raise ExpressionError(part.source, "the ${{ has no }}")
        value = to_text(evaluate(part.source, scope, guard, whole=False, roots=roots))
        size += len(value)
        if size > MAX_RESULT:
            raise ExpressionError(part.source, f"the text grows beyond {MAX_RESULT} characters")
        pieces += (template[position : part.start], value)
        position = part.end
    pieces.append(template[position:])
    return "".join(pieces)


def to_text(value: Scalar | None) -> str:
    """How a value is written into text."""
    match value:
        case None:
            return ""
        case bool():
            return "true" if value else "false"
        case float() if value.is_integer() and abs(value) < 1e15:
            return str(int(value))
        case _:
            return str(value)


@dataclass(frozen=True, slots=True)
class Known:
    """The names that exist where an expression stands, for lint. `None` means that any will do."""

    params: frozenset[str] | None = None
    steps: frozenset[str] | None = None
    env: frozenset[str] | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """Something wrong with an expression."""

    message: str
    suggestion: str = ""


def lint(source: str, known: Known) -> Iterator[Finding]:
    """What can be told to be wrong with an expression before it is evaluated."""
    try:
        found = paths(source)
    except ExpressionError as error:
        yield Finding(error.problem, error.suggestion)
        return
    for path in found:
        if finding := _path_problem(path, known):
            yield finding


def steps_of(source: str) -> frozenset[str]:
    """The ids of the steps an expression refers to; none where it cannot be read."""
    try:
        return frozenset(path[1] for path in paths(source) if path[0] == "steps" and len(path) > 1)
    except ExpressionError:
        return frozenset()


def roots_of(source: str) -> frozenset[str]:
    """What an expression begins its paths with; none where it cannot be read."""
    try:
        return frozenset(path[0] for path in paths(source))
    except ExpressionError:
        return frozenset()


def member(owner: object, name: object) -> object:
    """What `owner.name` and `owner[name]` mean: an item, never an attribute of a Python object.

    Raises LookupError with the reason where there is none and it is not empty by rule.
    """
    if isinstance(owner, Branch):
        return owner.member(name)
    if isinstance(owner, Mapping):
        return owner.get(name, MISSING)
    if isinstance(owner, list | tuple) and isinstance(name, int):
        return owner[name] if -len(owner) <= name < len(owner) else MISSING
    if isinstance(owner, Missing) or owner is None:
        return MISSING
    raise LookupError(f"{_kind(owner)} has no {shown(str(name))}")


class Branch:
    """A mapping of the scope whose names are fixed: asking it for another one is an error."""

    __slots__ = ("_items", "_path")

    def __init__(self, path: tuple[str, ...], items: Mapping[str, object]) -> None:
        self._path = path
        self._items = items

    def roots(self) -> dict[str, object]:
        """What a sandboxed expression can begin with."""
        return {name: self.member(name) for name in self._items}

    def member(self, name: object) -> object:
        """The item of this name, wrapped in its turn; raises LookupError."""
        if not isinstance(name, str) or name not in self._items:
            words = [key for key in self._items if isinstance(name, str)]
            close = nearest(str(name), words)
            hint = f"; did you mean {'.'.join((*self._path, close))!r}?" if close else ""
            raise LookupError(f"there is no {shown('.'.join((*self._path, str(name))))}{hint}")
        value = self._items[name]
        path = (*self._path, name)
        return Branch(path, value) if isinstance(value, Mapping) and not _is_open(path) else value


def _is_open(path: tuple[str, ...]) -> bool:
    """Whether the names below are not known beforehand."""
    return path in (("env",), ("node", "labels"), ("event", "labels"), ("event", "data")) or (
        path[0] == "steps" and path[2:] == ("outputs",)
    )


def _value(source: str, scope: Scope, roots: tuple[str, ...] = ROOTS) -> object:
    try:
        if path := _plain_path(source, roots):
            value: object = Branch((), scope)
            for name in path:
                value = member(value, name)
            return value
        from gamenode_pipelines import sandbox  # imported late: most pipelines do without its 100 ms

        return sandbox.compiled(source, roots)(Branch((), scope))
    except LookupError as error:
        raise ExpressionError(source, str(error.args[0]) if error.args else "not found") from error


@lru_cache(maxsize=2048)
def _plain_path(source: str, roots: tuple[str, ...] = ROOTS) -> tuple[str, ...]:
    """The names of an expression that is only a path, such as `node.labels.region`; else nothing."""
    match = _PATH.fullmatch(source)
    return tuple(source.strip().split(".")) if match and match[1] in roots else ()


@lru_cache(maxsize=2048)
def paths(source: str, roots: tuple[str, ...] = ROOTS) -> tuple[tuple[str, ...], ...]:
    """Every path an expression begins with a name, as far as it is constant. Raises ExpressionError."""
    if path := _plain_path(source, roots):
        return (path,)
    from gamenode_pipelines import sandbox

    return sandbox.paths(source, roots)


def _path_problem(path: tuple[str, ...], known: Known) -> Finding | None:
    root, rest = path[0], path[1:]
    if not rest:
        return None
    names: frozenset[str] | None
    match root:
        case "params":
            names, what = known.params, "parameter"
        case "steps":
            names, what = known.steps, "step"
        case "env":
            names, what = known.env, "environment variable of the pipeline"
        case _:
            names, what = _FIXED_NAMES[root], ""
    if names is not None and rest[0] not in names:
        close = nearest(rest[0], names)
        message = f"there is no {what} {shown(rest[0])}" if what else f"`{root}` has no {shown(rest[0])}"
        has = f"; there are {listed(sorted(names))}" if names and not close else ""
        return Finding(message + has, f"{root}.{close}" if close else "")
    if root == "steps" and len(rest) > 1 and rest[1] not in _STEP_NAMES:
        close = nearest(rest[1], _STEP_NAMES) or "outputs"
        return Finding(f"a step has no {shown(rest[1])}", f"steps.{rest[0]}.{close}")
    return None


def _checked(source: str, value: str) -> str:
    if len(value) > MAX_RESULT:
        raise ExpressionError(source, f"its value has {len(value)} characters; at most {MAX_RESULT} are allowed")
    if "\0" in value:
        raise ExpressionError(source, "its value holds a NUL character, which no program can be given")
    return value


def _kind(value: object) -> str:
    match value:
        case Branch() | Mapping():
            return "a mapping"
        case list() | tuple():
            return "a list"
        case str():
            return "text"
        case bool():
            return "true or false"
        case int() | float():
            return "a number"
        case _:
            return "nothing"
