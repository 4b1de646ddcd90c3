"""`gamenode schedule`: pipelines that start by themselves."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, texts
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Group, list_options, reason_option
from gamenode_console.cli.output import Listing
from gamenode_console.documents import Document, pipelines

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.group("schedule", cls=Group)
def schedule() -> None:
    """Pipelines that start by themselves. A NAME is PIPELINE/ID, or a PIPELINE for all that it has."""


@schedule.command("ls", examples=["gamenode schedule ls", "gamenode schedule ls --filter state=failed -o json"])
@list_options
@pass_client
def ls(client: Client, listing: Listing) -> None:
    """List schedules: when each is next due, and how its last start went."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [pipelines.schedule(found) for found in await gateway.pipelines.schedules()]

    watching.show(client, columns.SCHEDULES, listing, fetch)


def _pausing(name: str, about: str, *examples: str, paused: bool) -> None:
    @schedule.command(name, help=about, examples=list(examples))
    @click.argument("names", nargs=-1, required=True, metavar="NAME...")
    @reason_option
    @pass_client
    def command(client: Client, names: tuple[str, ...], reason: str) -> None:
        async def work(gateway: Gateway) -> list[Document]:
            found = await gateway.pipelines.pause_schedules(names, paused=paused, reason=reason)
            return [pipelines.schedule(each) for each in found]

        documents = client.run(work)
        if client.output.machine or client.output.format == "name":
            client.output.many(documents, columns.SCHEDULES)
            return
        for document in documents:
            client.output.line(texts.one_line(f"{document['name']}: {document['state']}"))


_pausing(
    "pause",
    "Let schedules start nothing until `gamenode schedule resume`. What comes meanwhile is not made up for.",
    "gamenode schedule pause backup --reason 'moving the disks'",
    "gamenode schedule pause backup/nightly restart/noon",
    paused=True,
)
_pausing("resume", "Let schedules that were paused go on, from now.", "gamenode schedule resume backup", paused=False)


@schedule.command("next", examples=["gamenode schedule next backup", "gamenode schedule next backup/nightly -n 30"])
@click.argument("name", metavar="NAME")
@click.option("-n", "--count", type=click.IntRange(1, 1000), default=5, show_default=True, help="How many times.")
@pass_client
def next_(client: Client, name: str, count: int) -> None:
    """Print when schedules are next due, in UTC."""

    async def work(gateway: Gateway) -> list[Document]:
        return [pipelines.schedule(each) for each in await gateway.pipelines.schedules(name, count=count)]

    documents = client.run(work)

    def human() -> Iterator[str]:
        for document in documents:
            yield from (f"{time}  {texts.one_line(document['name'])}" for time in document["next"])
            if not document["next"]:
                yield texts.one_line(f"{document['name']}: {document['state']}, so never")

    if client.output.machine:
        client.output.json(documents)
    else:
        for line in human():
            client.output.line(line)
