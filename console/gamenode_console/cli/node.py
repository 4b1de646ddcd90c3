"""`gamenode node`: the hosts that run an agent."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from gamenode_console import columns, tables, texts
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node
from gamenode_console.cli.frame import Group, list_options, reason_option, yes_option
from gamenode_console.cli.node_drain import drain
from gamenode_console.cli.node_duty import COMMANDS
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import DURATION, MOMENT, PAIR
from gamenode_console.documents import Document, nodes
from gamenode_proto.process.clock import wall_clock

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.group("node", cls=Group)
def node() -> None:
    """The hosts that run an agent. A NODE is a name, an id, or the first 4 or more characters of an id."""


for each in (*COMMANDS, drain):
    node.add_command(each)


@node.command(
    "ls",
    examples=[
        "gamenode node ls",
        "gamenode node ls -l 'region in (eu,us),tier!=test' --sort-by -cpu",
        "gamenode node ls --filter 'cpu>80|state=offline' -o wide",
        "gamenode node ls -o json | jq -r '.[] | select(.state==\"online\").name'",
        "gamenode node ls -w",
    ],
)
@click.option("-l", "--selector", "selectors", multiple=True, metavar="SELECTOR", help="Only nodes with these labels.")
@list_options
@pass_client
def ls(client: Client, selectors: tuple[str, ...], listing: Listing) -> None:
    """List nodes."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [nodes.node(found) for found in await gateway.state.list_nodes(selectors)]

    watching.show(client, columns.NODES, listing, fetch)


def _drain(document: Document) -> list[tuple[str, str]]:
    drain = document["drain"]
    if drain is None:
        return []
    left = "empty" if drain["done"] else f"{drain['tasks_left']} task(s) left"
    until = f", cancelled at {drain['until']}" if drain["until"] and not drain["done"] else ""
    why = f": {drain['reason']}" if drain["reason"] else ""
    return [("Drained", f"by {drain['by']}{why}; {left}{until}")]


def _lines(document: Document) -> list[str]:
    now = wall_clock()
    resources, metrics = document["resources"], document["metrics"]
    pairs = [
        ("Name", document["name"]),
        ("Id", document["id"]),
        ("State", f"{document['state']}, {document['admin_state']}"),
        *_drain(document),
        ("Labels", tables.text_of(document["labels"])),
        ("Address", f"{document['address'] or '-'} (reports {tables.text_of(document['addresses'])})"),
        ("Joined", f"{document['joined_at'] or '-'}"),
        (
            "Connected",
            f"{texts.age(document['connected_since'], now)} (seen {texts.age(document['last_seen'], now)} ago)",
        ),
        ("Agent", f"{document['agent_version'] or '-'}, {document['slots']} slots, {document['tasks_running']} tasks"),
        ("System", " ".join(filter(None, (document["os"], document["kernel"], document["architecture"]))) or "-"),
        ("Engine", _engine(document["engine"])),
        ("Can", tables.text_of(document["capabilities"])),
        (
            "Has",
            f"{resources['cpus']:g} CPUs, {texts.size(resources['memory_total'])} memory, "
            f"{texts.size(resources['disk_total'])} disk",
        ),
        ("Clock skew", f"{document['clock_skew']:+.3f}s"),
        ("Certificate", f"until {document['certificate_not_after'] or '-'}"),
    ]
    if metrics is not None:
        pairs.append(
            (
                "Load",
                f"CPU {metrics['cpu_percent']:.0f}%, memory {metrics['memory_percent']:.0f}%, "
                f"disk {metrics['disk_percent']:.0f}%, load {metrics['load1']:.2f}",
            )
        )
        if document["engine"] is not None:
            containers = f"{metrics['containers_running']} running, {metrics['containers_total']} in all"
            pairs.append(("Containers", containers))
    return tables.facts(pairs)


def _engine(engine: Document | None) -> str:
    """The container engine in a line: what and where it is, and what matters of how it is set up."""
    if engine is None:
        return "none"
    where = f"{engine['name']} at {engine['address']}" if engine["address"] else engine["name"]
    if not engine["available"]:
        return f"{where}, does not answer: {engine['problem'] or 'no reason given'}"
    name = f"{engine['name']} {engine['version'] or '?'} at {engine['address'] or '-'}"
    words = [
        f"API {engine['api_version']}" if engine["api_version"] else "",
        f"storage {engine['storage_driver']} in {engine['root_dir'] or '-'}" if engine["storage_driver"] else "",
        f"cgroup v{engine['cgroup_version']}" if engine["cgroup_version"] else "",
        f"live-restore {'on' if engine['live_restore'] else 'off'}",
        "rootless" if engine["rootless"] else "",
        f"runtimes {', '.join(engine['runtimes'])}" if engine["runtimes"] else "",
    ]
    return "; ".join([name, *filter(None, words)])


@node.command("show", examples=["gamenode node show game-1", "gamenode node show game-1 -o json | jq .metrics"])
@click.argument("node", shell_complete=complete_node)
@pass_client
def show(client: Client, node: str) -> None:
    """Show one node."""

    async def work(gateway: Gateway) -> Document:
        return nodes.node(await gateway.state.get_node(node))

    document = client.run(work)
    client.output.one(document, lambda: _lines(document), name=document["name"])


