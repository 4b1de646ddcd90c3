"""`gamenode context`: names for the servers that this user talks to. Needs no server."""

from __future__ import annotations

import click

from gamenode_console import columns, contexts, credentials, discovery
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Group, list_options
from gamenode_console.cli.output import Listing
from gamenode_proto.process.clock import wall_clock


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
        {
            "name": name,
            "data_dir": context.data_dir or None,
            "connect": context.connect or None,
            "credentials": context.credentials or None,
            "current": name == known.current,
        }
        for name, context in sorted(known.entries.items())
    ]
    client.output.many(documents, columns.CONTEXTS, listing)


@context.command(
    "add",
    examples=[
        "gamenode context add lab --data-dir ~/lab --use",
        "gamenode context add prod --connect prod.example.net:7445 --credentials ~/alice.json",
    ],
)
@click.argument("name")
@click.option("--use", is_flag=True, help="Make it the current one.")
@pass_client
def add(client: Client, name: str, use: bool) -> None:
    """Name a server by its data dir (`--data-dir`), or by its address and your credentials for it."""
    if client.flags.get("data_dir") is None and client.flags.get("connect") is None:
        raise click.UsageError(
            "give --data-dir DIR or --connect HOST:PORT --credentials FILE: the server that the context names"
        )
    chosen = discovery.choose(client.settings, client.env, flags=client.flags)
    if isinstance(chosen, discovery.NetworkTarget):
        entry = contexts.Context(connect=chosen.address, credentials=str(chosen.credentials))
        credentials.read(chosen.credentials, now=wall_clock())
    else:
        entry = contexts.Context(str(chosen.data_dir))
        if not chosen.data_dir.is_dir():
            client.say(f"gamenode: {chosen.data_dir} does not exist yet", colour="yellow")
    file = contexts.file_of(client.env)
    known = contexts.load(file).add(name, entry)
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
