"""How commands are declared: common options, examples and aliases; and how errors become exit codes."""

from __future__ import annotations

import importlib
import io
import logging
import os
import re
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NoReturn, TextIO, TypeVar

import click
from click import shell_completion

from gamenode_console import texts
from gamenode_console.cli.client import Client
from gamenode_console.cli.output import Listing
from gamenode_console.settings import ClientSettings
from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_proto.process.exits import ExitCode, exit_for
from gamenode_proto.process.settings import settings_of

logger = logging.getLogger(__name__)

#: `FILE:LINE:COLUMN: `
_PLACE = re.compile(r"[^\n]+:\d+:\d+: ")

F = TypeVar("F", bound=Callable[..., Any])

#: Other tools' words for ours; used where the group has ours and not theirs.
ALIASES: Mapping[str, str] = {"list": "ls", "ps": "ls", "inspect": "show", "delete": "rm", "remove": "rm"}
#: The variable by which a shell asks for completions.
COMPLETE = "_GAMENODE_COMPLETE"
_SETTINGS = tuple(item.name for item in settings_of(ClientSettings))


def common_options(*, hidden: bool) -> list[click.Parameter]:
    """The options that every command takes, before or after its name."""
    options: list[click.Parameter] = []
    for item in settings_of(ClientSettings):
        flags = ["-o", "--output"] if item.name == "output" else [f"--{item.flag}"]
        shown = not hidden or item.name == "output"
        options.append(
            click.Option(
                [*flags, item.name], metavar=item.metavar, help=f"{item.doc}  [env: {item.variable}]", hidden=not shown
            )
        )
    options.append(
        click.Option(["--config", "config"], metavar="FILE", help="A YAML file with settings.", hidden=hidden)
    )
    return options


def take_flags(context: click.Context) -> Client:
    """Moves the common options from a command's parameters to the client."""
    client = context.ensure_object(Client)
    client.add_flags({name: context.params.pop(name, None) for name in (*_SETTINGS, "config")})
    return client


