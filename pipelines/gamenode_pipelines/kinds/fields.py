"""The types of single values: text, flags, numbers, sizes, durations, words.

Each checks a value as a file has it, as a plan has it, or as an expression gave it, and writes it the one way it is
kept in plans. Owns no field: which kind takes what is in the tables.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Protocol, TypeVar

from gamenode_pipelines.errors import GameNodeError
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.quantities import format_duration, parse_duration, parse_size, spell_size
from gamenode_pipelines.wording import UnknownWord, shown
from gamenode_pipelines.written import kind_of, text_of, value_of

T = TypeVar("T")
Schema = Mapping[str, Any]
#: What a value may be in a file, besides what its type says: text with expressions in it.
TEMPLATE_SCHEMA: Final[Schema] = {"type": "string", "pattern": r"\$\{\{"}
SCALAR_SCHEMA: Final[dict[str, Any]] = {"type": ["string", "number", "boolean"]}
DURATION_PATTERN: Final = r"^([0-9]*\.?[0-9]+(ns|us|µs|ms|s|m|h|d))+$"
SIZE_PATTERN: Final = r"^[0-9]*\.?[0-9]+ ?[kKmMgGtTpP]?[iI]?[bB]?$"
_INTEGER: Final = re.compile(r"[-+]?[0-9]{1,20}")
_NUMBER: Final = re.compile(r"[-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)")


class FieldType(Protocol):
    """What a field's value is."""

    @property
    def word(self) -> str:
        """What it is, in a word or two."""
        ...

    @property
    def empty(self) -> Any:
        """What stands for a value that is not given."""
        ...

    @property
    def blank(self) -> bool:
        """Whether an empty text is a value, and not as if nothing were given."""
        ...

    def check(self, value: object) -> Any:
        """The typed value; raises ValueError (`Wrong`, where it has parts)."""
        ...

    def normal(self, value: object) -> Setting:
        """The value as a plan has it; a text with expressions is taken as it is. Raises as `check` does."""
        ...

    def schema(self) -> Schema:
        """The JSON Schema of what a file may say."""
        ...


def is_template(value: object) -> bool:
    """Whether a value has expressions in it, so that it is known only when they are evaluated."""
    return isinstance(value, str) and "${{" in value


@dataclass(frozen=True, slots=True)
class Leaf:
    """A single value: `read` makes it of what is given, `write` is how a plan has it."""

    word: str
    read: Callable[[object], Any]
    json: Schema
    empty: Any = None
    write: Callable[[Any], Setting] = lambda value: value
    blank: bool = False

    def check(self, value: object) -> Any:
        """The typed value; raises ValueError."""
        return self.read(value)

    def normal(self, value: object) -> Setting:
        """The value as a plan has it; a text with expressions is taken as it is."""
        return text_of(value) if is_template(value) else self.write(self.read(value))

    def schema(self) -> Schema:
        """The JSON Schema of what a file may say."""
        if self.json is SCALAR_SCHEMA:
            return self.json
        options = self.json.get("anyOf", [self.json])
        return {"anyOf": [*options, TEMPLATE_SCHEMA]}


def _flag(value: object) -> bool:
    plain = value_of(value)
    if isinstance(plain, str) and plain in ("true", "false"):
        return plain == "true"
    if not isinstance(plain, bool):
        raise ValueError(f"must be true or false, not {kind_of(value)}")
    return plain


def _whole(value: object) -> int:
    plain = value_of(value)
    if isinstance(plain, str) and _INTEGER.fullmatch(plain.strip()):
        plain = int(plain)
    if isinstance(plain, bool) or not isinstance(plain, int):
        raise ValueError(f"must be a whole number, not {kind_of(value)}")
    return plain


def _cores(value: object) -> float:
    plain = value_of(value)
    if isinstance(plain, str) and _NUMBER.fullmatch(plain.strip()):
        plain = float(plain)
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
        raise ValueError(f"must be a number of cores, not {kind_of(value)}")
    if not 0 < plain <= 4096:
        raise ValueError(f"must be more than 0 and at most 4096 cores, not {plain:g}")
    return float(plain)


