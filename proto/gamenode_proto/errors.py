"""Error codes on the wire: one table from codes to gRPC statuses, and the way in and out of a call.

The code itself travels in trailing metadata, because many codes share a status. Knows no service.
"""

from __future__ import annotations

import json
import logging
import secrets
from collections.abc import Mapping
from types import MappingProxyType, TracebackType
from typing import Any

import grpc
import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError

logger = logging.getLogger(__name__)

CODE_KEY = "gamenode-code"
DETAILS_KEY = "gamenode-details"

#: Trailers share HTTP/2's header limit (8 KiB by default): what would not fit is cut or left out.
MAX_MESSAGE = 4096
MAX_DETAILS = 2048

_S = grpc.StatusCode

STATUS_OF: Mapping[Code, grpc.StatusCode] = MappingProxyType(
    {
        Code.DISCONNECTED: _S.UNAVAILABLE,
        Code.TIMEOUT: _S.DEADLINE_EXCEEDED,
        Code.PROTOCOL_ERROR: _S.INVALID_ARGUMENT,
        Code.VERSION_MISMATCH: _S.FAILED_PRECONDITION,
        Code.TASK_FAILED: _S.FAILED_PRECONDITION,
        Code.STEP_FAILED: _S.FAILED_PRECONDITION,
        Code.EXIT_NONZERO: _S.FAILED_PRECONDITION,
        Code.STEP_TIMEOUT: _S.DEADLINE_EXCEEDED,
        Code.TASK_TIMEOUT: _S.DEADLINE_EXCEEDED,
        Code.INSUFFICIENT_RESOURCES: _S.RESOURCE_EXHAUSTED,
        Code.OOM_KILLED: _S.RESOURCE_EXHAUSTED,
        Code.RESOURCE_LIMIT: _S.RESOURCE_EXHAUSTED,
        Code.IMAGE_MISSING: _S.NOT_FOUND,
        Code.NAME_CONFLICT: _S.ALREADY_EXISTS,
        Code.CONTAINER_GONE: _S.NOT_FOUND,
        Code.GATE_DEADLINE: _S.DEADLINE_EXCEEDED,
        Code.REJECTED: _S.FAILED_PRECONDITION,
        Code.POLICY_DENIED: _S.PERMISSION_DENIED,
        Code.SECRET_UNAVAILABLE: _S.FAILED_PRECONDITION,
        Code.ENGINE_UNAVAILABLE: _S.FAILED_PRECONDITION,
        Code.SUPERVISOR_LOST: _S.ABORTED,
        Code.CANCELLED: _S.CANCELLED,
        Code.STATE_CONFLICT: _S.FAILED_PRECONDITION,
        Code.DATA_LOSS: _S.DATA_LOSS,
        Code.SYNC_FAILED: _S.ABORTED,
        Code.LOST: _S.ABORTED,
        Code.STORAGE_FULL: _S.RESOURCE_EXHAUSTED,
        Code.SUPERSEDED: _S.ABORTED,
        Code.QUARANTINED: _S.PERMISSION_DENIED,
        Code.REVOKED: _S.PERMISSION_DENIED,
        Code.INTEGRITY_FAILED: _S.DATA_LOSS,
        Code.INVALID_ARGUMENT: _S.INVALID_ARGUMENT,
        Code.NOT_FOUND: _S.NOT_FOUND,
        Code.ALREADY_EXISTS: _S.ALREADY_EXISTS,
        Code.PERMISSION_DENIED: _S.PERMISSION_DENIED,
        Code.UNAUTHENTICATED: _S.UNAUTHENTICATED,
        Code.LIMIT_EXCEEDED: _S.RESOURCE_EXHAUSTED,
        Code.INTERNAL: _S.INTERNAL,
    }
)

