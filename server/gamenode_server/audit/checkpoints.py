"""Signed marks of how far the audit log had come, in a file beside the database: what shows that its tail was cut.

One JSON object a line: row number, its mac, the time, and the cluster's Ed25519 signature over the three. The file can
be copied elsewhere at any time; a copy out of the server's reach is worth most.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from gamenode_pipelines.errors import Code, GameNodeError

#: So that this signature can never be taken for one over a ticket.
_CONTEXT = b"gamenode.audit.checkpoint\0"
#: More than a line is long.
_TAIL = 4096


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """Row `seq` had this mac at this time."""

    seq: int
    mac: str
    time: float

    @property
    def signed_bytes(self) -> bytes:
        """What the signature is over."""
        return _CONTEXT + json.dumps([self.seq, self.mac, self.time]).encode()


def append_checkpoint(path: Path, checkpoint: Checkpoint, key: Ed25519PrivateKey) -> None:
    """Adds a mark to the file, durably."""
    line = {
        "seq": checkpoint.seq,
        "mac": checkpoint.mac,
        "time": checkpoint.time,
        "signature": key.sign(checkpoint.signed_bytes).hex(),
    }
    with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600), "r+b") as file:
        begin = file.seek(max(0, file.seek(0, os.SEEK_END) - _TAIL))
        end = begin + file.read().rfind(b"\n") + 1
        file.truncate(end)  # a line that a crash or a full disk cut short would spoil this one
        file.seek(end)
        file.write(json.dumps(line).encode() + b"\n")
        file.flush()
        os.fsync(file.fileno())


def read_checkpoints(path: Path, key: Ed25519PublicKey) -> tuple[Checkpoint, ...]:
    """The marks of a file; none where there is no file.

    Raises GameNodeError(INTEGRITY_FAILED) naming the line whose signature is not the cluster's. A last line that a
    crash cut short is skipped.
    """
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return ()
    found: list[Checkpoint] = []
    for number, line in enumerate(lines, 1):
        if not line.endswith(b"\n") and number == len(lines):
            break
        try:
            fields = json.loads(line)
            checkpoint = Checkpoint(int(fields["seq"]), str(fields["mac"]), float(fields["time"]))
            key.verify(bytes.fromhex(fields["signature"]), checkpoint.signed_bytes)
        except (ValueError, KeyError, TypeError, InvalidSignature) as error:
            raise GameNodeError(
                Code.INTEGRITY_FAILED, f"{path}:{number}: this checkpoint is not signed by the cluster"
            ) from error
        found.append(checkpoint)
    return tuple(found)
