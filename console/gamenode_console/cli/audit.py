"""`gamenode audit`: who did what, and whether the log of it is intact."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gamenode_console import columns
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node
from gamenode_console.cli.frame import Group, list_options
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import MOMENT
from gamenode_console.documents import Document, server
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.group("audit", cls=Group)
def audit() -> None:
    """Who did what, and whether the log of it is intact."""


@audit.command(
    "ls",
    examples=[
        "gamenode audit ls --since 24h",
        "gamenode audit ls --user alice -o json | jq '.[] | {time, method, target}'",
    ],
)
@click.option("--since", type=MOMENT, help="Only records after this.")
@click.option("--user", default="", help="Only what this principal did.")
@click.option("--node", default="", shell_complete=complete_node, help="Only what concerns this node.")
@click.option("--limit", type=click.IntRange(1), default=100, show_default=True, metavar="N", help="The newest N.")
@list_options
@pass_client
def ls(client: Client, since: float | None, user: str, node: str, limit: int, listing: Listing) -> None:
    """List audit records, newest last."""

    async def fetch(gateway: Gateway) -> list[Document]:
        found = await gateway.administration.list_audit(since=since or 0.0, user=user, node=node, limit=limit)
        return [server.audit_record(record) for record in found]

    watching.show(client, columns.AUDIT, listing, fetch)


@audit.command("verify", examples=["gamenode audit verify", "gamenode audit verify -o json | jq .intact"])
@pass_client
def verify(client: Client) -> int:
    """Walk the whole chain of records; exits with 1 and names the place where it breaks."""

    async def work(gateway: Gateway) -> Document:
        return server.audit_verdict(await gateway.administration.verify_audit())

    document = client.run(work)

    def human() -> Iterator[str]:
        if document["intact"]:
            yield f"intact: {document['records']} records"
        else:
            yield f"broken at record {document['broken_at']}: {document['problem']}"

    client.output.one(document, human, name="intact" if document["intact"] else "broken")
    return ExitCode.OK if document["intact"] else ExitCode.FAILED
