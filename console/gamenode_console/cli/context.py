"""`gamenode context`: names for the servers that this user talks to. Needs no server."""

from __future__ import annotations

from pathlib import Path

import click

from gamenode_console import columns, contexts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Group, list_options
from gamenode_console.cli.output import Listing


@click.group("context", cls=Group)
def context() -> None:
    """Names for the servers you talk to; the current one is used where nothing else is said."""


@context.command("ls", examples=["gamenode context ls"])
@list_options
@pass_client
def ls(client: Client, listing: Listing) -> None:
    """List the contexts."""
    known = contexts.load(contexts.file_of(client.env))
    documents = [
        {"name": name, "data_dir": data_dir, "current": name == known.current}
        for name, data_dir in sorted(known.data_dirs.items())
    ]
    client.output.many(documents, columns.CONTEXTS, listing)


@context.command(
    "add", examples=["gamenode context add lab --data-dir ~/lab", "gamenode context add lab --data-dir ~/lab --use"]
)
@click.argument("name")
@click.option("--use", is_flag=True, help="Make it the current one.")
@pass_client
def add(client: Client, name: str, use: bool) -> None:
    """Name a server by its data dir (`--data-dir`)."""
    if client.flags.get("data_dir") is None:
        raise click.UsageError("give --data-dir DIR: the server that the context names")
    data_dir = client.settings.data_dir
    assert data_dir is not None  # it was given
    if not data_dir.is_dir():
        client.say(f"gamenode: {data_dir} does not exist yet", colour="yellow")
    file = contexts.file_of(client.env)
    known = contexts.load(file).add(name, Path(data_dir))
    contexts.save(file, known.use(name) if use else known)


@context.command("use", examples=["gamenode context use lab"])
@click.argument("name")
@pass_client
def use(client: Client, name: str) -> None:
    """Make a context the current one."""
    file = contexts.file_of(client.env)
    contexts.save(file, contexts.load(file).use(name))


@context.command("rm", examples=["gamenode context rm lab"])
@click.argument("name")
@pass_client
def rm(client: Client, name: str) -> None:
    """Forget a context; the server itself is not touched."""
    file = contexts.file_of(client.env)
    contexts.save(file, contexts.load(file).remove(name))
