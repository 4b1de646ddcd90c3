"""The command line of `gamenode-console`: options, examples, and a problem in one clear line."""

from __future__ import annotations

import os
import sys
from typing import Any, NoReturn

import click

from gamenode_console import texts
from gamenode_console.program import PROGRAM
from gamenode_console.settings import ConsoleSettings
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.exits import exit_for
from gamenode_proto.process.settings import load, options

EXAMPLES = (
    "gamenode-console",
    "gamenode-console --with-agent",
    "gamenode-console --data-dir ~/lab --listen 0.0.0.0:7443 --join-listen 0.0.0.0:7444",
    "gamenode-console --connect games.example.org:7445 --credentials ana.json",
    "gamenode-console --read-only",
)


class _Command(click.Command):
    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line, as they are typed."""
        with formatter.section("Examples"):
            for example in EXAMPLES:
                formatter.write(f"{'':>{formatter.current_indent}}{example}\n")


@click.command(cls=_Command, context_settings={"help_option_names": ["-h", "--help"]})
@options(ConsoleSettings)
@click.version_option(package_name="gamenode", message=f"{PROGRAM} %(version)s")
def console(flags: dict[str, Any]) -> None:
    """Open the console: nodes, runs and logs, live, driven by keyboard.

    It shows the server that runs, or starts one of its own, which goes on when the console is left or its terminal is
    lost: `gamenode down` stops it, and the next console shows it again.
    """
    try:
        settings = load(ConsoleSettings, flags=flags, env=os.environ)
        if not (sys.stdin.isatty() and sys.stdout.isatty()):
            raise GameNodeError(Code.INVALID_ARGUMENT, "it needs a terminal; for scripts there is `gamenode`")
        from gamenode_console.program.running import run
        from gamenode_console.program.showing import show

        sys.exit(run(settings, flags=flags, env=os.environ, show=show))
    except GameNodeError as error:
        _fail(error)


def _fail(error: GameNodeError) -> NoReturn:
    click.echo(f"{PROGRAM}: {texts.inert(error.message)}", err=True)
    sys.exit(exit_for(error.code))
