"""Compiles the `run:` of a step, so that an expression's value can never become script text.

In `sh` and `bash` each `${{ }}` turns into a reference to an environment variable that will hold its value. Where such
a reference would not be expanded (single quotes, quoted here-documents, Python) or would be evaluated as code
(arithmetic), that is a problem. Reads just enough shell grammar to know how a place is quoted.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import Enum, auto
from functools import lru_cache
from typing import Final, assert_never

from gamenode_pipelines import expressions
from gamenode_pipelines.plan import Script

#: What one argument of a program may have on Linux, and so a script; bytes.
MAX_SCRIPT: Final = 128 * 1024 - 1
#: Expressions one script may have.
MAX_EXPRESSIONS: Final = 200
#: What the variables of expressions begin with; a number from 1 follows.
VARIABLE: Final = "GAMENODE_EXPR_"

_USE_ENV: Final = "use env: give the step `env: {NAME: ${{ … }}}` and read the variable"


@dataclass(frozen=True, slots=True)
class ScriptProblem:
    """Something wrong at the `number`-th `${{ }}` of a script (from 0); of `argv`, in the `item`-th element."""

    number: int
    message: str
    item: int = 0
    warning: bool = False
    #: Only that its }} is missing.
    unclosed: bool = False


@dataclass(frozen=True, slots=True)
class Compiled:
    """A script with what is wrong with it; with errors among that it must not be run."""

    script: Script
    problems: tuple[ScriptProblem, ...] = ()


@lru_cache(maxsize=256)
def compile_script(shell: str, text: str) -> Compiled:
    """Compiles the text of a step for `sh`, `bash` or `python`."""
    plain = Script(shell=shell, text=text)
    if (size := len(text.encode("utf-8", "surrogatepass"))) > MAX_SCRIPT:
        message = f"the script has {size} bytes; at most {MAX_SCRIPT} are allowed: fetch it as a file and run that"
        return Compiled(plain, (ScriptProblem(0, message),))
    if (count := text.count("${{")) > MAX_EXPRESSIONS:
        message = f"the script has {count} expressions; at most {MAX_EXPRESSIONS} are allowed: use env"
        return Compiled(plain, (ScriptProblem(0, message),))
    parts = expressions.find(text)
    if not parts:
        return Compiled(plain)
    problems = [ScriptProblem(n, "the ${{ has no }}", unclosed=True) for n, part in enumerate(parts) if not part.closed]
    if shell == "python":
        problems += [
            ScriptProblem(n, f"an expression cannot stand in python text; {_USE_ENV}") for n in range(len(parts))
        ]
        return Compiled(plain, tuple(problems))
    names: dict[str, str] = {}
    pieces: list[str] = []
    position = 0
    for part in parts:
        source = part.source.strip()
        name = names.setdefault(source, f"{VARIABLE}{len(names) + 1}")
        pieces += (text[position : part.start], "${", name, "}")
        position = part.end
    pieces.append(text[position:])
    script = Script(shell=shell, text="".join(pieces), bindings={name: source for source, name in names.items()})
    problems += _shell_problems(text, parts)
    return Compiled(script, tuple(sorted(problems, key=lambda problem: problem.number)))


def compile_argv(argv: Sequence[str]) -> Compiled:
    """Compiles the command of a step without a shell: each element stays one argument, whatever its value."""
    problems = [
        ScriptProblem(number, "the ${{ has no }}", item=item, unclosed=True)
        for item, element in enumerate(argv)
        for number, part in enumerate(expressions.find(element))
        if not part.closed
    ]
    return Compiled(Script(shell="none", argv=tuple(argv)), tuple(problems))


#: Constructs a script may nest before its quoting is no longer followed.
_MAX_FRAMES: Final = 200


class Quoting(Enum):
    """How the shell reads a place of a script."""

    PLAIN = auto()
    DOUBLE = auto()
    SINGLE = auto()
    HEREDOC = auto()
    QUOTED_HEREDOC = auto()
    ARITHMETIC = auto()
    COMMENT = auto()


def _shell_problems(text: str, parts: Sequence[expressions.Expression]) -> Iterator[ScriptProblem]:
    places, whole = quoting(text, parts)
    for number, (part, place) in enumerate(zip(parts, places, strict=True)):
        if text[part.start - 1 : part.start] in ("\\", "$"):
            yield ScriptProblem(
                number, f"{text[part.start - 1]} right before ${{{{ changes its meaning for the shell; remove it"
            )
            continue
        match place:
            case Quoting.SINGLE:
                message = (
                    f'the shell expands nothing in single quotes; use double quotes: "${{{{ … }}}}", or {_USE_ENV}'
                )
                yield ScriptProblem(number, message, warning=not whole)
            case Quoting.QUOTED_HEREDOC:
                message = "the shell expands nothing in a here-document whose delimiter is quoted; remove its quotes"
                yield ScriptProblem(number, f"{message}, or {_USE_ENV}", warning=not whole)
            case Quoting.ARITHMETIC:
                message = "the shell evaluates what stands in arithmetic as code; do the sum in the expression"
                yield ScriptProblem(number, f"{message}: ${{{{ params.port + 1 }}}}")
            case Quoting.PLAIN:
                if _splits(text, part.start):
                    message = (
                        'without quotes the shell splits the value at spaces and expands * in it; write "${{ … }}"'
                    )
                    yield ScriptProblem(number, message, warning=True)
            case Quoting.DOUBLE | Quoting.HEREDOC | Quoting.COMMENT:
                pass
            case _:
                assert_never(place)
        if place is not Quoting.COMMENT and (message := _second_reader(text, part.start)):
            yield ScriptProblem(number, message, warning=True)


_INNER_SHELL: Final = re.compile(r"(?:^|[\s;&|(])(?:eval\s|(?:ba|da|k|z)?sh\s+(?:-\w+\s+)*-\w*c\s|su\s.*-c\s|ssh\s)")
_SUMS: Final = re.compile(r"(?:^|[\s;&|(])(?:let|declare\s+-\w*i\w*|typeset\s+-\w*i\w*)\s")
_DOUBLE_BRACKET: Final = re.compile(r"\[\[\s(?:(?!\]\]).)*\Z")
_NUMERIC_TEST: Final = re.compile(r"\s-(?:eq|ne|lt|le|gt|ge)\s")
_TEST_END: Final = re.compile(r"\]\]|\n")
_ASSIGNMENT: Final = re.compile(r"(?:^|[\s;&|({])[A-Za-z_]\w*\+?=[^\s;&|]*\Z")
_CASE: Final = re.compile(r"\bcase\s+\S*\Z")
_LINE_LIMIT: Final = 1000


def _line_before(text: str, start: int) -> str:
    """What stands before a place on its line, its last part at least; each expression is a `_`."""
    begin = max(text.rfind("\n", 0, start) + 1, start - _LINE_LIMIT)
    return expressions.blank(text[begin:start])


def _second_reader(text: str, start: int) -> str:
    """What is wrong with giving a value to a command that reads it as a script or a sum; or nothing."""
    before = _line_before(text, start)
    if _INNER_SHELL.search(before):
        return "a second shell would read the value as a script; pass it as an argument or through env"
    if _SUMS.search(before) or (
        _DOUBLE_BRACKET.search(before)
        and _NUMERIC_TEST.search(_TEST_END.split(text[start : start + _LINE_LIMIT], 1)[0])
    ):
        return (
            "bash evaluates the value as a sum here, which can run commands; do the sum in the expression, or use [ ]"
        )
    return ""


def _splits(text: str, start: int) -> bool:
    """Whether an unquoted value here becomes several words: not in an assignment, `case` or `[[`."""
    before = _line_before(text, start)
    return not (_ASSIGNMENT.search(before) or _CASE.search(before) or _DOUBLE_BRACKET.search(before))


@dataclass(slots=True)
class _Frame:
    """A nested construct: what the text in it is, what ends it."""

    quoting: Quoting
    end: str
    depth: int = 0


_HEREDOC: Final = re.compile(r"<<(-?)[ \t]*((?:\\.|'[^'\n]*'|\"[^\"\n]*\"|[^\s;&|<>()'\"\\])+)")
_COMMENT_BEFORE: Final = frozenset(["", *" \t\n;&|()"])


_SPECIAL: Final = re.compile(r"[\\'\"`$(){}#<]")
_SPECIAL_OR_LINE: Final = re.compile(r"[\\'\"`$(){}#<\n]")
_ANSI_SPECIAL: Final = re.compile(r"[\\']")


def _masked(text: str, parts: Sequence[expressions.Expression]) -> str:
    """The script with nothing in its expressions that the shell would care for; places stay what they are."""
    pieces: list[str] = []
    position = 0
    for part in parts:
        pieces += (text[position : part.start], "$", "_" * (part.end - part.start - 1))
        position = part.end
    return "".join([*pieces, text[position:]])


def _find(pattern: re.Pattern[str], text: str, start: int) -> int:
    match = pattern.search(text, start)
    return match.start() if match else len(text)


def quoting(text: str, parts: Sequence[expressions.Expression]) -> tuple[list[Quoting], bool]:
    """How the shell quotes each expression of a script; and whether every quote that opens also closes."""
    reader = _ShellReader(text, parts)
    reader.read()
    return reader.places, len(reader.frames) == 1 and not reader.heredocs


class _ShellReader:
    """Walks a script once, with a stack of what is open."""

    def __init__(self, text: str, parts: Sequence[expressions.Expression]) -> None:
        self.text = _masked(text, parts)
        self.parts = {part.start: part for part in parts}
        self.starts = [part.start for part in parts]
        self.places: list[Quoting] = []
        self.frames = [_Frame(Quoting.PLAIN, "")]
        self.heredocs: list[tuple[str, bool, bool]] = []
        self.position = 0

    def read(self) -> None:
        """Fills `places`."""
        while self.position < len(self.text) and len(self.frames) + self.frames[-1].depth <= _MAX_FRAMES:
            if part := self.parts.get(self.position):
                self.places.append(self.frames[-1].quoting)
                self.position = part.end
                continue
            frame = self.frames[-1]
            character = self.text[self.position]
            match frame.quoting:
                case Quoting.SINGLE:
                    self._single(frame)
                case Quoting.DOUBLE:
                    self._double(frame, character)
                case _:
                    self._plain(frame, character)
        self.places += [Quoting.PLAIN] * (len(self.starts) - len(self.places))  # where it was nested too deeply

    def _single(self, frame: _Frame) -> None:
        """Goes to the closing quote; `$'…'` has escapes."""
        end = self.position
        if frame.end == "$'":
            while (end := _find(_ANSI_SPECIAL, self.text, end)) < len(self.text) and self.text[end] == "\\":
                end += 2
        else:
            end = self.text.find("'", end)
            end = len(self.text) if end < 0 else end
        self._note(self.position, end, Quoting.SINGLE)
        self.position = end + 1
        if end < len(self.text):
            self.frames.pop()

    def _double(self, frame: _Frame, character: str) -> None:
        if character == "\\":
            self._skip_escape()
        elif self._opens_expansion():
            pass
        else:
            if character == frame.end:
                self.frames.pop()
            self.position = _find(_SPECIAL, self.text, self.position + 1)

    def _plain(self, frame: _Frame, character: str) -> None:
        """Commands, arithmetic, and what is between ${ and }."""
        text, at = self.text, self.position
        if character == "\\":
            self._skip_escape()
        elif character == "'":
            self._open(Quoting.SINGLE, "'", 1)
        elif text.startswith("$'", at):
            self._open(Quoting.SINGLE, "$'", 2)
        elif character == '"':
            self._open(Quoting.DOUBLE, '"', 1)
        elif self._opens_expansion():
            pass
        elif text.startswith("((", at) and frame.quoting is Quoting.PLAIN and text[at - 1 : at] in _COMMENT_BEFORE:
            self._open(Quoting.ARITHMETIC, "))", 2)
        elif frame.end and text.startswith(frame.end, at) and frame.depth == 0:
            self.position += len(frame.end)
            self.frames.pop()
        elif character == "#" and frame.end != "}" and text[at - 1 : at] in _COMMENT_BEFORE:
            self._comment()
        elif frame.quoting is Quoting.PLAIN and text.startswith("<<", at) and not text.startswith("<<<", at):
            self._heredoc_operator()
        elif character == "\n" and self.heredocs:
            self.position += 1
            self._heredoc_bodies()
        else:
            if character == "(" and frame.end in (")", "))"):
                frame.depth += 1
            elif character == ")" and frame.end in (")", "))"):
                frame.depth = max(0, frame.depth - 1)
            special = _SPECIAL_OR_LINE if self.heredocs else _SPECIAL
            self.position = _find(special, text, at + (3 if text.startswith("<<<", at) else 1))

    def _opens_expansion(self) -> bool:
        """Enters `$((`, `$(`, `${` or a backquote, where one begins."""
        inside = self.frames[-1].quoting
        quoted = Quoting.DOUBLE if inside is Quoting.DOUBLE else inside
        if self.text.startswith("$((", self.position):
            self._open(Quoting.ARITHMETIC, "))", 3)
        elif self.text.startswith("$(", self.position):
            self._open(Quoting.PLAIN, ")", 2)
        elif self.text.startswith("${", self.position):
            self._open(quoted, "}", 2)
        elif self.text[self.position] == "`" and self.frames[-1].end != "`":
            self._open(Quoting.PLAIN, "`", 1)
        else:
            return False
        return True

    def _open(self, quoting: Quoting, end: str, length: int) -> None:
        self.frames.append(_Frame(quoting, end))
        self.position += length

    def _skip_escape(self) -> None:
        self.position += 1 if self.position + 1 in self.parts else 2

    def _comment(self) -> None:
        end = self.text.find("\n", self.position)
        end = len(self.text) if end < 0 else end
        self._note(self.position, end, Quoting.COMMENT)
        self.position = end

    def _heredoc_operator(self) -> None:
        match = _HEREDOC.match(self.text, self.position)
        if match is None:
            self.position += 2
            return
        word = re.sub(r"\\(.)|['\"]", r"\1", match[2])
        self.heredocs.append((word, match[1] == "-", word != match[2]))
        self.position = match.end()

    def _heredoc_bodies(self) -> None:
        """Passes the bodies of the here-documents that the line before opened."""
        for word, tabs, quoted in self.heredocs:
            place = Quoting.QUOTED_HEREDOC if quoted else Quoting.HEREDOC
            while True:
                end = self.text.find("\n", self.position)
                stop = len(self.text) if end < 0 else end
                line = self.text[self.position : stop]
                if (line.lstrip("\t") if tabs else line) != word:
                    self._note(self.position, stop, Quoting.ARITHMETIC if not quoted and "$((" in line else place)
                self.position = min(stop + 1, len(self.text))
                if end < 0 or (line.lstrip("\t") if tabs else line) == word:
                    break
        self.heredocs = []

    def _note(self, start: int, end: int, place: Quoting) -> None:
        self.places += [place] * (bisect_left(self.starts, end) - bisect_left(self.starts, start))
