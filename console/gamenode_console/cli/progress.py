"""How far a transfer is: one line on a terminal that is written over, nothing anywhere else."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Mapping

import click

from gamenode_console import texts
from gamenode_console.cli.output import is_plain

#: Seconds between two looks.
_EVERY = 0.2


class ProgressLine:
    """`with ProgressLine("maps.tar", env) as progress: progress.at(done, total)`. Ends with an empty line."""

    def __init__(self, what: str, env: Mapping[str, str]) -> None:
        self._what = texts.one_line(what)
        self._shown = not is_plain(sys.stderr, env)
        self._next = 0.0
        self._drawn = False

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(self, *how: object) -> None:
        if self._drawn:
            click.echo("\r\033[K", err=True, nl=False)

    def at(self, done: int, total: int) -> None:
        """So many bytes of so many are there."""
        if not self._shown:
            return
        now = asyncio.get_running_loop().time()
        if now >= self._next:
            self._next, self._drawn = now + _EVERY, True
            share = f"{100 * done // total}%" if total else ""
            line = f"{self._what}  {texts.size(done)} of {texts.size(total)}  {share}"
            click.echo(f"\r{line}\033[K", err=True, nl=False)
