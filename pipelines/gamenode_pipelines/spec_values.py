"""What each single value of a pipeline file may be, and what is said of one that is not.

Values come as a file has them (an unquoted one that is no text there is a `Written`) or as Python has them.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, PlainSerializer, WithJsonSchema

from gamenode_pipelines import selectors
from gamenode_pipelines.kinds.fields import DURATION_PATTERN, SCALAR_SCHEMA, SIZE_PATTERN, asked
from gamenode_pipelines.parameters import ParamType, convert
from gamenode_pipelines.quantities import format_duration, parse_duration, parse_size, spell_size
from gamenode_pipelines.wording import UnknownWord, listed, shown
from gamenode_pipelines.written import kind_of, text_of, value_of

STEP_ID: Final = r"[a-z][a-z0-9_]{0,62}"
PIPELINE_NAME: Final = r"[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?"
ENV_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]{0,254}"
SIGNALS: Final = ("TERM", "INT", "QUIT", "HUP", "USR1", "USR2", "KILL")
SHELLS: Final = ("sh", "bash", "python", "none")
#: Files that travel with a pipeline, and bytes of one and of all.
MAX_FILES: Final = 100
MAX_FILE_BYTES: Final = 1 << 20
MAX_FILES_BYTES: Final = 2 << 20
#: Names of environment variables that are the agent's own begin with it.
RESERVED_ENV: Final = "GAMENODE_"


def _flag(value: object) -> bool:
    plain = value_of(value)
    if not isinstance(plain, bool):
        raise ValueError(f"must be true or false, not {kind_of(value)}")
    return plain


def matching(pattern: str, rule: str) -> BeforeValidator:
    """Text of a form; `rule` says in words what that is."""
    compiled = re.compile(pattern)

    def check(value: object) -> str:
        text = text_of(value)
        if not compiled.fullmatch(text):
            raise ValueError(f"{shown(text)} {rule}")
        return text

    return BeforeValidator(check)


def whole(low: int, high: int) -> BeforeValidator:
    """A whole number in a range."""

    def check(value: object) -> int:
        plain = value_of(value)
        if isinstance(plain, bool) or not isinstance(plain, int):
            raise ValueError(f"must be a whole number, not {kind_of(value)}")
        if not low <= plain <= high:
            raise ValueError(f"must be between {low} and {high}, not {plain}")
        return plain

    return BeforeValidator(check)


def _cpus(value: object) -> float:
    plain = value_of(value)
    if isinstance(plain, bool) or not isinstance(plain, int | float) or not math.isfinite(plain):
        raise ValueError(f"must be a number of cores, not {kind_of(value)}")
    if not 0 < plain <= 4096:
        raise ValueError(f"must be more than 0 and at most 4096 cores, not {plain}")
    return float(plain)


def _duration(*, zero: bool) -> BeforeValidator:
    def check(value: object) -> float:
        plain = value_of(value)
        if plain is None or isinstance(plain, Mapping | list | tuple):
            raise ValueError(f"must be a duration like 90s, not {kind_of(value)}")
        text = text_of(value) if isinstance(value, str) else plain
        if isinstance(text, str) and "${{" in text:
            raise ValueError("must be a duration like 90s; expressions are not allowed here")
        seconds = asked(parse_duration, text)
        if seconds == 0 and not zero:
            raise ValueError("must be more than 0")
        return seconds

    return BeforeValidator(check)


def _size(value: object) -> int:
    plain = value_of(value)
    if plain is None or isinstance(plain, Mapping | list | tuple | float | bool):
        raise ValueError(f"must be a size like 512m, not {kind_of(value)}")
    text = text_of(value)
    if "${{" in text:
        raise ValueError("must be a size like 512m; expressions are not allowed here")
    size = int(asked(parse_size, text))
    if size == 0:
        raise ValueError("must be more than 0")
    return size


def one_of(words: Iterable[str], not_yet: Mapping[str, str] | None = None) -> BeforeValidator:
    """One of these words; those of `not_yet` have an answer of their own."""
    known = [str(word) for word in words]

    def check(value: object) -> str:
        text = text_of(value)
        if not_yet and text in not_yet:
            raise ValueError(f"not yet: {not_yet[text]}")
        if text not in known:
            raise UnknownWord(text, known)
        return text

    return BeforeValidator(check)


def texts(value: object) -> tuple[str, ...]:
    """A list of texts."""
    if isinstance(value, list | tuple):
        return tuple(text_of(item) for item in value)
    raise ValueError(f"must be a list, not {kind_of(value)}")


def needs(value: object) -> tuple[str, ...]:
    """Ids of steps; a single one needs no list."""
    if value is None:
        raise ValueError("names no step; write [] for a step that starts at once, or leave it out")
    return (text_of(value),) if isinstance(value, str) else texts(value)


def run(value: object) -> str | tuple[str, ...]:
    """A script, or a command as a list."""
    script = texts(value) if isinstance(value, list | tuple) else text_of(value)
    if not script or (isinstance(script, str) and not script.strip()):
        raise ValueError("is empty; write the command to run")
    return script


def signal(value: object) -> str:
    """A signal that ends programs, without its SIG."""
    name = text_of(value).upper().removeprefix("SIG")
    if name not in SIGNALS:
        raise ValueError(f"{shown(text_of(value))} is none of the signals {listed(SIGNALS)}")
    return name


def count(value: object) -> int | str:
    """`all`, or a number of nodes."""
    plain = value_of(value)
    if plain == "all":
        return "all"
    if isinstance(plain, bool) or not isinstance(plain, int) or plain < 1:
        raise ValueError(f"must be `all` or a number of nodes from 1, not {kind_of(value)}")
    return plain


def select(value: object) -> str:
    """A label selector."""
    text = text_of(value)
    if "${{" in text:
        raise ValueError("expressions are not allowed in a selector")
    asked(selectors.parse, text)
    return text


def files(value: object) -> tuple[str, ...]:
    """Paths of files beside the pipeline's own, each once, none outside of its folder."""
    found = texts(value)
    if len(found) > MAX_FILES:
        raise ValueError(f"names {len(found)} files; at most {MAX_FILES} can be")
    for path in found:
        parts = path.split("/")
        if not path or path.startswith(("/", "~")) or ".." in parts or "" in parts or "." in parts or len(path) > 200:
            raise ValueError(f"{shown(path)} must be the path of a file beside the pipeline's, like maps/list.txt")
        if any(not character.isprintable() or character in "\\${" for character in path):
            raise ValueError(f"{shown(path)} has a character that a file's name cannot have here")
    if len(set(found)) < len(found):
        raise ValueError("names a file twice")
    return found


