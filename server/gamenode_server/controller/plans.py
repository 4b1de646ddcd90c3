"""Bundles and their decoded plans by digest, so that folding an event never parses a bundle twice."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Plan
from gamenode_proto.codec.plan import bundle_from_bytes

CAPACITY = 256


class Plans:
    """The most recently used plans. Thread-safe: the writer thread folds with them, the loop explains with them."""

    def __init__(self, capacity: int = CAPACITY) -> None:
        self._capacity = capacity
        self._lock = threading.Lock()
        self._plans: OrderedDict[str, tuple[Plan, bytes]] = OrderedDict()

    def remember(self, digest: str, plan: Plan, bundle: bytes) -> None:
        """Keeps a plan that was just compiled."""
        with self._lock:
            self._plans[digest] = (plan, bundle)
            self._plans.move_to_end(digest)
            while len(self._plans) > self._capacity:
                self._plans.popitem(last=False)

    def bundle(self, digest: str) -> bytes | None:
        """The bundle's bytes, if they are at hand."""
        found = self._plans.get(digest)
        return found[1] if found is not None else None

    def known(self, digest: str) -> Plan | None:
        """The plan, if it is at hand."""
        with self._lock:
            found = self._plans.get(digest)
            if found is None:
                return None
            self._plans.move_to_end(digest)
            return found[0]

    def plan(self, digest: str, bundle: Callable[[str], bytes | None]) -> Plan:
        """The plan of a bundle; `bundle` finds its bytes. Raises DATA_LOSS where there are none."""
        plan = self.known(digest)
        if plan is None:
            data = bundle(digest)
            if data is None:
                raise GameNodeError(Code.DATA_LOSS, f"the store has no bundle {digest[:12]}…")
            plan = bundle_from_bytes(data)[0]
            self.remember(digest, plan, data)
        return plan
