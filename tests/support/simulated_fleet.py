"""A real server whose agents are made up: many nodes that say how they are, without a connection each.

`python -m support.simulated_fleet --data-dir DIR --nodes 10000 --rate 2000` prints `ready`, and serves until its input
ends. A line of input is the number of nodes that say something from then on, a second. What operators see comes over
the real control socket; only the agents' side of the sessions is filled by hand.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import uuid
from pathlib import Path

from gamenode_pipelines.runs import Run
from gamenode_pipelines.states import NodeState, RunState, TaskState
from gamenode_proto.process.clock import wall_clock
from gamenode_proto.v1 import agent_link_pb2, nodes_pb2
from gamenode_server.app import EmbeddedSettings, open_server
from gamenode_server.core import Core
from gamenode_server.records import Node
from gamenode_server.sessions import Session
from gamenode_server.store.tx import Tx

#: Rounds a second in which nodes say something.
ROUNDS = 20
#: Seconds between two signs of life of nodes that say nothing else.
ALIVE = 5.0
_REGIONS = ("eu", "us", "ap", "sa")


class Fleet:
    """The nodes and their sessions."""

    def __init__(self, core: Core, count: int, *, seed: int = 7) -> None:
        self._core = core
        self._chance = random.Random(seed)
        self._names = [f"node-{n:05}" for n in range(count)]
        self._sessions: list[Session] = []
        self._next = 0
        self.rate = 0

    async def join(self, runs: int) -> None:
        """Every node is there and online, and some runs have ended."""
        now, facts = wall_clock(), _facts().SerializeToString()

        def stored(tx: Tx) -> None:
            for n, name in enumerate(self._names):
                labels = {"region": _REGIONS[n % len(_REGIONS)], "tier": "game"}
                node = Node(id=_id(name), name=name, state=NodeState.ONLINE, labels=labels, facts=facts)
                tx.put_node(node)
            for n in range(runs):
                tx.put_run(_ended_run(n, now - n))

        await self._core.store.apply(stored)
        for name in self._names:
            node_id = _id(name)
            session = Session(id=uuid.uuid4().hex, node_id=node_id, agent_run_id=name, address="192.0.2.7", now=now)
            self._core.sessions.begin(session)
            self._core.sessions.activate(session.id, node_id=node_id, epoch=0, acked=0)
            self._sessions.append(session)
            self._say(session)
        self._chance.shuffle(self._sessions)

    async def live(self) -> None:
        """Nodes say how they are, as many a second as `rate`; all of them stay alive."""
        loop = asyncio.get_running_loop()
        alive_at, due, owed = 0.0, loop.time(), 0.0
        while True:
            if loop.time() >= alive_at:
                alive_at = loop.time() + ALIVE
                for session in self._sessions:
                    self._core.sessions.heard(session)
            owed += self.rate / ROUNDS
            while owed >= 1:
                owed -= 1
                self._say(self._sessions[self._next])
                self._next = (self._next + 1) % len(self._sessions)
            due = max(due + 1 / ROUNDS, loop.time() - 1.0)
            await asyncio.sleep(max(0.0, due - loop.time()))

    def _say(self, session: Session) -> None:
        chance = self._chance.random
        metrics = nodes_pb2.Metrics(
            sampled_at=wall_clock(),
            cpu_percent=100 * chance(),
            memory_percent=20 + 60 * chance(),
            disk_percent=40 + chance(),
            net_rx_bytes_per_s=1e6 * chance(),
            net_tx_bytes_per_s=1e6 * chance(),
            processes=200,
            containers_running=3,
            containers_total=4,
        )
        self._core.sessions.heard(session)
        self._core.sessions.heartbeat(session, agent_link_pb2.Heartbeat(metrics=metrics))


def _id(name: str) -> str:
    return f"id-{name}"


def _facts() -> nodes_pb2.HostFacts:
    return nodes_pb2.HostFacts(
        hostname="host",
        os="Debian GNU/Linux 12",
        kernel="6.1",
        architecture="x86_64",
        agent_version="0.1.0",
        resources=nodes_pb2.Resources(cpus=8, memory_total=32 << 30, disk_total=1 << 40),
        slots=8,
        engine=nodes_pb2.EngineFacts(name="docker", address="unix:///run/docker.sock", available=True, version="26"),
    )


def _ended_run(n: int, at: float) -> Run:
    return Run(
        id=f"{n:012x}",
        pipeline="restart",
        pipeline_version=1,
        total=20,
        state=RunState.FAILED if n % 7 == 0 else RunState.SUCCEEDED,
        created_at=at - 30,
        started_at=at - 30,
        finished_at=at,
        created_by="local:ana",
        counts={TaskState.SUCCEEDED: 20},
    )


async def serve(data_dir: Path, *, nodes: int, rate: int, runs: int) -> None:
    """Serves until the input ends."""
    settings = EmbeddedSettings(data_dir=data_dir, listen="127.0.0.1:0", join_listen="127.0.0.1:0", log_level="error")
    async with open_server(settings) as server:
        fleet = Fleet(server.core, nodes)
        await fleet.join(runs)
        fleet.rate = rate
        async with asyncio.TaskGroup() as group:
            living = group.create_task(fleet.live())
            print("ready", flush=True)
            while line := await asyncio.to_thread(sys.stdin.readline):
                fleet.rate = int(line)
            living.cancel()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", type=Path, required=True)
    parser.add_argument("--nodes", type=int, default=10_000)
    parser.add_argument("--rate", type=int, default=0)
    parser.add_argument("--runs", type=int, default=200)
    told = parser.parse_args()
    asyncio.run(serve(told.data_dir, nodes=told.nodes, rate=told.rate, runs=told.runs))


if __name__ == "__main__":
    main()
