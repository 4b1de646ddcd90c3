"""`gamenode node drain`: nodes are emptied, and what is left after a deadline is cancelled."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node
from gamenode_console.cli.frame import Command, reason_option
from gamenode_console.cli.parsing import DURATION
from gamenode_console.documents import Document, nodes
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

_GOES_ON = "the nodes are drained all the same; gamenode node uncordon ends it"
_LATER = "not yet: instances; containers that finished steps started stay as they are"


def _keep(context: click.Context, parameter: click.Parameter, value: str) -> str:
    if value != "keep":
        raise click.BadParameter(_LATER)
    return value


@click.command(
    "drain",
    cls=Command,
    examples=[
        "gamenode node drain game-1 --deadline 10m --wait --reason 'new kernel' && ssh game-1 reboot",
        "gamenode node drain game-1 game-2       # what runs goes on for as long as it takes",
        "gamenode node uncordon game-1",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=complete_node)
@click.option("--deadline", type=DURATION, help="What is left then is cancelled; without it nothing is.")
@click.option("--wait", is_flag=True, help="Stay until nothing is left, and say what is.")
@click.option("--timeout", type=DURATION, help="How long --wait waits; the draining goes on. Exit code 7.")
@click.option(
    "--instances",
    type=click.Choice(["keep", "when-empty", "stop"]),
    default="keep",
    callback=_keep,
    help="What becomes of instances; only `keep` yet.",
)
@click.option("-y", "--yes", is_flag=True, hidden=True)
@reason_option
@pass_client
def drain(
    client: Client,
    names: tuple[str, ...],
    deadline: float | None,
    wait: bool,
    timeout: float | None,
    instances: str,
    yes: bool,
    reason: str,
) -> None:
    """Empty nodes: they get no work, what runs there goes on, and containers stay.

    A node stays draining until `gamenode node uncordon`. Given again, the deadline is another one. With --wait the
    exit code is 0 once every node is empty, 6 where one is not drained any more, 7 when the time is over.
    """
    if timeout is not None and not wait:
        raise click.UsageError("--timeout is for --wait")

    async def work(gateway: Gateway) -> list[Document]:
        answer = await gateway.state.set_admin_state(
            names, common_pb2.ADMIN_STATE_DRAINING, reason=reason, deadline=deadline or 0.0
        )
        found = {node.id: nodes.node(node) for node in answer}
        if not wait:
            return list(found.values())
        client.on_interrupt = _GOES_ON
        try:
            async with asyncio.timeout(timeout):
                await _emptied(client, gateway, found)
        except TimeoutError:
            raise GameNodeError(Code.TIMEOUT, f"timed out after {timeout:g} s of waiting; {_GOES_ON}") from None
        return list(found.values())

    documents = client.run(work)
    if client.output.machine or client.output.format == "name":
        client.output.many(documents, columns.NODES)
    else:
        for document in documents:
            client.output.line(texts.one_line(f"{document['name']}: {_left(document)}"))


async def _emptied(client: Client, gateway: Gateway, found: dict[str, Document]) -> None:
    """Follows the nodes until all are empty. STATE_CONFLICT where one is let go, or taken away, before it is."""
    said: dict[str, str] = {}
    async for update in gateway.state.watch_nodes():
        found.update({node.id: nodes.node(node) for node in update.nodes if node.id in found})
        shown = {node.id for node in update.nodes}
        for node_id, document in found.items():
            if node_id in update.removed or (update.snapshot and node_id not in shown):
                raise GameNodeError(Code.STATE_CONFLICT, f"node {document['name']} was taken away meanwhile")
            if document["drain"] is None:
                raise GameNodeError(
                    Code.STATE_CONFLICT,
                    f"node {document['name']} is not drained any more: it was made {document['admin_state']} meanwhile",
                )
            left = _left(document)
            if said.get(node_id) != left:
                said[node_id] = left
                client.say(texts.one_line(f"{document['name']}: {left}"))
        if all(document["drain"]["done"] for document in found.values()):
            return


def _left(document: Document) -> str:
    drain = document["drain"]
    if drain["done"]:
        return "empty"
    tasks = drain["tasks_left"]
    until = f", cancelled at {drain['until']}" if drain["until"] else ""
    return f"{tasks} task{'' if tasks == 1 else 's'} left{until}"
