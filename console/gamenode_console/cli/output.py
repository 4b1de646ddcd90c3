"""Documents on stdout: table, wide, json, jsonl or name. Data goes to stdout and nothing else does."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import IO, Any

import click

from gamenode_console import filters, tables, texts
from gamenode_console.filters import Predicate
from gamenode_console.tables import Table
from gamenode_proto.process.clock import wall_clock

Document = Mapping[str, Any]


def is_plain(stream: IO[Any], env: Mapping[str, str]) -> bool:
    """Whether a stream gets neither colour nor anything that moves."""
    return not stream.isatty() or bool(env.get("NO_COLOR")) or env.get("TERM") == "dumb"


def paint(text: str, colour: str) -> str:
    """Text in a colour, or `bold`."""
    return click.style(text, bold=True) if colour == "bold" else click.style(text, fg=colour)


@dataclass(frozen=True, slots=True)
class Listing:
    """What the options of a list ask for."""

    quiet: bool = False
    headers: bool = True
    sort_by: str = ""
    columns: tuple[str, ...] = ()
    filter: str = ""
    watch: bool = False


class Output:
    """Writes documents in one format to stdout, line by line, flushed where somebody reads along."""

    def __init__(self, format: str, *, env: Mapping[str, str] | None = None) -> None:
        self.format = format
        self.env = os.environ if env is None else env

    @property
    def machine(self) -> bool:
        """Whether a program reads it: JSON of some kind."""
        return self.format in ("json", "jsonl")

    @property
    def colour(self) -> bool:
        """Whether stdout takes colours."""
        return not is_plain(sys.stdout, self.env)

    @property
    def width(self) -> int | None:
        """Columns of the terminal; None where stdout is none, and nothing is cut."""
        return shutil.get_terminal_size().columns if sys.stdout.isatty() else None

    def line(self, text: str) -> None:
        """One line of text."""
        click.echo(text)

    def json(self, document: Any) -> None:
        """One document: indented for `json`, on one line for `jsonl`."""
        if self.format == "json":
            click.echo(_encoded(document, indent=2))
        else:
            self.json_line(document)

    def json_line(self, document: Any) -> None:
        """One document on one line, as streams have it."""
        click.echo(_encoded(document, separators=(",", ":")))

    def select(self, documents: Iterable[Document], table: Table, listing: Listing) -> list[Document]:
        """The documents that the filter leaves, in the order that was asked for."""
        chosen = list(documents)
        if listing.filter:
            test: Predicate = filters.parse(listing.filter)
            chosen = [document for document in chosen if test(document)]
        if listing.sort_by:
            chosen = tables.sort(chosen, table, listing.sort_by, now=wall_clock())
        return chosen

    def many(self, documents: Sequence[Document], table: Table, listing: Listing | None = None) -> None:
        """A list of documents: a table, one JSON array, JSON lines, or their names or ids."""
        listing = listing or Listing()
        chosen = self.select(documents, table, listing)
        if listing.quiet:
            self._keys(str(document[table.id]) for document in chosen)
        elif self.format == "name":
            self._keys(table.name_of(document) for document in chosen)
        elif self.format == "json":
            self.json([dict(document) for document in chosen])
        elif self.format == "jsonl":
            for document in chosen:
                self.json_line(document)
        else:
            # Wrong column names are wrong for an empty list too.
            columns = self._columns(table, listing)
            if chosen:
                for line in self.table_lines(chosen, table, listing, columns=columns):
                    self.line(line)
            else:
                hint = table.empty if not documents else f"none of {len(documents)} match {listing.filter!r}"
                click.echo(hint, err=True)

    def _keys(self, keys: Iterable[str]) -> None:
        for key in keys:
            self.line(key)

    def _columns(self, table: Table, listing: Listing) -> tuple[tables.Column, ...]:
        return tables.choose(table, wide=self.format == "wide", only=listing.columns)

    def table_lines(
        self,
        documents: Sequence[Document],
        table: Table,
        listing: Listing,
        *,
        columns: tuple[tables.Column, ...] | None = None,
    ) -> list[str]:
        """The lines of a table as this terminal takes them."""
        return tables.lines(
            documents,
            columns if columns is not None else self._columns(table, listing),
            now=wall_clock(),
            headers=listing.headers,
            width=None if self.format == "wide" else self.width,
            paint=paint if self.colour else None,
        )

    def one(self, document: Document, human: Callable[[], Iterable[str]], *, name: str) -> None:
        """One document: JSON, its name, or lines for people."""
        if self.machine:
            self.json(dict(document))
        elif self.format == "name":
            self.line(name)
        else:
            for line in human():
                self.line(line)


def _encoded(document: Any, **layout: Any) -> str:
    """JSON that is read as the document says, and that no terminal obeys: what JSON need not escape is escaped too."""
    text = json.dumps(document, ensure_ascii=not _speaks_utf8(), **layout)
    return texts.ACTIVE.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def _speaks_utf8() -> bool:
    encoding = getattr(sys.stdout, "encoding", None) or ""
    return encoding.lower().replace("-", "") == "utf8"
