"""The services of the fake server: they keep what they see in it, and behave as its tests have set it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives import serialization

from gamenode_proto.v1 import agent_link_pb2, agent_link_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc
from support.fake_authority import END

if TYPE_CHECKING:
    from support.fake_server import FakeServer


@dataclass
class Seen:
    """One session as it was seen."""

    hello: agent_link_pb2.Hello
    frames: list[agent_link_pb2.AgentFrame] = field(default_factory=list)
    goodbye: str = ""
    peer: str = ""
    over: bool = False


@dataclass
class Log:
    """A log as it was received."""

    data: bytearray = field(default_factory=bytearray)
    end: agent_link_pb2.LogEnd | None = None


class AgentLinkService(agent_link_pb2_grpc.AgentLinkServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake

    async def Session(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        fake = self._fake
        first = await anext(request_iterator)
        hello = first.hello
        seen = Seen(hello, peer=context.peer())
        fake.sessions.append(seen)
        if hello.outbox_id != fake.outbox_id:
            fake.outbox_id = hello.outbox_id
            fake.acked = max(0, hello.outbox_first - 1)
        fake.epoch = max(fake.epoch, hello.max_epoch) + 1
        welcome = agent_link_pb2.Welcome(
            session_id=f"s{fake.epoch}", epoch=fake.epoch, acked=fake.acked, protocol=1, now=hello.now
        )
        welcome.config.heartbeat_interval = fake.heartbeat
        welcome.config.metrics_interval = fake.metrics_interval
        fake.welcome(hello, welcome)
        out: asyncio.Queue[agent_link_pb2.ServerFrame | Exception] = asyncio.Queue()
        fake._out = out
        await context.write(agent_link_pb2.ServerFrame(welcome=welcome))
        reader = asyncio.get_running_loop().create_task(self._read(request_iterator, seen, out))
        try:
            while True:
                frame = await out.get()
                if isinstance(frame, EOFError):
                    return
                if isinstance(frame, Exception):
                    await context.abort(grpc.StatusCode.UNAVAILABLE, str(frame))
                await context.write(frame)
        finally:
            seen.over = True
            reader.cancel()
            if fake._out is out:
                fake._out = None

    async def _read(self, frames: Any, seen: Seen, out: asyncio.Queue[Any]) -> None:
        fake = self._fake
        async for frame in frames:
            seen.frames.append(frame)
            match frame.WhichOneof("body"):
                case "updates":
                    if fake.ack_updates:
                        fake.store(frame.updates)
                        out.put_nowait(agent_link_pb2.ServerFrame(ack=agent_link_pb2.Ack(acked=fake.acked)))
                case "heartbeat":
                    if fake.echo:
                        ack = agent_link_pb2.Ack(acked=fake.acked, heartbeat=frame.heartbeat.seq)
                        out.put_nowait(agent_link_pb2.ServerFrame(ack=ack))
                case "goodbye":
                    seen.goodbye = frame.goodbye.reason
                    out.put_nowait(EOFError())
        out.put_nowait(EOFError())

    async def Logs(self, request_iterator: Any, context: Any) -> None:  # type: ignore[override]
        fake = self._fake
        async for upload in request_iterator:
            kind = upload.WhichOneof("body")
            part = upload.chunk if kind == "chunk" else upload.end
            ref = part.ref
            log = fake.logs.setdefault((ref.task_id, ref.fence, ref.step_id, ref.attempt), Log())
            ack = agent_link_pb2.LogAck(ref=ref)
            if fake.log_delay:
                await asyncio.sleep(fake.log_delay)
            if kind == "chunk":
                if part.offset > len(log.data):
                    ack.rewind = True
                else:
                    assert sum(record.length for record in part.records) == len(part.data)
                    log.data += part.data[len(log.data) - part.offset :]
            else:
                log.end = upload.end
                ack.complete = len(log.data) == part.summary.bytes
                ack.rewind = not ack.complete
            ack.offset = len(log.data)
            await context.write(ack)

    async def Answer(self, request_iterator: Any, context: Any) -> agent_link_pb2.AnswerEnd:
        return await self._fake.answers.serve(request_iterator, context)

    async def FetchBundle(self, request: Any, context: Any) -> AsyncIterator[agent_link_pb2.BundleChunk]:
        self._fake.fetched.append(request.digest)
        data = self._fake.bundles.get(request.digest)
        if data is None:
            await context.abort(grpc.StatusCode.NOT_FOUND, "no such bundle")
            return
        for start in range(0, len(data), 100):
            yield agent_link_pb2.BundleChunk(data=data[start : start + 100])

    async def FetchSecrets(self, request: Any, context: Any) -> agent_link_pb2.FetchSecretsResponse:
        return agent_link_pb2.FetchSecretsResponse()

    async def RenewCertificate(self, request: Any, context: Any) -> agent_link_pb2.RenewCertificateResponse:
        fake = self._fake
        fake.certificate_ends = END
        return agent_link_pb2.RenewCertificateResponse(
            certificate_pem=fake.certificate_for(request.csr_pem), ca_pem=fake.authority.pem
        )


class EnrolmentService(enrolment_pb2_grpc.EnrolmentServicer):
    def __init__(self, fake: FakeServer) -> None:
        self._fake = fake
        self._answers: dict[str, enrolment_pb2.JoinResponse] = {}

    async def Join(self, request: Any, context: Any) -> enrolment_pb2.JoinResponse:
        fake = self._fake
        fake.joined.append(request)
        key = x509.load_pem_x509_csr(request.csr_pem.encode()).public_key()
        name = key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
        answer = self._answers.get(name)
        if answer is None:
            answer = self._answers[name] = enrolment_pb2.JoinResponse(
                node_id="node1",
                name=request.name or "host",
                certificate_pem=fake.certificate_for(request.csr_pem),
                ca_pem=fake.authority.pem,
                cluster_id=fake.cluster_id,
                addresses=[fake.address],
                ticket_public_key=fake.ticket_key.public_key().public_bytes_raw(),
            )
        if fake.join_drops:
            fake.join_drops -= 1
            await context.abort(grpc.StatusCode.UNAVAILABLE, "the reply was lost")
        return answer

    async def Recover(self, request: Any, context: Any) -> enrolment_pb2.RecoverResponse:
        fake = self._fake
        if not request.nonce:
            return enrolment_pb2.RecoverResponse(nonce=b"n" * 32)
        fake.certificate_ends = END
        return enrolment_pb2.RecoverResponse(
            certificate_pem=fake.certificate_for(request.csr_pem), ca_pem=fake.authority.pem
        )

    async def WhyRefused(self, request: Any, context: Any) -> enrolment_pb2.WhyRefusedResponse:
        return enrolment_pb2.WhyRefusedResponse(verdict=self._fake.verdict)
