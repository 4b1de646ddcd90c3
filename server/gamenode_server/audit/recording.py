"""The audit record of the call that is being served.

The interceptor prepares it before the call; the operation writes it in its own transaction (`tx.audit`), so that
neither happens without the other. What a record says of the request never holds a secret.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from contextvars import ContextVar
from dataclasses import dataclass, replace
from typing import Protocol, TypeVar

from google.protobuf.descriptor import FieldDescriptor
from google.protobuf.message import Message

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.identity.principals import Principal
from gamenode_server.records import NewAudit
from gamenode_server.store.tx import Tx

logger = logging.getLogger(__name__)

OK = "ok"
MAX_TEXT = 256
MAX_ITEMS = 20
MAX_REQUEST = 4096
#: Fields whose values never leave memory.
_SECRET = frozenset({"token_secret", "secret", "secrets", "password", "signature", "nonce", "token"})
#: Fields that say what a call is about, the first that is set.
_TARGETS = ("container", "run", "runs", "node", "name", "nodes", "node_id", "sources", "source", "artifacts")


R = TypeVar("R")


class Applier(Protocol):
    """The store, as far as it is needed here."""

    async def apply(self, operation: Callable[[Tx], R]) -> R:
        """Runs an operation; its result is durable."""
        ...


@dataclass(slots=True)
class Recording:
    """A prepared record, and whether an operation has taken it."""

    record: NewAudit
    taken: bool = False


_current: ContextVar[Recording] = ContextVar("audit")


def current(*, target: str | None = None, reason: str | None = None, request: Message | None = None) -> NewAudit:
    """The record of this call, for the operation to write; `target`, `reason`, `request` where the call knows better.

    What it knows better is also in the row of a failure that comes later in the call.

    On the event loop only: capture it before `store.apply`.
    """
    try:
        recording = _current.get()
    except LookupError:
        raise GameNodeError(Code.INTERNAL, "no audited call is being served here") from None
    recording.taken = True
    record = recording.record
    if target is not None:
        record = replace(record, target=target)
    if reason is not None:
        record = replace(record, reason=reason)
    if request is not None:
        record = replace(record, request=describe(request))
    recording.record = record
    return record


def enter(record: NewAudit) -> Recording:
    """Makes `record` the one of this call's task. For the interceptor, and for tests."""
    recording = Recording(record)
    _current.set(recording)
    return recording


def prepare(principal: Principal, method: str, request: object, *, outcome: str = OK) -> NewAudit:
    """The record of a call, as far as the request says."""
    message = request if isinstance(request, Message) else None
    return NewAudit(
        principal=principal.name,
        method=method.rpartition("/")[2],
        target="" if message is None else target_of(message),
        outcome=outcome,
        request="" if message is None else describe(message),
        source=principal.source,
        reason=str(getattr(message, "reason", "") or "")[:MAX_TEXT],
    )


async def write(store: Applier, record: NewAudit) -> None:
    """Writes a record in a transaction of its own: for what has no operation that could."""

    def op(tx: Tx) -> None:
        tx.audit(record)

    await store.apply(op)


async def record_failure(store: Applier, record: NewAudit, error: Exception) -> None:
    """Writes that the call was refused or failed, and why. Raises nothing: the caller must hear of `error`."""
    if isinstance(error, GameNodeError):
        why = record.reason or error.message.partition("\n")[0][:MAX_TEXT]
        record = replace(record, outcome=error.code.value, reason=why)
    else:
        record = replace(record, outcome=Code.INTERNAL.value)
    try:
        await write(store, record)
    except GameNodeError as unwritten:
        logger.error("a refused call could not be audited: %s", unwritten.message, extra={"method": record.method})


def target_of(request: Message) -> str:
    """What a request is about, as its caller named it."""
    for name in _TARGETS:
        value = getattr(request, name, None)
        if value is None or isinstance(value, bool):
            continue
        if isinstance(value, str):
            if value:
                return value[:MAX_TEXT]
        elif isinstance(value, Message):
            file = getattr(value, "file", "")
            if file:
                return str(file)[:MAX_TEXT]
        elif len(value):
            return ",".join(str(getattr(item, "file", item)) for item in value[:MAX_ITEMS])[:MAX_TEXT]
    return ""


def describe(request: Message) -> str:
    """A request as JSON for people: long texts cut, bytes and secrets left out. At most `MAX_REQUEST` characters."""
    text = json.dumps(_plain(request), separators=(",", ":"))
    return text if len(text) <= MAX_REQUEST else json.dumps({"cut": text[: MAX_REQUEST // 2]})


def _plain(message: Message) -> object:
    found: dict[str, object] = {}
    for field, value in message.ListFields():
        if field.name in _SECRET:
            found[field.name] = "(secret)"
        elif field.is_repeated:
            if field.message_type is not None and field.message_type.GetOptions().map_entry:
                keys = list(value)[:MAX_ITEMS]
                found[field.name] = {str(key): _value(field, value[key]) for key in keys}
            else:
                found[field.name] = [_value(field, item) for item in value[:MAX_ITEMS]]
        else:
            found[field.name] = _value(field, value)
    return found


def _value(field: FieldDescriptor, value: object) -> object:
    if isinstance(value, Message):
        kind = value.WhichOneof("kind") if value.DESCRIPTOR.name == "Value" else None
        return getattr(value, kind) if kind else _plain(value)
    if isinstance(value, bytes):
        return f"({len(value)} bytes)"
    if isinstance(value, str) and len(value) > MAX_TEXT:
        return value[:MAX_TEXT] + f"… ({len(value)} characters)"
    return value