def _size(value: object) -> int:
    plain = value_of(value)
    if plain is None or isinstance(plain, Mapping | list | tuple | float | bool):
        raise ValueError(f"must be a size like 512m, not {kind_of(value)}")
    size = asked(parse_size, text_of(value))
    if size == 0:
        raise ValueError("must be more than 0")
    return int(size)


def _duration(value: object) -> float:
    plain = value_of(value)
    if plain is None or isinstance(plain, Mapping | list | tuple | bool):
        raise ValueError(f"must be a duration like 90s, not {kind_of(value)}")
    return float(asked(parse_duration, text_of(value) if isinstance(value, str) else plain))


def asked(parse: Callable[[Any], T], value: object) -> T:
    """What a parser of ours says, its refusal as whoever checks a value wants to hear it: a ValueError."""
    try:
        return parse(value)
    except GameNodeError as error:
        raise ValueError(error.message) from error


TEXT: Final = Leaf("text", text_of, SCALAR_SCHEMA, empty="", blank=True)
FLAG: Final = Leaf("true or false", _flag, {"type": "boolean"}, empty=False)
CORES: Final = Leaf("cores", _cores, {"type": "number", "exclusiveMinimum": 0})
SIZE: Final = Leaf(
    "size",
    _size,
    {
        "anyOf": [
            {"type": "string", "pattern": SIZE_PATTERN},
            {"type": "integer", "minimum": 1},
        ]
    },
    write=spell_size,
)
_DURATION_SCHEMA: Final[Schema] = {
    "anyOf": [
        {"type": "string", "pattern": DURATION_PATTERN},
        {"type": "number", "minimum": 0},
    ]
}
DURATION: Final = Leaf("duration", _duration, _DURATION_SCHEMA, write=format_duration)
#: A duration in whose field's name the unit is: a bare number is as it should be.
SECONDS: Final = replace(DURATION, word="seconds or duration")


def whole(low: int, high: int, empty: int | None = None) -> Leaf:
    """A whole number in a range."""

    def read(value: object) -> int:
        number = _whole(value)
        if not low <= number <= high:
            raise ValueError(f"must be between {low} and {high}, not {number}")
        return number

    return Leaf("whole number", read, {"type": "integer", "minimum": low, "maximum": high}, empty=empty)


def words(known: Iterable[str], empty: str = "") -> Leaf:
    """One of these words."""
    allowed = tuple(known)

    def read(value: object) -> str:
        text = text_of(value)
        if text not in allowed:
            raise UnknownWord(text, allowed)
        return text

    return Leaf(" | ".join(f"`{word}`" for word in allowed), read, {"enum": list(allowed)}, empty=empty)


def matching(pattern: str, rule: str, word: str = "text", *, tidy: Callable[[str], str] = str) -> Leaf:
    """Text of a form, after `tidy`; `rule` says in words what that is."""
    compiled = re.compile(pattern)

    def read(value: object) -> str:
        text = tidy(text_of(value))
        if not compiled.fullmatch(text):
            raise ValueError(f"{shown(text_of(value))} {rule}" if text else "is empty")
        return text

    return Leaf(word, read, SCALAR_SCHEMA, empty="")


def without_dots(value: object) -> str:
    """A path that has no `..` in it."""
    text = text_of(value)
    if not text:
        raise ValueError("is empty")
    if "\0" in text or ".." in text.split("/"):
        raise ValueError(f"the path {shown(text)} has `..` in it; write the folder itself, without it")
    return text


def absolute(value: object) -> str:
    """An absolute path without `..`."""
    text = without_dots(value)
    if not text.startswith("/"):
        raise ValueError(f"the path {shown(text)} must begin with /")
    return text


PATH: Final = Leaf("path", without_dots, SCALAR_SCHEMA, empty="")
ABSOLUTE_PATH: Final = Leaf("path from /", absolute, SCALAR_SCHEMA, empty="")
