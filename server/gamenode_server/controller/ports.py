"""Ports of hosts that a plan wants and others have. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from gamenode_pipelines.foreseen import WantedPort, host_ports, publishes
from gamenode_pipelines.kinds import ports
from gamenode_pipelines.plan import Plan
from gamenode_pipelines.wording import listed
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.slots import node_facts
from gamenode_server.records import Node

_EVERYWHERE = frozenset({"", "0.0.0.0", "::"})
_LIVE = frozenset({"running", "paused", "restarting"})


def ports_taken(
    plan: Plan, nodes: Iterable[Node], containers: Callable[[str], Iterable[nodes_pb2.Container]]
) -> dict[str, str]:
    """Of each node on which another container has a port that the plan publishes there: which, and whose.

    A container of the name that the step gives is not another one.
    """
    taken: dict[str, str] = {}
    for node in nodes if publishes(plan) else ():
        held = [
            (container.name, port)
            for container in containers(node.id)
            if container.state in _LIVE
            for port in _published(container)
        ]
        wanted = host_ports(plan, node_facts(node)) if held else ()
        said = [f"{_word(want.port)} is taken by container {name}" for want in wanted for name in _holder(want, held)]
        if said:
            taken[node.id] = f"port {listed(said, 4)}"
    return taken


def _published(container: nodes_pb2.Container) -> Iterator[ports.Port]:
    for text in container.ports:
        try:
            yield from ports.parse(text).ports
        except ValueError:
            continue  # an engine's own way to say it; Docker refuses the port itself then


def _holder(want: WantedPort, held: list[tuple[str, ports.Port]]) -> Iterator[str]:
    for name, port in held:
        same = port.host_port == want.port.host_port and port.protocol == want.port.protocol
        meets = port.host_ip == want.port.host_ip or bool({port.host_ip, want.port.host_ip} & _EVERYWHERE)
        if same and meets and name != want.container:
            yield name
            return


def _word(port: ports.Port) -> str:
    return f"{port.host_port}/{port.protocol}"
