"""Keeps secrets out of a stream of bytes, also where one is split over two reads.

What is held back is the longest end of the data that could be the beginning of a secret, and nothing else.
"""

from __future__ import annotations

import re

MASK = b"***"


class Masker:
    """Replaces every one of some byte strings in one stream."""

    __slots__ = ("_held", "_longest", "_pattern", "_secrets")

    def __init__(self, secrets: list[bytes]) -> None:
        self._secrets = sorted(set(secrets), key=len, reverse=True)  # of two that begin alike, the longer one
        self._pattern = re.compile(b"|".join(map(re.escape, self._secrets)))
        self._longest = len(self._secrets[0]) - 1
        self._held = b""

    def feed(self, data: bytes) -> bytes:
        """What may be passed on, now that `data` is there."""
        data = self._held + data
        done = begin_of_last = 0
        for match in self._pattern.finditer(data):
            begin_of_last, done = match.span()
        cut = len(data)
        offset = max(0, len(data) - self._longest)
        tail = data[offset:]
        for secret in self._secrets:
            at = tail.find(secret[:1])
            while at >= 0 and offset + at < cut:
                begin = offset + at
                # A secret that has been seen whole is not held back for one that may begin inside it, unless it is
                # the beginning of a longer one.
                if (begin >= done or begin == begin_of_last) and secret.startswith(tail[at:]) and tail[at:] != secret:
                    cut = begin
                at = tail.find(secret[:1], at + 1)
        self._held = data[cut:]
        return self._pattern.sub(MASK, data[:cut])

    def end(self) -> bytes:
        """What was held back: no more data follows."""
        data, self._held = self._held, b""
        return self._pattern.sub(MASK, data)
