"""How each notifier stands, kept in the store: counts, the last success and failure, keys that were told lately.

The operations here change it in one transaction with the queue, so that neither is ever without the other.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

from gamenode_server.notifiers import messages
from gamenode_server.notifiers.outcome import Outcome
from gamenode_server.notifiers.spec import Notifier
from gamenode_server.records import NewEvent
from gamenode_server.store import notifications
from gamenode_server.store.notifications import Waiting
from gamenode_server.store.transaction import Transaction

_STANDING = "notifier:"
_CURSOR = "notifiers.cursor"
_NAMES = "notifiers.names"
#: Keys of which it is known when they were told last.
MOST_KEYS = 500
MAX_KEY = 200
DAY = 86_400.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How a notifier stands. It hears of events behind the cursor `since`."""

    since: int = 0
    queued: int = 0
    sent: int = 0
    #: Given up: refused for good, or tried for too long.
    failed: int = 0
    #: Not taken in, because too many waited.
    dropped: int = 0
    deduplicated: int = 0
    silenced: int = 0
    last_success: float = 0.0
    last_failure: float = 0.0
    last_error: str = ""
    #: Since when nothing is delivered; 0 where the last try was a success.
    failing_since: float = 0.0
    #: Until when messages with a key are left out.
    told: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Heard:
    """An event that a notifier hears of. `silent`: while it keeps quiet; `key`: what makes it the same as another."""

    notifier: Notifier
    cursor: int
    event: messages.Document
    silent: bool
    key: str = ""


def standing(tx: Transaction, name: str) -> Standing:
    """How a notifier stands."""
    text = tx.meta(_STANDING + name)
    return Standing(**json.loads(text)) if text else Standing()


def _keep(tx: Transaction, name: str, now: Standing) -> None:
    tx.put_meta(_STANDING + name, json.dumps(asdict(now), separators=(",", ":")))


def begin(names: Collection[str], newest: int) -> Callable[[Transaction], tuple[int, dict[str, Standing]]]:
    """Notes who there is now. Whoever was not there before hears of what comes from now on.

    Answers with the cursor to go on from, and how each stands.
    """

    def op(tx: Transaction) -> tuple[int, dict[str, Standing]]:
        before = json.loads(tx.meta(_NAMES) or "[]")
        for name in names:
            if name not in before:
                _keep(tx, name, replace(standing(tx, name), since=newest))
        tx.put_meta(_NAMES, json.dumps(sorted(names)))
        notifications.remove_others(tx, names, before=tx.now - DAY)
        return int(tx.meta(_CURSOR) or newest), {name: standing(tx, name) for name in names}

    return op


def take_in(heard: Sequence[Heard], *, cursor: int) -> Callable[[Transaction], dict[str, Standing]]:
    """Puts events into the queues of those that hear of them, and moves the cursor; how those stand that changed."""

    def op(tx: Transaction) -> dict[str, Standing]:
        changed: dict[str, Standing] = {}
        for each in heard:
            name = each.notifier.name
            changed[name] = _taken(tx, each, changed.get(name) or standing(tx, name))
        for name, after in changed.items():
            _keep(tx, name, after)
        tx.put_meta(_CURSOR, str(cursor))
        return changed

    return op


def _taken(tx: Transaction, heard: Heard, now: Standing) -> Standing:
    notifier = heard.notifier
    if heard.cursor <= now.since:
        return now
    if heard.silent:
        return replace(now, silenced=now.silenced + 1)
    if now.queued >= notifier.queue:
        return replace(now, dropped=now.dropped + 1)
    told = now.told
    if notifier.dedupe is not None:
        key = heard.key[:MAX_KEY]
        if told.get(key, 0.0) > tx.now:
            return replace(now, deduplicated=now.deduplicated + 1)
        told = {other: until for other, until in told.items() if until > tx.now and other != key}
        while len(told) >= MOST_KEYS:
            del told[next(iter(told))]
        told[key] = tx.now + notifier.dedupe.window
    text = json.dumps(heard.event, ensure_ascii=False, separators=(",", ":"))
    notifications.add(tx, Waiting(notifier.name, heard.cursor, tx.now, tx.now, 0, text))
    return replace(now, queued=now.queued + 1, told=told)


def settle(message: Waiting, outcome: Outcome, *, wait: float, keep: float) -> Callable[[Transaction], Standing]:
    """Takes a try into account: done with, tried again after `wait` seconds, or given up after `keep` of them."""

    def op(tx: Transaction) -> Standing:
        now = standing(tx, message.notifier)
        if outcome.delivered:
            notifications.remove(tx, message)
            after = replace(
                now, queued=max(0, now.queued - 1), sent=now.sent + 1, last_success=tx.now, failing_since=0.0
            )
            if now.failing_since:
                _tell(tx, "notifier.recovered", message.notifier, "")
        else:
            after = replace(
                now,
                last_failure=tx.now,
                last_error=outcome.answer,
                failing_since=now.failing_since or tx.now,
            )
            if outcome.again and tx.now + wait - message.created_at <= keep:
                notifications.put_off(tx, message, until=tx.now + wait)
            else:
                notifications.remove(tx, message)
                after = replace(after, queued=max(0, now.queued - 1), failed=now.failed + 1)
            if not now.failing_since:
                _tell(tx, "notifier.failing", message.notifier, outcome.answer)
        _keep(tx, message.notifier, after)
        return after

    return op


def _tell(tx: Transaction, kind: str, name: str, error: str) -> None:
    data = {"notifier": name} | ({"message": error} if error else {})
    tx.emit([NewEvent(type=kind, data=data)])
