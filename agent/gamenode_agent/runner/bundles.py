"""Bundles by digest: checked, parsed once, at hand for the tasks that need them. Fetches what did not travel along."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256

from gamenode_agent.journal import Journal
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Plan
from gamenode_proto.codec.plan import BundleFile, bundle_from_bytes

#: Parsed bundles that are kept.
KEPT = 32

#: Gets a bundle's bytes from the server, for a digest and a task. Raises GameNodeError.
Fetch = Callable[[str, str], Awaitable[bytes]]


@dataclass(frozen=True, slots=True)
class Bundle:
    """A parsed bundle."""

    plan: Plan
    files: Sequence[BundleFile]


class Bundles:
    """The bundles of this agent. The journal keeps their bytes."""

    def __init__(self, journal: Journal, fetch: Fetch) -> None:
        self._journal = journal
        self._fetch = fetch
        self._parsed: OrderedDict[str, Bundle] = OrderedDict()

    def at_hand(self, digest: str, data: bytes) -> Bundle | None:
        """The bundle, without waiting: parsed before, or from the bytes that came along (empty: none did).

        One that came without its bytes must be in the journal: a task without its bundle could not be taken up again.
        Raises GameNodeError(INTEGRITY_FAILED) for bytes that are not what the digest says.
        """
        known = self._parsed.get(digest)
        if known is not None and (data or self._journal.has_bundle(digest)):
            self._parsed.move_to_end(digest)
            return known
        return self._parse(digest, data) if data else None

    async def stored(self, digest: str) -> Bundle | None:
        """The bundle, if the journal has it. Raises GameNodeError(INTEGRITY_FAILED)."""
        known = self.at_hand(digest, b"")
        if known is not None:
            return known
        data = await self._journal.bundle(digest)
        return None if data is None else self._parse(digest, data)

    async def get(self, digest: str, task_id: str) -> tuple[Bundle, bytes]:
        """The bundle, from the journal or else from the server; and its bytes where the journal lacks them.

        Raises GameNodeError.
        """
        stored = await self.stored(digest)
        if stored is not None:
            return stored, b""
        data = await self._fetch(digest, task_id)
        return self._parse(digest, data), data

    def needs_storing(self, digest: str) -> bool:
        """Whether the journal does not have it yet."""
        return not self._journal.has_bundle(digest)

    def _parse(self, digest: str, data: bytes) -> Bundle:
        found = sha256(data).hexdigest()
        if found != digest:
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"the bundle's bytes have the SHA-256 {found}, its ticket says {digest}",
                details={"expected": digest, "found": found},
            )
        bundle = Bundle(*bundle_from_bytes(data))
        self._parsed[digest] = bundle
        if len(self._parsed) > KEPT:
            self._parsed.popitem(last=False)
        return bundle
