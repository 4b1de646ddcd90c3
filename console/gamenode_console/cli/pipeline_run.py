"""`gamenode pipeline run`: starts a run, and waits for it or follows it where that is wanted."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, texts
from gamenode_console.cli import sources, starting
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_node, complete_pipeline
from gamenode_console.cli.frame import Command
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import DURATION, PAIR
from gamenode_console.documents import Document, pipelines
from gamenode_pipelines.wording import listed
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.v1.pipeline_management_pb2 import RunPipelineRequest

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.command(
    "run",
    cls=Command,
    examples=[
        "gamenode pipeline run hello --all --wait",
        "gamenode pipeline run deploy -p port=27961 -p mode=ctf --node game-1 --follow",
        "gamenode pipeline run ./deploy.yaml -l 'role=game,region in (eu,us)' --dry-run",
        "gamenode pipeline run deploy --all --wait --timeout 10m -o json | jq -r .state",
        'gamenode pipeline run deploy --all --request-id "$CI_JOB_ID"    # starts once, however often it is asked',
    ],
)
@click.argument("name", metavar="NAME|FILE", shell_complete=complete_pipeline)
@click.option("--version", type=click.IntRange(1), metavar="N", help="Of a stored pipeline; default: the newest.")
@click.option("-p", "--param", "params", type=PAIR, multiple=True, help="A parameter; repeat for more.")
@click.option("--params-file", metavar="FILE", help="Parameters as YAML or JSON; -p wins over it.")
@click.option("-l", "--selector", "selectors", multiple=True, metavar="SELECTOR", help="On nodes with these labels.")
@click.option("--node", "nodes", multiple=True, metavar="NODE", shell_complete=complete_node, help="On this node.")
@click.option("--all", "every", is_flag=True, help="On every node.")
@click.option("--dry-run", is_flag=True, help="Only show what would run, and where.")
@starting.stay_options
@click.option("--run-timeout", type=DURATION, help="Ends tasks that take longer, in place of the pipeline's timeout.")
@click.option("--request-id", default="", metavar="ID", help="The same id again answers with the same run.")
@click.option("--note", default="", metavar="TEXT", help="Why; kept with the run.")
@pass_client
def run(
    client: Client,
    name: str,
    version: int | None,
    params: tuple[tuple[str, str], ...],
    params_file: str | None,
    selectors: tuple[str, ...],
    nodes: tuple[str, ...],
    every: bool,
    dry_run: bool,
    stay: starting.Stay,
    run_timeout: float | None,
    request_id: str,
    note: str,
) -> int:
    """Run a stored pipeline, or one from a file.

    Ctrl-C while waiting or following never cancels the run.
    """
    if every and (nodes or selectors):
        raise click.UsageError("--all means every node: leave out --node and --selector")
    request = RunPipelineRequest(
        version=version or 0,
        params=sources.read_params(params, params_file),
        selectors=selectors,
        nodes=nodes,
        all=every,
        # An id of our own lets a lost answer be asked for again without a second run.
        request_id=request_id or secrets.token_hex(12),
        note=note,
        timeout=run_timeout or 0.0,
    )
    if sources.is_file(name):
        if version is not None:
            raise click.UsageError("--version is for stored pipelines")
        (source,) = sources.read_sources([name])
        request.source.CopyFrom(source)
    else:
        request.name = name
    if dry_run:
        return _dry_run(client, request)

    return starting.start(client, lambda gateway: gateway.pipelines.run(request), stay)


def _conduct(document: Document) -> Iterator[str]:
    """How the run would go: what it waits for, its order and waves, its commands."""
    if (approval := document["approval"]) is not None:
        asked = f": {approval['message']}" if approval["message"] else ""
        yield f"it waits for the approval of an {approval['by']}{asked}"
    for line in document["waits"]:
        yield f"it waits: {line}"
    if len(document["order"]) > 1:
        yield "nodes " + " → ".join(_waves(document["order"], document["rollout"]))
    if document["usual_seconds"] is not None:
        took = texts.span(document["usual_seconds"])
        yield f"usually {took}, by the last {document['usual_of']} that succeeded"
    yield ""
    for step in document["steps"]:
        left_out = listed(step["skipped_on"], 4)
        yield f"{step['id']}  {step['kind']}" + (f"    (skipped on {left_out})" if left_out else "")
        yield from (texts.one_line(f"    {line}") for line in step["text"].splitlines())


def _waves(order: list[str], rollout: Document) -> Iterator[str]:
    """The nodes as they would begin, together those that may begin together."""
    canary = rollout["canary"] or 0
    size = rollout["max_parallel"] or len(order)
    waves: list[list[str]] = []
    for first, last in ((0, canary), (canary, len(order))):
        part = order[first:last]
        waves += [part[at : at + size] for at in range(0, len(part), size)]
    for number, wave in enumerate(waves[:6]):
        names = ", ".join(wave[:6]) + (f" and {len(wave) - 6} more" if len(wave) > 6 else "")
        yield f"canary {names}" if number == 0 and canary else names
    if len(waves) > 6:
        yield f"{len(waves) - 6} waves more"


def _dry_run(client: Client, request: RunPipelineRequest) -> int:
    """What would run, and where; why each node is in or out."""

    async def work(gateway: Gateway) -> Document:
        return pipelines.rendered(await gateway.pipelines.render(request))

    document = client.run(work)

    def human() -> Iterator[str]:
        plan = document["plan"]
        chosen = sum(choice["chosen"] for choice in document["nodes"])
        steps = ", ".join(step["id"] for step in (*plan["steps"], *plan["finally"]))
        yield f"would run {plan['pipeline']} on {chosen} of {len(document['nodes'])} nodes: {steps}"
        if plan["params"]:
            yield "with " + ", ".join(f"{name}={value}" for name, value in plan["params"].items())
        for inlined in plan["inlined"]:
            yield f"step {inlined['step']} is pipeline {inlined['pipeline']}, version {inlined['version']}"
        yield from _conduct(document)
        if document["nodes"]:
            yield ""
            yield from client.output.table_lines(document["nodes"], columns.CHOICES, Listing())

    client.output.one(document, human, name=document["plan"]["pipeline"])
    return ExitCode.OK
