"""`gamenode container`: every container of the fleet, the level below instances."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import click

from gamenode_console import container_columns, loglines, texts
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_container, complete_node, complete_own_container
from gamenode_console.cli.frame import Group, list_options, reason_option, report, yes_option
from gamenode_console.cli.logprint import LogPrinter
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import DURATION_OR_ZERO, MOMENT
from gamenode_console.documents import Document, containers
from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.exits import ExitCode, exit_for
from gamenode_proto.v1 import common_pb2, state_management_pb2

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: Containers that are stopped or removed at once.
_AT_ONCE = 16


@click.group("container", cls=Group)
def container() -> None:
    """Every container of the fleet; those that this cluster did not make are only shown.

    A NAME is a name, an id, or its first 4 or more characters; NODE/NAME where several nodes have one.
    """


@container.command(
    "ls",
    examples=[
        "gamenode container ls",
        "gamenode container ls -a --node game-1 -o wide",
        "gamenode container ls -l region=eu --sort-by -memory",
        "gamenode container ls -a --filter 'own=true state=exited' -o name | xargs gamenode container rm --yes",
        "gamenode container ls -w",
    ],
)
@click.option("-a", "--all", "all_too", is_flag=True, help="Those that do not run, too.")
@click.option("--node", default="", metavar="N", shell_complete=complete_node, help="Only of this node.")
@click.option(
    "-l", "--selector", "selectors", multiple=True, metavar="SELECTOR", help="Only of nodes with these labels."
)
@list_options
@pass_client
def ls(client: Client, all_too: bool, node: str, selectors: tuple[str, ...], listing: Listing) -> None:
    """List containers as their nodes last told of them. CPU is of one core."""

    async def fetch(gateway: Gateway) -> list[Document]:
        found = await gateway.containers.list(node=node, selectors=selectors, all=all_too)
        return [containers.container(message) for message in found]

    table = container_columns.CONTAINERS
    watching.show(client, replace(table, empty="no containers") if all_too else table, listing, fetch, silent=True)


@container.command(
    "logs",
    examples=[
        "gamenode container logs oa-27960",
        "gamenode container logs game-1/oa-27960 -f --tail 20 --timestamps",
        "gamenode container logs oa-27960 --since 10m > oa.log      # the bytes as they are",
    ],
)
@click.argument("name", metavar="[NODE/]NAME", shell_complete=complete_container)
@click.option("-f", "--follow", is_flag=True, help="Go on until the container ends.")
@click.option("--tail", type=click.IntRange(0), metavar="N", help="Only the last N lines.")
@click.option("--since", type=MOMENT, help="Only what was written after this.")
@click.option("--timestamps", is_flag=True, help="The time in front of each line.")
@pass_client
def logs(client: Client, name: str, follow: bool, tail: int | None, since: float | None, timestamps: bool) -> None:
    """Print what a container said, as its engine has it.

    Into a file or pipe it is printed byte for byte; on a terminal, escapes are shown, not obeyed.
    """

    async def work(gateway: Gateway) -> None:
        if follow:
            client.on_interrupt = f"container {texts.one_line(name)} is left as it is"
        printer = LogPrinter(client, loglines.Style(timestamps=timestamps))
        pieces = gateway.containers.logs(name, follow=follow, since=since or 0.0, tail=-1 if tail is None else tail)
        try:
            async for piece in pieces:
                # Half a line of stdout and half a line of stderr are cut as two logs.
                ref = common_pb2.AttemptRef(fence=piece.stream)
                printer.print(
                    state_management_pb2.LogPiece(ref=ref, data=piece.data, time=piece.time, stream=piece.stream)
                )
        finally:
            printer.finish()

    client.run(work)


@container.command(
    "stop",
    examples=[
        "gamenode container stop oa-27960 --reason 'moved to game-2'",
        "gamenode container stop game-1/oa-27960 game-1/oa-27961 --grace 30s --yes",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="[NODE/]NAME...", shell_complete=complete_own_container)
@click.option("--grace", type=DURATION_OR_ZERO, help="How long before it is killed. Default: the container's own.")
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@yes_option
@reason_option
@pass_client
def stop(client: Client, names: tuple[str, ...], grace: float | None, dry_run: bool, yes: bool, reason: str) -> int:
    """Stop containers; their restart policy does not start them again. Returns when they have ended."""

    async def act(gateway: Gateway, found: Document) -> None:
        await gateway.containers.stop(found["id"], node=found["node_id"], grace=grace, reason=reason)

    found = _find(client, names)
    if dry_run:
        return _say_plan(client, found, "stop", lambda document: "")
    return _carry_out(client, found, _Deed("Stop", "stopped", act), yes=yes)


@container.command(
    "rm",
    examples=[
        "gamenode container rm oa-27960",
        "gamenode container rm game-1/oa-27960 --force --yes --reason 'stuck'",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="[NODE/]NAME...", shell_complete=complete_own_container)
@click.option("--force", is_flag=True, help="Those that run, too: they are killed.")
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@yes_option
@reason_option
@pass_client
def rm(client: Client, names: tuple[str, ...], force: bool, dry_run: bool, yes: bool, reason: str) -> int:
    """Remove containers, with what they wrote outside of volumes. Returns when they are gone."""

    async def act(gateway: Gateway, found: Document) -> None:
        await gateway.containers.remove(found["id"], node=found["node_id"], force=force, reason=reason)

    def hindrance(document: Document) -> str:
        return "it runs; --force kills it first" if container_columns.runs(document) and not force else ""

    found = _find(client, names)
    if dry_run:
        return _say_plan(client, found, "remove", hindrance)
    return _carry_out(client, found, _Deed("Remove", "removed", act), yes=yes)


@dataclass(frozen=True, slots=True)
class _Deed:
    """What is done to containers: as a question, as a result, and how."""

    verb: str
    result: str
    act: Callable[[Gateway, Document], Awaitable[None]]


def _find(client: Client, names: Sequence[str]) -> list[Document]:
    """The containers that are meant, each once. All have to be there before anything is done."""

    async def work(gateway: Gateway) -> list[Document]:
        return [containers.container(await gateway.containers.get(name)) for name in names]

    return list({(found["node_id"], found["id"]): found for found in client.run(work)}.values())


def _say_plan(client: Client, found: Sequence[Document], verb: str, hindrance: Callable[[Document], str]) -> int:
    """What a command would do, container by container."""
    client.output.many(found, container_columns.CONTAINERS)
    for document in found:
        name = containers.path(document)
        if not document["own"]:
            client.say(f"would be refused: {name} is not ours")
        elif why := hindrance(document):
            client.say(f"would be refused: {name}: {why}")
        else:
            client.say(f"would {verb} {name}")
    return ExitCode.OK


def _carry_out(client: Client, found: Sequence[Document], deed: _Deed, *, yes: bool) -> int:
    """Asks, does it to all at once, and says what became of each; the first failure gives the exit code."""
    now = wall_clock()
    listed = ", ".join(container_columns.sentence(document, now) for document in found)
    client.confirm(f"{deed.verb} {listed}?", yes=yes)
    client.on_interrupt = "the nodes may still do what they were told"

    async def work(gateway: Gateway) -> list[GameNodeError | None]:
        room = asyncio.Semaphore(_AT_ONCE)

        async def one(document: Document) -> GameNodeError | None:
            async with room:
                try:
                    await deed.act(gateway, document)
                except GameNodeError as failed:
                    return failed
            return None

        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(one(document)) for document in found]
        return [task.result() for task in tasks]

    ended = list(zip(found, client.run(work), strict=True))
    _print(client, ended, deed)
    codes = [_say_failure(document, failed) for document, failed in ended if failed is not None]
    return codes[0] if codes else ExitCode.OK


def _print(client: Client, ended: Sequence[tuple[Document, GameNodeError | None]], deed: _Deed) -> None:
    outcomes = [
        containers.outcome(document, deed.result) if failed is None else containers.outcome(document, "failed", failed)
        for document, failed in ended
    ]
    done = [document for document in outcomes if document["error"] is None]
    if client.output.machine:
        client.output.many(outcomes, container_columns.OUTCOMES)
    elif client.output.format == "name":
        client.output.many(done, container_columns.OUTCOMES)
    else:
        for document in done:
            client.output.line(texts.one_line(f"{containers.path(document)}: {document['result']}"))


def _say_failure(document: Document, failed: GameNodeError) -> int:
    """One failure on stderr; returns its exit code."""
    if document["own"]:
        return report(failed)
    # That it is not ours has nothing to do with who asks.
    click.echo(f"gamenode: {texts.inert(failed.message)}", err=True)
    return exit_for(failed.code)
