"""What the agent must never forget, in one SQLite file: tasks, attempts, bundles, and the outbox.

The seam between the runner, which commits what happened before it acts on it, and the link, which sends it. Everything
of one step of a task is one transaction (`synchronous=FULL`). Knows nothing of what the blobs mean, and no network.

Records keep their numbers for ever: `seq` is contiguous within an `outbox_id`. Acknowledged ones stay for a while, so
that a server restored from a backup can ask for them again.
"""

from __future__ import annotations

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Generator, Mapping, Sequence
from pathlib import Path
from typing import Any

from gamenode_agent import journal_file
from gamenode_agent.journal_file import Attempt, AttemptRow, Contents, Entry, TaskRow, Tidied
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.failpoints import failpoint
from gamenode_proto.process.writer import BatchWriter
from gamenode_proto.v1.agent_link_pb2 import OutboxRecord

__all__ = ["Attempt", "AttemptRow", "Contents", "Entry", "Journal", "StorageFull", "TaskRow", "Tidied"]


class StorageFull(GameNodeError):
    """The journal cannot be written at present; nothing of the entry is stored."""

    def __init__(self, cause: Exception) -> None:
        super().__init__(Code.STORAGE_FULL, f"the agent's journal cannot be written: {cause}")


class _Transaction:
    __slots__ = ("connection", "failed", "next_seq")

    def __init__(self, connection: sqlite3.Connection, next_seq: int) -> None:
        self.connection = connection
        self.next_seq = next_seq
        self.failed: Exception | None = None


class _Backend:
    """The writer thread's side: one connection, used by that thread only."""

    def __init__(self, connection: sqlite3.Connection, last_seq: int) -> None:
        self._connection = connection
        self._last_seq = last_seq

    def begin(self) -> _Transaction:
        self._connection.execute("BEGIN IMMEDIATE")
        return _Transaction(self._connection, self._last_seq + 1)

    def run(self, tx: _Transaction, operation: Callable[[_Transaction], Any]) -> Any:
        try:
            return operation(tx)
        except Exception as error:
            tx.failed = error
            raise

    def commit(self, tx: _Transaction) -> None:
        if tx.failed is not None:  # it may have left half of itself: the others are run again without it
            raise tx.failed
        failpoint("journal.before_commit")
        self._connection.execute("COMMIT")
        self._last_seq = tx.next_seq - 1

    def rollback(self, tx: _Transaction) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")
        # On a full disk the next try has the whole of the write-ahead log, which is there already (`RESERVE`).
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(PASSIVE)")

    def close(self) -> None:
        # A journal that could not be written a moment ago may not be closed tidily; what is committed stays.
        with contextlib.suppress(sqlite3.Error):
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        self._connection.close()


