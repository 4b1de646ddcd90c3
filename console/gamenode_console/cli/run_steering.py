"""`gamenode run pause|resume|approve|reject`: what an operator says of a run that is under way."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gamenode_console import texts
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node, complete_run
from gamenode_console.cli.frame import Command, reason_option
from gamenode_console.documents import Document, runs

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gamenode_console.gateway import Gateway
    from gamenode_proto.v1.pipeline_management_pb2 import RunDocument


def _say(client: Client, call: Callable[[Gateway], Awaitable[RunDocument]]) -> None:
    async def work(gateway: Gateway) -> Document:
        return runs.run_document(await call(gateway))

    document = client.run(work)
    line = texts.one_line(f"run {document['id']} ({document['pipeline']}): {document['state']}")
    client.output.one(document, lambda: [line], name=document["id"])


@click.command(
    "pause",
    cls=Command,
    examples=["gamenode run pause k3jd --reason 'players complain'", "gamenode run explain k3jd"],
)
@click.argument("run", shell_complete=complete_run)
@reason_option
@pass_client
def pause(client: Client, run: str, reason: str) -> None:
    """Hold a rollout: what runs goes on, no further node begins until `gamenode run resume`."""
    _say(client, lambda gateway: gateway.pipelines.pause(run, paused=True, reason=reason))


@click.command("resume", cls=Command, examples=["gamenode run resume k3jd"])
@click.argument("run", shell_complete=complete_run)
@pass_client
def resume(client: Client, run: str) -> None:
    """Let a run that was paused go on."""
    _say(client, lambda gateway: gateway.pipelines.pause(run, paused=False))


@click.command(
    "approve",
    cls=Command,
    examples=[
        "gamenode run approve k3jd --reason 'announced since Monday'    # before the run",
        "gamenode run approve k3jd ask                                  # a step of it, for every node",
        "gamenode run approve k3jd ask --node game-1",
    ],
)
@click.argument("run", shell_complete=complete_run)
@click.argument("step", default="")
@click.option("--node", default="", shell_complete=complete_node, help="For a step that asks each node.")
@reason_option
@pass_client
def approve(client: Client, run: str, step: str, node: str, reason: str) -> None:
    """Agree that a run begins, or goes on behind a STEP that waits for it."""
    _say(client, lambda gateway: gateway.pipelines.decide(run, approved=True, step=step, node=node, reason=reason))


@click.command(
    "reject",
    cls=Command,
    examples=[
        "gamenode run reject k3jd --reason 'not while the match is on'",
        "gamenode run reject k3jd ask --node game-1 --reason 'players are in'",
    ],
)
@click.argument("run", shell_complete=complete_run)
@click.argument("step", default="")
@click.option("--node", default="", shell_complete=complete_node, help="For a step that asks each node.")
@click.option("--reason", required=True, metavar="TEXT", help="Why; kept with the run and in the audit log.")
@pass_client
def reject(client: Client, run: str, step: str, node: str, reason: str) -> None:
    """Refuse what a run or a STEP asks for: the run, or the step, fails with `rejected`."""
    if not reason.strip():
        raise click.UsageError("--reason must say something")
    _say(client, lambda gateway: gateway.pipelines.decide(run, approved=False, step=step, node=node, reason=reason))
