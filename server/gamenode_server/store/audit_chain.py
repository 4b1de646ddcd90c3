"""How audit rows are chained: the mac of each is HMAC-SHA256(key, mac of the one before || the row).

Pure, so that the writer and an offline verifier cannot differ. Owns neither key nor rows.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import dataclass

#: What the first row is chained to.
GENESIS = ""


@dataclass(frozen=True, slots=True)
class AuditRow:
    """A stored audit row. `prev` and `mac` are hex."""

    seq: int
    time: float
    principal: str
    method: str
    target: str
    outcome: str
    request: str
    source: str
    reason: str
    prev: str
    mac: str


def canonical(row: AuditRow) -> bytes:
    """The row's content in exactly one form: a JSON array of its columns up to `reason`, UTF-8."""
    fields = (
        row.seq,
        row.time,
        row.principal,
        row.method,
        row.target,
        row.outcome,
        row.request,
        row.source,
        row.reason,
    )
    return json.dumps(fields, separators=(",", ":"), allow_nan=False).encode("ascii")


def chain_mac(key: bytes, prev: str, content: bytes) -> str:
    """The mac (hex) of a row with this `canonical` content, behind the row whose mac is `prev`."""
    return hmac.digest(key, prev.encode("ascii") + content, "sha256").hex()
