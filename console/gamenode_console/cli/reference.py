"""`docs/reference/cli.md`, made from the command tree.

python -m gamenode_console.cli.reference > docs/reference/cli.md
"""

from __future__ import annotations

import sys
from collections.abc import Iterator

import click

from gamenode_console.cli.frame import ALIASES, Command
from gamenode_console.cli.root import root
from gamenode_proto.process.exits import ExitCode

_HEAD = """# `gamenode`

The client: everything that can be done with a server, from a shell or a script. This page is made from the program
itself; `gamenode COMMAND --help` says the same.

Data goes to stdout, everything else to stderr. `-o json` prints one document, streams print JSON lines; keys are
snake_case, times RFC 3339 UTC, sizes bytes, durations seconds. There is no colour and nothing moves where stdout is no
terminal, nor with `NO_COLOR`. The options of the first table are taken by every command, before or after its name.
"""

_MEANINGS = {
    ExitCode.OK: "fine",
    ExitCode.FAILED: "the run failed, or a check found problems",
    ExitCode.USAGE: "wrong usage or invalid input",
    ExitCode.NOT_FOUND: "not found",
    ExitCode.UNREACHABLE: "the server cannot be reached",
    ExitCode.NOT_ALLOWED: "not allowed",
    ExitCode.CONFLICT: "conflict: it exists already, or is in the wrong state",
    ExitCode.TIMED_OUT: "timed out while waiting; what was waited for goes on",
    ExitCode.NEEDS_ATTENTION: "needs attention or an approval: only a person can move it",
    ExitCode.CANCELLED: "cancelled",
    ExitCode.INTERRUPTED: "interrupted (Ctrl-C); a run that was waited for goes on",
}


def markdown() -> str:
    """The whole page."""
    context = click.Context(root, info_name="gamenode")
    parts = [_HEAD, _options(root, context)]
    parts.append("## Exit codes\n")
    parts.append(
        "\n".join(["| code | means |", "| --- | --- |", *(f"| {c.value} | {_MEANINGS[c]} |" for c in ExitCode)])
    )
    words = ", ".join(f"`{other}` for `{ours}`" for other, ours in sorted(ALIASES.items()))
    parts.append(f"\nOther tools' words work too: {words}.\n")
    for name in root.list_commands(context):
        command = root.get_command(context, name)
        assert command is not None  # it was listed
        parts.extend(_section(command, click.Context(command, parent=context, info_name=name), level=2))
    return "\n".join(parts).rstrip() + "\n"


def _section(command: click.Command, context: click.Context, *, level: int) -> Iterator[str]:
    yield f"{'#' * level} `{context.command_path}`\n"
    if command.help:
        yield _text(command.help) + "\n"
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            inner = command.get_command(context, name)
            assert inner is not None  # it was listed
            yield from _section(inner, click.Context(inner, parent=context, info_name=name), level=level + 1)
        return
    usage = " ".join(command.collect_usage_pieces(context))
    yield f"```\n{context.command_path} {usage}\n```\n"
    if options := _options(command, context):
        yield options
    if isinstance(command, Command) and command.examples:
        yield "```sh\n" + "\n".join(command.examples) + "\n```\n"


def _text(text: str) -> str:
    return "\n\n".join(" ".join(part.split()) for part in text.split("\n\n"))


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def _options(command: click.Command, context: click.Context) -> str:
    rows = []
    for parameter in command.params:
        if not isinstance(parameter, click.Option) or parameter.hidden:
            continue
        if parameter.name == "output" and command is not root:
            continue  # said once, at the top
        record = parameter.get_help_record(context)
        if record is not None:
            flags, text = record
            rows.append(f"| `{_cell(flags)}` | {_cell(text)} |")
    return "\n".join(["| option | |", "| --- | --- |", *rows]) + "\n" if rows else ""


if __name__ == "__main__":
    sys.stdout.write(markdown())
