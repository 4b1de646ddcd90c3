"""What every command gets: settings, output, and the way to the server. Owns the event loop and the words on stderr."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Awaitable, Callable, Mapping
from functools import cached_property
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gamenode_console import discovery, texts
from gamenode_console.cli.output import Output, is_plain
from gamenode_console.settings import ClientSettings
from gamenode_pipelines.errors import Code, GameNodeError

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

T = TypeVar("T")


class Client:
    """One call of the client. `flags` are what the command line gave, by setting name, and grow as it is parsed."""

    def __init__(self, env: Mapping[str, str] | None = None) -> None:
        self.env = os.environ if env is None else env
        self.flags: dict[str, Any] = {}
        #: Printed when Ctrl-C ends the command: what goes on, and how to end that too.
        self.on_interrupt = ""
        #: The signal other than Ctrl-C that ends the command.
        self.ended_by: int | None = None
        self._notice = ""

    def add_flags(self, flags: Mapping[str, Any]) -> None:
        """Takes over what was given; a later one, nearer to the command, wins."""
        self.flags.update({name: value for name, value in flags.items() if value is not None})

    @cached_property
    def settings(self) -> ClientSettings:
        """The settings of this call; first asked for when all flags are known."""
        from gamenode_proto.process import logs, settings

        loaded = settings.load(ClientSettings, flags=self.flags, env=self.env)
        logs.configure(loaded.log_level, loaded.log_format)
        return loaded

    @cached_property
    def output(self) -> Output:
        """Where documents go, in the format that was asked for."""
        return Output(self.settings.output, env=self.env)

    @property
    def place(self) -> discovery.Place:
        """The data dir of the server to talk to, for what needs one on this machine."""
        return discovery.choose_place(self.settings, self.env, flags=self.flags)

    def say(self, text: str, *, colour: str = "") -> None:
        """One line for the person on stderr."""
        line = texts.inert(text)
        if colour and not is_plain(sys.stderr, self.env):
            line = click.style(line, fg=colour)
        click.echo(line, err=True)

    def run(self, work: Callable[[Gateway], Awaitable[T]], *, patience: float | None = None) -> T:
        """Does `work` with an open gateway, on an event loop of its own."""
        target = discovery.find(self.settings, self.env, flags=self.flags)
        return asyncio.run(self._with_gateway(target, work, patience))

    async def _with_gateway(
        self, target: discovery.AnyTarget, work: Callable[[Gateway], Awaitable[T]], patience: float | None
    ) -> T:
        from gamenode_console.gateway import open_gateway

        options = {} if patience is None else {"patience": patience}
        async with open_gateway(target, notify=self.notify, **options) as gateway:
            return await work(gateway)

    def notify(self, text: str) -> None:
        """What the gateway says of its connection; once, however many streams notice."""
        if text == self._notice:
            return
        self._notice = text
        self.say(f"gamenode: {text}", colour="yellow")

    def confirm(self, question: str, *, yes: bool) -> None:
        """Asks before something is destroyed; in a script `--yes` is the answer.

        Raises click.Abort where the person says no, GameNodeError where nobody can be asked.
        """
        if yes:
            return
        if not (sys.stdin.isatty() and sys.stderr.isatty()):
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{question} Not a terminal: give --yes to go ahead.")
        if not click.confirm(texts.inert(question), err=True):
            raise click.Abort


pass_client = click.make_pass_decorator(Client)
