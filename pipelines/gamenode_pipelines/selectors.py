"""Label selectors, in Kubernetes' whole grammar, and the rules for labels.

Set-based (`region in (eu,us)`, `tier notin (test)`, `gpu`, `!legacy`), equality-based (`=`, `==`, `!=`) and numeric
(`cores>8`, `cores<16`) requirements, joined by commas; all must hold. As in Kubernetes, `!=` and `notin` hold where the
label is absent, and `>` and `<` compare whole numbers and hold only where the label is one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Final, assert_never

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.wording import shown

_NAME: Final = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?")
_DNS_PART: Final = r"[a-z0-9](?:[-a-z0-9]{0,61}[a-z0-9])?"
_PREFIX: Final = re.compile(rf"{_DNS_PART}(?:\.{_DNS_PART})*")
_MAX_PREFIX: Final = 253
_MAX_SELECTOR: Final = 4096
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_TOKEN: Final = re.compile(r"\s*(==|!=|[=!<>(),]|[^\s=!<>(),]+|\Z)")


class SelectorError(GameNodeError):
    """A selector or a label that breaks the rules; `offset` is where in the text, counted from 0."""

    def __init__(self, message: str, offset: int = 0) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message, details={"offset": str(offset)})
        self.offset = offset


class Operator(StrEnum):
    """What a requirement asks of a label."""

    EXISTS = "exists"
    ABSENT = "!"
    EQUALS = "="
    NOT_EQUALS = "!="
    IN = "in"
    NOT_IN = "notin"
    GREATER = ">"
    LESS = "<"


@dataclass(frozen=True, slots=True)
class Requirement:
    """One condition on one label. `values` is sorted and without repeats."""

    key: str
    operator: Operator
    values: tuple[str, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet it."""
        value = labels.get(self.key)
        match self.operator:
            case Operator.EXISTS:
                return value is not None
            case Operator.ABSENT:
                return value is None
            case Operator.EQUALS | Operator.IN:
                return value is not None and value in self.values
            case Operator.NOT_EQUALS | Operator.NOT_IN:
                return value is None or value not in self.values
            case Operator.GREATER:
                return value is not None and _is_integer(value) and int(value) > int(self.values[0])
            case Operator.LESS:
                return value is not None and _is_integer(value) and int(value) < int(self.values[0])
            case _:
                assert_never(self.operator)

    def __str__(self) -> str:
        match self.operator:
            case Operator.EXISTS:
                return self.key
            case Operator.ABSENT:
                return f"!{self.key}"
            case Operator.IN | Operator.NOT_IN:
                return f"{self.key} {self.operator} ({','.join(self.values)})"
            case Operator.EQUALS | Operator.NOT_EQUALS | Operator.GREATER | Operator.LESS:
                return f"{self.key}{self.operator}{self.values[0]}"
            case _:
                assert_never(self.operator)


@dataclass(frozen=True, slots=True)
class Selector:
    """Requirements that must all hold. Without any it matches everything."""

    requirements: tuple[Requirement, ...] = ()

    def matches(self, labels: Mapping[str, str]) -> bool:
        """Whether these labels meet every requirement."""
        return all(requirement.matches(labels) for requirement in self.requirements)

    def __bool__(self) -> bool:
        return bool(self.requirements)

    def __str__(self) -> str:
        return ",".join(str(requirement) for requirement in self.requirements)


EVERYTHING: Final = Selector()


@lru_cache(maxsize=512)
def parse(text: str) -> Selector:
    """The selector a text means. Raises SelectorError with the place of the first thing that is wrong."""
    if len(text) > _MAX_SELECTOR:
        raise SelectorError(f"a selector may have {_MAX_SELECTOR} characters, this one has {len(text)}")
    if not text.strip():
        return EVERYTHING
    return _Parser(text).selector()


