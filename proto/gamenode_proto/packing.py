"""A file's digest, a copy of it, and a folder as an archive that is the same for the same content. Blocking."""

from __future__ import annotations

import hashlib
import os
import stat
import tarfile
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

_PIECE = 1 << 20


class Stopped(Exception):
    """It was told to stop."""


@dataclass(slots=True)
class Packed:
    """What was read or written: its size and SHA-256. `left_out`: what no archive can hold."""

    size: int = 0
    left_out: list[str] = field(default_factory=list)
    _hash: hashlib._Hash = field(default_factory=hashlib.sha256)

    @property
    def digest(self) -> str:
        """Hex."""
        return self._hash.hexdigest()

    def add(self, data: bytes) -> None:
        """Takes a piece into account."""
        self._hash.update(data)
        self.size += len(data)


def digest_of(fd: int, size: int, stop: threading.Event) -> Packed:
    """Of the first `size` bytes of a file, or of all where it is shorter. Raises Stopped, OSError."""
    packed = Packed()
    while packed.size < size and (data := os.pread(fd, min(_PIECE, size - packed.size), packed.size)):
        _go_on(stop)
        packed.add(data)
    return packed


def copy(fd: int, size: int, target: Path, stop: threading.Event) -> Packed:
    """The first `size` bytes of a file, into another one, on disk. Raises Stopped, OSError."""
    packed = Packed()
    with target.open("wb") as file:
        while packed.size < size and (data := os.pread(fd, min(_PIECE, size - packed.size), packed.size)):
            _go_on(stop)
            file.write(data)
            packed.add(data)
        file.flush()
        os.fsync(file.fileno())
    return packed


def pack(folder: str, target: Path, stop: threading.Event) -> Packed:
    """A folder as a tar archive: sorted, without owners, times in whole seconds, links as links; on disk.

    Raises Stopped, OSError, also where a file becomes shorter meanwhile.
    """
    packed = Packed()
    with target.open("wb") as file:
        out = _Out(file, packed, stop)
        with tarfile.open(fileobj=cast("BinaryIO", out), mode="w|", format=tarfile.PAX_FORMAT) as archive:
            for path, name in _walk(folder):
                if not _fits(path):
                    packed.left_out.append(name)
                    continue
                member = archive.gettarinfo(path, name)
                if member.islnk():  # one of several names of a file: the content again, so that order does not matter
                    member.type, member.linkname, member.size = tarfile.REGTYPE, "", os.lstat(path).st_size
                member.uid = member.gid = 0
                member.uname = member.gname = ""
                member.mtime = int(member.mtime)
                if member.isreg():
                    with open(os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW), "rb") as content:
                        archive.addfile(member, content)
                else:
                    archive.addfile(member)
        file.flush()
        os.fsync(file.fileno())
    return packed


def size_of(folder: str) -> int:
    """About how large the archive of a folder will be."""
    return sum(os.lstat(path).st_size + 1024 for path, _ in _walk(folder)) + 10_240


def _walk(folder: str) -> Iterator[tuple[str, str]]:
    """Everything in a folder, with its name in there; sorted."""
    for entry in sorted(os.scandir(folder), key=lambda entry: entry.name):
        yield entry.path, entry.name
        if entry.is_dir(follow_symlinks=False):
            for path, name in _walk(entry.path):
                yield path, f"{entry.name}/{name}"


def _fits(path: str) -> bool:
    mode = os.lstat(path).st_mode
    return stat.S_ISREG(mode) or stat.S_ISDIR(mode) or stat.S_ISLNK(mode)


def _go_on(stop: threading.Event) -> None:
    if stop.is_set():
        raise Stopped


class _Out:
    """What tarfile writes into."""

    def __init__(self, file: BinaryIO, packed: Packed, stop: threading.Event) -> None:
        self._file, self._packed, self._stop = file, packed, stop

    def write(self, data: bytes) -> int:
        _go_on(self._stop)
        self._packed.add(data)
        return self._file.write(data)
