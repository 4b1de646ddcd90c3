"""The columns of nodes in live tables. Pure."""

from __future__ import annotations

from gamenode_console import texts, words
from gamenode_console.model import cells
from gamenode_console.model.bars import meter
from gamenode_console.model.cells import Cell, Shown
from gamenode_console.model.columns import Column
from gamenode_console.model.glyphs import Glyphs
from gamenode_proto.v1 import nodes_pb2

Node = nodes_pb2.Node
#: The worst stands first.
_RANK = {
    "quarantined": 0,
    "offline": 1,
    "suspect": 2,
    "revoked": 3,
    "never_connected": 4,
    "online": 5,
}


def is_faulty(node: Node) -> bool:
    """Whether somebody should look at it."""
    return words.node_state(node.state) != "online" or bool(_engine_problem(node)) or _fullest(node) >= 90


def columns(glyphs: Glyphs) -> tuple[Column[Node], ...]:
    """Name and state stay; the rest goes from the right as it gets narrow."""
    return (
        Column("name", "NAME", 18, lambda node, now: node.name, order=lambda node: node.name, grow=True),
        Column("state", "STATE", 16, _state, order=_rank),
        _percent("cpu", "CPU", "cpu_percent", glyphs, spare=1),
        _percent("memory", "MEM", "memory_percent", glyphs, spare=2),
        _percent("disk", "DISK", "disk_percent", glyphs, spare=3),
        Column(
            "tasks", "TASKS", 5, lambda node, now: str(node.tasks_running), order=lambda n: n.tasks_running, right=True
        ),
        Column("containers", "CONT", 9, _containers, order=_running, right=True, spare=4),
        Column("seen", "SEEN", 7, _seen, order=lambda node: -node.last_seen, right=True, spare=5, ages=True),
        Column("labels", "LABELS", 28, _labels, order=_labels_order, spare=6),
        Column("rx", "RX", 9, lambda n, now: _rate(n.metrics.net_rx_bytes_per_s), right=True, wide=True),
        Column("tx", "TX", 9, lambda n, now: _rate(n.metrics.net_tx_bytes_per_s), right=True, wide=True),
        Column("version", "AGENT", 9, lambda node, now: node.facts.agent_version, wide=True),
        Column("address", "ADDRESS", 16, lambda node, now: node.address, wide=True),
        Column("id", "ID", 12, lambda node, now: node.id, wide=True),
    )


def _rank(node: Node) -> tuple[int, str]:
    return _RANK.get(words.node_state(node.state), 0), node.name


def _state(node: Node, now: float) -> Shown:
    state, admin = words.node_state(node.state), words.admin_state(node.admin_state)
    if admin == "active":
        return cells.state(state)
    return [cells.state(state), Cell(f" {admin}", "warn")]


def _percent(key: str, title: str, name: str, glyphs: Glyphs, *, spare: int) -> Column[Node]:
    def fraction(node: Node) -> float | None:
        return getattr(node.metrics, name) / 100 if node.metrics.sampled_at else None

    return Column(
        key,
        title,
        10,
        lambda node, now: meter(fraction(node), 10, glyphs=glyphs),
        order=lambda node: fraction(node) or 0.0,
        spare=spare,
        value=lambda node, now: "" if (found := fraction(node)) is None else f"{found * 100:.0f}",
    )


def _fullest(node: Node) -> float:
    return max(node.metrics.disk_percent, node.metrics.memory_percent, 0.0)


def _engine_problem(node: Node) -> str:
    engine = node.facts.engine
    return engine.problem if engine.address and not engine.available else ""


def _running(node: Node) -> int:
    return node.metrics.containers_running


def _containers(node: Node, now: float) -> Shown:
    if _engine_problem(node):
        return Cell("no engine", "warn")
    if not node.facts.engine.available:
        return Cell("-", "dim")
    return f"{node.metrics.containers_running}/{node.metrics.containers_total}"


def _seen(node: Node, now: float) -> Shown:
    return texts.span(now - node.last_seen) if node.last_seen else Cell("never", "dim")


def _rate(count: float) -> str:
    return f"{texts.size(count)}/s"


def _labels(node: Node, now: float) -> str:
    return ",".join(f"{key}={value}" for key, value in sorted(node.labels.items()))


def _labels_order(node: Node) -> str:
    return _labels(node, 0.0)


def is_cordoned(node: Node) -> bool:
    """Whether it is to get no new tasks."""
    return words.admin_state(node.admin_state) != "active"
