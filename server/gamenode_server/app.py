"""The composition root: builds a server from its settings, runs it, and takes it down in the right order.

Nothing here decides anything; every part is handed what it needs and knows nothing of the others.
"""

from __future__ import annotations

import asyncio
import logging
import os
import resource
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process.addresses import join_address, split_address
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.process.locks import Lock
from gamenode_proto.process.places import control_socket_path, default_data_dir
from gamenode_proto.v1 import (
    agent_link_pb2_grpc,
    artifacts_pb2_grpc,
    notifiers_pb2_grpc,
    pipeline_management_pb2_grpc,
    state_management_pb2_grpc,
)
from gamenode_server.config import EmbeddedSettings, ServerSettings
from gamenode_server.controller.nodes import quarantine_node
from gamenode_server.core import Core, drain_core, make_core, run_core, start_core
from gamenode_server.dispatch import Dispatch
from gamenode_server.doors import Doors
from gamenode_server.hub import Hub
from gamenode_server.identity.ca import Cluster, open_cluster
from gamenode_server.identity.renewals import Renewals
from gamenode_server.metrics.exporting import metrics_served
from gamenode_server.notifiers.delivery import Delivery
from gamenode_server.notifiers.notifying import Notifying
from gamenode_server.notifiers.reading import read
from gamenode_server.place import Place
from gamenode_server.rpc.agent_link import AgentLink
from gamenode_server.rpc.artifacts import Artifacts
from gamenode_server.rpc.interceptor import LiveCalls
from gamenode_server.rpc.listeners import Bound, Service
from gamenode_server.rpc.notifiers import Notifiers
from gamenode_server.rpc.pipeline_management import PipelineManagement
from gamenode_server.rpc.schedules import ScheduledRuns
from gamenode_server.rpc.state_management import StateManagement
from gamenode_server.rpc.triggered_runs import TriggeredRuns
from gamenode_server.schedules.scheduler import Scheduler
from gamenode_server.store import open_store
from gamenode_server.store.tx import Tx
from gamenode_server.succession import standby_kept
from gamenode_server.triggers.triggering import Triggering

__all__ = ["EmbeddedSettings", "Server", "open_embedded", "open_server"]

logger = logging.getLogger(__name__)

_CLUSTER_KEY = "cluster_id"


@dataclass(frozen=True, slots=True)
class Server:
    """A server that serves."""

    core: Core
    doors: Doors
    place: Place
    bound: Bound
    #: Empty where there are no metrics.
    metrics_listen: str = ""


@asynccontextmanager
async def open_server(settings: ServerSettings, *, lock: Lock | None = None) -> AsyncIterator[Server]:
    """A server on its data dir, serving as long as the `async with`. `lock` is the data dir's, where it is held.

    Raises GameNodeError that says in one line why it cannot start, with nothing left behind.
    """
    place = Place(settings.data_dir or default_data_dir(os.environ))
    with place.take(lock):
        _raise_file_limit()
        cluster = open_cluster(place.identity, wall=wall_clock, may_create=not place.database.exists())
        async with _built(settings, place, cluster) as (core, doors, notifying):
            core.dispatch.user_changed = doors.user_changed
            bound = await _open(doors, settings, place)
            if settings.advertise:
                # What was not said is a guess, and must not replace what an agent was told (`set-server`).
                core.dispatch.addresses = doors.advertised().agents
            try:
                async with metrics_served(
                    core,
                    doors.live,
                    notifying,
                    address=settings.metrics_listen,
                    database=place.database,
                    most_nodes=settings.metrics_nodes,
                ) as metrics_listen:
                    place.publish(
                        version=core.version,
                        listen=bound.listen,
                        join_listen=bound.join_listen,
                        control_socket=bound.control_socket,
                        control_listen=bound.control_listen,
                        metrics_listen=metrics_listen,
                    )
                    yield Server(core, doors, place, bound, metrics_listen)
            finally:
                place.withdraw()
                drain_core(core)
                await doors.close()


@asynccontextmanager
async def open_embedded(settings: EmbeddedSettings) -> AsyncIterator[Server]:
    """A server inside of another program: when the `async with` or the whole process ends, a standby goes on serving
    in the same place, unless `server.place.mark_stopped` was called before.
    """
    async with open_server(settings) as server:
        bound = server.bound
        same = replace(
            settings,
            listen=bound.listen,
            join_listen=bound.join_listen,
            control_listen=bound.control_listen,
            metrics_listen=server.metrics_listen,
        )
        async with standby_kept(server.place, same):
            yield server


