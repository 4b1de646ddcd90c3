"""Which container a person means: a name, an id, or the first characters of its id, on one node or anywhere. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.ids import MIN_PREFIX
from gamenode_proto.v1 import nodes_pb2
from gamenode_server.containers.inventory import Inventory
from gamenode_server.records import Node
from gamenode_server.store.names import ambiguous, missing


@dataclass(frozen=True, slots=True)
class Found:
    """A container and where it is."""

    node: Node
    container: nodes_pb2.Container

    @property
    def path(self) -> str:
        """`NODE/NAME`."""
        return f"{self.node.name}/{self.container.name}"


def resolve_container(nodes: Iterable[Node], inventory: Inventory, text: str) -> Found:
    """The container of these nodes that `text` stands for: exact id, then name, then unique id prefix.

    Raises GameNodeError: NOT_FOUND with the nearest name, INVALID_ARGUMENT with the candidates.
    """
    fleet = list(nodes)
    for fits in _WAYS:
        found = [one for one in _all(fleet, inventory) if fits(one.container, text)]
        if len(found) > 1:
            raise ambiguous("container", text, [f"{one.path} ({one.container.id[:12]})" for one in found])
        if found:
            return found[0]
    names = [one.container.name for one in _all(fleet, inventory)]
    error = missing("container", text, names)
    if error.code is not Code.NOT_FOUND or len(fleet) != 1:
        raise error
    raise GameNodeError(error.code, f"{error.message} (on node {fleet[0].name})", details=error.details)


def _all(fleet: Sequence[Node], inventory: Inventory) -> Iterator[Found]:
    for node in fleet:
        for container in inventory.of(node.id):
            yield Found(node, container)


_WAYS: tuple[Callable[[nodes_pb2.Container, str], bool], ...] = (
    lambda container, text: container.id == text,
    lambda container, text: container.name == text,
    lambda container, text: len(text) >= MIN_PREFIX and container.id.startswith(text),
)
