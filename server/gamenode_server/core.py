"""What the servicers work with: the parts of a running server, made for the composition root and passed down."""

from __future__ import annotations

import asyncio
import logging
import random
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version

from gamenode_pipelines import library
from gamenode_pipelines.ids import ENTROPY_BYTES, make_id
from gamenode_proto import tickets
from gamenode_proto.process.clock import Clock, wall_clock
from gamenode_proto.v1 import agent_link_pb2
from gamenode_server.admission import Admission
from gamenode_server.artifacts.shelf import Limits, Shelf
from gamenode_server.config import ServerSettings
from gamenode_server.containers.relay import Relays
from gamenode_server.controller.compiler import Compiler
from gamenode_server.controller.pipelines import Source, sync_library
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.settle import live_run_ids
from gamenode_server.dispatch import Dispatch
from gamenode_server.hub import Hub
from gamenode_server.identity.ca import Cluster
from gamenode_server.intervals import Intervals
from gamenode_server.logs import LogStore
from gamenode_server.place import Place
from gamenode_server.retention import keep_house
from gamenode_server.rpc.interceptor import LiveCalls
from gamenode_server.sessions import Sessions
from gamenode_server.store import Store
from gamenode_server.store.tx import Tx
from gamenode_server.timers import Timers

logger = logging.getLogger(__name__)

_INCARNATION_KEY = "incarnation"
#: Agents that come back in a second after a stop.
RETURNS_PER_SECOND = 200


@dataclass(frozen=True, slots=True)
class Core:
    """A server's parts. Everything but the store's writer lives on one loop."""

    store: Store
    hub: Hub
    logs: LogStore
    artifacts: Shelf
    cluster: Cluster
    clock: Clock
    #: The wall clock, for certificates.
    wall: Callable[[], float]
    intervals: Intervals
    plans: Plans
    compiler: Compiler
    sessions: Sessions
    dispatch: Dispatch
    admission: Admission
    relays: Relays
    version: str
    started_at: float


def make_core(
    settings: ServerSettings, *, place: Place, cluster: Cluster, store: Store, hub: Hub, live: LiveCalls
) -> Core:
    """Puts the parts together; nothing runs yet."""
    intervals, clock, plans = settings.intervals, store.clock, Plans()
    sessions = Sessions(clock=clock, intervals=intervals, hub=hub)
    return Core(
        store=store,
        hub=hub,
        logs=LogStore(place.logs, on_change=hub.mark_log),
        artifacts=Shelf(
            place.artifacts, store, Limits(settings.artifact_size, settings.artifact_space, settings.keep_artifacts)
        ),
        cluster=cluster,
        clock=clock,
        wall=wall_clock,
        intervals=intervals,
        plans=plans,
        compiler=Compiler(),
        sessions=sessions,
        dispatch=Dispatch(
            sessions=sessions,
            plans=plans,
            clock=clock,
            intervals=intervals,
            cluster_id=cluster.cluster_id,
            sign=lambda ticket: tickets.sign(cluster.ticket_key, ticket),
            end_calls=live.close,
            labels=lambda node_id: _labels(store, node_id),
            version=version("gamenode"),
        ),
        admission=Admission(patience=intervals.admission),
        relays=Relays(),
        version=version("gamenode"),
        started_at=clock.now(),
    )


async def start_core(core: Core) -> None:
    """What has to be right before anybody is let in: the shipped pipelines, and what a crash left undone."""
    core.dispatch.incarnation = await core.store.apply(_incarnation)
    sources = []
    for name, text in library.shipped().items():
        for loaded in await core.compiler.load(text, name):
            sources.append(Source(loaded.name, text, loaded.spec.description))  # noqa: PERF401 - awaits in between
    await core.store.apply(sync_library(sources))
    for node in core.store.view.nodes():
        core.sessions.restore(node)
    core.dispatch.resume(await core.store.apply(live_run_ids))


async def run_core(core: Core, settings: ServerSettings) -> None:
    """What the server does by itself while it serves."""
    timers = Timers(
        live_runs=core.store.view.live_runs,
        nodes=core.store.view.nodes,
        store=core.store,
        sessions=core.sessions,
        dispatch=core.dispatch,
        plans=core.plans,
        clock=core.clock,
        intervals=core.intervals,
    )
    async with asyncio.TaskGroup() as group:
        group.create_task(core.dispatch.run(core.store))
        group.create_task(timers.run())
        group.create_task(keep_house(core.store, core.logs, core.artifacts, settings, core.intervals))


def drain_core(core: Core) -> None:
    """Sends every agent away, to come back to whoever serves next: spread out, so that they do not come as one."""
    spread = max(0.2, len(core.sessions) / RETURNS_PER_SECOND)
    for session in core.sessions:
        drain = agent_link_pb2.Drain(retry_after=random.uniform(0.1, 0.1 + spread), reason="the server stops")
        session.out.put(agent_link_pb2.ServerFrame(drain=drain))
        session.out.finish()


def _incarnation(tx: Tx) -> str:
    """A name for this history of the store: another one after a restore from a backup."""
    known = tx.meta(_INCARNATION_KEY)
    if not known:
        known = make_id(secrets.token_bytes(ENTROPY_BYTES))
        tx.put_meta(_INCARNATION_KEY, known)
    return known


def _labels(store: Store, node_id: str) -> dict[str, str]:
    node = store.view.node(node_id)
    return dict(node.labels) if node is not None else {}
