"""The one interceptor of every listener: who calls, whether they may, what is audited, and how errors get out.

It wraps each method's handler once. A mutating call gets its audit record prepared before it runs; where it is refused,
or fails, the interceptor writes the row itself, because no operation of the call did.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager, nullcontext
from typing import Any, TypeAlias, cast

import grpc
import grpc.aio

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_proto.errors import translated
from gamenode_server.audit import recording
from gamenode_server.audit.recording import Applier
from gamenode_server.identity import principals, roles, users
from gamenode_server.identity.principals import Principal
from gamenode_server.rpc.callers import Context, Identifies, nobody

logger = logging.getLogger(__name__)

#: Quoted: the class takes no parameters when the program runs.
Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
Behaviour = Callable[[Any, Context], Any]


class LiveCalls:
    """The calls that are being served, so that a node or user that is shut out is out at once. For one loop."""

    def __init__(self) -> None:
        self._timeouts: dict[str, dict[asyncio.Timeout, Error | None]] = {}
        self._operators: Counter[str] = Counter()

    @property
    def operators(self) -> int:
        """How many operators have a call that is being served, each counted once."""
        return len(self._operators)

    @property
    def operator_calls(self) -> int:
        """How many calls of operators are being served; a console keeps a few open."""
        return self._operators.total()

    def close(self, key: str, error: Error) -> None:
        """Ends every call of the callers with this `key` with this error; a node's is its id."""
        calls = self._timeouts.get(key, {})
        for timeout in calls:
            if not timeout.expired() and calls[timeout] is None:
                calls[timeout] = error
                timeout.reschedule(asyncio.get_running_loop().time())

    @asynccontextmanager
    async def serving(self, principal: Principal, wall: Callable[[], float]) -> AsyncIterator[None]:
        """Around a call: ends it at the moment its caller's certificate ends, or when `close` says so."""
        remaining = max(0.0, principal.not_after - wall()) if principal.not_after else None
        calls = self._timeouts.setdefault(principal.key, {})
        timeout = asyncio.timeout(remaining)
        calls[timeout] = None
        if principal.role is not None:
            self._operators[principal.key] += 1
        try:
            async with timeout:
                yield
        except TimeoutError:
            if not timeout.expired():
                raise
            error = calls[timeout]
            if error is None:
                raise _expired(principal) from None
            raise GameNodeError(error.code, error.message, details=error.details) from None
        finally:
            del calls[timeout]
            if not calls:
                self._timeouts.pop(principal.key, None)
                self._operators.pop(principal.key, None)
            elif principal.role is not None:
                self._operators[principal.key] -= 1


def _expired(principal: Principal) -> GameNodeError:
    if principal.kind == "operator":
        return users.expired(principal.name)
    return GameNodeError(Code.UNAUTHENTICATED, f"the certificate of {principal.name.removeprefix('node:')} has expired")


class Doorman(grpc.aio.ServerInterceptor):
    """Stands before every method of one listener. `wall` is the wall clock."""

    def __init__(self, store: Applier, *, identify: Identifies, live: LiveCalls, wall: Callable[[], float]) -> None:
        self._store = store
        self._identify = identify
        self._live = live
        self._wall = wall
        self._wrapped: dict[str, Handler] = {}

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[Handler | None]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> Handler:
        """The method's handler with everything around it; made at the method's first call."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is None:
            handler = await continuation(handler_call_details)
            if handler is None:  # no service here has it; gRPC answers UNIMPLEMENTED, and nothing is remembered
                return cast("Handler", None)
            wrapped = self._wrapped[method] = self._wrap(method, handler)
        return wrapped

    def _wrap(self, method: str, handler: Handler) -> Handler:
        behaviour: Behaviour
        if handler.response_streaming:
            inner = handler.stream_stream if handler.request_streaming else handler.unary_stream
            behaviour = self._streaming(method, cast("Behaviour", inner))
            make = (
                grpc.stream_stream_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_stream_rpc_method_handler
            )
        else:
            inner = handler.stream_unary if handler.request_streaming else handler.unary_unary
            behaviour = self._answering(method, cast("Behaviour", inner))
            make = (
                grpc.stream_unary_rpc_method_handler
                if handler.request_streaming
                else grpc.unary_unary_rpc_method_handler
            )
        return make(behaviour, handler.request_deserializer, handler.response_serializer)

    def _answering(self, method: str, inner: Behaviour) -> Behaviour:
        async def behaviour(request: Any, context: Context) -> Any:
            async with translated(context):
                rule, principal = await self._admit(method, request, context)
                async with self._guard(rule, principal):
                    if not rule.mutates:
                        return await inner(request, context)
                    return await self._audited(principal, method, request, inner(request, context))
            raise AssertionError("an aborted call goes no further")

        return behaviour

    def _streaming(self, method: str, inner: Behaviour) -> Behaviour:
        generates = inspect.isasyncgenfunction(inner)

        async def behaviour(request: Any, context: Context) -> None:
            async with translated(context):
                rule, principal = await self._admit(method, request, context)
                async with self._guard(rule, principal):
                    if not generates:
                        await inner(request, context)
                        return
                    async with aclosing(inner(request, context)) as responses:
                        async for response in responses:
                            await context.write(response)

        return behaviour

    def _guard(self, rule: roles.Rule, principal: Principal) -> AbstractAsyncContextManager[None]:
        return self._live.serving(principal, self._wall) if rule.caller != "anyone" else nullcontext()

    async def _admit(self, method: str, request: Any, context: Context) -> tuple[roles.Rule, Principal]:
        rule = roles.rule_of(method)
        identify = nobody if rule.caller == "anyone" else self._identify
        principal = await identify(context)
        try:
            roles.check(rule, principal, method)
        except GameNodeError as error:
            if rule.mutates:
                await recording.record_failure(self._store, recording.prepare(principal, method, request), error)
            logger.warning("refused: %s", error.message, extra={"principal": principal.name, "method": method})
            raise
        principals.enter(principal)
        return rule, principal

    async def _audited(self, principal: Principal, method: str, request: Any, call: Awaitable[Any]) -> Any:
        record = recording.prepare(principal, method, request)
        prepared = recording.enter(record)
        try:
            response = await call
        except Exception as error:
            await recording.record_failure(self._store, prepared.record, error)
            raise
        if not prepared.taken:  # it changed nothing that has an operation of its own, e.g. a dry run
            await recording.write(self._store, record)
        return response
