"""The sandbox that expressions run in: Jinja2's, narrowed to what a pipeline needs.

Only expressions are ever compiled, never templates. Names, filters, tests and methods come from short lists;
everything that could make a value large from a small one is bounded. Imported late, by `expressions` only.
"""

from __future__ import annotations

import json
import operator
import re
from collections.abc import Callable, Iterator, Sequence
from functools import lru_cache
from typing import Any, Final

from jinja2 import StrictUndefined, nodes
from jinja2.environment import TemplateExpression
from jinja2.exceptions import SecurityError, TemplateError, TemplateSyntaxError
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.visitor import NodeTransformer

from gamenode_pipelines.expressions import (
    MAX_RESULT,
    MAX_SOURCE,
    ROOTS,
    Branch,
    ExpressionError,
    Missing,
    member,
    to_text,
)
from gamenode_pipelines.wording import nearest, shown

METHODS: Final = frozenset(
    {"endswith", "lower", "lstrip", "removeprefix", "removesuffix", "rstrip", "split", "startswith", "strip", "upper"}
)
_ENDS: Final = re.compile(r"unexpected 'end of (?:template|print statement)'|.*got 'end of template'")
_LARGEST: Final = 2**63
_OPERATORS: Final[dict[str, Callable[[Any, Any], Any]]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}
_SHAPES: Final = (
    nodes.Add, nodes.And, nodes.Compare, nodes.Concat, nodes.CondExpr, nodes.Const, nodes.Div, nodes.FloorDiv,
    nodes.Getattr, nodes.Getitem, nodes.List, nodes.Mod, nodes.Mul, nodes.Name, nodes.Neg, nodes.Not, nodes.Operand,
    nodes.Or, nodes.Pos, nodes.Pow, nodes.Slice, nodes.Sub, nodes.Tuple,
)  # fmt: skip


@lru_cache(maxsize=1024)
def compiled(source: str, roots: tuple[str, ...] = ROOTS) -> Callable[[Branch], object]:
    """An expression as a function of the scope, whose names `roots` are. Raises ExpressionError."""
    try:
        expression = _TextOperands().visit(_parse(source, roots))
        body = [nodes.Assign(nodes.Name("result", "store"), expression, lineno=1)]
        function = TemplateExpression(_ENVIRONMENT.from_string(nodes.Template(body, lineno=1)), undefined_to_none=False)
    except (TemplateError, SyntaxError, RecursionError, MemoryError) as error:
        raise ExpressionError(source, _reason(error)) from error

    def call(scope: Branch) -> object:
        try:
            return function(scope.roots())
        except LookupError:
            raise
        except ZeroDivisionError as error:
            raise ExpressionError(source, "division by zero") from error
        except (ArithmeticError, AttributeError, TypeError, ValueError, TemplateError, RecursionError) as error:
            raise ExpressionError(source, _reason(error)) from error

    return call


@lru_cache(maxsize=1024)
def paths(source: str, roots: tuple[str, ...] = ROOTS) -> tuple[tuple[str, ...], ...]:
    """The constant paths in an expression, longest first: `steps.a.outputs["x"]` is ("steps", "a", "outputs", "x")."""
    found: list[tuple[str, ...]] = []
    inner: set[int] = set()
    for node in _descendants(_parse(source, roots)):
        if id(node) in inner:
            continue
        names: list[str] = []
        while isinstance(node, nodes.Getattr | nodes.Getitem):
            inner.add(id(node.node))
            name = node.attr if isinstance(node, nodes.Getattr) else getattr(node.arg, "value", None)
            names = [name, *names] if isinstance(name, str) else []
            node = node.node
        if isinstance(node, nodes.Name):
            found.append((node.name, *names))
    return tuple(found)


def _parse(source: str, roots: tuple[str, ...] = ROOTS) -> nodes.Expr:
    """The expression as Jinja reads it, after everything in it has been found to be allowed."""
    if len(source) > MAX_SOURCE:
        raise ExpressionError(source, f"has {len(source)} characters; at most {MAX_SOURCE} are allowed")
    if not source.strip():
        raise ExpressionError(source, "is empty")
    try:
        parser = Parser(_ENVIRONMENT, source, state="variable")
        expression = parser.parse_expression()
        if not parser.stream.eos:
            found = parser.stream.current
            raise ExpressionError(source, f"is more than one expression: {shown(str(found.value))} is too much")
    except (TemplateSyntaxError, RecursionError) as error:
        raise ExpressionError(source, _reason(error)) from error
    try:
        for node in _descendants(expression):
            if problem := _node_problem(node, source, roots):
                raise ExpressionError(source, *problem[:1], suggestion=problem[1])
    except RecursionError as error:
        raise ExpressionError(source, _reason(error)) from error
    return expression