def label_key_problem(key: str) -> str:
    """What is wrong with a label's key, or nothing. Kubernetes' rule: `[prefix/]name`."""
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > _MAX_PREFIX or not _PREFIX.fullmatch(prefix)):
        return f"label key {shown(key)}: what is before the / must be a DNS name in lower case, like example.com"
    if not _NAME.fullmatch(name):
        return (
            f"label key {shown(key)}: must be 1 to 63 letters, digits, '-', '_' or '.', beginning and ending with "
            "a letter or digit"
        )
    return ""


def label_value_problem(value: str) -> str:
    """What is wrong with a label's value, or nothing."""
    if value and not _NAME.fullmatch(value):
        return (
            f"label value {shown(value)}: must be empty, or at most 63 letters, digits, '-', '_' or '.', beginning "
            "and ending with a letter or digit"
        )
    return ""


def validate_label(key: str, value: str) -> None:
    """Raises GameNodeError(INVALID_ARGUMENT) where a label breaks Kubernetes' rules."""
    if problem := label_key_problem(key) or label_value_problem(value):
        raise SelectorError(problem)


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._position = 0

    def selector(self) -> Selector:
        requirements: list[Requirement] = []
        while True:
            requirements.append(self._requirement())
            token, offset = self._next()
            if token == "":
                return Selector(tuple(requirements))
            if token != ",":
                raise self._error(f"expected ',' or the end, found {shown(token)}", offset)

    def _requirement(self) -> Requirement:
        token, offset = self._next()
        if token == "!":
            return Requirement(self._key(*self._next()), Operator.ABSENT)
        key = self._key(token, offset)
        if self._peek() in ("", ","):
            return Requirement(key, Operator.EXISTS)
        token, offset = self._next()
        match token:
            case "=" | "==":
                return Requirement(key, Operator.EQUALS, (self._value(),))
            case "!=":
                return Requirement(key, Operator.NOT_EQUALS, (self._value(),))
            case ">" | "<":
                return Requirement(key, Operator(token), (self._number(token),))
            case "in" | "notin":
                return Requirement(key, Operator(token), self._values())
            case _:
                raise self._error(
                    f"expected one of =, ==, !=, in, notin, >, < after {shown(key)}, found {shown(token)}", offset
                )

    def _key(self, token: str, offset: int) -> str:
        if token == "" or token in "=!<>(),":
            found = shown(token) if token else "nothing"
            raise self._error(f"expected a label's key, found {found}", offset)
        if problem := label_key_problem(token):
            raise self._error(problem, offset)
        return token

    def _value(self) -> str:
        if self._peek() in ("", ","):
            return ""
        token, offset = self._next()
        if problem := label_value_problem(token):
            raise self._error(problem, offset)
        return token

    def _number(self, operator: str) -> str:
        token, offset = self._next()
        if not token.isascii() or not token.isdigit() or not _is_integer(token):
            raise self._error(f"{operator} compares with a whole number, found {shown(token)}", offset)
        return token

    def _values(self) -> tuple[str, ...]:
        token, offset = self._next()
        if token != "(":
            raise self._error(f"expected '(' and the values, found {shown(token)}", offset)
        if self._peek() == ")":
            raise self._error("expected at least one value between ( and )", offset)
        values: set[str] = set()
        while True:
            value = ""
            if self._peek() not in (",", ")"):
                value, offset = self._next()
                if problem := label_value_problem(value) if value else "expected ')' after the values":
                    raise self._error(problem, offset)
            values.add(value)
            token, offset = self._next()
            if token == ")":
                return tuple(sorted(values))
            if token != ",":
                raise self._error(f"expected ',' or ')' between values, found {shown(token)}", offset)

    def _next(self) -> tuple[str, int]:
        match = _TOKEN.match(self._text, self._position)
        assert match is not None  # every text has a token or its end
        self._position = match.end()
        return match[1], match.start(1)

    def _peek(self) -> str:
        match = _TOKEN.match(self._text, self._position)
        assert match is not None
        return match[1]

    def _error(self, message: str, offset: int) -> SelectorError:
        return SelectorError(f"selector {shown(self._text)}, at character {offset + 1}: {message}", offset)


def _is_integer(text: str) -> bool:
    return _INTEGER.fullmatch(text) is not None and -(2**63) <= int(text) < 2**63
