"""`--watch` on lists: the list again whenever something happened; lines of what changed where there is no terminal."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import click

from gamenode_console.cli.client import Client
from gamenode_console.cli.following import one_error
from gamenode_console.cli.output import Document, Listing, is_plain
from gamenode_console.tables import Table

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: At most this often is a list asked for again, in seconds.
_PACE = 0.5
#: Ages grow without events: a terminal's list is drawn again after this many seconds.
_REDRAW = 2.0

Fetch = Callable[["Gateway"], Awaitable[Sequence[Document]]]


def show(client: Client, table: Table, listing: Listing, fetch: Fetch, *, silent: bool = False) -> None:
    """Prints a list, or with `--watch` goes on printing it until Ctrl-C.

    `silent` lists change without events too, and are asked for every now and then.
    """
    if not listing.watch:
        client.output.many(client.run(fetch), table, listing)
        return
    screen = not client.output.machine and not listing.quiet and not is_plain(sys.stdout, client.env)
    printer = _Screen(client, table, listing) if screen else _Changes(client, table, listing)

    async def work(gateway: Gateway) -> None:
        happened = asyncio.Event()
        happened.set()
        async with one_error(), asyncio.TaskGroup() as group:
            group.create_task(_hear(gateway, happened))
            while True:
                try:
                    async with asyncio.timeout(_REDRAW if screen or silent else None):
                        await happened.wait()
                except TimeoutError:
                    pass  # nothing happened: only ages have changed
                happened.clear()
                printer.print(await fetch(gateway))
                await asyncio.sleep(_PACE)

    client.run(work)


async def _hear(gateway: Gateway, happened: asyncio.Event) -> None:
    """Sets `happened` for every event from now on."""
    async for _ in gateway.state.watch_events(after=-1, follow=True):
        happened.set()


class _Screen:
    """Draws the whole list at the top of the terminal."""

    def __init__(self, client: Client, table: Table, listing: Listing) -> None:
        self._client, self._table, self._listing = client, table, listing

    def print(self, documents: Sequence[Document]) -> None:
        """Clears the terminal and draws."""
        output = self._client.output
        chosen = output.select(documents, self._table, self._listing)
        lines = output.table_lines(chosen, self._table, self._listing) if chosen else [self._table.empty]
        click.clear()
        output.line("\n".join(lines))


class _Changes:
    """Prints documents that are new or differ from when they were last printed; a list's head comes once."""

    def __init__(self, client: Client, table: Table, listing: Listing) -> None:
        self._client, self._table, self._listing = client, table, listing
        self._printed: dict[str, Document] = {}
        self._first = True

    def print(self, documents: Sequence[Document]) -> None:
        """Prints what changed, oldest knowledge last."""
        output, listing = self._client.output, self._listing
        changed = []
        for document in output.select(documents, self._table, listing):
            key = str(document[self._table.id])
            if self._printed.get(key) != document:
                self._printed[key] = document
                changed.append(document)
        if output.machine:
            for document in changed:
                output.json_line(document)
        elif changed and (listing.quiet or output.format == "name"):
            keys = [str(d[self._table.id]) if listing.quiet else self._table.name_of(d) for d in changed]
            output.line("\n".join(keys))
        elif changed:
            lines = output.table_lines(changed, self._table, listing)
            output.line("\n".join(lines if self._first or not listing.headers else lines[1:]))
        self._first = self._first and not changed
        sys.stdout.flush()
