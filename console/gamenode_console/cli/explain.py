"""`gamenode explain`: what the keys of a pipeline file and the kinds of its steps are for. Needs no server."""

from __future__ import annotations

from collections.abc import Iterator

import click
from click.shell_completion import CompletionItem

from gamenode_console import columns, tables, texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_console.cli.output import Listing


def _complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
    from gamenode_console import explaining

    return [CompletionItem(path, help=line) for path, line in explaining.paths() if path.startswith(incomplete)]


@click.command(
    "explain",
    cls=Command,
    examples=[
        "gamenode explain",
        "gamenode explain steps.retry",
        "gamenode explain container.run              # a kind of step: what its `with` takes",
        "gamenode explain container.run.resources",
        "gamenode explain steps.with                 # every kind",
        "gamenode explain targets.select -o json",
    ],
)
@click.argument("path", default="", metavar="[PATH|KIND]", shell_complete=_complete)
@pass_client
def explain(client: Client, path: str) -> None:
    """Explain a key of pipeline files by its dotted PATH, or a KIND of step; without either, the whole file."""
    from gamenode_console import explaining

    document = explaining.explain(path)

    def human() -> Iterator[str]:
        pairs = [
            ("Key", path or "the whole file"),
            ("Is", document["type"] + (", required" if document["required"] and path else "")),
        ]
        if document["default"]:
            pairs.append(("Default", document["default"]))
        yield from tables.facts(pairs)
        yield ""
        yield texts.one_line(document["description"]) or "(nothing is said of it)"
        for table, rows in ((columns.KEYS, document["keys"]), (columns.OUTPUTS, document["outputs"])):
            if rows:
                yield ""
                listed = [{"key": key, "text": text} for key, text in rows.items()]
                yield from client.output.table_lines(listed, table, Listing())

    client.output.one(document, human, name=path)
