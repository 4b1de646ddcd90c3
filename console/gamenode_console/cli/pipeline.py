"""`gamenode pipeline`: templates. What starts a run is in `pipeline_run`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import click

from gamenode_console import columns, tables, words
from gamenode_console.cli import sources, watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_pipeline
from gamenode_console.cli.frame import Group, list_options
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import PAIR
from gamenode_console.cli.pipeline_run import run
from gamenode_console.cli.pipeline_shelf import shelf
from gamenode_console.cli.pipeline_versions import diff, history, rm
from gamenode_console.documents import Document, pipelines
from gamenode_pipelines.errors import InvalidPipeline
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.v1.pipeline_management_pb2 import Pipeline

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway


@click.group("pipeline", cls=Group)
def pipeline() -> None:
    """Templates: store, check, show and run them. FILE `-` is standard input."""


for command in (run, history, diff, rm):
    pipeline.add_command(command)


@pipeline.command("ls", examples=["gamenode pipeline ls", "gamenode pipeline ls -o name"])
@list_options
@pass_client
def ls(client: Client, listing: Listing) -> None:
    """List pipelines."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [pipelines.pipeline_summary(found) for found in await gateway.pipelines.list()]

    watching.show(client, columns.PIPELINES, listing, fetch)


@pipeline.command(
    "show",
    examples=[
        "gamenode pipeline show deploy",
        "gamenode pipeline show deploy --version 3 -o json | jq -r .text > deploy.yaml",
    ],
)
@click.argument("name", shell_complete=complete_pipeline)
@click.option("--version", type=click.IntRange(1), metavar="N", help="Default: the newest.")
@pass_client
def show(client: Client, name: str, version: int | None) -> None:
    """Show a pipeline: what it takes, and its text."""

    async def work(gateway: Gateway) -> Document:
        return pipelines.pipeline_document(await gateway.pipelines.get(name, version=version or 0))

    document = client.run(work)

    def human() -> Iterator[str]:
        yield from tables.facts(
            [
                ("Name", document["name"]),
                (
                    "Version",
                    f"{document['version']}, {document['created_at'] or '-'} by {document['created_by'] or '-'}",
                ),
                ("Description", document["description"] or "-"),
                *([("Files", ", ".join(file["path"] for file in document["files"]))] if document["files"] else []),
            ]
        )
        if document["parameters"]:
            yield ""
            yield from client.output.table_lines(document["parameters"], columns.PARAMETERS, Listing())
        yield ""
        yield from _inert_text(document["text"], inert=client.output.width is not None)

    client.output.one(document, human, name=document["name"])


def _inert_text(text: str, *, inert: bool) -> Iterator[str]:
    from gamenode_console import texts

    for line in text.splitlines():
        yield texts.inert(line) if inert else line