def retry_kinds(value: object) -> object:
    """Kinds of failure; a single one needs no list."""
    items = value if isinstance(value, list | tuple | frozenset) else [value]
    return frozenset(text_of(item) for item in items)


Text = Annotated[str, BeforeValidator(text_of)]
Flag = Annotated[bool, BeforeValidator(_flag)]
_DURATION_SCHEMA: Final = WithJsonSchema(
    {"anyOf": [{"type": "string", "pattern": DURATION_PATTERN}, {"type": "number", "minimum": 0}]}
)
_DURATION_WRITER: Final = PlainSerializer(format_duration, return_type=str, when_used="json")
Duration = Annotated[float, _duration(zero=False), _DURATION_SCHEMA, _DURATION_WRITER]
Pause = Annotated[float, _duration(zero=True), _DURATION_SCHEMA, _DURATION_WRITER]
Size = Annotated[
    int,
    BeforeValidator(_size),
    PlainSerializer(spell_size, return_type=str, when_used="json"),
    WithJsonSchema({"anyOf": [{"type": "string", "pattern": SIZE_PATTERN}, {"type": "integer", "minimum": 1}]}),
]
Cpus = Annotated[float, BeforeValidator(_cpus), WithJsonSchema({"type": "number", "exclusiveMinimum": 0})]
Env = Annotated[
    dict[Annotated[str, matching(ENV_NAME, "cannot be the name of an environment variable")], Text],
    WithJsonSchema(
        {"type": "object", "propertyNames": {"pattern": f"^{ENV_NAME}$"}, "additionalProperties": SCALAR_SCHEMA}
    ),
]
StepId = Annotated[
    str,
    matching(STEP_ID, "cannot be a step's id: begin with a-z, then only a-z, 0-9 and _"),
    WithJsonSchema({"type": "string", "pattern": f"^{STEP_ID}$"}),
]


def converted(type: ParamType, value: object) -> Any:
    """A value of a file in a parameter's type; text keeps its characters, `0.10` stays `0.10`."""
    if value is None or isinstance(value, Mapping | list | tuple):
        raise ValueError(f"must be a single value, not {kind_of(value)}")
    if type in (ParamType.STRING, ParamType.CHOICE, ParamType.DURATION, ParamType.SIZE):
        return convert(type, text_of(value))
    plain = value_of(value)
    assert isinstance(plain, str | int | float | bool)
    return convert(type, plain)


def spelled(type: ParamType, value: object) -> object:
    """A parameter's value as a file has it; reading it again gives the same value."""
    if type is ParamType.DURATION and isinstance(value, int | float):
        return format_duration(value)
    if type is ParamType.SIZE and isinstance(value, int | float):
        return spell_size(int(value))
    return value
