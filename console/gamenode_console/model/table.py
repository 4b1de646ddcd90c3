"""The rows of a live table: what is put, which rows are listed, and in which order. Pure; time is an argument.

Putting a row is a write into a dict, whether the row is seen or not. `settle` takes in what was put, at a cost of what
has changed: it judges only those rows anew, and brings the order up to date at most once a second and never while a
hand is at the table.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, Generic, TypeVar

from gamenode_console import filters
from gamenode_console.model.columns import Column
from gamenode_console.model.selection import Selection
from gamenode_pipelines.errors import GameNodeError

R = TypeVar("R")

#: Seconds between two sorts, and after a touch.
SORT_EVERY = 1.0
SORT_REST = 2.0

_GONE: Final = object()


@dataclass(frozen=True, slots=True)
class Settled:
    """What is other than before."""

    #: Rows that say something else now, listed or not.
    changed: Collection[str] = ()
    #: Other rows are listed, or in another order.
    relisted: bool = False
    #: The cursor is on another row.
    moved: bool = False


class TableModel(Generic[R]):
    """Rows by id. `words` makes the document that a filter looks at; without it that is the text of the columns."""

    def __init__(
        self,
        columns: Sequence[Column[R]],
        key: Callable[[R], str],
        words: Callable[[R], Mapping[str, Any]] | None = None,
        *,
        faulty: Callable[[R], bool] | None = None,
        sort: str = "",
        reverse: bool = False,
    ) -> None:
        self.columns = tuple(columns)
        self.rows: dict[str, R] = {}
        self.selection = Selection()
        self.filter_text = ""
        #: Only rows that are not well are listed.
        self.only_faulty = False
        #: The column that is sorted by; empty: in the order in which they came.
        self.sort_key = sort
        self.reverse = reverse
        #: Rows have changed so that the order is not right any more.
        self.order_stale = False
        self._key = key
        self._words = words or self._columns_as_words
        self._faulty = faulty
        self._predicate: filters.Predicate | None = None
        self._incoming: dict[str, R | object] = {}
        self._order: list[str] = []
        self._ranks: dict[str, tuple[int, Any, str]] = {}
        self._documents: dict[str, Mapping[str, Any]] = {}
        #: The rows that match; None: all do.
        self._members: set[str] | None = None
        self._unjudged: list[str] | None = None
        self._found: set[str] = set()
        self._relist = False
        self._touched = False
        self._rest_until = self._sort_at = -math.inf

    # -- rows ---------------------------------------------------------------------------------------------------------

    def put(self, row: R) -> None:
        """Takes over a row, new or changed."""
        self._incoming[self._key(row)] = row

    def remove(self, id: str) -> None:
        """Takes a row away."""
        self._incoming[id] = _GONE

    def clear(self) -> None:
        """Takes every row away; those that are put again before the next `settle` keep cursor and marks."""
        self._incoming = dict.fromkeys(self.rows, _GONE)

    def settle(self, now: float) -> Settled:
        """Takes in what was put and removed since the last time."""
        incoming, self._incoming = self._incoming, {}
        gone: set[str] = set()
        for id, row in incoming.items():
            if row is _GONE:
                if self.rows.pop(id, None) is not None:
                    gone.add(id)
            else:
                self._take(id, row)  # type: ignore[arg-type]  # whatever is not the mark is a row
        if gone:
            self._drop(gone)
        if self._touched:
            self._touched = False
            self._rest_until = now + SORT_REST
        if self.order_stale and now >= max(self._rest_until, self._sort_at):
            self._sort_at = now + SORT_EVERY
            self._arrange()
        return replace(self.relist(), changed=incoming.keys())

    def relist(self) -> Settled:
        """Lists anew where another filter or order asks for it; takes in nothing."""
        relisted, self._relist = self._relist, False
        return Settled((), relisted, relisted and self._list())

    def _take(self, id: str, row: R) -> None:
        if id not in self.rows:
            self._order.append(id)
            self._relist = True
        self.rows[id] = row
        self._documents.pop(id, None)
        if self.sort_key:
            rank = self._rank(id)
            if self._ranks.get(id) != rank:
                self._ranks[id] = rank
                self.order_stale = True
        if self._unjudged is not None:
            self._found.discard(id)
            self._unjudged.append(id)
        elif self._members is not None and (id in self._members) is not self._matches(id):
            self._members ^= {id}
            self._relist = True

    def _drop(self, gone: set[str]) -> None:
        self._order = [id for id in self._order if id not in gone]
        for left in (self._ranks, self._documents):
            for id in gone:
                left.pop(id, None)
        self._found -= gone
        if self._members is not None:
            self._members -= gone
        self.selection.forget(gone)
        self._relist = True

    def _list(self) -> bool:
        members = self._members
        return self.selection.show(
            self._order.copy() if members is None else [id for id in self._order if id in members]
        )

    # -- order --------------------------------------------------------------------------------------------------------

    def touch(self) -> None:
        """A hand is at the table: nothing is sorted for a while."""
        self._touched = True
        self.selection.touch()

    def sort(self, key: str, *, reverse: bool = False) -> None:
        """Sorts by a column, at once; by the order in which they came with an empty key."""
        self.sort_key, self.reverse = key, reverse
        self._ranks = {id: self._rank(id) for id in self.rows} if key else {}
        self._arrange()

    def sort_now(self) -> None:
        """Brings the order up to date, at once."""
        self._arrange()

    def sortable(self) -> list[str]:
        """The keys of the columns that can be sorted by."""
        return [column.key for column in self.columns if column.order is not None]

    def _arrange(self) -> None:
        if self.sort_key:
            self._order.sort(key=self._ranks.__getitem__, reverse=self.reverse)
        else:
            self._order = list(self.rows)
            if self.reverse:
                self._order.reverse()
        self.order_stale = False
        self._relist = True

    def _rank(self, id: str) -> tuple[int, Any, str]:
        """What is compared: like with like, what is not there last whichever way round, and equals by their ids."""
        column = next((c for c in self.columns if c.key == self.sort_key), None)
        value = column.order(self.rows[id]) if column is not None and column.order is not None else None
        match value:
            case None | "":
                return (-1 if self.reverse else 9, 0, id)
            case bool() | int() | float():
                return (9 if self.reverse is False else -1, 0, id) if math.isnan(value) else (0, value, id)
            case str():
                return (1, value.casefold(), id)
            case _:
                return (2, value, id)

    # -- what is listed -----------------------------------------------------------------------------------------------

    def filter(self, text: str) -> str:
        """Lists only what matches from now on; returns what is wrong with the text, and then the old filter stays.

        The rows are judged by `judge`, in parts; until that is through, what was listed stays.
        """
        try:
            predicate = filters.parse(text) if text.strip() else None
        except GameNodeError as error:
            return error.message
        self.filter_text, self._predicate = text.strip(), predicate
        self._judge_anew()
        return ""

    def show_faulty(self, only: bool) -> None:
        """Lists only rows that are not well, or all."""
        self.only_faulty = only and self._faulty is not None
        self._judge_anew()

    @property
    def judging(self) -> bool:
        """Not every row has been judged by the filter yet."""
        return self._unjudged is not None

    def judge(self, count: int) -> bool:
        """Judges up to `count` rows; whether there are more."""
        if self._unjudged is None:
            return False
        for _ in range(min(count, len(self._unjudged))):
            id = self._unjudged.pop()
            if id in self.rows and self._matches(id):
                self._found.add(id)
        if self._unjudged:
            return True
        self._unjudged, self._members = None, self._found
        self._relist = True
        return False

    def _judge_anew(self) -> None:
        self.touch()
        self._found = set()
        if self._predicate is None and not self.only_faulty:
            self._members = self._unjudged = None
            self._documents.clear()
            self._relist = True
        else:
            self._unjudged = list(reversed(self._order))

    def _matches(self, id: str) -> bool:
        row = self.rows[id]
        if self.only_faulty and self._faulty is not None and not self._faulty(row):
            return False
        if self._predicate is None:
            return True
        document = self._documents.get(id)
        if document is None:
            document = self._documents[id] = self._words(row)
        return self._predicate(document)

    def _columns_as_words(self, row: R) -> Mapping[str, Any]:
        return {column.key: column.text(row, 0.0) for column in self.columns if not column.ages}

    # -- what is seen of it -------------------------------------------------------------------------------------------

    @property
    def visible(self) -> Sequence[str]:
        """The ids that are listed, in order."""
        return self.selection.visible

    @property
    def cursor(self) -> str:
        """The id that is pointed at; empty where nothing is listed."""
        return self.selection.cursor

    @property
    def marks(self) -> set[str]:
        """The ids that are marked, listed or not."""
        return self.selection.marks

    def selected(self) -> list[str]:
        """The marked rows, or the one under the cursor."""
        return self.selection.selected()

    def current(self) -> R | None:
        """The row under the cursor."""
        return self.rows.get(self.cursor)
