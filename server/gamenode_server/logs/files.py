"""Logs as files, for the log store's thread: where they are, which are open, how one grows and how it ends.

`RUN/TASK/FENCE.ATTEMPT.STEP.log` holds the bytes, `.log.idx` the reads (see `gamenode_proto.logfile`), `.log.end` how
it ended: written once, when the bytes have been proven to be what the agent hashed. Blocking; one thread only, but for
the functions that read.
"""

from __future__ import annotations

import json
import os
import re
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogHole, LogSummary
from gamenode_proto.logfile import LogReader, LogWriter
from gamenode_proto.process.failpoints import failpoint
from gamenode_server.logs.refs import LogRef, LogStatus, ended_status

END_SUFFIX = ".end"
_PART = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
#: SHA-256 of nothing: what a log without output ends with.
EMPTY_SHA256 = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"


@dataclass(frozen=True, slots=True)
class Received:
    """What became of an upload. The sender goes on at `offset`; `rewind`: it was somewhere else."""

    offset: int
    rewind: bool = False


@dataclass(frozen=True, slots=True)
class Finished:
    """What became of the end of a log: `status.ended`, or send again from `offset`."""

    status: LogStatus
    offset: int

    @property
    def rewind(self) -> bool:
        """Bytes are missing here, or are not what the sender hashed."""
        return not self.status.ended


def path_of(directory: Path, ref: LogRef) -> Path:
    """Where a log is. Raises GameNodeError for a name that could lead elsewhere."""
    for part in (ref.run_id, ref.task_id, ref.step_id):
        if not _PART.fullmatch(part):
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{part!r} cannot be part of a log's name")
    if ref.fence < 0 or ref.attempt < 0:
        raise GameNodeError(Code.INVALID_ARGUMENT, "a log's fence and attempt are not negative")
    return directory / ref.run_id / ref.task_id / f"{ref.fence}.{ref.attempt}.{ref.step_id}.log"


def status_of(directory: Path, ref: LogRef, expected: LogSummary | None = None) -> LogStatus:
    """How a log stands on disk. `expected` is what its step ended with, where that is known.

    A log that ended with nothing leaves no file: only `expected` tells it from one that never began.
    """
    path = path_of(directory, ref)
    ended = _read_end(path, ref)
    if ended is not None:
        return ended
    try:
        with LogReader(path) as reader:
            size, lines = reader.size, reader.lines
    except FileNotFoundError:
        size = lines = 0
    if expected is not None and expected.bytes == size == 0:
        return ended_status(ref, expected, complete=True)
    return LogStatus(ref, bytes=size, lines=lines)


def refs_of(directory: Path, run_id: str) -> list[LogRef]:
    """Every log of a run that has a file."""
    found: list[LogRef] = []
    for path in sorted((directory / run_id).glob("*/*.log")):
        fence, attempt, step = path.name.removesuffix(".log").split(".", 2)
        found.append(LogRef(run_id, path.parent.name, int(fence), step, int(attempt)))
    return found


