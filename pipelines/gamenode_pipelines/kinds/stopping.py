"""How a container is ended: a command, a line to its input, a signal, and how long it may take."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from gamenode_pipelines.kinds.commands import COMMAND
from gamenode_pipelines.kinds.fields import DURATION, is_template, matching, words
from gamenode_pipelines.kinds.shapes import Field, Record
from gamenode_pipelines.kinds.wrong import Item
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.written import text_of

SIGNAL: Final = matching(
    r"(RTMIN|RTMAX)([+-][0-9]{1,2})?|[A-Z]{2,6}[0-9]?",
    "is not a signal; write it like TERM or INT",
    tidy=lambda text: text.upper().removeprefix("SIG"),
)


def _rule(values: Mapping[str, Any]) -> Iterable[Item]:
    if values.get("via") and not values.get("command"):
        yield Item(("via",), "needs a `command`, which is what goes that way")
    lines = values.get("command")
    if values.get("via") == "stdin" and isinstance(lines, list | tuple) and any(map(_breaks, lines)):
        # No value of an expression can make two lines of one: a console would run each.
        yield Item(("command",), "has a line break or another control character in a line; write one item a line")


def _breaks(line: object) -> bool:
    return isinstance(line, str) and any(ord(character) < 32 and character != "\t" for character in line)


@dataclass(frozen=True, slots=True)
class _Stop(Record):
    """A text that goes to a container's input stays one line; one that is run there is split into words."""

    def check(self, value: object) -> Any:
        """The record, typed: `command` is a command's words, or lines for the input."""
        return Record.check(self, _lines(value))

    def normal(self, value: object) -> dict[str, Setting]:
        """The record as a plan has it."""
        if isinstance(value, Mapping) and is_template(value.get("via")) and isinstance(value.get("command"), str):
            raise ValueError("needs its `command` as a list where `via` is an expression: it may be words or a line")
        return Record.normal(self, _lines(value))


def _lines(value: object) -> object:
    command = value.get("command") if isinstance(value, Mapping) else None
    if isinstance(value, Mapping) and value.get("via") == "stdin" and isinstance(command, str) and command:
        return {**value, "command": [text_of(command)]}
    return value


def _build(values: dict[str, Any]) -> dict[str, Any]:
    return values | {"via": values["via"] or ("exec" if values["command"] else "")}


STOP: Final = _Stop(
    {
        "command": Field(COMMAND, "What ends it by its own means; the signal comes where it still runs after `grace`."),
        "via": Field(
            words(("exec", "stdin")), "Whether the command is run in it (left out) or is a line to its input."
        ),
        "signal": Field(SIGNAL, "The signal it gets, without SIG or with it; the image's own where it is left out."),
        "grace": Field(DURATION, "How long it may take before it is killed; 10s where it is left out."),
    },
    name="`stop`",
    rule=_rule,
    build=_build,
)