@asynccontextmanager
async def _built(
    settings: ServerSettings, place: Place, cluster: Cluster
) -> AsyncIterator[tuple[Core, Doors, Notifying]]:
    """Every part of the server, running, but for its doors, which are shut."""
    hub = Hub()
    live = LiveCalls()
    late: list[Dispatch] = []  # the store's effects go to the dispatch, which needs the store's clock

    def carry_out(effects: Sequence[object]) -> None:
        late[0].carry_out(effects)

    async with AsyncExitStack() as parts:
        store = open_store(place.database, hub=hub, on_effects=carry_out, audit_key=cluster.audit_key)
        parts.push_async_callback(store.close)
        await store.apply(_belongs_to(cluster.cluster_id, place))
        core = make_core(settings, place=place, cluster=cluster, store=store, hub=hub, live=live)
        parts.push_async_callback(core.logs.close)
        parts.push_async_callback(core.artifacts.close)
        late.append(core.dispatch)
        scheduler = Scheduler(
            store=store,
            pipelines=lambda: store.view.pipelines,
            compiler=core.compiler,
            starter=ScheduledRuns(core),
            clock=core.clock,
            tick=core.intervals.tick,
        )
        triggering = Triggering(
            store=store,
            newest=lambda: hub.newest,
            compiler=core.compiler,
            starter=TriggeredRuns(core),
            clock=core.clock,
            tick=core.intervals.tick,
        )
        notifying = Notifying(
            [Delivery(each, wall=core.wall, version=core.version) for each in read(settings.notifiers)],
            store=store,
            hub=hub,
            wall=core.wall,
            incarnation=lambda: core.dispatch.incarnation,
        )
        doors = Doors(
            settings,
            store=store,
            cluster=cluster,
            place=place,
            wall=core.wall,
            version=core.version,
            live=live,
            quarantine=lambda node_id, reason: quarantine_node(core.plans, node_id=node_id, reason=reason),
            agents=_agent_services(settings, core),
            operators=_operator_services(core, scheduler, notifying, triggering),
        )
        await start_core(core)
        async with asyncio.TaskGroup() as group:
            running = (doors.run(), run_core(core, settings), scheduler.run(), triggering.run(), notifying.run())
            tasks = [group.create_task(work) for work in running]
            yield core, doors, notifying
            for task in tasks:
                task.cancel()


def _agent_services(settings: ServerSettings, core: Core) -> list[Service]:
    renewals = Renewals(core.store, cluster=core.cluster, wall=core.wall, life=settings.certificate_life)
    link = AgentLink(core, renewals=renewals)
    return [
        Service("gamenode.v1.AgentLink", lambda s: agent_link_pb2_grpc.add_AgentLinkServicer_to_server(link, s)),
    ]


def _operator_services(core: Core, scheduler: Scheduler, notifying: Notifying, triggering: Triggering) -> list[Service]:
    pipelines = PipelineManagement(core, scheduler)
    state = StateManagement(core, scheduler, notifying, triggering)
    notifiers = Notifiers(notifying)
    artifacts = Artifacts(core)
    return [
        Service(
            "gamenode.v1.PipelineManagement",
            lambda s: pipeline_management_pb2_grpc.add_PipelineManagementServicer_to_server(pipelines, s),
        ),
        Service(
            "gamenode.v1.StateManagement",
            lambda s: state_management_pb2_grpc.add_StateManagementServicer_to_server(state, s),
        ),
        Service("gamenode.v1.Artifacts", lambda s: artifacts_pb2_grpc.add_ArtifactsServicer_to_server(artifacts, s)),
        Service("gamenode.v1.Notifiers", lambda s: notifiers_pb2_grpc.add_NotifiersServicer_to_server(notifiers, s)),
    ]


async def _open(doors: Doors, settings: ServerSettings, place: Place) -> Bound:
    """Opens the doors. Port 0 is the port of the last start where that is still free: agents keep an address."""
    last = place.last_ports()
    wanted = {
        "listen": settings.listen,
        "join_listen": settings.join_listen,
        "control_listen": settings.control_listen,
    }
    kept = {name: _kept_port(address, last.get(name, "")) if address else "" for name, address in wanted.items()}
    control_socket = control_socket_path(place.data_dir)
    try:
        return await doors.open(**kept, control_socket=control_socket)
    except GameNodeError as error:
        if kept == wanted or error.code is not Code.STATE_CONFLICT:
            raise
        logger.warning("%s; taking another port", error.message)
        return await doors.open(**wanted, control_socket=control_socket)


def _kept_port(wanted: str, last: str) -> str:
    host, port = split_address(wanted)
    if port or not last:
        return wanted
    last_host, last_port = split_address(last)
    return join_address(host, last_port) if last_host == host else wanted


def _belongs_to(cluster_id: str, place: Place) -> Callable[[Tx], None]:
    """The store is this cluster's, from its first start on."""

    def op(tx: Tx) -> None:
        known = tx.meta(_CLUSTER_KEY)
        if known and known != cluster_id:
            raise GameNodeError(
                Code.INTEGRITY_FAILED,
                f"{place.database} belongs to the cluster {known}, but {place.identity} holds the keys of "
                f"{cluster_id}: restore the two from the same backup",
            )
        if not known:
            tx.put_meta(_CLUSTER_KEY, cluster_id)

    return op


def _raise_file_limit() -> None:
    """A connection is a file; the soft limit is often 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        except (OSError, ValueError) as error:
            logger.warning("the limit of open files stays at %d: %s", soft, error)
