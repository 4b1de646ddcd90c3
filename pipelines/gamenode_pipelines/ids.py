"""Ids: 12 random lower-case base32 characters. No time prefix, so that short prefixes tell them apart."""

from __future__ import annotations

import base64
import re

ID_LENGTH = 12
ENTROPY_BYTES = 8
_ID = re.compile(r"[a-z2-7]{12}")

#: Shortest prefix of an id that may stand for it.
MIN_PREFIX = 4


def make_id(entropy: bytes) -> str:
    """An id from `ENTROPY_BYTES` random bytes, which the caller draws."""
    if len(entropy) < ENTROPY_BYTES:
        raise ValueError(f"an id needs {ENTROPY_BYTES} random bytes, got {len(entropy)}")
    return base64.b32encode(entropy)[:ID_LENGTH].decode().lower()


def is_id(text: str) -> bool:
    """Whether `text` has the shape of an id."""
    return _ID.fullmatch(text) is not None