#: What a status means when no GameNode peer put a code beside it: gRPC itself made it.
_CODE_OF: Mapping[grpc.StatusCode, Code] = MappingProxyType(
    {
        _S.CANCELLED: Code.CANCELLED,
        _S.INVALID_ARGUMENT: Code.INVALID_ARGUMENT,
        _S.DEADLINE_EXCEEDED: Code.TIMEOUT,
        _S.NOT_FOUND: Code.NOT_FOUND,
        _S.ALREADY_EXISTS: Code.ALREADY_EXISTS,
        _S.PERMISSION_DENIED: Code.PERMISSION_DENIED,
        _S.RESOURCE_EXHAUSTED: Code.LIMIT_EXCEEDED,
        _S.FAILED_PRECONDITION: Code.STATE_CONFLICT,
        _S.UNIMPLEMENTED: Code.VERSION_MISMATCH,
        _S.UNAVAILABLE: Code.DISCONNECTED,
        _S.DATA_LOSS: Code.DATA_LOSS,
        _S.UNAUTHENTICATED: Code.UNAUTHENTICATED,
    }
)

#: What gRPC says, under other statuses than `unavailable`, of a connection that went away under an operation of a call.
_LOST = frozenset({"Internal error from Core", "Stream removed"})

Trailers = tuple[tuple[str, str], ...]


def trailers_of(error: GameNodeError) -> Trailers:
    """The trailing metadata that carries an error's code and details."""
    code = (CODE_KEY, error.code.value)
    if not error.details:
        return (code,)
    details = json.dumps(dict(error.details), separators=(",", ":"))
    return (code, (DETAILS_KEY, details)) if len(details) <= MAX_DETAILS else (code,)


def message_of(error: GameNodeError) -> str:
    """The status message that carries an error's own, cut where a trailer could not hold it."""
    encoded = error.message.encode()
    if len(encoded) <= MAX_MESSAGE:
        return error.message
    return encoded[:MAX_MESSAGE].decode(errors="ignore") + " …"


def expected(error: BaseException) -> GameNodeError:
    """`error` as something that may be told to the caller.

    Whatever has no code of its own becomes `internal` with an id and nothing else; the id is in the log beside the
    traceback.
    """
    if isinstance(error, GameNodeError) and error.code is not Code.INTERNAL:
        return error
    incident = secrets.token_hex(4)
    logger.error("internal error %s", incident, exc_info=error, extra={"incident": incident})
    return GameNodeError(Code.INTERNAL, f"internal error {incident}: see the server's log", details={"id": incident})


class translated:
    """Around a servicer's call: a GameNodeError ends it with its status, anything else as `internal` with an id.

    Used like a function: `async with translated(context):`.
    """

    __slots__ = ("_context",)

    def __init__(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        self._context = context

    async def __aenter__(self) -> None:
        return None

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if not isinstance(error, Exception) or isinstance(error, grpc.aio.AbortError):
            return  # nothing wrong, a cancelled call, or one that has been aborted already
        told = expected(error)
        await self._context.abort(STATUS_OF[told.code], message_of(told), trailers_of(told))


def from_rpc(error: grpc.aio.AioRpcError) -> GameNodeError:
    """What a failed call means to its caller."""
    trailers: dict[str, str] = {}
    for key, value in error.trailing_metadata() or ():
        trailers[key] = value if isinstance(value, str) else value.decode(errors="replace")
    message = error.details() or ""
    word = trailers.get(CODE_KEY)
    if word is not None:
        try:
            code = Code(word)
        except ValueError:  # a newer peer's word: say the nearest we know, and keep theirs in the text
            code, message = _CODE_OF.get(error.code(), Code.INTERNAL), f"{message} ({word})"
        return GameNodeError(code, message, details=_details(trailers.get(DETAILS_KEY)))
    code = Code.DISCONNECTED if message in _LOST else _CODE_OF.get(error.code(), Code.INTERNAL)
    if code is Code.DISCONNECTED:
        message = f"the server cannot be reached: {message}" if message else "the server cannot be reached"
    elif code is Code.TIMEOUT:
        message = "the server did not answer in time"
    elif code is Code.VERSION_MISMATCH:
        message = f"the server does not know this call; is it older? ({message})"
    return GameNodeError(code, message or error.code().name.lower())


def _details(text: str | None) -> dict[str, str]:
    if not text:
        return {}
    try:
        found = json.loads(text)
    except ValueError:
        logger.warning("error details that are not JSON: %.100r", text)
        return {}
    return {str(k): str(v) for k, v in found.items()} if isinstance(found, dict) else {}
