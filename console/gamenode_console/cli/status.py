"""`gamenode status`, `version`, `whoami`: the server at a glance."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.metadata import version as installed
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, tables, texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Command
from gamenode_console.cli.output import Listing
from gamenode_console.documents import Document, server
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.version import PROTOCOL

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


def _status_lines(client: Client, document: Document) -> Iterator[str]:
    yield from tables.facts(
        [
            ("Server", f"{document['server_version']}, cluster {document['cluster_id']}"),
            ("Up", texts.age(document["started_at"], wall_clock())),
            ("Storage", document["storage"]),
            ("Nodes", _counts(document["nodes_by_state"])),
            ("Runs", _counts(document["runs_by_state"])),
        ]
    )
    yield ""
    if document["attention"]:
        yield from client.output.table_lines(document["attention"], columns.ATTENTION, Listing())
    else:
        yield columns.ATTENTION.empty


def _counts(counts: dict[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items() if count) or "none"


@click.command(
    "status",
    cls=Command,
    examples=[
        "gamenode status",
        "gamenode status --exit-code || notify-someone     # exits 8 when something needs attention",
        "gamenode status -o json | jq '.attention[].text'",
    ],
)
@click.option("--exit-code", is_flag=True, help="Exit with 8 when something needs attention.")
@pass_client
def status(client: Client, exit_code: bool) -> int:
    """What needs attention, oldest first, and the server's own figures."""

    async def work(gateway: Gateway) -> Document:
        return server.status(await gateway.state.status())

    document = client.run(work)
    client.output.one(document, lambda: _status_lines(client, document), name=document["cluster_id"])
    return ExitCode.NEEDS_ATTENTION if exit_code and document["attention"] else ExitCode.OK


@click.command("whoami", cls=Command, examples=["gamenode whoami", "gamenode whoami -o json | jq -r .role"])
@pass_client
def whoami(client: Client) -> None:
    """Who the server takes you for, and what you may do."""

    async def work(gateway: Gateway) -> Document:
        return server.who_am_i(await gateway.administration.who_am_i())

    document = client.run(work)

    def human() -> list[str]:
        return tables.facts(
            [
                ("Principal", document["principal"]),
                ("Role", document["role"]),
                ("Shown by", document["method"]),
                ("Server", f"{document['server_version']}, cluster {document['cluster_id']}"),
            ]
        )

    client.output.one(document, human, name=document["principal"])


@click.command("version", cls=Command, examples=["gamenode version", "gamenode version -o json | jq -r .server"])
@pass_client
def version(client: Client) -> None:
    """Versions of this client and, where one can be reached, of the server."""

    async def work(gateway: Gateway) -> str:
        return (await gateway.administration.who_am_i()).server_version

    found: str | None = None
    why = ""
    try:
        found = client.run(work)
    except GameNodeError as error:
        if error.code is not Code.DISCONNECTED:
            raise
        why = "not reached"
    document: Document = {"client": installed("gamenode"), "server": found, "protocol": PROTOCOL}

    def human() -> list[str]:
        return tables.facts(
            [("Client", document["client"]), ("Server", found or why), ("Protocol", str(document["protocol"]))]
        )

    client.output.one(document, human, name=document["client"])