@node.command(
    "metrics",
    examples=[
        "gamenode node metrics game-1",
        "gamenode node metrics game-1 --since 10m -o json | jq '.samples[].load1'",
    ],
)
@click.argument("node", shell_complete=complete_node)
@click.option("--since", type=MOMENT, help="Only samples after this; an hour is kept.")
@pass_client
def metrics(client: Client, node: str, since: float | None) -> None:
    """Show a node's samples of the last hour, oldest first."""

    async def work(gateway: Gateway) -> Document:
        return nodes.node_metrics(await gateway.state.node_metrics(node, since=since or 0.0))

    document = client.run(work)
    if client.output.machine:
        client.output.json(document)
    else:
        client.output.many(document["samples"], columns.SAMPLES)


@node.command(
    "token",
    examples=[
        "gamenode node token                                  # prints the line to run on the new host",
        "gamenode node token --name game-7 --label role=game --ttl 15m",
        "gamenode node token -o json | jq -r .token > token.txt",
        "gamenode node token --replace game-7                 # new hardware, same node",
    ],
)
@click.option("--ttl", type=DURATION, help="How long it may be used. Default: 1h.")
@click.option("--uses", type=click.IntRange(1), metavar="N", help="How many hosts may join with it. Default: 1.")
@click.option("--name", default="", help="The name of the node that joins.")
@click.option("--label", "labels", type=PAIR, multiple=True, help="A label of the node that joins; repeat for more.")
@click.option("--replace", default="", metavar="NODE", help="The new host takes over this node's identity.")
@pass_client
def token(
    client: Client, ttl: float | None, uses: int | None, name: str, labels: tuple[tuple[str, str], ...], replace: str
) -> None:
    """Print the one line that joins a host. Whoever has it can join: treat it as a secret."""
    _check_labels(labels)

    async def work(gateway: Gateway) -> Document:
        return nodes.token(
            await gateway.administration.create_join_token(
                ttl=ttl or 0.0, uses=uses or 0, name=name, labels=dict(labels), replace=replace
            )
        )

    document = client.run(work)
    client.output.one(document, lambda: [document["join_command"]], name=document["id"])
    for warning in document["warnings"]:
        client.say(f"gamenode: {warning}", colour="yellow")


def _check_labels(pairs: tuple[tuple[str, str], ...]) -> None:
    from gamenode_pipelines.selectors import validate_label

    for key, value in pairs:
        validate_label(key, value)


@node.command(
    "label",
    examples=[
        "gamenode node label game-1 role=game region=eu",
        "gamenode node label game-1 tier-      # takes it away",
    ],
)
@click.argument("node", shell_complete=complete_node)
@click.argument("changes", nargs=-1, required=True, metavar="K=V... K-...")
@pass_client
def label(client: Client, node: str, changes: tuple[str, ...]) -> None:
    """Set labels (K=V) and take them away (K-)."""
    from gamenode_console.model.labels import label_changes

    wanted, gone = label_changes(changes)

    async def work(gateway: Gateway) -> Document:
        return nodes.node(await gateway.state.label_node(node, set=wanted, remove=gone))

    document = client.run(work)
    client.output.one(
        document,
        lambda: [f"{texts.one_line(document['name'])}: {tables.text_of(document['labels'])}"],
        name=document["name"],
    )


@node.command(
    "revoke",
    examples=["gamenode node revoke game-1 --reason 'stolen'", "gamenode node revoke game-1 --yes"],
)
@click.argument("node", shell_complete=complete_node)
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@yes_option
@reason_option
@pass_client
def revoke(client: Client, node: str, dry_run: bool, yes: bool, reason: str) -> None:
    """Refuse a node from now on; its session is closed at once. It can only come back by joining again."""

    async def look(gateway: Gateway) -> Document:
        return nodes.node(await gateway.state.get_node(node))

    found = client.run(look)
    effect = f"Revoke {found['name']} ({found['id']}), {found['state']} with {found['tasks_running']} tasks running?"
    if dry_run:
        client.output.one(found, lambda: [f"would: {texts.one_line(effect.rstrip('?'))}"], name=found["name"])
        return
    client.confirm(effect, yes=yes)

    async def work(gateway: Gateway) -> Document:
        return nodes.node(await gateway.state.revoke_node(found["id"], reason=reason))

    document = client.run(work)
    client.output.one(
        document, lambda: [f"{texts.one_line(document['name'])} is {document['state']}"], name=document["name"]
    )


@node.command(
    "rm", examples=["gamenode node rm game-1", "gamenode node rm game-1 game-2 --yes --reason 'decommissioned'"]
)
@click.argument("names", nargs=-1, required=True, metavar="NODE...", shell_complete=complete_node)
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@yes_option
@reason_option
@pass_client
def rm(client: Client, names: tuple[str, ...], dry_run: bool, yes: bool, reason: str) -> None:
    """Forget nodes: only those that are offline or revoked and have no task that can move."""

    async def look(gateway: Gateway) -> list[Document]:
        return [nodes.node(await gateway.state.get_node(name)) for name in names]

    found = client.run(look)
    listed = ", ".join(f"{document['name']} ({document['state']})" for document in found)
    if dry_run:
        client.output.many(found, columns.NODES)
        client.say(f"would forget {listed}")
        return
    client.confirm(f"Forget {listed}?", yes=yes)

    async def work(gateway: Gateway) -> None:
        for document in found:
            await gateway.state.remove_node(document["id"], reason=reason)
            client.say(f"{document['name']} is forgotten")

    client.run(work)