@pipeline.command(
    "apply",
    examples=[
        "gamenode pipeline apply deploy.yaml",
        "gamenode pipeline apply pipelines/*.yaml --dry-run",
        "generate | gamenode pipeline apply -",
    ],
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@click.option("--dry-run", is_flag=True, help="Only check, and show what would be stored.")
@pass_client
def apply(client: Client, files: tuple[str, ...], dry_run: bool) -> int:
    """Store pipelines. Every problem of every file is said at once, and then nothing is stored."""
    read = sources.read_sources(files)

    async def work(gateway: Gateway) -> Document:
        return pipelines.applied(await gateway.pipelines.apply(read, dry_run=dry_run))

    document = client.run(work)
    sources.say_problems(client, document["problems"])
    failed = any(not problem["warning"] for problem in document["problems"])
    if client.output.machine:
        client.output.json(document)
    elif not failed:
        client.output.many(document["applied"], columns.APPLIED)
        if dry_run:
            client.say("dry run: nothing was stored")
    return ExitCode.USAGE if failed else ExitCode.OK


@pipeline.command(
    "lint",
    examples=[
        "gamenode pipeline lint deploy.yaml",
        "gamenode pipeline lint *.yaml -o json",
        "gamenode pipeline lint - < deploy.yaml",
    ],
)
@click.argument("files", nargs=-1, required=True, metavar="FILE...")
@pass_client
def lint(client: Client, files: tuple[str, ...]) -> int:
    """Check pipeline files, without a server. Exits with 2 when something is wrong; warnings alone are fine."""
    from gamenode_pipelines.load import load_pipelines

    problems: list[Document] = []
    names: list[str] = []
    for source in sources.read_sources(files):
        try:
            loaded = load_pipelines(source.text, source.file)
        except InvalidPipeline as error:
            problems.extend(_problem(found) for found in error.problems)
        else:
            for one in loaded:
                names.append(one.name)
                problems.extend(_problem(found) for found in one.warnings)
    if client.output.machine:
        client.output.json(problems)
    else:
        sources.say_problems(client, problems)
    failed = any(not problem["warning"] for problem in problems)
    if not failed and not client.output.machine:
        client.output.line(f"{', '.join(names) or 'no pipelines'}: fine" + (", with warnings" if problems else ""))
    return ExitCode.USAGE if failed else ExitCode.OK


def _problem(found: Any) -> Document:
    return {
        "file": found.file,
        "line": found.line,
        "column": found.column,
        "message": found.message,
        "suggestion": found.suggestion or None,
        "warning": found.warning,
    }


@pipeline.command(
    "render",
    examples=[
        "gamenode pipeline render deploy -p port=27961",
        "gamenode pipeline render ./deploy.yaml -p mode=ctf -o json",
    ],
)
@click.argument("name", metavar="NAME|FILE", shell_complete=complete_pipeline)
@click.option("--version", type=click.IntRange(1), metavar="N", help="Of a stored pipeline; default: the newest.")
@click.option("-p", "--param", "params", type=PAIR, multiple=True, help="A parameter; repeat for more.")
@click.option("--params-file", metavar="FILE", help="Parameters as YAML or JSON.")
@pass_client
def render(
    client: Client, name: str, version: int | None, params: tuple[tuple[str, str], ...], params_file: str | None
) -> None:
    """Show the compiled plan: parameters typed, defaults filled in. Nothing is run.

    A FILE needs no server, unless its steps name stored pipelines.
    """
    from gamenode_pipelines.compile import compile_plan
    from gamenode_pipelines.load import load_pipelines
    from gamenode_proto.codec.plan import plan_to_proto

    if sources.is_file(name):
        if version is not None:
            raise click.UsageError("--version is for stored pipelines")
        (source,) = sources.read_sources([name])
        text, file, number = source.text, source.file, 0
    else:

        async def work(gateway: Gateway) -> Pipeline:
            return (await gateway.pipelines.get(name, version=version or 0)).pipeline

        stored = client.run(work)
        text, file, number = stored.text, stored.name, stored.version
    given = {key: words.value(value) for key, value in sources.read_params(params, params_file).items()}
    loaded = load_pipelines(text, file)
    if len(loaded) != 1:
        raise click.UsageError(f"{file} holds {len(loaded)} pipelines; one can be shown at a time")
    known = {key: value for key, value in given.items() if value is not None}
    find = shelf(client, loaded[0].spec)
    plan = pipelines.plan(plan_to_proto(compile_plan(loaded[0].spec, known, version=number, find=find)))

    def human() -> Iterator[str]:
        import yaml

        yield from yaml.safe_dump(plan, sort_keys=False, allow_unicode=True, width=100).splitlines()

    client.output.one(plan, human, name=plan["pipeline"])


@pipeline.command("schema", examples=["gamenode pipeline schema > pipeline.schema.json"])
@pass_client
def schema(client: Client) -> None:
    """Print the JSON Schema of pipeline files, for editors. Needs no server."""
    from gamenode_pipelines.schema import json_schema

    if client.output.format != "jsonl":
        client.output.format = "json"
    client.output.json(json_schema())
