"""A whole server in this process, on real sockets with real TLS, and agents that say exactly what a test wants."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography.hazmat.primitives import serialization

from gamenode_pipelines.errors import Error, GameNodeError
from gamenode_pipelines.events import (
    LogSummary,
    StepEnded,
    StepStarted,
    TaskAccepted,
    TaskEvent,
    TaskEventBody,
    TaskStarted,
)
from gamenode_proto import transport
from gamenode_proto.codec.errors import error_to_proto
from gamenode_proto.codec.work import task_event_to_proto
from gamenode_proto.errors import from_rpc
from gamenode_proto.login import fetch_login
from gamenode_proto.v1 import (
    agent_link_pb2,
    agent_link_pb2_grpc,
    nodes_pb2,
    pipeline_management_pb2,
    pipeline_management_pb2_grpc,
    state_management_pb2_grpc,
)
from gamenode_server.app import Server, open_server
from gamenode_server.config import ServerSettings
from gamenode_server.identity import certificates
from gamenode_server.identity.ca import new_serial
from gamenode_server.identity.certificates import serial_text, spki
from gamenode_server.records import Node

PIPELINE = """
pipeline: demo
params:
  word: {default: hi}
timeout: 1m
steps:
  - id: go
    run: echo "${{ params.word }}"
"""

FAST: Mapping[str, Any] = {
    "heartbeat": 0.1,
    "metrics_interval": 0.1,
    "suspect": 0.6,
    "offline": 1.2,
    "resend": 0.3,
    "log_settle": 0.6,
    "stop_grace": 0.2,
}


@dataclass
class ScriptedAgent:
    """One node's certificate and its session, frame by frame."""

    node_id: str
    name: str
    stub: Any
    channel: grpc.aio.Channel
    outbox_id: str = "box"
    run_id: str = "first"
    seq: int = 0
    call: Any = None
    epoch: int = 0
    frames: list[agent_link_pb2.ServerFrame] = field(default_factory=list)

    def hello(self, **changes: Any) -> agent_link_pb2.Hello:
        """What it says first."""
        fields: dict[str, Any] = {
            "node_id": self.node_id,
            "boot_id": "boot",
            "agent_run_id": self.run_id,
            "protocol_min": 1,
            "protocol_max": 1,
            "outbox_id": self.outbox_id,
            "outbox_first": 1,
            "outbox_last": self.seq,
            "facts": nodes_pb2.HostFacts(hostname=self.name, slots=8, agent_version="9.9"),
            **changes,
        }
        return agent_link_pb2.Hello(**fields)

    async def open(self, **changes: Any) -> agent_link_pb2.Welcome:
        """Opens a session; raises GameNodeError where it is refused."""
        self.call = self.stub.Session()
        await self.send(agent_link_pb2.AgentFrame(hello=self.hello(**changes)))
        welcome = (await self.read()).welcome
        self.epoch = welcome.epoch
        return welcome

    async def send(self, frame: agent_link_pb2.AgentFrame) -> None:
        await self.call.write(frame)

    async def read(self) -> agent_link_pb2.ServerFrame:
        """The next frame; GameNodeError with the status where the session has ended."""
        try:
            frame = await self.call.read()
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        if frame is grpc.aio.EOF:
            raise from_rpc(
                grpc.aio.AioRpcError(
                    await self.call.code(),
                    await self.call.initial_metadata(),
                    await self.call.trailing_metadata(),
                    await self.call.details(),
                )
            )
        return frame  # type: ignore[no-any-return]

    async def read_until(self, kind: str) -> Any:
        """The next frame of one kind; the others are kept in `frames`."""
        while True:
            frame = await self.read()
            if frame.WhichOneof("body") == kind:
                return getattr(frame, kind)
            self.frames.append(frame)

    async def end_of_session(self) -> GameNodeError:
        """Reads on to the end, and says what it was."""
        while True:
            try:
                await self.read()
            except GameNodeError as error:
                return error

    async def beat(self, seq: int = 1, **more: Any) -> None:
        await self.send(agent_link_pb2.AgentFrame(heartbeat=agent_link_pb2.Heartbeat(seq=seq, **more)))

    async def tell_containers(self, *containers: nodes_pb2.Container, complete: bool = True) -> None:
        """A heartbeat with containers."""
        report = nodes_pb2.ContainerReport(complete=complete, containers=containers)
        await self.beat(containers=report)

    async def result(self, command_id: str, error: Error | None = None) -> None:
        """How a command went."""
        result = agent_link_pb2.CommandResult(command_id=command_id)
        if error is not None:
            result.error.CopyFrom(error_to_proto(error))
        await self.send(agent_link_pb2.AgentFrame(result=result))

    async def answer(self, request_id: str, *data: bytes) -> Any:
        """Begins the answer to a question; the call, for more pieces."""
        call = self.stub.Answer()
        await call.write(agent_link_pb2.AnswerPiece(request_id=request_id))
        for part in data:
            await call.write(agent_link_pb2.AnswerPiece(data=part, time=1.0, stream=1))
        return call

    async def report(self, task_id: str, *bodies: TaskEventBody, fence: int = 1, at: float = 1.0) -> None:
        """The next records of its outbox."""
        records = []
        for body in bodies:
            self.seq += 1
            event = task_event_to_proto(TaskEvent(task_id, fence, at, body))
            records.append(agent_link_pb2.OutboxRecord(seq=self.seq, task_event=event))
        await self.send_records(records)

    async def send_records(self, records: Sequence[agent_link_pb2.OutboxRecord]) -> None:
        await self.send(agent_link_pb2.AgentFrame(updates=agent_link_pb2.Updates(records=records)))

    async def acked(self, seq: int) -> None:
        """Reads on until everything up to `seq` is acknowledged."""
        while (await self.read_until("ack")).acked < seq:
            pass

    async def perform(self, *, exit_code: int = 0, log: LogSummary | None = None) -> agent_link_pb2.Assign:
        """Takes the next assignment and runs its one step."""
        assign = await self.read_until("assign")
        await self.report(
            assign.task.id,
            TaskAccepted(),
            TaskStarted(),
            StepStarted("go", 1),
            StepEnded("go", 1, exit_code=exit_code, log=log or LogSummary()),
            fence=assign.task.fence,
        )
        return assign  # type: ignore[no-any-return]


