"""What a server may order besides tasks, and who carries it out: restart, reset, and what is done with containers."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from gamenode_agent.link.session import Order, Session
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1.agent_link_pb2 import ContainerCommand, ContainerLogsWanted, Reset, Restart


class ContainerOrders(Protocol):
    """Who carries out what is ordered of containers. Both methods return at once and never fail."""

    def command(self, command: ContainerCommand) -> None:
        """Do this, and say how it went by the link's `send_result`. It may come again."""
        ...

    def logs_wanted(self, wanted: ContainerLogsWanted) -> None:
        """Answer with a container's log."""
        ...


class Orders:
    """Hands each order to whom it concerns. One for the life of the agent."""

    def __init__(
        self,
        containers: ContainerOrders,
        *,
        cancel_everything: Callable[[str, str], None],
        on_restart: Callable[[], None],
        on_reset_outbox: Callable[[], None],
    ) -> None:
        self._containers = containers
        self._cancel_everything = cancel_everything
        self._on_restart = on_restart
        self._on_reset_outbox = on_reset_outbox

    def take(self, session: Session, order: Order) -> None:
        """Carries out an order that came by the connection, or has it carried out."""
        match order:
            case Restart():
                session.send_result(order.command_id)
                self._on_restart()
            case Reset():
                self._reset(session, order)
            case ContainerCommand():
                self._containers.command(order)
            case ContainerLogsWanted():
                self._containers.logs_wanted(order)

    def _reset(self, session: Session, order: Reset) -> None:
        match order.what:
            case "session":
                session.send_result(order.command_id)
                session.leave("reset")
            case "outbox":
                session.send_result(order.command_id)
                self._on_reset_outbox()
                session.leave("reset")
            case "tasks":
                self._cancel_everything("reset", "the node's tasks were reset")
                session.send_result(order.command_id)
            case other:
                unknown = GameNodeError(Code.INVALID_ARGUMENT, f"this agent cannot reset {other!r}")
                session.send_result(order.command_id, unknown)
