"""`gamenode pipeline history|diff|rm`: what was stored of a pipeline, how it differs, and taking it out of use."""

from __future__ import annotations

import difflib
import hashlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

import click

from gamenode_console import columns, texts
from gamenode_console.cli import sources, watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_pipeline
from gamenode_console.cli.frame import Command, list_options, reason_option, yes_option
from gamenode_console.cli.output import Listing, paint
from gamenode_console.documents import Document, pipelines
from gamenode_proto.process.exits import ExitCode

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

_COLOURS = {"+": "green", "-": "red", "@": "cyan"}


@click.command(
    "history", cls=Command, examples=["gamenode pipeline history deploy", "gamenode pipeline history deploy -o json"]
)
@click.argument("name", shell_complete=complete_pipeline)
@list_options
@pass_client
def history(client: Client, listing: Listing, name: str) -> None:
    """List the versions of a pipeline, newest first; of one that was removed too. Runs keep the one they began with."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [pipelines.pipeline(version) for version in await gateway.pipelines.versions(name)]

    watching.show(client, columns.PIPELINE_VERSIONS, listing, fetch)


@click.command(
    "diff",
    cls=Command,
    examples=[
        "gamenode pipeline diff deploy deploy.yaml        # what `apply` would change",
        "gamenode pipeline diff deploy                    # what the newest version changed",
        "gamenode pipeline diff deploy --version 3 --to 5",
    ],
)
@click.argument("name", shell_complete=complete_pipeline)
@click.argument("file", required=False)
@click.option("--version", type=click.IntRange(1), metavar="N", help="The older one. Default: before the newest.")
@click.option("--to", type=click.IntRange(1), metavar="N", help="The newer one. Default: the newest.")
@pass_client
def diff(client: Client, name: str, file: str | None, version: int | None, to: int | None) -> int:
    """Show how two versions of a pipeline differ, or the stored one and a FILE. Exits with 1 when they do."""
    if file is not None and to is not None:
        raise click.UsageError("--to is for stored versions; a FILE is what the stored one is compared with")

    async def text(gateway: Gateway, number: int) -> Document:
        return pipelines.pipeline_document(await gateway.pipelines.get(name, version=number))

    async def both(gateway: Gateway) -> tuple[Document, Document | None]:
        if file is not None:
            return await text(gateway, version or 0), None
        newer = await text(gateway, to or 0)
        older = version or newer["version"] - 1
        return (await text(gateway, older) if older else {**newer, "version": 0, "text": "", "files": []}), newer

    older, newer = client.run(both)
    if newer is None:
        assert file is not None
        (source,) = sources.read_sources([file])
        new_name, new_text = source.file, _document_of(source.text, source.file, name)
        new_files = [_file_line(f.path, f"{f.mode:o}", hashlib.sha256(f.content).hexdigest()) for f in source.files]
    else:
        new_name, new_text = f"{name} v{newer['version']}", newer["text"]
        new_files = _file_lines(newer)
    lines = list(
        difflib.unified_diff(
            [*older["text"].splitlines(), *_file_lines(older)],
            [*new_text.splitlines(), *sorted(new_files)],
            f"{name} v{older['version']}",
            new_name,
            lineterm="",
        )
    )

    def human() -> Iterator[str]:
        for line in lines:
            shown = texts.inert(line) if client.output.width is not None else line
            colour = _COLOURS.get(line[:1])
            yield paint(shown, colour) if colour and client.output.colour else shown

    document = {"name": name, "from": f"v{older['version']}", "to": new_name, "differ": bool(lines), "diff": lines}
    client.output.one(document, human, name=name)
    if not lines:
        client.say(f"{name} v{older['version']} and {new_name} are the same")
    return ExitCode.FAILED if lines else ExitCode.OK


def _file_lines(document: Document) -> list[str]:
    """The files of a stored version, one a line behind its text."""
    return sorted(_file_line(file["path"], file["mode"], file["sha256"]) for file in document["files"])


def _file_line(path: str, mode: str, sha256: str) -> str:
    return f"# file {path}, mode {mode}, sha256 {sha256[:16]}…"


def _document_of(text: str, file: str, name: str) -> str:
    """The text of the pipeline `name` in a file that may hold several; the whole file where it cannot be read."""
    from gamenode_pipelines.errors import InvalidPipeline
    from gamenode_pipelines.load import load_pipelines

    try:
        loaded = load_pipelines(text, file)
    except InvalidPipeline:
        return text
    found = next((one.text for one in loaded if one.name == name), None)
    if found is None:
        held = ", ".join(one.name for one in loaded)
        raise click.UsageError(f"{file} holds {held or 'no pipeline'}, not {name}")
    return found


@click.command(
    "rm",
    cls=Command,
    examples=["gamenode pipeline rm old-deploy", "gamenode pipeline rm a b --yes --reason 'nobody uses them'"],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_pipeline)
@click.option("--dry-run", is_flag=True, help="Only show what it would do.")
@yes_option
@reason_option
@pass_client
def rm(client: Client, names: tuple[str, ...], dry_run: bool, yes: bool, reason: str) -> None:
    """Take pipelines out of use. Runs go on, versions stay in `history`, and `apply` brings one back."""

    async def look(gateway: Gateway) -> list[Document]:
        return [pipelines.pipeline((await gateway.pipelines.get(name)).pipeline) for name in dict.fromkeys(names)]

    found = client.run(look)
    listed = ", ".join(f"{document['name']} v{document['version']}" for document in found)
    if dry_run:
        client.say(f"would remove {listed}")
        return
    client.confirm(f"Remove {listed}?", yes=yes)

    async def work(gateway: Gateway) -> None:
        for version in await gateway.pipelines.remove([document["name"] for document in found], reason=reason):
            client.say(f"{version.name} is removed; `gamenode pipeline history {version.name}` still lists it")

    client.run(work)
