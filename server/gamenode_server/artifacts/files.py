"""Contents as files: one a digest, beside the pieces of those that are still coming in. Blocking; knows no names.

CONTENT/ab/abcd…          whole and checked
INCOMING/abcd….SENDER     what has come so far
"""

from __future__ import annotations

import contextlib
import errno
import hashlib
import os
from collections.abc import Container, Iterable, Iterator, Mapping
from pathlib import Path
from typing import BinaryIO

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.identity.files import sync_folder

_PIECE = 1 << 20


class Contents:
    """Contents under one folder."""

    def __init__(self, root: Path) -> None:
        self._content = root / "content"
        self._incoming = root / "incoming"
        for folder in (self._content, self._incoming):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def path(self, digest: str) -> Path:
        """Where a content is, or would be."""
        return self._content / digest[:2] / digest

    def has(self, digest: str, size: int) -> bool:
        """Whether a content is here, whole."""
        try:
            return self.path(digest).stat().st_size == size
        except FileNotFoundError:
            return False

    def held(self, digest: str, sender: str) -> int:
        """Bytes that have come of a content by this sender."""
        try:
            return self._part(digest, sender).stat().st_size
        except FileNotFoundError:
            return 0

    def receive(self, digest: str, sender: str) -> Incoming:
        """Goes on with a content. Raises GameNodeError where the disk says no."""
        with named_errors():
            return Incoming(self._part(digest, sender), self.path(digest), digest)

    def open(self, digest: str, offset: int) -> BinaryIO:
        """A content from an offset. Raises DATA_LOSS where it is not here."""
        try:
            file = self.path(digest).open("rb")
        except FileNotFoundError:
            raise GameNodeError(Code.DATA_LOSS, f"the content {digest[:12]}… is not on the server's disk") from None
        file.seek(offset)
        return file

    def usage(self, coming: Mapping[tuple[str, str], int]) -> int:
        """Bytes that everything here takes, and will take once contents of these sizes have come."""
        taken = sum(_size(entry) for folder in self._folders() for entry in _files(folder))
        return taken + sum(max(0, size - self.held(*key)) for key, size in coming.items())

    def remove(self, digests: Iterable[str]) -> None:
        """Removes these contents."""
        for digest in digests:
            self.path(digest).unlink(missing_ok=True)

    def sweep(self, keep: Container[str], *, before: float) -> int:
        """Removes contents that are not to be kept, and pieces, not touched since `before`: how many."""
        gone = 0
        for folder in self._folders():
            for entry in _files(folder):
                wanted = folder != self._incoming and entry.name in keep
                with contextlib.suppress(FileNotFoundError):
                    if not wanted and entry.stat().st_mtime < before:
                        os.unlink(entry.path)
                        gone += 1
        return gone

    def _folders(self) -> list[Path]:
        return [self._incoming, *(Path(entry.path) for entry in os.scandir(self._content) if entry.is_dir())]

    def _part(self, digest: str, sender: str) -> Path:
        return self._incoming / f"{digest}.{hashlib.sha256(sender.encode()).hexdigest()[:16]}"


class Incoming:
    """A content that comes in, piece by piece behind what has come before."""

    def __init__(self, part: Path, place: Path, digest: str) -> None:
        self._part, self._place, self._digest = part, place, digest
        self._hash = hashlib.sha256()
        self.resumed = self.size = 0
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file = os.fdopen(os.open(part, flags, 0o600), "r+b", buffering=0)
        while piece := self._file.read(_PIECE):
            self._hash.update(piece)
            self.size += len(piece)
        self.resumed = self.size

    def write(self, data: bytes) -> None:
        """Adds a piece. Raises STORAGE_FULL; what came before it stays."""
        with named_errors():
            rest = memoryview(data)
            while rest:
                rest = rest[self._file.write(rest) :]
        self._hash.update(data)
        self.size += len(data)

    def finish(self) -> None:
        """Everything has come: checks it and has it in its place, on disk. Raises GameNodeError, with nothing left."""
        if (found := self._hash.hexdigest()) != self._digest:
            self.discard()
            if self.resumed:
                raise GameNodeError(Code.PROTOCOL_ERROR, "what had come before does not fit; send it from its start")
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"what has come is another content: it has the SHA-256 {found}, not {self._digest}",
                details={"expected": self._digest, "found": found},
            )
        with named_errors():
            os.fsync(self._file.fileno())
            self._place.parent.mkdir(mode=0o700, exist_ok=True)
            os.replace(self._part, self._place)
            sync_folder(self._place.parent)
            sync_folder(self._place.parent.parent)
        self.close()

    def discard(self) -> None:
        """Forgets what has come."""
        self.size = 0
        self._part.unlink(missing_ok=True)
        self.close()

    def close(self) -> None:
        """Leaves what has come for another time."""
        self._file.close()


@contextlib.contextmanager
def named_errors() -> Iterator[None]:
    """What the disk says, by name."""
    try:
        yield
    except OSError as error:
        full = error.errno in (errno.ENOSPC, errno.EDQUOT)
        raise GameNodeError(
            Code.STORAGE_FULL if full else Code.INTERNAL,
            f"the server cannot store the artifact: {error.strerror or error}",
        ) from error


def _files(folder: Path) -> list[os.DirEntry[str]]:
    return [entry for entry in os.scandir(folder) if entry.is_file(follow_symlinks=False)]


def _size(entry: os.DirEntry[str]) -> int:
    try:
        return entry.stat(follow_symlinks=False).st_size
    except FileNotFoundError:  # it has moved to its place, or is gone
        return 0
