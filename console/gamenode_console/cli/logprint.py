"""Writing log pieces to stdout: raw bytes where one log goes into a pipe, prefixed lines where there are several."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable
from typing import BinaryIO

import click

from gamenode_console import loglines, texts
from gamenode_console.cli.client import Client
from gamenode_console.cli.output import is_plain
from gamenode_console.documents import Document
from gamenode_proto.v1.state_management_pb2 import LogPiece

#: Colours of prefixes, so that neighbours differ.
_COLOURS = ("cyan", "magenta", "green", "yellow", "blue")


class LogPrinter:
    """Prints the pieces of a run's logs as they come."""

    def __init__(
        self, client: Client, style: loglines.Style, *, to_stderr: bool = False, verbose: bool = False
    ) -> None:
        self._client = client
        self._style = style
        self._verbose = verbose
        stream = sys.stderr if to_stderr else sys.stdout
        self._out: BinaryIO = stream.buffer
        self._tty = stream.isatty()
        self._colour = not is_plain(stream, client.env)
        self._cutter = loglines.LineCutter()
        style.inert = self._tty
        several = style.nodes or style.steps
        #: Every byte as it is in the log: nothing goes in front and nothing is left out.
        self.raw = not (self._tty or several or style.timestamps or style.grep)
        self._incomplete: list[loglines.Ended] = []

    @classmethod
    def for_run(
        cls,
        client: Client,
        document: Document,
        *,
        node: str = "",
        step: str = "",
        timestamps: bool = False,
        grep: re.Pattern[bytes] | None = None,
        to_stderr: bool = False,
        verbose: bool = False,
    ) -> LogPrinter:
        """A printer whose prefixes are those that this run needs to tell its logs apart."""
        tasks = document["tasks"]
        nodes = {task["node"] for task in tasks if not node or node in (task["node"], task["node_id"])}
        steps = {found["id"] for task in tasks for found in task["steps"] if not step or found["id"] == step}
        style = loglines.Style(nodes=len(nodes or tasks) > 1, steps=len(steps) > 1, timestamps=timestamps, grep=grep)
        origins = [loglines.Origin(name, found, 1, 1) for name in nodes or {""} for found in steps or {""}]
        style.width = min(max(len(style.prefix(origin)) for origin in origins), 40)
        return cls(client, style, to_stderr=to_stderr, verbose=verbose)

    def print(self, piece: LogPiece) -> None:
        """Writes what this piece completes, and flushes."""
        if self.raw:
            self._out.write(piece.data)
            if piece.HasField("hole"):
                self._client.say(f"gamenode: {loglines.hole(piece)}")
            piece.data = b""
            piece.ClearField("hole")
        self._lines(self._cutter.feed(piece))
        self._out.flush()

    def finish(self) -> None:
        """Writes what is left of unfinished lines, and says which logs are not whole."""
        self._lines(self._cutter.flush())
        self._out.flush()
        for ended in self._incomplete:
            if not self._verbose:
                self._say(ended)

    def _lines(self, found: Iterable[loglines.Line | loglines.Ended]) -> None:
        for item in found:
            match item:
                case loglines.Line():
                    if self._style.wants(item):
                        self._out.write(self._painted(item))
                case loglines.Ended():
                    if not item.complete:
                        self._incomplete.append(item)
                    if self._verbose:
                        self._say(item)

    def _painted(self, line: loglines.Line) -> bytes:
        text = self._style.render(line)
        if not self._colour:
            return text
        if line.note:
            return click.style(text.decode().rstrip("\n"), fg="yellow").encode() + b"\n"
        front, bar, rest = text.partition(b" | ")
        if not bar or not self._style.prefix(line.origin):
            return text
        colour = _COLOURS[sum(line.origin.node.encode() + line.origin.step.encode()) % len(_COLOURS)]
        return click.style(front.decode(), fg=colour).encode() + bar + rest

    def _say(self, ended: loglines.Ended) -> None:
        origin = ended.origin
        name = f"{origin.node}/{origin.step}" + (f"#{origin.attempt}" if origin.attempt > 1 else "")
        self._client.say(f"gamenode: log of {texts.one_line(name)}: {loglines.summary(ended)}")