def container(name: str, *, own: bool = True, state: str = "running", **more: Any) -> nodes_pb2.Container:
    """A container as an agent tells of it."""
    fields = {"id": f"{name}{'0' * 64}"[:64], "image": "gn/test:1", **more}
    return nodes_pb2.Container(name=name, own=own, state=state, **fields)


@dataclass
class Site:
    """A server, and clients of it."""

    server: Server
    pipelines: Any
    state: Any
    metadata: Any
    agents: list[ScriptedAgent] = field(default_factory=list)

    async def call(self, method: Any, request: Any) -> Any:
        """A call of the local operator; GameNodeError where it fails."""
        try:
            return await method(request, metadata=self.metadata, timeout=20)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error

    def stream(self, method: Any, request: Any) -> Any:
        """A stream for the local operator."""
        return method(request, metadata=self.metadata, timeout=20)

    async def run(self, **fields: Any) -> pipeline_management_pb2.RunDocument:
        """Runs the demo pipeline."""
        request = pipeline_management_pb2.RunPipelineRequest(**{"name": "demo", "all": True, **fields})
        return (await self.call(self.pipelines.RunPipeline, request)).run  # type: ignore[no-any-return]

    async def agent(self, name: str, *, open: bool = True, **labels: str) -> ScriptedAgent:
        """A node with a certificate of the cluster's."""
        core, key = self.server.core, certificates.new_key()
        serial, not_after = new_serial(), core.wall() + 30 * 86_400
        node_id = f"node{name:a>8}"[:12]
        pem = core.cluster.issue(key.public_key(), kind="node", name=node_id, serial=serial, not_after=not_after)
        node = Node(
            id=node_id,
            name=name,
            labels=labels,
            joined_at=core.clock.now(),
            public_key=spki(key.public_key()),
            certificate_serial=serial_text(serial),
            certificate_not_after=not_after,
        )
        await core.store.apply(lambda tx: tx.put_node(node))
        channel = transport.open_tls_channel(
            self.server.bound.listen,
            ca_pem=core.cluster.ca_pem,
            certificate_pem=pem.encode(),
            key_pem=key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
            own_connection=True,
        )
        agent = ScriptedAgent(node_id, name, agent_link_pb2_grpc.AgentLinkStub(channel), channel)
        self.agents.append(agent)
        if open:
            await agent.open()
        return agent


@asynccontextmanager
async def site(tmp_path: Path, **settings: Any) -> AsyncIterator[Site]:
    """A running server on `tmp_path`, with the demo pipeline stored."""
    chosen = ServerSettings(data_dir=tmp_path, listen="127.0.0.1:0", join_listen="127.0.0.1:0", **{**FAST, **settings})
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    async with open_server(chosen) as server:
        login = await fetch_login(server.bound.control_socket)
        channel = transport.open_unix_channel(str(server.bound.control_socket))
        made = Site(
            server,
            pipeline_management_pb2_grpc.PipelineManagementStub(channel),
            state_management_pb2_grpc.StateManagementStub(channel),
            transport.bearer(login.token),
        )
        try:
            source = pipeline_management_pb2.PipelineSource(file="demo.yaml", text=PIPELINE)
            await made.call(
                made.pipelines.ApplyPipelines, pipeline_management_pb2.ApplyPipelinesRequest(sources=[source])
            )
            yield made
        finally:
            for agent in made.agents:
                if agent.call is not None:
                    agent.call.cancel()
                await agent.channel.close()
            await channel.close()