def _descendants(node: nodes.Node) -> Iterator[Any]:
    """A node and all that is below, outer ones first; without recursion."""
    waiting: list[nodes.Node] = [node]
    while waiting:
        node = waiting.pop()
        yield node
        waiting += reversed(list(node.iter_child_nodes()))


def _node_problem(node: nodes.Node, source: str, roots: tuple[str, ...]) -> tuple[str, str] | None:
    """What is not allowed about one node, with the nearest allowed word."""
    match node:
        case nodes.Name(name=name) if name not in roots:
            if name == "instance":
                return "not yet: `instance` in expressions", ""
            hint = ""
            if dashed := re.search(rf"([\w.]+)-{re.escape(name)}\b", source):
                owner, _, key = dashed[1].rpartition(".")
                hint = f'; a name with a dash is written {owner}["{key}-{name}"]' if owner else ""
            return f"there is no {shown(name)} here; there are {', '.join(roots)}{hint}", nearest(name, roots)
        case nodes.Filter(name=name) if name not in _FILTERS:
            return f"there is no filter {shown(name)}; there are {', '.join(sorted(_FILTERS))}", nearest(name, _FILTERS)
        case nodes.Test(name=name) if name not in _TESTS:
            return f"there is no test {shown(name)}; there are {', '.join(sorted(_TESTS))}", nearest(name, _TESTS)
        case nodes.Call(node=nodes.Getattr(attr=attr), dyn_args=None, dyn_kwargs=None):
            if attr not in METHODS:
                return f"there is no method {shown(attr)}; there are {', '.join(sorted(METHODS))}", nearest(
                    attr, METHODS
                )
        case nodes.Call():
            return "only methods of texts can be called", ""
        case nodes.Filter(dyn_args=None, dyn_kwargs=None) | nodes.Test(dyn_args=None, dyn_kwargs=None):
            pass
        case nodes.Keyword() | nodes.Pair():
            pass
        case _ if not isinstance(node, _SHAPES):
            return f"{type(node).__name__.lower()} is not allowed here", ""
        case _:
            pass
    return None


