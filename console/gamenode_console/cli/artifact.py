"""`gamenode artifact`: files that runs make and need."""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gamenode_console import texts
from gamenode_console.cli import watching
from gamenode_console.cli.client import Client, pass_client
from gamenode_console.cli.completion import complete_artifact
from gamenode_console.cli.frame import Group, list_options, reason_option, yes_option
from gamenode_console.cli.output import Listing
from gamenode_console.cli.parsing import DURATION
from gamenode_console.cli.progress import ProgressLine
from gamenode_console.documents import Document, artifacts
from gamenode_pipelines.artifacts import check_name
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.packing import digest_of, pack
from gamenode_proto.process.exits import ExitCode
from gamenode_proto.v1.artifacts_pb2 import Artifact, ArtifactOffer

if TYPE_CHECKING:
    from gamenode_console.gateway import Gateway

#: Of a file that is being got, beside its place.
_PART = ".{digest}.gamenode-part"


@click.group("artifact", cls=Group)
def artifact() -> None:
    """Files that runs make and need, kept by what is in them.

    A NAME means its newest content; a digest, or its first 8 or more characters, one content.
    """


@artifact.command(
    "ls",
    examples=[
        "gamenode artifact ls",
        "gamenode artifact ls world.tar -a                    # every content that the name has had",
        "gamenode artifact ls --sort-by -size -o wide",
        "gamenode artifact ls -o json | jq -r '.[] | select(.run_id != null) | .name'",
    ],
)
@click.argument("name", default="", metavar="[NAME]", shell_complete=complete_artifact)
@click.option("-a", "--all", "all_too", is_flag=True, help="Older contents of the names, too.")
@list_options
@pass_client
def ls(client: Client, name: str, all_too: bool, listing: Listing) -> None:
    """List artifacts, newest first."""

    async def fetch(gateway: Gateway) -> list[Document]:
        return [artifacts.artifact(each) for each in await gateway.artifacts.list_artifacts(name, all=all_too)]

    watching.show(client, artifacts.TABLE, listing, fetch, silent=True)


@artifact.command(
    "put",
    examples=[
        "gamenode artifact put openarena.tar",
        "gamenode artifact put ./maps --name maps.tar --keep 90d",
        "pg_dump stats | gamenode artifact put - --name stats.sql",
    ],
)
@click.argument("file", metavar="FILE|FOLDER|-")
@click.option("--name", default="", help="What it is called. Default: as the file; FOLDER.tar.")
@click.option("--keep", type=DURATION, help="How long it is kept. Default: as long as the server keeps them.")
@pass_client
def put(client: Client, file: str, name: str, keep: float | None) -> None:
    """Store a file; of a folder, a tar archive. What the server has already is not sent again.

    Goes on where it got to when the connection breaks, and when it is called again.
    """
    name = _name_of(file, name)
    client.on_interrupt = "what was sent stays on the server for a day: the same command goes on from there"
    with _content(file) as (path, folder), path.open("rb") as content, ProgressLine(name, client.env) as line:
        fd = content.fileno()
        packed = digest_of(fd, os.fstat(fd).st_size, threading.Event())
        offer = ArtifactOffer(name=name, digest=packed.digest, bytes=packed.size, folder=folder, keep=keep or 0.0)

        async def work(gateway: Gateway) -> Document:
            return artifacts.artifact(await gateway.artifacts.put(fd, offer, line.at))

        document = client.run(work)
    client.output.one(document, lambda: [_line(document)], name=name)


@artifact.command(
    "get",
    examples=[
        "gamenode artifact get world.tar",
        "gamenode artifact get server.log --to -  | less",
        "gamenode artifact get 5891b5b522d5 --to /srv/maps/arena.pk3 --force",
    ],
)
@click.argument("name", shell_complete=complete_artifact)
@click.option("--to", "target", default="", metavar="FILE|-", help="Where it goes. Default: here, under its name.")
@click.option("--force", is_flag=True, help="Write over a file that is there.")
@pass_client
def get(client: Client, name: str, target: str, force: bool) -> None:
    """Get a file, whole or not at all. Goes on where it got to, also when it is called again."""
    with contextlib.ExitStack() as stack:
        line = stack.enter_context(ProgressLine(name, client.env))
        place, part = Path(), Path()

        def open_at(found: Artifact) -> tuple[int, int]:
            nonlocal place, part
            if target == "-":
                return sys.stdout.fileno(), 0
            place = Path(target or found.name)
            if place.is_dir():
                place = place / found.name
            if place.exists() and not force:
                raise GameNodeError(Code.ALREADY_EXISTS, f"{place} is there already; --force writes over it")
            part = place.parent / _PART.format(digest=found.digest[:16])
            fd = _locked(part, place)
            stack.callback(os.close, fd)
            client.on_interrupt = f"what has come is in {part}: the same command goes on from there"
            have = os.fstat(fd).st_size
            if have > found.bytes:
                os.ftruncate(fd, have := 0)
            return fd, have

        async def work(gateway: Gateway) -> Document:
            return artifacts.artifact(await gateway.artifacts.get(name, open_at, line.at))

        try:
            document = client.run(work)
        except GameNodeError as error:
            if error.code is Code.INTEGRITY_FAILED and target != "-":
                part.unlink(missing_ok=True)
            raise
        if target == "-":
            return
        with part.open("rb") as done:
            os.fsync(done.fileno())
        part.replace(place)
    client.output.one(document, lambda: [f"{_line(document)}  {texts.one_line(str(place))}"], name=document["name"])


