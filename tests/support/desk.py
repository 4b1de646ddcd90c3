"""A console without a server: a core that answers from a table of calls, and a world that tests fill."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar, cast

from gamenode_console.app import ConsoleApp
from gamenode_console.core.asking import Feed
from gamenode_console.gateway import Gateway
from gamenode_console.model.world import LinkState, World
from gamenode_console.options import Options
from gamenode_proto.v1 import common_pb2, nodes_pb2, state_management_pb2, work_pb2

T = TypeVar("T")
NOW = 1_700_000_000.0


class FrozenClock:
    """The time does not move by itself."""

    def __init__(self) -> None:
        self.at = NOW

    def now(self) -> float:
        return self.at


class _Ended:
    def cancel(self) -> None:
        pass


class FakeCore:
    """Answers with a gateway double; feeds are run by the test."""

    def __init__(self, gateway: object) -> None:
        self.gateway = cast("Gateway", gateway)
        self.feeds: list[Callable[[Gateway], Coroutine[Any, Any, None]]] = []

    async def ask(self, work: Callable[[Gateway], Awaitable[T]]) -> T:
        return await work(self.gateway)

    def spawn(self, feed: Callable[[Gateway], Coroutine[Any, Any, None]]) -> Feed:
        self.feeds.append(feed)
        return _Ended()


def node(name: str, *, state: str = "ONLINE", cpu: float = 10.0, **labels: str) -> nodes_pb2.Node:
    metrics = nodes_pb2.Metrics(sampled_at=NOW, cpu_percent=cpu, memory_percent=40.0, disk_percent=50.0)
    return nodes_pb2.Node(
        id=f"id-{name}",
        name=name,
        state=common_pb2.NodeState.Value(f"NODE_STATE_{state}"),
        admin_state=common_pb2.ADMIN_STATE_ACTIVE,
        labels=labels,
        metrics=metrics,
        last_seen=NOW - 2,
        tasks_running=1,
    )


def run(id: str, *, pipeline: str = "deploy", state: str = "RUNNING", **counts: int) -> work_pb2.Run:
    ended = state in ("SUCCEEDED", "FAILED", "CANCELLED")
    return work_pb2.Run(
        id=id,
        pipeline=pipeline,
        state=common_pb2.RunState.Value(f"RUN_STATE_{state}"),
        counts=counts,
        total=sum(counts.values()),
        created_at=NOW - 60,
        started_at=NOW - 59,
        finished_at=NOW - 30 if ended else 0.0,
        created_by="local:ana",
    )


def filled_world() -> World:
    """Three nodes, one of them lost; one run that goes on and one that failed."""
    world = World()
    world.set_link(state=LinkState.LIVE, since=NOW - 100, embedded=True)
    world.put_nodes(
        [node("eu-1", region="eu"), node("eu-2", state="OFFLINE", region="eu"), node("us-1", cpu=97.0, region="us")],
        snapshot=True,
    )
    world.put_runs(
        [
            run("aaaaaaaaaaaa", running=1, succeeded=2),
            run("bbbbbbbbbbbb", pipeline="backup", state="FAILED", failed=1),
        ],
        snapshot=True,
    )
    attention = state_management_pb2.Attention(
        since=NOW - 90, kind="node", id="id-eu-2", name="eu-2", text="offline", hint="gamenode node show eu-2"
    )
    world.put_status(
        state_management_pb2.GetStatusResponse(
            nodes_by_state={"online": 2, "offline": 1}, runs_by_state={"running": 1}, attention=[attention]
        )
    )
    return world


def console(tmp_path: Path, *, world: World | None = None, gateway: object = None, **options: Any) -> ConsoleApp:
    """An app over a world; it beats by itself."""
    given = Options(state_dir=tmp_path, **options)
    return ConsoleApp(FakeCore(gateway), world or filled_world(), clock=FrozenClock(), options=given)