class _TextOperands(NodeTransformer):
    """Has `~` write values as `render` does, rather than as Python does."""

    def visit_Concat(self, node: nodes.Concat) -> nodes.Concat:
        """Sends every operand through the filter `string`."""
        self.generic_visit(node)
        node.nodes = [nodes.Filter(part, "string", [], [], None, None, lineno=node.lineno) for part in node.nodes]
        return node


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox with our rules for members, calls and operators."""

    intercepted_binops = frozenset(_OPERATORS)

    def getattr(self, obj: Any, attribute: str) -> Any:
        """An item; of a text, one of its methods. `labels.items` is a label."""
        if isinstance(obj, str) and attribute in METHODS:
            return getattr(obj, attribute)
        return member(obj, attribute)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """An item; of a text, a character."""
        if isinstance(obj, str) and isinstance(argument, int):
            return obj[argument : argument + 1 or None]
        return member(obj, argument)

    def is_safe_callable(self, obj: Any) -> bool:
        """Only the listed methods of texts."""
        return isinstance(getattr(obj, "__self__", None), str) and getattr(obj, "__name__", "") in METHODS

    def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
        """Arithmetic on numbers, `+` also on two texts; nothing that grows without a bound."""
        if operator == "+" and isinstance(left, str) and isinstance(right, str):
            _bounded(len(left) + len(right))
            return left + right
        for value in (left, right):
            if isinstance(value, bool) or not isinstance(value, int | float):
                hint = " (outputs and labels are text: `| int` makes a number of one, `~` joins texts)"
                raise TypeError(f"{operator} is for numbers{hint if isinstance(value, str) else ''}")
        if operator == "**" and (abs(right) > 64 or abs(left) > _LARGEST):
            raise ValueError("the number is too large")
        result = _OPERATORS[operator](left, right)
        if isinstance(result, complex) or abs(result) > _LARGEST:
            raise ValueError("the number is too large")
        return result


def _default(value: Any, fallback: Any = "", boolean: bool = False) -> Any:
    return fallback if isinstance(value, Missing) or value is None or (boolean and not value) else value


def _int(value: Any, fallback: int = 0) -> int:
    try:
        number = (
            int(value)
            if not isinstance(value, str) or re.fullmatch(r"\s*[+-]?\d{1,20}\s*", value)
            else int(float(value))
        )
    except (TypeError, ValueError, OverflowError):
        return fallback
    return number if abs(number) <= _LARGEST else fallback


def _float(value: Any, fallback: float = 0.0) -> float:
    try:
        return float(value)
    except (TypeError, ValueError, OverflowError):
        return fallback


def _round(value: Any, digits: int = 0) -> float:
    if not -15 <= digits <= 15:
        raise ValueError("round takes -15 to 15 digits")
    return round(float(value), digits)


def _replace(value: Any, old: str, new: str) -> str:
    text = _text(value)
    if not old:
        raise ValueError("replace needs a text to look for")
    _bounded(len(text) + text.count(old) * max(0, len(new) - len(old)))
    return text.replace(old, new)


def _join(value: Sequence[Any], separator: str = "") -> str:
    texts = [_text(item) for item in _items(value)]
    _bounded(sum(map(len, texts)) + len(texts) * len(separator))
    return separator.join(texts)


def _items(value: Any) -> Sequence[Any]:
    if isinstance(value, str | list | tuple):
        return value
    raise TypeError("is for lists and texts")


def _text(value: Any) -> str:
    if value is None or isinstance(value, str | int | float | bool):
        return to_text(value)
    raise TypeError("a list or mapping is no text; `| join(',')` makes one of a list")


def _number(value: Any) -> int | float:
    """Never a text: Python's `%` would fill it in like a form, at any width."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return value
    raise TypeError("even and odd are for numbers (outputs and labels are text: `| int` makes a number of one)")


def _bounded(size: int) -> None:
    if size > MAX_RESULT:
        raise ValueError(f"the text grows beyond {MAX_RESULT} characters")


def _at(index: int) -> Callable[[Any], Any]:
    return lambda value: member(list(_items(value)), index)


_FILTERS: Final[dict[str, Callable[..., Any]]] = {
    "abs": lambda value: abs(value),
    "d": _default,
    "default": _default,
    "first": _at(0),
    "float": _float,
    "int": _int,
    "join": _join,
    "json": lambda value: json.dumps(value, ensure_ascii=False),
    "last": _at(-1),
    "length": lambda value: len(_items(value)),
    "lower": lambda value: _text(value).lower(),
    "replace": _replace,
    "round": _round,
    "string": _text,
    "trim": lambda value: _text(value).strip(),
    "upper": lambda value: _text(value).upper(),
}
_TESTS: Final[dict[str, Callable[..., Any]]] = {
    "boolean": lambda value: isinstance(value, bool),
    "defined": lambda value: not isinstance(value, Missing),
    "even": lambda value: _number(value) % 2 == 0,
    "in": lambda value, container: value in _items(container),
    "none": lambda value: value is None,
    "number": lambda value: isinstance(value, int | float) and not isinstance(value, bool),
    "odd": lambda value: _number(value) % 2 == 1,
    "string": lambda value: isinstance(value, str),
}


def _environment() -> _Environment:
    environment = _Environment(
        undefined=StrictUndefined,
        optimized=False,
        cache_size=0,
        auto_reload=False,
    )
    environment.globals.clear()
    environment.filters.clear()
    environment.filters.update(_FILTERS)
    environment.tests.clear()
    environment.tests.update(_TESTS)
    return environment


_ENVIRONMENT: Final = _environment()


def _reason(error: BaseException) -> str:
    match error:
        case RecursionError() | MemoryError():
            return "is nested too deeply"
        case SecurityError():
            return "only methods of texts can be called"
        case TemplateSyntaxError(message=str(message)):
            return _ENDS.sub("it ends too early", message)
        case _:
            return str(error) or type(error).__name__


def filter_names() -> frozenset[str]:
    """The filters there are, for documentation."""
    return frozenset(_FILTERS)
