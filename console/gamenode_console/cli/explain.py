"""`gamenode explain`: what the keys of a pipeline file are for. Needs no server."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict

import click

from gamenode_console import columns, tables, texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_console.cli.output import Listing


@click.command(
    "explain",
    cls=Command,
    examples=["gamenode explain", "gamenode explain steps.retry", "gamenode explain targets.select -o json"],
)
@click.argument("path", default="", metavar="[PATH]")
@pass_client
def explain(client: Client, path: str) -> None:
    """Explain a key of pipeline files, by its dotted PATH; without one, the whole file."""
    from gamenode_pipelines import schema

    found = schema.explain(path)
    document = {**asdict(found), "keys": dict(found.keys)}

    def human() -> Iterator[str]:
        pairs = [
            ("Key", path or "the whole file"),
            ("Is", found.type + (", required" if found.required and path else "")),
        ]
        if found.default:
            pairs.append(("Default", found.default))
        yield from tables.facts(pairs)
        yield ""
        yield texts.one_line(found.description) or "(nothing is said of it)"
        if found.keys:
            yield ""
            rows = [{"key": key, "text": text} for key, text in found.keys.items()]
            yield from client.output.table_lines(rows, columns.KEYS, Listing())

    client.output.one(document, human, name=path)