class Journal:
    """The journal of a running agent. Entries are stored in the order of the calls."""

    def __init__(self, path: Path) -> None:
        """Opens or makes the file."""
        self.path = path
        #: Hears of an entry's records when they are stored, in order, before `commit` returns.
        self.on_records: Callable[[Sequence[OutboxRecord]], None] = lambda _records: None
        #: Hears of attempts given to `drop_later`, once the file has forgotten them.
        self.on_dropped: Callable[[Sequence[Attempt]], None] = lambda _keys: None
        connection = journal_file.connect(path)
        try:
            self.contents = journal_file.read_contents(connection)
        except BaseException:
            connection.close()
            raise
        backend = _Backend(connection, self.contents.outbox_last)
        self._writer: BatchWriter[_Transaction] = BatchWriter(backend, name="journal")
        self._digests = set(self.contents.digests)
        self._dropped: list[Attempt] = []

    def submit(self, entry: Entry) -> Storing:
        """Hands an entry in at once; to await the result is to await `commit`."""
        dropped, self._dropped = self._dropped, []
        if entry.bundle is not None:
            self._digests.add(entry.bundle[0])

        def store(tx: _Transaction) -> None:
            tx.next_seq = journal_file.store(tx.connection, entry, tx.next_seq)
            journal_file.drop_attempts(tx.connection, dropped)

        return Storing(self, self._writer.submit(store), entry, dropped)

    async def commit(self, entry: Entry) -> None:
        """Stores an entry; returns when it is durable. Raises StorageFull with nothing of it stored."""
        await self.submit(entry)

    async def stored(self, storing: asyncio.Future[None], entry: Entry, dropped: list[Attempt]) -> None:
        """Waits for an entry that was handed in, and tells of it."""
        try:
            await storing
        except (sqlite3.OperationalError, OSError) as error:
            self._dropped[:0] = dropped
            raise StorageFull(error) from error
        if entry.records:
            self.on_records(entry.records)
        if dropped:
            self.on_dropped(dropped)

    def drop_later(self, key: Attempt) -> None:
        """Forgets an attempt with the next entry, whatever that is."""
        self._dropped.append(key)

    @property
    def pending_drops(self) -> int:
        """How many attempts wait to be forgotten."""
        return len(self._dropped)

    def has_bundle(self, digest: str) -> bool:
        """Whether the bundle of this digest is stored, or will be before anything that is handed in from now on."""
        return digest in self._digests

    async def bundle(self, digest: str) -> bytes | None:
        """The bytes of a stored bundle."""

        def read(tx: _Transaction) -> bytes | None:
            row = tx.connection.execute("SELECT body FROM bundles WHERE digest = ?", (digest,)).fetchone()
            return None if row is None else bytes(row[0])

        found: bytes | None = await self._apply(read)
        return found

    async def records(self, after: int, *, limit: int, max_bytes: int) -> list[OutboxRecord]:
        """Records behind `after`, in order: at most `limit`, and no more than `max_bytes` beyond the first."""

        def read(tx: _Transaction) -> list[OutboxRecord]:
            found: list[OutboxRecord] = []
            size = 0
            rows = tx.connection.execute("SELECT body FROM outbox WHERE seq > ? ORDER BY seq LIMIT ?", (after, limit))
            for (body,) in rows:
                size += len(body)
                if found and size > max_bytes:
                    break
                found.append(OutboxRecord.FromString(body))
            return found

        records: list[OutboxRecord] = await self._apply(read)
        return records

    async def tidy(self, *, acked: int, older_than: float, max_bytes: int, keep: frozenset[str]) -> Tidied:
        """Housekeeping: notes `acked`, and drops what has aged.

        Acknowledged records go when they are older than `older_than`, or beyond `max_bytes` counted from the newest;
        what is not acknowledged always stays. Ended tasks go by age, bundles when no task that is left and no digest in
        `keep` needs them.
        """
        dropped, self._dropped = self._dropped, []
        # What comes while this waits for its turn must not count on a bundle that it drops.
        before, self._digests = self._digests, self._digests & keep

        def run(tx: _Transaction) -> tuple[Tidied, list[str]]:
            db = tx.connection
            journal_file.drop_attempts(db, dropped)
            journal_file.set_meta(db, {"acked": str(acked)})
            journal_file.drop_old_records(db, acked=acked, older_than=older_than, max_bytes=max_bytes)
            forgotten = journal_file.drop_old_tasks(db, acked=acked, older_than=older_than)
            unused = journal_file.drop_unused_bundles(db, older_than=older_than, keep=keep)
            first = db.execute("SELECT min(seq) FROM outbox").fetchone()[0]
            return Tidied(tx.next_seq if first is None else int(first), forgotten), unused

        tidied: Tidied
        unused: Sequence[str] = ()
        try:
            tidied, unused = await self._apply(run)
        except StorageFull:
            self._dropped[:0] = dropped
            raise
        finally:
            self._digests |= before.difference(unused)
        self.on_dropped(dropped)
        return tidied

    async def renew_outbox(self) -> str:
        """A new outbox id, for an outbox that the server must not compare with what it knows. Records stay."""
        outbox_id = journal_file.new_outbox_id()
        await self._apply(lambda tx: journal_file.set_meta(tx.connection, {"outbox_id": outbox_id}))
        return outbox_id

    async def set_meta(self, values: Mapping[str, str]) -> None:
        """Stores small facts by name."""
        await self._apply(lambda tx: journal_file.set_meta(tx.connection, values))

    async def close(self) -> None:
        """Stores what is waiting and closes the file."""
        await self._writer.close()

    async def _apply(self, operation: Callable[[_Transaction], Any]) -> Any:
        try:
            return await self._writer.apply(operation)
        except (sqlite3.OperationalError, OSError) as error:
            raise StorageFull(error) from error


class Storing:
    """An entry on its way to the disk. Awaited once, by whoever needs it to be there."""

    __slots__ = ("_dropped", "_entry", "_future", "_journal")

    def __init__(self, journal: Journal, future: asyncio.Future[None], entry: Entry, dropped: list[Attempt]) -> None:
        self._journal = journal
        self._future = future
        self._entry = entry
        self._dropped = dropped

    def __await__(self) -> Generator[Any, None, None]:
        return self._journal.stored(self._future, self._entry, self._dropped).__await__()
