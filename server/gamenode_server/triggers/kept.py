"""How far triggers have come, kept in the store: the last event looked at, and who has started lately."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace

from gamenode_server.records import NewEvent
from gamenode_server.store.tx import Tx

_KEY = "triggers"
#: Starts that are remembered for their cooldown.
MOST = 5000


@dataclass(frozen=True, slots=True)
class Kept:
    """Events up to `cursor` are done with; `until` says when a trigger may start again, by its key.

    `failed` has the pipelines whose last start made no run, with its time and why.
    """

    cursor: int = 0
    until: Mapping[str, float] = field(default_factory=dict)
    failed: Mapping[str, tuple[float, str]] = field(default_factory=dict)


def load(newest: int) -> Callable[[Tx], Kept]:
    """How far they have come; at the first time, what has happened before is done with."""

    def op(tx: Tx) -> Kept:
        text = tx.meta(_KEY)
        if text:
            found = json.loads(text)
            failed = {name: (at, why) for name, (at, why) in found.pop("failed", {}).items()}
            return Kept(**found, failed=failed)
        kept = Kept(newest)
        tx.put_meta(_KEY, _text(kept))
        return kept

    return op


def keep(kept: Kept, events: list[NewEvent]) -> Callable[[Tx], Kept]:
    """Notes how far they have come, with what is to be told of it."""

    def op(tx: Tx) -> Kept:
        until = sorted(((key, at) for key, at in kept.until.items() if at > tx.now), key=lambda item: item[1])
        now = replace(kept, until=dict(until[-MOST:]))
        tx.put_meta(_KEY, _text(now))
        tx.emit(events)
        return now

    return op


def _text(kept: Kept) -> str:
    return json.dumps(asdict(kept), separators=(",", ":"))
