"""The outbox as the link sees it: what is stored and not yet acknowledged, with the newest records kept in memory.

The journal is the truth; this only saves reading back what was written a millisecond ago. One loop, no threads.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import Protocol

from gamenode_proto.v1.agent_link_pb2 import OutboxRecord

#: Bytes of records that stay in memory.
CACHE_BYTES = 1 << 20
#: A frame carries at most this much, so that a long backlog does not delay what comes behind it.
BATCH_BYTES = 256 << 10
BATCH_RECORDS = 2000


class Records(Protocol):
    """Where records are read from that are no longer in memory."""

    async def records(self, after: int, *, limit: int, max_bytes: int) -> list[OutboxRecord]:
        """Records behind `after`, in order, without a gap."""
        ...


class Outbox:
    """Follows the journal's records and the server's acknowledgements."""

    def __init__(self, stored: Records, *, outbox_id: str, first: int, last: int, acked: int) -> None:
        self.outbox_id = outbox_id
        #: The oldest record that can still be sent.
        self.first = first
        self.last = last
        self.acked = acked
        self._stored = stored
        self._cache: deque[tuple[OutboxRecord, int]] = deque()
        self._cached_bytes = 0
        self._changed = asyncio.Event()

    @property
    def depth(self) -> int:
        """Records that are not acknowledged."""
        return self.last - self.acked

    def appended(self, records: Sequence[OutboxRecord]) -> None:
        """The journal has stored these."""
        if records[0].seq != self.last + 1:  # one was told by nobody: what is missing is read from the journal
            self._cache.clear()
            self._cached_bytes = 0
        for record in records:
            size = record.ByteSize()
            self._cache.append((record, size))
            self._cached_bytes += size
        while self._cached_bytes > CACHE_BYTES:
            self._cached_bytes -= self._cache.popleft()[1]
        self.last = records[-1].seq
        self._changed.set()

    def ack(self, seq: int) -> None:
        """The server has every record up to `seq`. An older acknowledgement changes nothing."""
        self.acked = max(self.acked, min(seq, self.last))
        while self._cache and self._cache[0][0].seq <= self.acked:
            self._cached_bytes -= self._cache.popleft()[1]

    def rewind(self, seq: int) -> None:
        """A server that was restored knows the records only up to `seq`."""
        self.acked = min(self.acked, max(seq, self.first - 1))

    async def batch(self, after: int) -> list[OutboxRecord]:
        """The next records behind `after`; waits until there is one."""
        while self.last <= after:
            self._changed.clear()
            await self._changed.wait()
        if self._cache and self._cache[0][0].seq <= after + 1:
            return self._from_cache(after + 1 - self._cache[0][0].seq)
        return await self._stored.records(after, limit=BATCH_RECORDS, max_bytes=BATCH_BYTES)

    async def grown(self, seq: int, *, until: float) -> bool:
        """Waits for a record behind `seq`; False if none comes until then, by the loop's clock."""
        try:
            async with asyncio.timeout_at(until):
                while self.last <= seq:
                    self._changed.clear()
                    await self._changed.wait()
        except TimeoutError:
            return False
        return True

    def _from_cache(self, skip: int) -> list[OutboxRecord]:
        found: list[OutboxRecord] = []
        total = 0
        for record, size in islice(self._cache, skip, skip + BATCH_RECORDS):
            total += size
            if found and total > BATCH_BYTES:
                break
            found.append(record)
        return found
