"""A pipeline's parameters: their types, and values made to fit them.

Values come typed from a file or a program, or as text from a command line; both are accepted for every type.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import Final, assert_never

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.expressions import to_text
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.quantities import format_duration, format_size, parse_duration, parse_size
from gamenode_pipelines.wording import UnknownWord, shown

#: Characters a text parameter may have.
MAX_TEXT: Final = 64 * 1024
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,19}")
_HALF_PAIR: Final = re.compile("[\ud800-\udfff]")
_WORDS: Final = {
    "true": True,
    "yes": True,
    "on": True,
    "1": True,
    "false": False,
    "no": False,
    "off": False,
    "0": False,
}


class ParamType(StrEnum):
    """What a parameter's value is. Durations are seconds in expressions, sizes bytes."""

    STRING = "string"
    INTEGER = "integer"
    NUMBER = "number"
    BOOLEAN = "boolean"
    CHOICE = "choice"
    DURATION = "duration"
    SIZE = "size"

    @property
    def ordered(self) -> bool:
        """Whether it can have a `min` and a `max`."""
        return self in (ParamType.INTEGER, ParamType.NUMBER, ParamType.DURATION, ParamType.SIZE)


@dataclass(frozen=True, slots=True)
class Parameter:
    """A parameter as forms, command lines and checks need it. `choices` is for `choice` only."""

    name: str
    type: ParamType = ParamType.STRING
    description: str = ""
    required: bool = False
    default: Scalar | None = None
    choices: tuple[str, ...] = ()
    min: float | None = None
    max: float | None = None
    pattern: str = ""

    def convert(self, value: Scalar) -> Scalar:
        """The value in this parameter's type; raises ValueError with a message for people."""
        converted = convert(self.type, value)
        if self.type is ParamType.CHOICE:
            if converted not in self.choices:
                raise UnknownWord(str(converted), self.choices)
        elif not isinstance(converted, str):
            if self.min is not None and converted < self.min:
                raise ValueError(
                    f"{self._spelled(converted)} is less than {self._spelled(self.min)}, the smallest allowed"
                )
            if self.max is not None and converted > self.max:
                raise ValueError(
                    f"{self._spelled(converted)} is more than {self._spelled(self.max)}, the largest allowed"
                )
        return converted

    def _spelled(self, value: float) -> str:
        match self.type:
            case ParamType.DURATION:
                return format_duration(value)
            case ParamType.SIZE:
                return format_size(int(value))
            case _:
                return to_text(value)


def convert(type: ParamType, value: Scalar) -> Scalar:
    """A value in the given type, without looking at ranges; raises ValueError with a message for people."""
    match type:
        case ParamType.STRING | ParamType.CHOICE:
            return _text(value)
        case ParamType.INTEGER:
            return _integer(value)
        case ParamType.NUMBER:
            return _number(value)
        case ParamType.BOOLEAN:
            return _boolean(value)
        case ParamType.DURATION:
            return _duration(value)
        case ParamType.SIZE:
            return _size(value)
        case _:
            assert_never(type)


def _text(value: Scalar) -> str:
    text = to_text(value)
    if len(text) > MAX_TEXT:
        raise ValueError(f"has {len(text)} characters; at most {MAX_TEXT} are allowed")
    if "\0" in text or _HALF_PAIR.search(text):
        raise ValueError("holds a character that no program can be given (NUL or half a surrogate pair)")
    return text


def _integer(value: Scalar) -> int:
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, str) and _INTEGER.fullmatch(value.strip()):
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise ValueError(f"{shown(to_text(value))} is not a whole number")
    if not -(2**63) <= value < 2**63:
        raise ValueError(f"{value} is beyond 64 bits")
    return value


def _number(value: Scalar) -> float:
    try:
        number = math.nan if isinstance(value, bool) else float(value)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):
        raise ValueError(f"{shown(to_text(value))} is not a number")
    return number


def _boolean(value: Scalar) -> bool:
    word = _WORDS.get(to_text(value).strip().lower())
    if word is None:
        raise ValueError(f"{shown(to_text(value))} is neither true nor false")
    return word


def _duration(value: Scalar) -> float:
    try:
        return parse_duration(value)
    except GameNodeError as error:
        raise ValueError(error.message) from error


def _size(value: Scalar) -> int:
    try:
        return parse_size(value if isinstance(value, int) else to_text(value))
    except GameNodeError as error:
        raise ValueError(error.message) from error
