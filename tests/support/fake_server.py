"""A server as far as an agent can see: mTLS, sessions, outbox, logs and enrolment, kept in memory and open to tests.

It folds what the agent tells through the task machine, as the real one does, and keeps every frame. Tests make it
silent, forgetful or rude.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any

import grpc
import grpc.aio
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_agent.identity import Identity, save_identity
from gamenode_agent.keys import lifetime, new_key, signing_request
from gamenode_pipelines import tasks
from gamenode_pipelines.events import CancelInfo, TaskAssigned, TaskEvent
from gamenode_pipelines.ids import make_id
from gamenode_pipelines.plan import Plan, Script, StepPlan
from gamenode_pipelines.states import TaskState
from gamenode_pipelines.tasks import NodeFacts, Task
from gamenode_proto import tickets, transport
from gamenode_proto.codec.plan import BundleFile, bundle_bytes
from gamenode_proto.codec.work import cancel_to_proto, task_event_from_proto, task_to_proto
from gamenode_proto.tokens import JoinToken
from gamenode_proto.v1 import agent_link_pb2, agent_link_pb2_grpc, enrolment_pb2, enrolment_pb2_grpc, plan_pb2
from support.fake_answers import FakeAnswers
from support.fake_authority import END, Authority, key_pem
from support.fake_services import AgentLinkService, EnrolmentService, Log, Seen
from support.waiting import until


class FakeServer:
    """One server on loopback; the same authority and memory over `stop` and `start`."""

    def __init__(self) -> None:
        self.authority = Authority()
        self.ticket_key = Ed25519PrivateKey.generate()
        self.cluster_id = "cluster"
        self.port = 0
        self.join_port = 0
        self.sessions: list[Seen] = []
        self.records: dict[int, agent_link_pb2.OutboxRecord] = {}
        self.repeats = 0
        self.outbox_id = ""
        self.acked = 0
        self.epoch = 0
        self.tasks: dict[str, Task] = {}
        self.plans: dict[str, Plan] = {}
        self.bundles: dict[str, bytes] = {}
        self.logs: dict[tuple[str, int, str, int], Log] = {}
        self.answers = FakeAnswers()
        self.fetched: list[str] = []
        self.joined: list[enrolment_pb2.JoinRequest] = []
        self.verdict = "accepted"
        #: What a test may set.
        self.ack_updates = True
        self.echo = True
        self.heartbeat = 0.2
        self.metrics_interval = 0.2
        self.welcome: Callable[[agent_link_pb2.Hello, agent_link_pb2.Welcome], None] = lambda _hello, _welcome: None
        self.join_drops = 0
        self.log_delay = 0.0
        self.certificate_ends = END
        self._out: asyncio.Queue[agent_link_pb2.ServerFrame | Exception] | None = None
        self._servers: list[grpc.aio.Server] = []

    # -- being there ---------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Listens, from the second time on where it did."""
        key = ec.generate_private_key(ec.SECP256R1())
        leaf = self.authority.issue(key.public_key(), name=transport.SERVER_NAME, server=True)
        pair = [(key_pem(key), (leaf + self.authority.pem).encode())]
        agents = grpc.aio.server(options=transport.server_options())
        agent_link_pb2_grpc.add_AgentLinkServicer_to_server(AgentLinkService(self), agents)
        credentials = grpc.ssl_server_credentials(pair, self.authority.pem.encode(), True)
        self.port = agents.add_secure_port(f"127.0.0.1:{self.port}", credentials)
        enrolment = grpc.aio.server(options=transport.server_options())
        enrolment_pb2_grpc.add_EnrolmentServicer_to_server(EnrolmentService(self), enrolment)
        self.join_port = enrolment.add_secure_port(
            f"127.0.0.1:{self.join_port}", grpc.ssl_server_credentials(pair, None, False)
        )
        self._servers = [agents, enrolment]
        for server in self._servers:
            await server.start()

    async def stop(self) -> None:
        """Is away, at once."""
        for server in self._servers:
            await server.stop(0)
        self._servers = []

    @property
    def address(self) -> str:
        """The agents' listener."""
        return f"127.0.0.1:{self.port}"

    @property
    def join_address(self) -> str:
        """The enrolment listener."""
        return f"127.0.0.1:{self.join_port}"

    def token(self) -> JoinToken:
        """A token for this server."""
        return JoinToken((self.join_address,), "token1", secrets.token_bytes(32), self.authority.pin, 4e9)

    def certificate_for(self, csr_pem: str, node_id: str = "node1") -> str:
        """A node's certificate."""
        csr = x509.load_pem_x509_csr(csr_pem.encode())
        name = f"spiffe://{self.cluster_id}/node/{node_id}"
        return self.authority.issue(csr.public_key(), name=name, server=False, ends=self.certificate_ends)

    def identity(self, data_dir: Path) -> Identity:
        """A joined node's identity, stored in `data_dir` as `join` would."""
        key_pem = new_key()
        certificate = self.certificate_for(signing_request(key_pem, name="eu-1"))
        identity = Identity(
            node_id="node1",
            name="eu-1",
            cluster_id=self.cluster_id,
            addresses=(self.address,),
            join_addresses=(self.join_address,),
            ticket_key=self.ticket_key.public_key().public_bytes_raw(),
            key_pem=key_pem,
            certificate_pem=certificate,
            ca_pem=self.authority.pem,
            lifetime=lifetime(certificate),
        )
        (data_dir / "agent").mkdir(parents=True, exist_ok=True)
        save_identity(data_dir / "agent", identity)
        return identity

    # -- asking the agent ----------------------------------------------------------------------------------------------

    def new_task(self, plan: Plan, *, task_id: str = "", labels: dict[str, str] | None = None) -> Task:
        """A task that is assigned under fence 1, and not sent."""
        facts = NodeFacts("node1", "eu-1", labels or {}, "127.0.0.1")
        task = tasks.new_task(
            id=task_id or make_id(secrets.token_bytes(8)), run_id="run1", node=facts, plan=plan, created_at=1.0
        )
        task, _ = tasks.step(task, plan, TaskEvent(task.id, 1, 1.0, TaskAssigned()))
        self.tasks[task.id] = task
        self.plans[task.id] = plan
        return task

    def assign(
        self,
        task: Task,
        *,
        files: Iterable[BundleFile] = (),
        inline: bool = True,
        change: Callable[[plan_pb2.Ticket], None] = lambda _ticket: None,
        key: Ed25519PrivateKey | None = None,
    ) -> str:
        """Sends the task to the agent; its bundle's digest."""
        data = bundle_bytes(self.plans[task.id], files)
        digest = sha256(data).hexdigest()
        self.bundles[digest] = data
        ticket = plan_pb2.Ticket(
            cluster_id=self.cluster_id,
            task_id=task.id,
            fence=task.fence,
            node_id="node1",
            bundle_digest=digest,
            not_after=4e9,
        )
        change(ticket)
        signed = tickets.sign(key or self.ticket_key, ticket.SerializeToString())
        assign = agent_link_pb2.Assign(ticket=signed, task=task_to_proto(task), bundle=data if inline else b"")
        self.send(agent_link_pb2.ServerFrame(assign=assign))
        return digest

    def cancel(self, task_id: str, fence: int = 1, *, force: bool = False) -> None:
        """Sends a cancel."""
        info = CancelInfo("ann", "enough", force, 5.0)
        self.send(
            agent_link_pb2.ServerFrame(
                cancel=agent_link_pb2.Cancel(task_id=task_id, fence=fence, cancel=cancel_to_proto(info))
            )
        )

    async def result(self, command_id: str) -> agent_link_pb2.CommandResult:
        """What the agent says became of a command, the last time it said so."""
        await until(lambda: self.results(command_id), what=f"the result of {command_id}")
        return self.results(command_id)[-1]

    def results(self, command_id: str) -> list[agent_link_pb2.CommandResult]:
        """Every result of this command, over this connection and earlier ones."""
        found = [frame.result for seen in self.sessions for frame in seen.frames if frame.HasField("result")]
        return [result for result in found if result.command_id == command_id]

    def send(self, frame: agent_link_pb2.ServerFrame | Exception) -> None:
        """Sends a frame by the open session; an exception ends it."""
        assert self._out is not None, "no session is open"
        self._out.put_nowait(frame)

    @property
    def connected(self) -> bool:
        """Whether a session is open."""
        return self._out is not None

    async def wait_connected(self, count: int = 1, seconds: float = 10.0) -> Seen:
        """The newest session, once there have been `count` and it is open."""
        await until(lambda: len(self.sessions) >= count and self.connected, seconds=seconds, what="a session")
        return self.sessions[-1]

    async def settled(self, task_id: str, seconds: float = 20.0) -> Task:
        """The task, once it has ended or stands still."""
        still = (TaskState.LOST, TaskState.NEEDS_ATTENTION)

        def look() -> bool:
            state = self.tasks[task_id].state
            return state.ended or state in still

        await until(look, seconds=seconds, what=f"task {task_id} to settle")
        return self.tasks[task_id]

    async def whole_log(self, task_id: str, step_id: str, *, fence: int = 1, attempt: int = 1) -> bytes:
        """A log, once it is complete."""
        key = (task_id, fence, step_id, attempt)

        def look() -> bool:
            log = self.logs.get(key)
            return log is not None and log.end is not None and len(log.data) >= log.end.summary.bytes

        await until(look, seconds=15.0, what=f"the log of {step_id}")
        log = self.logs[key]
        assert log.end is not None
        assert sha256(log.data).hexdigest() == log.end.summary.sha256
        return bytes(log.data)

    def events(self, task_id: str) -> list[str]:
        """The names of what was told of a task, in order."""
        found: list[str] = []
        for seq in sorted(self.records):
            record = self.records[seq]
            if record.WhichOneof("body") == "task_event" and record.task_event.task_id == task_id:
                found.append(record.task_event.WhichOneof("body") or "")
        return found

    # -- what the services do ------------------------------------------------------------------------------------------

    def store(self, updates: agent_link_pb2.Updates) -> None:
        """Takes a batch of records over, as the real server does: in order, once."""
        for record in updates.records:
            if record.seq <= self.acked:
                self.repeats += 1
                continue
            assert record.seq == self.acked + 1, f"record {record.seq} where {self.acked + 1} was due"
            self.acked = record.seq
            self.records[record.seq] = record
            if record.WhichOneof("body") == "task_event" and record.task_event.task_id in self.tasks:
                event = task_event_from_proto(record.task_event)
                task = self.tasks[event.task_id]
                self.tasks[event.task_id] = tasks.step(task, self.plans[event.task_id], event)[0]


@asynccontextmanager
async def fake_server() -> AsyncIterator[FakeServer]:
    """A running fake server."""
    fake = FakeServer()
    await fake.start()
    try:
        yield fake
    finally:
        await fake.stop()


def plan_of(*steps: StepPlan, **changes: Any) -> Plan:
    """A plan of these steps; each needs the one before it unless it says otherwise."""
    return Plan("test", 1, steps, **changes)


def script(step_id: str, text: str, *, needs: tuple[str, ...] = (), shell: str = "sh", **changes: Any) -> StepPlan:
    """A `run:` step."""
    return StepPlan(step_id, needs=needs, script=Script(shell, text), **changes)
