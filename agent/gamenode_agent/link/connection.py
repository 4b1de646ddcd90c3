"""Staying connected: which server to try next, how long to wait, why not, and a certificate that never runs out.

Runs one session after the other until it is told to stop. Knows what a session is, not what it carries.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import grpc.aio

from gamenode_agent import renewal
from gamenode_agent.config import AgentSettings
from gamenode_agent.failures import leaves
from gamenode_agent.identity import Identity, save_identity
from gamenode_agent.journal import Journal, StorageFull
from gamenode_agent.link.beats import News
from gamenode_agent.link.orders import ContainerOrders, Orders
from gamenode_agent.link.session import Drained, OutboxRewound, Session, SessionLimits, Work
from gamenode_agent.link.side_channel import SideChannel, Uplink
from gamenode_agent.outbox import Outbox
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.backoff import full_jitter
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.clock import Clock, wall_clock
from gamenode_proto.v1.agent_link_pb2 import Config, FetchBundleRequest, Hello, Welcome
from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkStub

if TYPE_CHECKING:
    from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkAsyncStub

logger = logging.getLogger(__name__)

#: A larger bundle is not taken.
MAX_BUNDLE = 64 << 20
FETCH_TIMEOUT = 300.0
#: The server is asked why it refuses this node once in so many failures.
ASK_WHY_EVERY = 4
#: The certificate is looked at this often: the wall clock may jump.
RENEWAL_CHECK = 3600.0

#: What a server says that no trying again changes; a person must act.
_REFUSED = frozenset(
    {Code.REVOKED, Code.QUARANTINED, Code.PERMISSION_DENIED, Code.UNAUTHENTICATED, Code.VERSION_MISMATCH}
)

#: How gRPC says that nothing answered at all. Whatever else ends a connection before its session, TLS cannot explain.
_OUT_OF_REACH = ("Connection refused", "timed out", "Timeout", "nreachable", "No route", "DNS resolution")


@dataclass(frozen=True, slots=True)
class LinkState:
    """How the agent stands with its server."""

    connected: bool = False
    address: str = ""
    since: float = 0.0
    epoch: int = 0
    session_id: str = ""
    server_version: str = ""
    problem: str = ""


@dataclass(frozen=True, slots=True)
class LinkHooks:
    """What the link asks of the rest of the agent."""

    hello: Callable[[], Hello]
    news: News
    containers: ContainerOrders
    on_state: Callable[[LinkState], None]
    cancel_everything: Callable[[str, str], None]
    on_restart: Callable[[], None]


class Link:
    """The agent's connection to its cluster. `run` it in a task."""

    def __init__(
        self,
        identity: Identity,
        *,
        agent_dir: Path,
        settings: AgentSettings,
        clock: Clock,
        journal: Journal,
        outbox: Outbox,
        uplinks: Sequence[Uplink],
        max_epoch: int,
    ) -> None:
        self.identity = identity
        self.state = LinkState()
        #: The server's clock minus ours, as the last Welcome said.
        self.server_ahead = 0.0
        self.max_epoch = max_epoch
        self._agent_dir = agent_dir
        self._settings = settings
        self._clock = clock
        self._journal = journal
        self._outbox = outbox
        self._uplinks = uplinks
        self._keepalive = transport.Keepalive(
            settings.keepalive_time, settings.keepalive_timeout, min(5.0, settings.reconnect_max)
        )
        self._session: Session | None = None
        self._stub: AgentLinkAsyncStub | None = None
        self._address = ""
        self._stopping = asyncio.Event()
        self._reset_outbox = False
        #: The address that worked last.
        self._good = ""
        self._wake = asyncio.Event()
        self._again = False
        self._epoch_noted = max_epoch

    # -- from the outside ----------------------------------------------------------------------------------------------

    def stop(self, reason: str) -> None:
        """Says goodbye; `run` returns."""
        self._stopping.set()
        self._end_session(reason)

    def use_addresses(self, addresses: tuple[str, ...]) -> None:
        """The server is somewhere else from now on."""
        if addresses and addresses != self.identity.addresses:
            logger.info("the server's addresses are now %s", ", ".join(addresses))
            self.identity = replace(self.identity, addresses=addresses)
            if self._address not in addresses:
                self._end_session("the server has moved")

    def send_result(self, command_id: str, error: GameNodeError | None = None) -> None:
        """What became of a command, by the session that is open now. Without one it is not told: the server, which
        has not heard, orders it again."""
        if self._session is not None:
            self._session.send_result(command_id, error)

    async def fetch_bundle(self, digest: str, task_id: str) -> bytes:
        """A bundle's bytes from the server. Raises GameNodeError."""
        stub = self._stub
        if stub is None:
            raise GameNodeError(Code.DISCONNECTED, "there is no session to fetch the bundle by")
        data = bytearray()
        try:
            request = FetchBundleRequest(digest=digest, task_id=task_id)
            async for chunk in stub.FetchBundle(request, timeout=FETCH_TIMEOUT):
                data += chunk.data
                if len(data) > MAX_BUNDLE:
                    raise GameNodeError(Code.LIMIT_EXCEEDED, f"the bundle is larger than {MAX_BUNDLE} bytes")
        except grpc.aio.AioRpcError as error:
            raise from_rpc(error) from error
        return bytes(data)

    # -- the loop ------------------------------------------------------------------------------------------------------

    async def run(self, work: Work, hooks: LinkHooks) -> None:
        """Connects, and connects again, until `stop`."""
        loop = asyncio.get_running_loop()
        orders = Orders(
            hooks.containers,
            cancel_everything=hooks.cancel_everything,
            on_restart=hooks.on_restart,
            on_reset_outbox=self._next_outbox,
        )
        addresses = self._addresses()
        failures = 0
        while not self._stopping.is_set():
            self._again = False
            delay = 0.0
            problem = ""
            try:
                if self._reset_outbox:
                    await self._renew_outbox()
                await self._keep_certificate()
                await self._one(next(addresses), work, hooks, orders)
            except Drained as drained:
                delay = drained.retry_after + full_jitter(1, random.random(), base=self._settings.reconnect_base)
                problem = f"the server asked us to come back: {drained.reason}"
            except OutboxRewound as error:
                problem = error.message
                self._reset_outbox = True
            except GameNodeError as error:
                problem = error.message
                held = self._session is not None and self._session.welcomed_at > 0
                if held and loop.time() - self._session.welcomed_at >= self._settings.stable_after:  # type: ignore[union-attr]
                    failures = 0
                if held or failures % len(self.identity.addresses) == len(self.identity.addresses) - 1:
                    round_ = failures // len(self.identity.addresses)
                    cap = self._settings.reconnect_max
                    delay = full_jitter(round_, random.random(), base=self._settings.reconnect_base, cap=cap)
                    if error.code in _REFUSED:
                        delay = cap * random.uniform(0.5, 1.0)
                out_of_reach = any(word in error.message for word in _OUT_OF_REACH)
                if not held and error.code is Code.DISCONNECTED and not out_of_reach and failures % ASK_WHY_EVERY == 1:
                    problem = await self._ask_why() or problem
                failures += 1
            self._session = None
            if self._stopping.is_set():
                break
            if problem:
                level = logging.WARNING if failures <= 1 or self.state.problem != problem else logging.DEBUG
                logger.log(level, "not connected: %s", problem, extra={"retry_in": f"{delay:.1f}"})
            self._set_state(hooks, LinkState(problem=problem, since=self._clock.now()))
            if delay and not self._again:
                await self._pause(delay)
        self._set_state(hooks, LinkState(problem="stopped", since=self._clock.now()))

    async def _one(self, address: str, work: Work, hooks: LinkHooks, orders: Orders) -> None:
        """One session with the server at `address`."""
        self._address = address
        async with self._open(address) as channel:
            stub: AgentLinkAsyncStub = AgentLinkStub(channel)
            settings = self._settings
            side = SideChannel(lambda: self._open(address))
            keeper: asyncio.Task[None] | None = None

            def welcomed(welcome: Welcome) -> None:
                nonlocal keeper
                self._stub = stub
                self._good = address
                self.max_epoch = max(self.max_epoch, welcome.epoch)
                self.server_ahead = welcome.now - self._clock.now()
                for uplink in self._uplinks:
                    uplink.connected(side.open)
                state = LinkState(
                    True, address, self._clock.now(), welcome.epoch, welcome.session_id, welcome.server_version
                )
                logger.info("connected", extra={"server": address, "epoch": welcome.epoch})
                self._set_state(hooks, state)
                keeper = group.create_task(self._keep_session(session, stub))

            self._session = session = Session(
                stub,
                hello=hooks.hello(),
                outbox=self._outbox,
                work=work,
                news=hooks.news,
                clock=self._clock,
                limits=SessionLimits(settings.welcome_timeout, settings.silence_limit, settings.goodbye_timeout),
                on_welcome=welcomed,
                on_config=self._take_config,
                on_order=lambda order: orders.take(session, order),
            )
            try:
                async with asyncio.TaskGroup() as group:
                    try:
                        await session.run()
                    finally:
                        if keeper is not None:
                            keeper.cancel()
            except BaseExceptionGroup as ended:
                raise leaves(ended)[0] from None
            finally:
                self._stub = None
                for uplink in self._uplinks:
                    uplink.connected(None)

    async def _keep_session(self, session: Session, stub: AgentLinkAsyncStub) -> None:
        """While a session lasts: notes its epoch, and renews the certificate in time."""
        jitter = random.random()
        while True:
            if self._epoch_noted < self.max_epoch:
                try:
                    await self._journal.set_meta({"max_epoch": str(self.max_epoch)})
                    self._epoch_noted = self.max_epoch
                except StorageFull as error:
                    logger.warning("%s", error.message)
            left = renewal.renewal_due(self.identity.lifetime, jitter) - wall_clock()
            if left <= 0:
                try:
                    await self._use(await renewal.renew(stub, self.identity))
                    session.leave("the certificate was renewed")
                    return
                except GameNodeError as error:
                    logger.warning("the certificate could not be renewed: %s", error.message)
                    left = 60.0
            await asyncio.sleep(min(RENEWAL_CHECK, max(left, 1.0)))

    async def _keep_certificate(self) -> None:
        """Before a session: a certificate that has ended opens no door but one."""
        if wall_clock() >= self.identity.lifetime[1]:
            logger.warning("the node's certificate has ended: proving its key to get a new one")
            await self._use(await renewal.recover(self.identity))

    async def _ask_why(self) -> str:
        try:
            verdict = await renewal.why_refused(self.identity)
            if verdict.word == "certificate_expired":
                await self._use(await renewal.recover(self.identity))
                self._again = True
        except GameNodeError as error:
            logger.debug("the server cannot be asked why: %s", error.message)
            return ""
        return "" if verdict.word == "accepted" else verdict.message or f"the server refuses this node: {verdict.word}"

    async def _use(self, identity: Identity) -> None:
        try:
            await asyncio.to_thread(save_identity, self._agent_dir, identity)
        except OSError as error:  # the old one goes on to hold: the server waits for the new one to be used
            raise GameNodeError(Code.STORAGE_FULL, f"the new certificate cannot be stored: {error}") from error
        self.identity = identity
        logger.info(
            "the node has a new certificate", extra={"days": f"{(identity.lifetime[1] - wall_clock()) / 86400:.1f}"}
        )

    async def _renew_outbox(self) -> None:
        self._outbox.outbox_id = await self._journal.renew_outbox()
        self._outbox.rewind(0)
        self._reset_outbox = False
        logger.error("the outbox starts under a new id", extra={"outbox": self._outbox.outbox_id})

    def _take_config(self, config: Config) -> None:
        addresses = tuple(config.addresses)
        if addresses and addresses != self.identity.addresses:
            self.identity = replace(self.identity, addresses=addresses)
            try:
                save_identity(self._agent_dir, self.identity)
            except OSError as error:
                logger.warning("the server's new addresses could not be stored: %s", error)

    def _next_outbox(self) -> None:
        self._reset_outbox = True

    # -- small parts ---------------------------------------------------------------------------------------------------

    def _addresses(self) -> Iterator[str]:
        """In their order at first; later the one that worked last and then the others in any order. For ever."""
        yield from self.identity.addresses
        while True:
            known = self.identity.addresses
            others = [address for address in known if address != self._good]
            random.shuffle(others)
            yield from ((self._good, *others) if self._good in known else others)

    def _open(self, address: str) -> grpc.aio.Channel:
        identity = self.identity
        return transport.open_tls_channel(
            address,
            ca_pem=identity.ca_pem.encode(),
            certificate_pem=identity.certificate_pem.encode(),
            key_pem=identity.key_pem.encode(),
            keepalive=self._keepalive,
            own_connection=True,
        )

    def _end_session(self, reason: str) -> None:
        self._again = True
        self._wake.set()
        if self._session is not None:
            self._session.leave(reason)

    async def _pause(self, seconds: float) -> None:
        self._wake.clear()
        try:
            async with asyncio.timeout(seconds):
                await self._wake.wait()
        except TimeoutError:
            return

    def _set_state(self, hooks: LinkHooks, state: LinkState) -> None:
        self.state = state
        hooks.on_state(state)
