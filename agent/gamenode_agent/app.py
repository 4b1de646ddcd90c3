"""The agent put together: what is made in which order, what runs beside what, and how it all ends."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import secrets
import signal
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from enum import StrEnum
from importlib.metadata import version
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gamenode_agent.artifacts.desk import ArtifactDesk
from gamenode_agent.artifacts.kept import Kept
from gamenode_agent.clock import BootClock, boot_id
from gamenode_agent.config import AgentSettings
from gamenode_agent.containers.assembly import Containers
from gamenode_agent.engines.attempts import Attempts
from gamenode_agent.failures import leaves
from gamenode_agent.host import HostMetrics, facts
from gamenode_agent.housekeeping import Housekeeping
from gamenode_agent.identity import Identity, load_identity
from gamenode_agent.journal import Attempt, Contents, Entry, Journal, StorageFull
from gamenode_agent.leaving import JOURNAL_FILE
from gamenode_agent.link.connection import Link, LinkHooks, LinkState
from gamenode_agent.link.logs import LogLimits, LogShipper
from gamenode_agent.news import NodeNews
from gamenode_agent.outbox import Outbox
from gamenode_agent.runner.admission import Admission
from gamenode_agent.runner.bundles import Bundles
from gamenode_agent.runner.runner import Runner
from gamenode_agent.runner.shell import Shell
from gamenode_agent.runner.workspace import Workspaces
from gamenode_agent.status import AgentStatus, take_lock, write_status
from gamenode_agent.supervisor.client import AttemptReport
from gamenode_agent.takeover import Takeover
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogSummary
from gamenode_proto import transport
from gamenode_proto.codec.work import log_summary_to_proto
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.v1.agent_link_pb2 import Hello, NodeEvent, OutboxRecord
from gamenode_proto.v1.nodes_pb2 import HostFacts
from gamenode_proto.version import PROTOCOL, PROTOCOL_MIN

logger = logging.getLogger(__name__)


class Ending(StrEnum):
    """Why `run` returned."""

    STOPPED = "stopped"
    RESTART = "restart"


@dataclass(frozen=True, slots=True)
class _Ended(Exception):
    ending: Ending


def agent_version() -> str:
    """The version of this installation."""
    return version("gamenode")


async def run(settings: AgentSettings, *, announce: Callable[[str], None]) -> Ending:
    """Runs the agent until a signal or the server ends it. `announce` gets the line for stdout once it is connected.

    Steps go on when it returns. Raises GameNodeError for what keeps it from starting.
    """
    transport.quiet_core()
    agent_dir = settings.agent_dir
    identity = load_identity(agent_dir)
    with take_lock(agent_dir):
        agent: Agent | None = None
        try:
            async with asyncio.TaskGroup() as group:
                agent = await Agent.open(settings, identity, group)
                await agent.start()
                await agent.serve(announce)
        except BaseExceptionGroup as group_:
            return _ending_of(group_)
        finally:
            if agent is not None:
                await agent.close()
    raise AssertionError("the agent ended without a reason")


def _ending_of(group: BaseExceptionGroup[BaseException]) -> Ending:
    """Why everything ended: on purpose, or for an error that has a name; anything else is raised as it is."""
    causes = leaves(group)
    for leaf in causes:
        if isinstance(leaf, GameNodeError):
            raise leaf from None
    if all(isinstance(leaf, _Ended) for leaf in causes):
        return next(leaf.ending for leaf in causes if isinstance(leaf, _Ended))
    raise group


class Agent:
    """One running agent. Made by `open`, on the loop it lives on."""

    def __init__(
        self, settings: AgentSettings, identity: Identity, group: asyncio.TaskGroup, *, contents: Contents
    ) -> None:
        self.settings = settings
        self.group = group
        self.boot_id = settings.boot_id or boot_id()
        self.run_id = secrets.token_hex(8)
        self.contents = contents
        self._identity = identity
        self._ending: asyncio.Future[Ending] = asyncio.get_running_loop().create_future()
        self._started = wall_clock()
        self._announced = False
        self._capabilities: tuple[str, ...] = ()

    @classmethod
    async def open(cls, settings: AgentSettings, identity: Identity, group: asyncio.TaskGroup) -> Agent:
        """Opens the files and puts the parts together; starts nothing."""
        journal = Journal(settings.agent_dir / JOURNAL_FILE)
        try:
            agent = cls(settings, identity, group, contents=journal.contents)
            agent._assemble(journal)
        except BaseException:
            await journal.close()
            raise
        return agent

    def _assemble(self, journal: Journal) -> None:
        settings, contents, agent_dir = self.settings, self.contents, self.settings.agent_dir
        meta = contents.meta
        same_boot = meta.get("boot_id") == self.boot_id
        unfinished = any(not task.ended for task in contents.tasks)
        if same_boot and unfinished and "clock_origin" in meta:
            # Deadlines were set by that clock; the wall clock may have jumped since.
            self.clock = BootClock(float(meta["clock_origin"]))
        else:
            self.clock = BootClock.from_wall(not_before=contents.newest)
        self.journal = journal
        self.outbox = Outbox(
            journal,
            outbox_id=meta["outbox_id"],
            first=contents.outbox_first,
            last=contents.outbox_last,
            acked=int(meta.get("acked", contents.outbox_first - 1)),
        )
        self.metrics = HostMetrics(settings.root)
        self.artifacts = ArtifactDesk(Kept(agent_dir / "artifacts", reserve=settings.disk_reserve))
        self.containers = Containers(
            settings,
            self._identity,
            clock=self.clock,
            artifacts=self.artifacts,
            group=self.group,
            tell=self._tell,
            reply=lambda command_id, error: self.link.send_result(command_id, error),
            on_engine=self._engine_changed,
        )
        self.news = NodeNews(self.metrics, self.containers.inventory, self._facts)
        self.workspaces = Workspaces(agent_dir / "work")
        self.attempts = Attempts(
            settings.root,
            group=self.group,
            clock=self.clock,
            boot_id=self.boot_id,
            on_ended=self._attempt_ended,
            on_output=self._output_grew,
            on_lost=lambda: self.takeover.doubt(),
            timeout=settings.supervisor_timeout,
        )
        self.logs = LogShipper(
            limits=LogLimits(
                settings.log_chunk,
                settings.log_window,
                settings.log_idle_close,
                settings.log_slow,
                settings.reconnect_max,
            ),
            on_done=lambda key: self.housekeeping.log_is_there(key),
        )
        self.link = Link(
            self._identity,
            agent_dir=agent_dir,
            settings=settings,
            clock=self.clock,
            journal=journal,
            outbox=self.outbox,
            uplinks=(self.logs, self.containers.answers, self.artifacts.carrier),
            max_epoch=int(meta.get("max_epoch", "0")),
        )
        shell = Shell(
            group=self.group,
            journal=journal,
            clock=self.clock,
            attempts=self.attempts,
            tools=self.containers.tools,
            workspaces=self.workspaces,
            log_ended=self._log_ended,
            on_commit=lambda live, seq: self.runner.committed(live, seq),
            on_finished=lambda live: self.runner.release(live),
            on_doubt=lambda: self.takeover.doubt(),
            storage_retry=settings.storage_retry,
            boot_id=self.boot_id,
        )
        self.runner = Runner(
            shell,
            admission=Admission(
                node_id=self._identity.node_id,
                cluster_id=self._identity.cluster_id,
                ticket_key=Ed25519PublicKey.from_public_bytes(self._identity.ticket_key),
                directory=agent_dir,
                disk_reserve=settings.disk_reserve,
                capabilities=self.containers.capabilities,
            ),
            bundles=Bundles(journal, self.link.fetch_bundle),
            slots=settings.slots,
            server_clock=lambda: self.clock.now() + self.link.server_ahead,
            acked=lambda: self.outbox.acked,
        )
        self.takeover = Takeover(
            journal=journal, attempts=self.attempts, runner=self.runner, logs=self.logs, boot_id=self.boot_id
        )
        self.housekeeping = Housekeeping(
            group=self.group,
            settings=settings,
            clock=self.clock,
            journal=journal,
            outbox=self.outbox,
            runner=self.runner,
            attempts=self.attempts,
            workspaces=self.workspaces,
            artifacts=self.artifacts,
        )
        journal.on_records = self.outbox.appended
        journal.on_dropped = self.housekeeping.dropped

    # -- its life ------------------------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Notes this start, finds what ran while no agent did, and takes it up."""
        self._write_status()
        await self._note_start()
        self._background(self.containers.run(), "containers")
        await self.takeover.at_start(self.contents)
        # What has been made until now stays: no collection need look at it again.
        gc.collect()
        gc.freeze()
        self._capabilities = (await self.attempts.capabilities()).names()
        await self.containers.first_look()

    async def serve(self, announce: Callable[[str], None]) -> None:
        """Works until it is told to end; raises _Ended."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            loop.add_signal_handler(number, self._end, Ending.STOPPED)
        loop.add_signal_handler(signal.SIGUSR1, self._read_addresses)
        hooks = LinkHooks(
            hello=self._hello,
            news=self.news,
            containers=self.containers,
            on_state=lambda state: self._link_changed(state, announce),
            cancel_everything=self.runner.cancel_everything,
            on_restart=lambda: self._end(Ending.RESTART),
        )
        link = self.group.create_task(self.link.run(self.runner, hooks), name="link")
        self._background(self.logs.run(), "logs")
        self._background(self.takeover.watch(), "supervisor")
        self._background(self.housekeeping.run(), "housekeeping")
        ending = await self._ending
        logger.info("ending: %s; steps go on", ending)
        self.link.stop(ending)
        # A server that does not answer is left without a goodbye.
        await asyncio.wait([link], timeout=self.settings.goodbye_timeout + 1.0)
        raise _Ended(ending)

    async def close(self) -> None:
        """Closes files and connections; leaves what runs alone."""
        self.housekeeping.close()
        await self.containers.close()
        await self.attempts.close()
        try:
            await self.journal.set_meta({"acked": str(self.outbox.acked)})
        except StorageFull as error:
            logger.warning("%s", error.message)
        await self.journal.close()

    def _end(self, ending: Ending) -> None:
        if not self._ending.done():
            self._ending.set_result(ending)

    def _background(self, work: Coroutine[Any, Any, Any], name: str) -> None:
        self.group.create_task(work, name=name)

    async def _note_start(self) -> None:
        event = NodeEvent(at=self.clock.now(), type="agent.started", data={"version": agent_version()})
        meta = {"boot_id": self.boot_id, "clock_origin": repr(self.clock.origin)}
        try:
            await self.journal.commit(Entry(at=self.clock.now(), records=[OutboxRecord(node_event=event)], meta=meta))
        except StorageFull as error:
            raise GameNodeError(Code.STORAGE_FULL, f"{error.message}: the agent cannot start without it") from error

    def _tell(self, kind: str, data: Mapping[str, str]) -> None:
        """An event of this node, on its way to the server."""
        event = NodeEvent(at=self.clock.now(), type=kind, data=data)
        self._background(self._store(OutboxRecord(node_event=event)), f"event {kind}")

    async def _store(self, record: OutboxRecord) -> None:
        try:
            await self.journal.commit(Entry(at=self.clock.now(), records=[record]))
        except StorageFull as error:
            logger.warning("%s", error.message, extra={"event": record.node_event.type})

    # -- what the parts tell each other --------------------------------------------------------------------------------

    def _attempt_ended(self, report: AttemptReport) -> None:
        self.runner.attempt_ended(report)

    def _output_grew(self, key: Attempt, size: int) -> None:
        self.logs.grown(key, self.attempts.log_path(key), size)

    def _log_ended(self, key: Attempt, summary: LogSummary) -> None:
        self.logs.ended(key, self.attempts.log_path(key), log_summary_to_proto(summary))

    def _hello(self) -> Hello:
        hello = Hello(
            node_id=self._identity.node_id,
            boot_id=self.boot_id,
            agent_run_id=self.run_id,
            protocol_min=PROTOCOL_MIN,
            protocol_max=PROTOCOL,
            outbox_id=self.outbox.outbox_id,
            outbox_first=self.outbox.first,
            outbox_last=self.outbox.last,
            max_epoch=self.link.max_epoch,
            inventory=self.runner.inventory(),
            now=self.clock.now(),
        )
        self.news.begin(hello)
        return hello

    def _facts(self) -> HostFacts:
        found = facts(data_dir=self.settings.root, version=agent_version(), slots=self.settings.slots)
        found.capabilities.extend(self._capabilities)
        self.containers.add_facts(found)
        return found

    def _engine_changed(self) -> None:
        self.news.facts_may_differ()
        self._write_status()

    def _link_changed(self, state: LinkState, announce: Callable[[str], None]) -> None:
        self._write_status(state)
        if state.connected and not self._announced:
            self._announced = True
            node = self._identity
            announce(f"connected node={node.name} id={node.node_id} server={state.address} epoch={state.epoch}")

    def _write_status(self, state: LinkState | None = None) -> None:
        state = state or (self.link.state if self.link.state.since else LinkState(problem="starting"))
        status = AgentStatus(
            pid=os.getpid(),
            version=agent_version(),
            node_id=self._identity.node_id,
            name=self._identity.name,
            started_at=self._started,
            slots=self.settings.slots,
            connected=state.connected,
            server=state.address,
            server_version=state.server_version,
            since=state.since,
            problem=state.problem,
            **self.containers.status(),
        )
        try:
            write_status(self.settings.agent_dir, status)
        except OSError as error:
            logger.warning("the status file cannot be written: %s", error)

    def _read_addresses(self) -> None:
        try:
            self.link.use_addresses(load_identity(self.settings.agent_dir).addresses)
        except GameNodeError as error:
            logger.error("the new addresses cannot be read: %s", error.message)