@artifact.command(
    "rm",
    examples=[
        "gamenode artifact rm world.tar                       # every content of the name",
        "gamenode artifact rm 5891b5b522d5 --yes --reason 'old map'",
        "gamenode artifact rm world.tar --dry-run",
    ],
)
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=complete_artifact)
@click.option("--dry-run", is_flag=True, help="Only show what would go.")
@yes_option
@reason_option
@pass_client
def rm(client: Client, names: tuple[str, ...], dry_run: bool, yes: bool, reason: str) -> int:
    """Remove artifacts: a name with all its contents, or one content under all its names."""

    def remove(*, dry_run: bool) -> list[Document]:
        async def work(gateway: Gateway) -> list[Document]:
            removed = await gateway.artifacts.remove(names, reason=reason, dry_run=dry_run)
            return [artifacts.artifact(each) for each in removed]

        return client.run(work)

    found = remove(dry_run=True)
    if dry_run:
        client.output.many(found, artifacts.TABLE)
        return ExitCode.OK
    listed = ", ".join(_line(document) for document in found[:5]) + (" …" if len(found) > 5 else "")
    client.confirm(f"Remove {len(found)} artifact{'s' * (len(found) != 1)}: {listed}?", yes=yes)
    removed = remove(dry_run=False)
    if client.output.machine or client.output.format == "name":
        client.output.many(removed, artifacts.TABLE)
    else:
        for document in removed:
            client.output.line(f"{_line(document)}  removed")
    return ExitCode.OK


def _locked(part: Path, place: Path) -> int:
    """Opens what has come so far, for this process alone. Raises GameNodeError."""
    flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    while True:
        try:
            fd = os.open(part, flags, 0o644)
        except OSError as error:
            raise GameNodeError(
                Code.INVALID_ARGUMENT, f"{place} cannot be written: {error.strerror or error}"
            ) from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if os.path.exists(part) and os.path.samestat(os.fstat(fd), part.stat()):
                return fd
        except BlockingIOError:
            os.close(fd)
            raise GameNodeError(
                Code.ALREADY_EXISTS, f"{part} is being written: another `gamenode artifact get` brings the same content"
            ) from None
        os.close(fd)  # whoever had it has put it in its place meanwhile


def _name_of(file: str, name: str) -> str:
    if not name and file == "-":
        raise click.UsageError("what comes from standard input needs a --name")
    path = Path(file)
    name = name or path.resolve().name + (".tar" if path.is_dir() else "")
    try:
        return check_name(name)
    except ValueError as error:
        raise click.UsageError(f"--name {texts.one_line(name)[:130]!r} {error}") from None


@contextlib.contextmanager
def _content(file: str) -> Iterator[tuple[Path, bool]]:
    """The file to send, and whether it is the archive of a folder; what is made for it goes again."""
    path = Path(file)
    try:
        if file != "-" and not path.is_dir():
            if not path.is_file():
                raise click.UsageError(
                    f"{texts.one_line(file)}: {'no regular file' if path.exists() else 'no such file or folder'}"
                )
            yield path, False
            return
        with tempfile.TemporaryDirectory(prefix="gamenode-") as directory:
            made = Path(directory, "content")
            if file == "-":
                with made.open("wb") as out:
                    shutil.copyfileobj(sys.stdin.buffer, out)
            else:
                for left_out in pack(file, made, threading.Event()).left_out:
                    click.echo(f"left out: {texts.inert(left_out)} is no file, folder or link", err=True)
            yield made, file != "-"
    except OSError as error:
        raise click.UsageError(f"{texts.one_line(file)} cannot be read: {error.strerror or error}") from error


def _line(document: Document) -> str:
    return f"{document['name']}  sha256:{document['digest'][:12]}  {texts.size(document['bytes'])}"
