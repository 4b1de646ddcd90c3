"""A control server in this process on a real Unix socket, with a real login socket: answers are set by the test.

It is for the client's own behaviour (exit codes, formats, resuming); what a server does is tested with the real one.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc.aio

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.errors import translated
from gamenode_proto.process.places import login_socket_path
from gamenode_proto.v1 import (
    administration_pb2_grpc,
    artifacts_pb2_grpc,
    notifiers_pb2_grpc,
    pipeline_management_pb2_grpc,
    state_management_pb2_grpc,
)

SERVICES: Mapping[str, tuple[type[Any], Callable[..., None]]] = {
    "PipelineManagement": (
        pipeline_management_pb2_grpc.PipelineManagementServicer,
        pipeline_management_pb2_grpc.add_PipelineManagementServicer_to_server,
    ),
    "StateManagement": (
        state_management_pb2_grpc.StateManagementServicer,
        state_management_pb2_grpc.add_StateManagementServicer_to_server,
    ),
    "Administration": (
        administration_pb2_grpc.AdministrationServicer,
        administration_pb2_grpc.add_AdministrationServicer_to_server,
    ),
    "Artifacts": (artifacts_pb2_grpc.ArtifactsServicer, artifacts_pb2_grpc.add_ArtifactsServicer_to_server),
    "Notifiers": (notifiers_pb2_grpc.NotifiersServicer, notifiers_pb2_grpc.add_NotifiersServicer_to_server),
}


@dataclass
class FakeControl:
    """Answers by method name: a message, an exception, a list (a stream), or a function of the request."""

    data_dir: Path
    answers: dict[str, Any] = field(default_factory=dict)
    #: What was asked, oldest first: (method, request).
    asked: list[tuple[str, Any]] = field(default_factory=list)
    token: str = "token-1"
    logins: int = 0
    _server: grpc.aio.Server | None = None
    _login: asyncio.Server | None = None

    @property
    def socket(self) -> Path:
        """The control socket."""
        return self.data_dir / "c.sock"

    def requests(self, method: str) -> list[Any]:
        """The requests of one method."""
        return [request for name, request in self.asked if name == method]

    async def start(self) -> None:
        """Serves."""
        self.data_dir.mkdir(parents=True, exist_ok=True)
        options = transport.server_options(max_streams=1000)
        self._server = grpc.aio.server(options=options)
        for servicer, add in SERVICES.values():
            add(_servicer(self, servicer), self._server)
        self._server.add_insecure_port(f"unix:{self.socket}")
        await self._server.start()
        self._login = await asyncio.start_unix_server(self._log_in, path=str(login_socket_path(self.socket)))
        document = {"pid": os.getpid(), "version": "0.1.0", "control_socket": str(self.socket)}
        (self.data_dir / "server.json").write_text(json.dumps(document))

    async def stop(self) -> None:
        """Breaks every connection and stops."""
        assert self._server is not None
        assert self._login is not None
        await self._server.stop(None)
        self._login.close()
        await self._login.wait_closed()

    async def _log_in(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.logins += 1
        writer.write(json.dumps({"token": self.token, "lifetime": 3600.0}).encode() + b"\n")
        await writer.drain()
        writer.close()

    def admit(self, context: grpc.aio.ServicerContext[Any, Any]) -> None:
        """Refuses a call without the present token."""
        metadata: dict[str, str | bytes] = dict(context.invocation_metadata() or ())
        if transport.bearer_of(metadata) != self.token:
            raise GameNodeError(Code.UNAUTHENTICATED, "this token is not known")

    async def cli(
        self, *words: str, env: Mapping[str, str] | None = None, stdin: bytes = b""
    ) -> tuple[int, bytes, str]:
        """Runs the client as a process: exit code, stdout, stderr. No traceback may show."""
        process = await self.popen(*words, env=env)
        out, err = await asyncio.wait_for(process.communicate(stdin), 30)
        assert b"Traceback" not in err, err.decode()
        assert process.returncode is not None
        return process.returncode, out, err.decode()

    def argv(self, *words: str) -> list[str]:
        """The client's command line."""
        return [sys.executable, "-m", "gamenode_console", "--data-dir", str(self.data_dir), *words]

    def env(self, more: Mapping[str, str] | None = None) -> dict[str, str]:
        """The client's environment: nothing of the tester's own servers, no colour turned off."""
        base = {key: value for key, value in os.environ.items() if not key.startswith(("GAMENODE_", "NO_COLOR"))}
        return {**base, "HOME": str(self.data_dir), **(more or {})}

    async def popen(self, *words: str, env: Mapping[str, str] | None = None) -> asyncio.subprocess.Process:
        """Starts the client as a process."""
        return await asyncio.create_subprocess_exec(
            *self.argv(*words),
            env=self.env(env),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )


def _servicer(fake: FakeControl, kind: type[Any]) -> Any:
    """An object with every method of a service, answering from `fake.answers`."""
    methods = {name: _method(fake, name) for name in vars(kind) if name[0].isupper()}
    return type(f"Fake{kind.__name__}", (), methods)()


def _method(fake: FakeControl, name: str) -> Callable[..., Any]:
    streaming = name.startswith(("Watch", "Tail", "Download"))

    async def unary(self: Any, request: Any, context: Any) -> Any:
        async with translated(context):
            fake.admit(context)
            fake.asked.append((name, request))
            return await _answer(fake, name, request)

    async def stream(self: Any, request: Any, context: Any) -> AsyncIterator[Any]:
        async with translated(context):
            fake.admit(context)
            fake.asked.append((name, request))
            answer = await _answer(fake, name, request)
            if hasattr(answer, "__aiter__"):
                async for message in answer:
                    yield message
            else:
                for message in answer:
                    yield message

    return stream if streaming else unary


async def _answer(fake: FakeControl, name: str, request: Any) -> Any:
    if name not in fake.answers:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"the test gave no answer to {name}")
    answer = fake.answers[name]
    if isinstance(answer, list) and name.startswith(("Watch", "Tail")) and answer and isinstance(answer[0], list):
        # One stream after the other.
        answer = answer.pop(0)
    if callable(answer):
        answer = answer(request)
        if isinstance(answer, Awaitable):
            answer = await answer
    if isinstance(answer, Exception):
        raise answer
    return answer


@asynccontextmanager
async def fake_control(data_dir: Path) -> AsyncIterator[FakeControl]:
    """A started fake, stopped at the end."""
    fake = FakeControl(data_dir)
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()
