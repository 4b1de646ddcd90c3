"""What is looked for in a log: a search, a filter, trouble; and the line that a key asked to go to. Pure.

Nothing is looked through at once: whoever holds this advances it, a slice at a time, and a newer question replaces an
older one.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gamenode_console.model.logbook import LogBook
from gamenode_console.model.logsearch import Scan, Wanted, trouble

#: Bytes that are looked through at a time, so that a key waits for no more than that.
SLICE = 256 << 10


@dataclass(frozen=True, slots=True)
class _Wish:
    """A line to go to as soon as it is known which one it is."""

    scan: Scan
    seq: int
    back: bool
    #: Where there is none, the nearest the other way.
    turn: bool = False


class Finding:
    """What is looked for in one book."""

    def __init__(self, book: LogBook) -> None:
        self._book = book
        #: What is looked for and what is shown alone, as it was typed.
        self.searched = self.filtered = ""
        self.wanted: Wanted | None = None
        #: The lines that are shown alone; None: all are.
        self.filter: Scan | None = None
        self._search: Scan | None = None
        self._trouble: Scan | None = None
        self._wish: _Wish | None = None
        #: What there is to say of the last question.
        self.said = ""

    def search(self, text: str, start: int) -> None:
        """Looks for a text from a line upwards, then downwards. Raises GameNodeError for a wrong expression."""
        wanted = Wanted(text) if text else None
        self.searched, self.wanted, self.said = text, wanted, ""
        self._search = self._wish = None
        if wanted is not None:
            self._search = self._scan(wanted, start)
            self._wish = _Wish(self._search, start, back=True, turn=True)

    def show_only(self, text: str, start: int) -> None:
        """Lets only lines through that match, and those about the log; all, without a text. Raises GameNodeError."""
        wanted = Wanted(text) if text else None
        self.filter = Scan(self._book, (wanted,), self._book.last, notes=True) if wanted is not None else None
        self.filtered, self.said = text, ""
        self._search = self._scan(self.wanted, start) if self.wanted is not None else None
        self._trouble = self._wish = None

    def next_hit(self, start: int, *, back: bool) -> None:
        """Asks for the nearest line that has what is looked for."""
        if self._search is not None:
            self._wish, self.said = _Wish(self._search, start, back), ""

    def next_trouble(self, start: int, *, back: bool) -> None:
        """Asks for the nearest line that looks like trouble."""
        if self._trouble is None:
            self._trouble = self._scan(trouble(), start)
        self._wish, self.said = _Wish(self._trouble, start, back), ""

    def advance(self, budget: int = SLICE) -> bool:
        """Looks through the book a little more; whether there is more to look through."""
        more = False
        for scan in (self.filter, self._search, self._trouble):
            more = (scan is not None and scan.look(budget)) or more
        return more

    def granted(self) -> int | None:
        """The line that was asked for, once, as soon as it is known."""
        while (wish := self._wish) is not None:
            found, known = wish.scan.nearest(wish.seq, back=wish.back)
            if not known:
                return None
            self._wish = None
            if found is not None:
                return found
            if wish.turn:
                self._wish = replace(wish, seq=wish.seq + 1, back=not wish.back, turn=False)
            else:
                where = ("above" if wish.back else "below") if len(wish.scan) else "here"
                self.said = f"no line {where} has it" + (", but not all is loaded" if self._book.earlier else "")
        return None

    def parts(self) -> list[str]:
        """How far it is, for the line below a log."""
        found = []
        if self.filter is not None:
            found.append(f"&{self.filtered}: {len(self.filter):,}{_progress(self.filter)}")
        if self._search is not None:
            hits = len(self._search)
            found.append(f"/{self.searched}: {hits:,} hit{'' if hits == 1 else 's'}{_progress(self._search)}")
        if self._trouble is not None and self._wish is not None and self._wish.scan is self._trouble:
            found.append(f"errors{_progress(self._trouble)}")
        return [*found, self.said] if self.said else found

    def _scan(self, wanted: Wanted, start: int) -> Scan:
        also = [Wanted(self.filtered)] if self.filtered else []
        return Scan(self._book, (wanted, *also), start)


def _progress(scan: Scan) -> str:
    return f", searching {scan.done:.0%}" if scan.more and scan.done < 0.995 else ""
