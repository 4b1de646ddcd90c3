"""`gamenode node cordon`, `uncordon`, `disable`, `enable`: whether nodes get work."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gamenode_console import columns, texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node
from gamenode_console.cli.frame import Command, reason_option
from gamenode_console.documents import Document, nodes
from gamenode_proto.v1 import common_pb2

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


def _command(name: str, state: common_pb2.AdminState.ValueType, about: str, *examples: str) -> click.Command:
    @click.command(name, cls=Command, help=about, examples=list(examples))
    @click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=complete_node)
    @click.option("-y", "--yes", is_flag=True, hidden=True)
    @reason_option
    @pass_client
    def command(client: Client, names: tuple[str, ...], yes: bool, reason: str) -> None:
        async def work(gateway: Gateway) -> list[Document]:
            return [nodes.node(found) for found in await gateway.state.set_admin_state(names, state, reason=reason)]

        documents = client.run(work)
        if client.output.machine or client.output.format == "name":
            client.output.many(documents, columns.NODES)
        else:
            for document in documents:
                client.output.line(texts.one_line(f"{document['name']}: {document['admin_state']}"))

    return command


COMMANDS: tuple[click.Command, ...] = (
    _command(
        "cordon",
        common_pb2.ADMIN_STATE_CORDONED,
        "Give nodes no new runs. What runs there goes on, and so does what was planned there.\n\n"
        "A run that names such a node is refused. `gamenode node uncordon` undoes it.",
        "gamenode node cordon game-1 game-2 --reason 'new disks on Monday'",
        "gamenode node ls --filter admin_state=cordoned",
    ),
    _command(
        "uncordon",
        common_pb2.ADMIN_STATE_ACTIVE,
        "Give nodes new runs again. One that was disabled is enabled, too.",
        "gamenode node uncordon game-1 game-2",
    ),
    _command(
        "disable",
        common_pb2.ADMIN_STATE_DISABLED,
        "Give nodes nothing to start. No new runs, and what was planned there waits; what runs goes on.",
        "gamenode node disable game-1 --reason 'its fan is broken'",
    ),
    _command(
        "enable",
        common_pb2.ADMIN_STATE_ACTIVE,
        "Give nodes work again. What waits for them starts; one that was cordoned is uncordoned, too.",
        "gamenode node enable game-1",
    ),
)
