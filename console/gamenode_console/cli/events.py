"""`gamenode events`: what happened, and what happens."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, tables
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node, complete_run
from gamenode_console.cli.frame import Command
from gamenode_console.cli.output import Listing, paint
from gamenode_console.cli.parsing import MOMENT
from gamenode_console.documents import Document, server
from gamenode_proto.process.clock import wall_clock

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.state_management_pb2 import EventBatch

#: Widths of a stream's columns, which cannot wait for the longest cell.
_WIDTHS = (24, 22, 12, 12, 14)


@click.command(
    "events",
    cls=Command,
    examples=[
        "gamenode events --since 1h",
        "gamenode events -f --type run.failed --type node.offline",
        "gamenode events --run k3jd -o json | jq -r '.[].type'",
        'gamenode events -f -o jsonl --after "$(cat cursor)"',
    ],
)
@click.option("-f", "--follow", is_flag=True, help="Go on with those that come.")
@click.option("--after", type=click.IntRange(-1), metavar="CURSOR", help="Only those after this cursor.")
@click.option("--since", type=MOMENT, help="Only those after this.")
@click.option("--until", type=MOMENT, help="Only those before this.")
@click.option("--type", "types", multiple=True, metavar="T", help="Only this type; repeat for more.")
@click.option("--node", default="", shell_complete=complete_node, help="Only of this node.")
@click.option("--run", "run", default="", shell_complete=complete_run, help="Only of this run.")
@click.option("--no-headers", is_flag=True, help="Leave out the headings.")
@pass_client
def events(
    client: Client,
    follow: bool,
    after: int | None,
    since: float | None,
    until: float | None,
    types: tuple[str, ...],
    node: str,
    run: str,
    no_headers: bool,
) -> None:
    """Print events, oldest first. With -f alone, those from now on."""
    if since is not None and until is not None and since >= until:
        raise click.UsageError("--since must be before --until")
    if after is None:
        after = -1 if follow and since is None and not run else 0
    output = client.output
    streaming = follow or output.format == "jsonl"
    kept: list[Document] = []
    headed = no_headers

    def take(batch: EventBatch) -> None:
        nonlocal headed
        if batch.resync:
            client.say("gamenode: older events are no longer kept; some are missing here", colour="yellow")
        documents = [server.event(event) for event in batch.events]
        if not streaming:
            kept.extend(documents)
        elif output.machine:
            for document in documents:
                output.json_line(document)
        elif output.format == "name":
            for document in documents:
                output.line(document["cursor"])
        elif documents:
            for line in _stream_lines(
                documents, wide=output.format == "wide", headers=not headed, colour=output.colour
            ):
                output.line(line)
            headed = True
        sys.stdout.flush()

    async def work(gateway: Gateway) -> None:
        async for batch in gateway.state.watch_events(
            after=after, follow=follow, types=types, node=node, run=run, since=since or 0.0, until=until or 0.0
        ):
            take(batch)

    client.run(work)
    if not streaming:
        output.many(kept, columns.EVENTS, Listing(headers=not no_headers))


def _stream_lines(documents: list[Document], *, wide: bool, headers: bool, colour: bool) -> list[str]:
    """Lines with columns of a fixed width, so that batches line up."""
    chosen = tables.choose(columns.EVENTS, wide=wide)
    return tables.lines(
        documents, chosen, now=wall_clock(), headers=headers, least=_WIDTHS, paint=paint if colour else None
    )
