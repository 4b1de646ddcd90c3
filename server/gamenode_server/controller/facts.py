"""What a host has, as its agent tells: stored when it changes, and said where it is news."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from gamenode_proto.v1 import nodes_pb2
from gamenode_server.controller.moves import Moves
from gamenode_server.controller.plans import Plans
from gamenode_server.controller.slots import host_facts
from gamenode_server.records import NewEvent
from gamenode_server.store.tx import Tx

CHANGED = "node.changed"
MAX_TEXT = 500


def report_facts(plans: Plans, *, node_id: str, epoch: int, facts: bytes) -> Callable[[Tx], bool]:
    """Stores serialized `HostFacts` of a session. False where it is not the node's any more, or nothing is new."""

    def op(tx: Tx) -> bool:
        node = tx.node(node_id)
        if node is None or node.session_epoch != epoch or node.facts == facts:
            return False
        before, now = host_facts(node.facts), host_facts(facts)
        tx.put_node(replace(node, facts=facts))
        moves = Moves(tx, plans)
        news = difference(before, now)
        if news:
            moves.emit(NewEvent(type=CHANGED, node_id=node.id, data=news))
        if before.slots != now.slots:
            moves.fill(node.id)
        moves.finish()
        return True

    return op


def difference(before: nodes_pb2.HostFacts, now: nodes_pb2.HostFacts) -> dict[str, str]:
    """What somebody should hear of: what the host can do now or cannot any more, and how its engine is."""
    found: dict[str, str] = {}
    had, has = set(before.capabilities), set(now.capabilities)
    for name, words in (("gained", has - had), ("lost", had - has)):
        if words:
            found[name] = ",".join(sorted(words))[:MAX_TEXT]
    if engine_state(before) != engine_state(now):
        found["engine"] = engine_state(now)
    if before.slots != now.slots:
        found["slots"] = str(now.slots)
    return found


def engine_state(facts: nodes_pb2.HostFacts) -> str:
    """How the host's container engine is, in a few words; empty where it has none."""
    engine = facts.engine
    name = engine.name or "the container engine"
    if engine.available:
        return f"{name} {engine.version}".strip()[:MAX_TEXT]
    return f"{name} is away: {engine.problem}"[:MAX_TEXT] if engine.name or engine.problem else ""


def engine_problem(facts: nodes_pb2.HostFacts) -> str:
    """Why the host's container engine does not answer; empty where it does, or the host has none."""
    return "" if facts.engine.available else facts.engine.problem[:MAX_TEXT]


def engine_away(facts: nodes_pb2.HostFacts) -> bool:
    """Whether the host has a container engine, and it does not answer; a host that never had one lacks nothing."""
    engine = facts.engine
    return not engine.available and bool(engine.address or engine.version)
