"""`gamenode notifier`: who is told of events."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gamenode_console import texts
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Group, list_options
from gamenode_console.cli.output import Listing
from gamenode_console.documents import Document, notifiers
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.group("notifier", cls=Group)
def notifier() -> None:
    """Who is told of events: webhooks and commands, named in the server's config file."""


@notifier.command(
    "ls",
    examples=[
        "gamenode notifier ls",
        "gamenode notifier ls -o wide                         # with the last error, and what each hears of",
        "gamenode notifier ls --filter state=failing -o json | jq -r '.[].last_error'",
    ],
)
@list_options
@pass_client
def ls(client: Client, listing: Listing) -> None:
    """List notifiers: how they stand, what waits, what was sent, given up and left out. Addresses are shown in part."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [notifiers.notifier(each) for each in await gateway.notifiers.list_notifiers()]

    watching.show(client, notifiers.TABLE, listing, fetch, silent=True)


@notifier.command("test", examples=["gamenode notifier test discord"])
@click.argument("name")
@pass_client
def test(client: Client, name: str) -> int:
    """Send a test now, past silence, queue and limits, and say what came back. Exit code 1 where it was not taken."""

    async def work(gateway: Gateway) -> Document:
        return notifiers.tried(name, await gateway.notifiers.test_notifier(name))

    document = client.run(work)

    def human() -> list[str]:
        how = "delivered" if document["delivered"] else "not delivered"
        return [f"{name}: {how} in {document['seconds']:.2f} s: {texts.inert(document['answer'])}"]

    client.output.one(document, human, name=name)
    return ExitCode.OK if document["delivered"] else ExitCode.FAILED
