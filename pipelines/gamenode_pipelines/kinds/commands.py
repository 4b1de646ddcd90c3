"""Commands: a list, or one text that is split into words as a shell would."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from gamenode_pipelines import expressions
from gamenode_pipelines.kinds.fields import SCALAR_SCHEMA, Schema, is_template
from gamenode_pipelines.kinds.shapes import each
from gamenode_pipelines.plan import Setting
from gamenode_pipelines.wording import shown
from gamenode_pipelines.written import text_of

#: What stands in a text for an expression while the text is split.
_MARK: Final = "\ue000"
_MARKED: Final = re.compile(f"{_MARK}([0-9]+){_MARK}")
#: Programs whose next word but one is a script, after the option that says so.
_SHELL: Final = re.compile(r"(?:.*/)?(?:sh|ash|bash|dash|ksh|zsh|python[0-9.]*)")
_SCRIPT_OPTION: Final = re.compile(r"-[A-Za-z]*c")


@dataclass(frozen=True, slots=True)
class Command:
    """A command and its arguments: a list, or one text that is split as a shell would.

    A text is split before its expressions are evaluated, so that a value never makes more words than it is. Only a
    text that is one expression and nothing else is split afterwards.
    """

    word: str = "command"
    empty: None = None
    blank: bool = False

    def check(self, value: object) -> tuple[str, ...]:
        """The words; raises ValueError."""
        if isinstance(value, list | tuple):
            return tuple(each(text_of, value))
        return _split(text_of(value))

    def normal(self, value: object) -> Setting:
        """The words, with their expressions; or the text, where it is one expression."""
        if isinstance(value, list | tuple):
            return without_script(each(text_of, value))
        text = text_of(value)
        if not is_template(text):
            return _split(text)
        if expressions.whole(text) is not None:
            return text
        if _MARK in text:
            raise ValueError("holds the character U+E000, which has no place in a command; write a list")
        parts = expressions.find(text)
        marked, position = "", 0
        for number, part in enumerate(parts):
            marked += text[position : part.start] + f"{_MARK}{number}{_MARK}"
            position = part.end
        split = _split(marked + text[position:], text)
        return without_script([_MARKED.sub(lambda match: _source(text, parts, match), word) for word in split])

    def schema(self) -> Schema:
        """A text or a list in a file."""
        return {"anyOf": [{"type": "string"}, {"type": "array", "items": SCALAR_SCHEMA}]}


def without_script(command: Sequence[str]) -> tuple[str, ...]:
    """The command, unless an expression is a part of a shell's script in it, as in `sh -c "echo ${{ params.map }}"`.

    Raises ValueError. A script that is one expression and nothing else is meant to come from there.
    """
    for shell, option, script in zip(command, command[1:], command[2:], strict=False):
        if not _SHELL.fullmatch(shell) or not _SCRIPT_OPTION.fullmatch(option):
            continue
        if is_template(script) and expressions.whole(script) is None:
            raise ValueError(
                "has an expression in a shell's text, where its value would be script; "
                'give it a name in `env`, and write "$NAME" in the text'
            )
    return tuple(command)


def _source(text: str, parts: Sequence[expressions.Expression], match: re.Match[str]) -> str:
    part = parts[int(match[1])]
    return text[part.start : part.end]


def _split(text: str, given: str = "") -> tuple[str, ...]:
    try:
        words = tuple(shlex.split(text))
    except ValueError as error:
        raise ValueError(f"{shown(given or text)} cannot be split into words: {str(error).lower()}") from error
    if not words:
        raise ValueError("is empty; write the command to run, or leave it out")
    return words


COMMAND: Final = Command()
