"""Walks the audit chain and names the first row that does not fit. Pure: rows, key and checkpoints are handed in.

An edited row has another mac than it says; a deleted or inserted one breaks the numbers or the link to the row before;
a tail that was cut off contradicts a checkpoint, or the count the store keeps.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from gamenode_server.audit.checkpoints import Checkpoint
from gamenode_server.store.audit_chain import GENESIS, AuditRow, canonical, chain_mac


@dataclass(frozen=True, slots=True)
class Verification:
    """What a walk found. `broken_at` is the number of the first row that does not fit, 0 where all do."""

    records: int
    broken_at: int = 0
    problem: str = ""

    @property
    def intact(self) -> bool:
        """Whether every row is as it was written and none is missing."""
        return not self.problem


class ChainWalk:
    """Verifies rows as they come, in the order of their numbers; `finish` when there are no more."""

    def __init__(self, key: bytes, *, checkpoints: Sequence[Checkpoint] = ()) -> None:
        self._key = key
        self._marks = {mark.seq: mark.mac for mark in checkpoints}
        self._last_mark = max(self._marks, default=0)
        self._seq = 0
        self._mac = GENESIS
        self._broken: Verification | None = None

    def feed(self, rows: Iterable[AuditRow]) -> bool:
        """Takes the next rows; False once one does not fit, and no more are needed."""
        for row in rows:
            if self._broken is None:
                self._broken = self._check(row)
            if self._broken is not None:
                return False
            self._seq, self._mac = row.seq, row.mac
        return True

    def finish(self, *, expected: int = 0) -> Verification:
        """The verdict. `expected` is the number of the last row as it is known from elsewhere; 0 for not known."""
        if self._broken is not None:
            return self._broken
        highest = max(self._last_mark, expected)
        if highest > self._seq:
            missing = self._seq + 1
            rows = f"row {missing} is" if missing == highest else f"rows {missing} to {highest} are"
            return Verification(self._seq, missing, f"{rows} missing at the end: the log was cut")
        return Verification(self._seq)

    def _check(self, row: AuditRow) -> Verification | None:
        expected = self._seq + 1
        if row.seq != expected:
            what = f"row {expected} is missing" if row.seq > expected else f"row {row.seq} is there twice"
            return self._break(expected, f"{what}: a row was deleted or inserted")
        if row.prev != self._mac:
            return self._break(row.seq, f"row {row.seq} does not follow row {self._seq}: one of them was exchanged")
        if not hmac.compare_digest(chain_mac(self._key, row.prev, canonical(row)), row.mac):
            return self._break(row.seq, f"row {row.seq} was changed after it was written")
        mark = self._marks.get(row.seq)
        if mark is not None and mark != row.mac:
            return self._break(row.seq, f"row {row.seq} is not the one of the checkpoint: the log was rewritten")
        return None

    def _break(self, seq: int, problem: str) -> Verification:
        return Verification(self._seq, seq, problem)