class OpenLogs:
    """The logs that grow. Each call leaves its log as it was where it raises."""

    def __init__(self, directory: Path, *, limit: int) -> None:
        self._directory = directory
        self._limit = limit
        self._open: OrderedDict[LogRef, LogWriter] = OrderedDict()
        self._dirty: dict[LogRef, LogWriter] = {}
        self._ends: dict[LogRef, str] = {}
        self._distrusted: set[LogRef] = set()

    def append(
        self, ref: LogRef, offset: int, data: bytes, records: Iterable[tuple[float, int, int]]
    ) -> tuple[Received, LogStatus | None]:
        """Adds what is new of `data`; answers with how the log stands now, unless nothing changed.

        Bytes in front that are missing: nothing is written, `rewind`. An ended log takes everything and keeps nothing.
        """
        writer = self._open.get(ref)
        if writer is None:
            path = path_of(self._directory, ref)
            ended = _read_end(path, ref)
            if ended is not None:
                return Received(offset + len(data)), None
            writer = self._start(ref, path)
        before = writer.size
        try:
            size = writer.append_at(offset, data, records)
        except ValueError as error:
            raise GameNodeError(Code.PROTOCOL_ERROR, f"a log upload does not fit: {error}") from error
        if size == before:
            return Received(size, rewind=offset > size), None
        self._dirty[ref] = writer
        self._open.move_to_end(ref)
        return Received(size), LogStatus(ref, bytes=size, lines=writer.lines)

    def finish(self, ref: LogRef, summary: LogSummary) -> Finished:
        """Compares what is here with what the sender has, and closes the log where it is whole.

        Bytes that differ are thrown away and asked for once more; if they differ again, the log is closed as not
        complete, with a hole of all of it.
        """
        path = path_of(self._directory, ref)
        ended = _read_end(path, ref)
        if ended is not None:
            return Finished(ended, ended.bytes)
        writer = self._open.get(ref)
        if writer is None:
            if not summary.bytes and not path.exists():
                return Finished(ended_status(ref, summary, complete=True), 0)
            writer = self._start(ref, path)
        if writer.size < summary.bytes:
            return Finished(LogStatus(ref, bytes=writer.size, lines=writer.lines), writer.size)
        if writer.size == summary.bytes and writer.sha256() == (summary.sha256 or EMPTY_SHA256):
            status = ended_status(ref, summary, complete=True)
        elif ref not in self._distrusted:
            self._distrusted.add(ref)
            self._throw_away(ref, path)
            return Finished(LogStatus(ref), 0)
        else:
            holes = (*summary.holes, LogHole(0, max(writer.size, summary.bytes), "lost"))
            there = LogSummary(writer.lines, writer.size, writer.sha256(), holes)
            status = ended_status(ref, there, complete=False)
        failpoint("logs.finish")
        self._ends[ref] = _write_end(path, status)
        self._distrusted.discard(ref)
        return Finished(status, status.bytes)

    def sync(self, refs: Iterable[LogRef]) -> None:
        """Returns once everything of these logs is on the disk: what was added, and how they ended."""
        for ref in refs:
            writer = self._dirty.pop(ref, None)
            end = self._ends.pop(ref, None)
            try:
                if writer is not None:
                    writer.sync()
                if end is not None:
                    _sync_file(end)
            except OSError:
                # What memory says can no longer be trusted: the next one reads the file, and proves it again.
                self.close(ref)
                Path(f"{path_of(self._directory, ref)}{END_SUFFIX}").unlink(missing_ok=True)
                raise

    def surplus(self) -> set[LogRef]:
        """Those that did not grow for longest of the logs that are open beyond the limit."""
        return set(islice(self._open, max(0, len(self._open) - self._limit)))

    def trim(self) -> None:
        """Closes the surplus, but for what is not on the disk yet: whoever sent it is still to be told."""
        for ref in self.surplus() - self._dirty.keys():
            self.close(ref)

    def close(self, ref: LogRef) -> None:
        """Closes one log."""
        self._dirty.pop(ref, None)
        self._ends.pop(ref, None)
        writer = self._open.pop(ref, None)
        if writer is not None:
            writer.close()

    def close_runs(self, run_ids: frozenset[str]) -> None:
        """Closes the logs of these runs, which are to be deleted."""
        for ref in [ref for ref in self._open if ref.run_id in run_ids]:
            self.close(ref)

    def close_all(self) -> None:
        """Closes every log."""
        for ref in list(self._open):
            self.close(ref)

    def _start(self, ref: LogRef, path: Path) -> LogWriter:
        path.parent.mkdir(parents=True, exist_ok=True)
        writer = self._open[ref] = LogWriter(path)
        return writer

    def _throw_away(self, ref: LogRef, path: Path) -> None:
        self.close(ref)
        for name in (f"{path}.idx", str(path)):
            Path(name).unlink(missing_ok=True)


def _write_end(path: Path, status: LogStatus) -> str:
    document = {
        "bytes": status.bytes,
        "lines": status.lines,
        "sha256": status.sha256,
        "complete": status.complete,
        "holes": [[hole.offset, hole.length, hole.reason] for hole in status.holes],
    }
    partial = f"{path}{END_SUFFIX}~"
    with open(partial, "w") as file:
        json.dump(document, file)
    end = f"{path}{END_SUFFIX}"
    os.replace(partial, end)
    return end


def _sync_file(path: str) -> None:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read_end(path: Path, ref: LogRef) -> LogStatus | None:
    try:
        with open(f"{path}{END_SUFFIX}") as file:
            document = json.load(file)
    except FileNotFoundError:
        return None
    except ValueError:  # half a file after a power cut: the end is asked for again
        return None
    return LogStatus(
        ref,
        bytes=document["bytes"],
        lines=document["lines"],
        ended=True,
        complete=document["complete"],
        sha256=document["sha256"],
        holes=tuple(LogHole(*hole) for hole in document["holes"]),
    )
