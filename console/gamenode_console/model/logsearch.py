"""Finding lines in a log book: what is looked for, and walking through the book in slices. Pure.

A word is found wherever it stands, whatever its case unless it has capitals; `~` begins a regular expression.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from gamenode_console.model.logbook import LogBook
from gamenode_pipelines.errors import Code, GameNodeError

#: Words that lines of trouble have.
ERRORS = re.compile(
    rb"\b(error|fatal|panic|exception|traceback|fail(ed|ure)?|critical|denied|refused)\b", re.IGNORECASE
)


def pattern(text: str) -> re.Pattern[bytes]:
    """What is looked for. Raises GameNodeError (invalid_argument) for an expression that is none."""
    regular = text.startswith("~") and len(text) > 1
    source = text[1:] if regular else re.escape(text)
    flags = 0 if (source != source.lower() and not regular) or (regular and text != text.lower()) else re.IGNORECASE
    try:
        return re.compile(source.encode(), flags)
    except re.error as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{source!r} is no regular expression: {error}") from error


def find(book: LogBook, wanted: re.Pattern[bytes], start: int, *, back: bool, budget: int) -> tuple[int | None, int]:
    """The nearest line that matches, from `start` on (or back from it), looking through about `budget` bytes.

    Returns the line, if there is one, and where to go on; that is before the first line or behind the last where there
    is no more to look through.
    """
    at = start
    while budget > 0:
        line = book.line(at)
        if line is None:
            return None, book.first - 1 if back else book.last + 1
        if not line.note and wanted.search(line.data):
            return at, at
        budget -= len(line.data) + 40
        at += -1 if back else 1
    return None, at


@dataclass
class Filtered:
    """The lines of a book that match, found as it grows."""

    wanted: re.Pattern[bytes]
    lines: list[int] = field(default_factory=list)
    upto: int = -1

    def look(self, book: LogBook, budget: int) -> bool:
        """Looks through about so many bytes more; whether there is more to look through."""
        if self.upto < book.first:
            self.upto = book.first
            while self.lines and self.lines[0] < book.first:
                self.lines.pop(0)
        while budget > 0 and self.upto <= book.last:
            line = book.line(self.upto)
            if line is None or line.partial:
                return False
            if line.note or self.wanted.search(line.data):
                self.lines.append(self.upto)
            budget -= len(line.data) + 40
            self.upto += 1
        return self.upto <= book.last