class Command(click.Command):
    """A command with the common options and examples."""

    def __init__(self, *args: Any, examples: Sequence[str] = (), **extra: Any) -> None:
        super().__init__(*args, **extra)
        self.examples = tuple(examples)
        self.params.extend(common_options(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Runs the command once the common options are with the client."""
        take_flags(ctx)
        return super().invoke(ctx)

    def format_epilog(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The examples, one a line, as they are typed."""
        if self.examples:
            with formatter.section("Examples"):
                for example in self.examples:
                    formatter.write(f"{'':>{formatter.current_indent}}{example}\n")
        super().format_epilog(ctx, formatter)


class Group(click.Group):
    """A group of commands that knows other tools' words for them, and suggests the nearest."""

    command_class = Command

    def __init__(self, *args: Any, **extra: Any) -> None:
        extra.setdefault("no_args_is_help", True)
        super().__init__(*args, **extra)
        self.params.extend(common_options(hidden=True))

    def invoke(self, ctx: click.Context) -> Any:
        """Takes the common options that stand between the group and the command."""
        take_flags(ctx)
        return super().invoke(ctx)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """A command by its name, or by another tool's word for it."""
        return super().get_command(ctx, cmd_name) or super().get_command(ctx, ALIASES.get(cmd_name, cmd_name))


class RootGroup(Group):
    """The top of the tree: imports a command's file only when it is called, and ends the process with its exit code."""

    #: Name → (module, attribute, short help).
    lazy: Mapping[str, tuple[str, str, str]] = {}

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, without importing it."""
        return sorted(self.lazy)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Imports a command."""
        if cmd_name not in self.lazy:
            return None
        module, attribute, _ = self.lazy[cmd_name]
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Finds the command, or says which one was meant."""
        if args and not args[0].startswith("-") and args[0] not in self.lazy and not ctx.resilient_parsing:
            raise click.exceptions.NoSuchCommand(args[0], possibilities=self.lazy, ctx=ctx)
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands in `--help`."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.lazy[name][2]) for name in self.list_commands(ctx)])

    def main(self, args: Sequence[str] | None = None, prog_name: str | None = None, **extra: Any) -> NoReturn:  # type: ignore[override]
        """Runs a command line and ends with its exit code; whatever goes wrong is a clear line on stderr."""
        client = Client()
        name = prog_name or "gamenode"
        code = int(ExitCode.OK)
        if args is None:
            _end_like_ctrl_c(client)
            _make_stdout_safe()
        try:
            if instruction := os.environ.get(COMPLETE):
                code = shell_completion.shell_complete(self, {}, name, COMPLETE, instruction)
            else:
                with self.make_context(name, list(sys.argv[1:] if args is None else args), obj=client) as context:
                    result = self.invoke(context)
                code = int(result) if isinstance(result, int) else ExitCode.OK
            sys.stdout.flush()
        except BrokenPipeError:
            # Whoever read our output has seen enough; keep the interpreter from complaining at its end.
            os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
            code = 128 + 13
        except KeyboardInterrupt:
            code = 128 + client.ended_by if client.ended_by else interrupted(client)
        except Exception as error:
            code = report(error)
        sys.exit(code)


def _end_like_ctrl_c(client: Client) -> None:
    """Makes SIGTERM and a hang-up end the command as Ctrl-C does: connections closed, the terminal given back."""

    def end(number: int, frame: object) -> None:
        client.ended_by = number
        signal.raise_signal(signal.SIGINT)

    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:  # `nohup` stays in force
            signal.signal(number, end)


def _make_stdout_safe() -> None:
    """Gives stdout a buffer where PYTHONUNBUFFERED took it away, and a place to go where it is closed.

    Without a buffer, what a signal cuts off a write (Ctrl-Z and `fg` will do) is lost.
    """
    out: TextIO | None = sys.stdout
    if out is None:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 - open as long as the process
    elif isinstance(getattr(out, "buffer", None), io.RawIOBase):
        sys.stdout = open(out.fileno(), "w", encoding=out.encoding, errors=out.errors, closefd=False)  # noqa: SIM115


def interrupted(client: Client) -> int:
    """What Ctrl-C leaves behind, in words."""
    click.echo("", err=True)
    if client.on_interrupt:
        click.echo(client.on_interrupt, err=True)
    return ExitCode.INTERRUPTED


def report(error: Exception) -> int:
    """Says what went wrong on stderr and returns the exit code for it."""
    match error:
        case click.exceptions.Exit():
            return error.exit_code
        case click.Abort():
            click.echo("nothing was done", err=True)
            return ExitCode.INTERRUPTED
        case click.exceptions.NoArgsIsHelpError():
            click.echo(error.format_message(), err=True)
            return ExitCode.USAGE
        case click.UsageError():
            _usage(error)
            return ExitCode.USAGE
        case click.ClickException():
            click.echo(f"gamenode: {texts.inert(error.format_message())}", err=True)
            return ExitCode.USAGE
        case InvalidPipeline():
            click.echo(texts.inert(error.message), err=True)
            return ExitCode.USAGE
        case GameNodeError():
            # Problems of pipeline files have their own place in front, as compilers do.
            front = "" if _PLACE.match(error.message) else "gamenode: "
            click.echo(f"{front}{texts.inert(error.message or error.code)}", err=True)
            if error.code is Code.PERMISSION_DENIED:
                click.echo("`gamenode whoami` says who the server takes you for.", err=True)
            return exit_for(error.code)
        case OSError():
            where = f"{error.filename}: " if error.filename else ""
            click.echo(f"gamenode: {texts.inert(f'{where}{error.strerror or error}')}", err=True)
            return ExitCode.NOT_ALLOWED if isinstance(error, PermissionError) else ExitCode.FAILED
        case _:
            logger.debug("unexpected", exc_info=error)
            click.echo(
                f"gamenode: a bug, {type(error).__name__}: {texts.inert(str(error))} "
                "(--log-level debug shows where; nothing more was done)",
                err=True,
            )
            return ExitCode.FAILED


def _usage(error: click.UsageError) -> None:
    """A usage error in two lines: what is wrong, and where the help is."""
    click.echo(f"gamenode: {texts.inert(error.format_message())}", err=True)
    if error.ctx is not None:
        click.echo(f"`{error.ctx.command_path} --help` shows how it is used.", err=True)


def list_options(command: F) -> F:
    """The options of every list; the command gets them as `listing`."""

    def collect(context: click.Context, parameter: click.Parameter, value: Any) -> Any:
        found = context.meta.setdefault("gamenode.listing", {})
        match parameter.name:
            case "no_headers":
                found["headers"] = not value
            case "columns":
                found["columns"] = tuple(part.strip() for part in value.split(",") if part.strip()) if value else ()
            case name:
                found[str(name)] = value
        context.params["listing"] = Listing(**found)

    def option(*flags: str, **about: Any) -> Callable[[F], F]:
        return click.option(*flags, callback=collect, expose_value=False, **about)

    for decorate in (
        option("-w", "--watch", is_flag=True, help="Go on showing changes."),
        option("--filter", default="", metavar="EXPR", help="e.g. 'state=online cpu>80', 'web|!eu', '~^game-'."),
        option("--columns", default="", metavar="A,B,…", help="Columns to show; also paths such as labels.region."),
        option("--sort-by", default="", metavar="COLUMN", help="Sort by a column; -COLUMN turns it round."),
        option("--no-headers", is_flag=True, help="Leave out the headings."),
        option("-q", "--quiet", is_flag=True, help="Only the ids."),
    ):
        command = decorate(command)
    return command


def yes_option(command: F) -> F:
    """`--yes`, for what asks on a terminal."""
    return click.option("-y", "--yes", is_flag=True, help="Do not ask.")(command)


def reason_option(command: F) -> F:
    """`--reason`, for what the audit log should explain."""
    return click.option("--reason", default="", metavar="TEXT", help="Why; goes into the audit log.")(command)
