"""`gamenode user`: who may operate, beside those whom the server's settings name."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, credentials
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.frame import Group, list_options, reason_option, yes_option
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import DURATION
from gamenode_console.documents import Document, server
from gamenode_proto.process.clock import wall_clock

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1 import administration_pb2

ROLES = ("viewer", "operator", "admin")


@click.group("user", cls=Group)
def user() -> None:
    """Who may operate: with credentials over the network, or as a user of the server's host."""


@user.command(
    "create",
    examples=[
        "gamenode user create alice --role operator --out alice.json",
        "gamenode --connect HOST:PORT --credentials alice.json status     # and how they are used",
        "gamenode user create ci --role viewer --out ci.json --ttl 30d",
        "gamenode user create bob --role admin --unix-user bob            # on the server's host",
        "gamenode user create staff --role viewer --unix-group staff",
    ],
)
@click.argument("name")
@click.option("--role", type=click.Choice(ROLES), required=True, help="What the user may do.")
@click.option("--unix-user", default="", metavar="USER", help="A user of the server's host.")
@click.option("--unix-group", default="", metavar="GROUP", help="Every member of a group of the server's host.")
@click.option(
    "--out", metavar="FILE", type=click.Path(path_type=Path), help="Make credentials for the network, in this new file."
)
@click.option("--ttl", type=DURATION, help="How long the credentials are good for. Default: 90d.")
@pass_client
def create(
    client: Client, name: str, role: str, unix_user: str, unix_group: str, out: Path | None, ttl: float | None
) -> None:
    """Make a user. The key of credentials is made on this machine and leaves it in no call."""
    if bool(unix_user) + bool(unix_group) + (out is not None) != 1:
        raise click.UsageError("give one of --out FILE, --unix-user USER and --unix-group GROUP")
    if ttl is not None and out is None:
        raise click.UsageError("--ttl goes with --out: a user of the host counts until it is revoked")
    if out is not None:
        document = _with_credentials(client, name, role, out, ttl or 0.0)
    else:
        document = _made(client, unix_user=unix_user, unix_group=unix_group, name=name, role=role)

    def human() -> list[str]:
        if out is None:
            return [f"{document['name']}: {document['role']} as {document['login']}"]
        return [f"{document['name']}: {document['role']} with {out}, until {document['expires_at']}"]

    client.output.one(document, human, name=document["name"])


def _with_credentials(client: Client, name: str, role: str, out: Path, ttl: float) -> Document:
    """Makes the user and writes its file, which is there only if both worked."""
    fd = credentials.reserve(out)
    try:
        with os.fdopen(fd, "w", encoding="utf-8") as file:
            key, request = credentials.new_key(name)
            answer = _created(client, name=name, role=role, csr_pem=request, ttl=ttl)
            shown = credentials.Credentials(
                user=answer.user.name,
                role=answer.user.role,
                cluster_id=answer.cluster_id,
                expires_at=answer.user.expires_at,
                ca=answer.ca_pem,
                certificate=answer.certificate_pem,
                key=key,
            )
            file.write(shown.text())
            file.flush()
            os.fsync(file.fileno())
    except BaseException:
        out.unlink(missing_ok=True)
        raise
    return server.user(answer.user, wall_clock())


def _made(client: Client, **wish: str) -> Document:
    return server.user(_created(client, **wish).user, wall_clock())


def _created(client: Client, **wish: str | float) -> administration_pb2.CreateUserResponse:
    async def work(gateway: Gateway) -> administration_pb2.CreateUserResponse:
        from gamenode_proto.v1 import administration_pb2 as messages

        given = {key: value for key, value in wish.items() if value}
        return await gateway.administration.create_user(messages.CreateUserRequest(**given))  # type: ignore[arg-type]

    answer = client.run(work)
    for warning in answer.warnings:
        client.say(f"gamenode: {warning}", colour="yellow")
    return answer


@user.command("ls", examples=["gamenode user ls", "gamenode user ls --filter state=active -o json | jq -r '.[].name'"])
@list_options
@pass_client
def ls(client: Client, listing: Listing) -> None:
    """List users, also those that were revoked. Who is named in the server's settings is not among them."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [server.user(each, wall_clock()) for each in await gateway.administration.list_users()]

    watching.show(client, columns.USERS, listing, fetch)


@user.command("revoke", examples=["gamenode user revoke alice --reason 'left the team'"])
@click.argument("name")
@yes_option
@reason_option
@pass_client
def revoke(client: Client, name: str, yes: bool, reason: str) -> None:
    """Refuse a user from now on, and end whatever it is doing. Its name is free for a new user."""
    client.confirm(f"Revoke user {name}?", yes=yes)

    async def work(gateway: Gateway) -> Document:
        return server.user(await gateway.administration.revoke_user(name, reason=reason), wall_clock())

    document = client.run(work)
    client.output.one(document, lambda: [f"{document['name']}: revoked"], name=document["name"])
