"""Nodes, their metrics and their join tokens as documents."""

from __future__ import annotations

from gamenode_console import words
from gamenode_console.documents import Document
from gamenode_proto.v1 import administration_pb2, nodes_pb2, state_management_pb2


def metrics(message: nodes_pb2.Metrics) -> Document | None:
    """One sample of a host; null before the first."""
    if not message.sampled_at:
        return None
    return {
        "cpu_percent": message.cpu_percent,
        "load1": message.load1,
        "memory_used": message.memory_used,
        "memory_percent": message.memory_percent,
        "disk_used": message.disk_used,
        "disk_percent": message.disk_percent,
        "net_rx_bytes_per_s": message.net_rx_bytes_per_s,
        "net_tx_bytes_per_s": message.net_tx_bytes_per_s,
        "processes": message.processes,
        "containers_running": message.containers_running,
        "containers_total": message.containers_total,
        "sampled_at": words.time(message.sampled_at),
    }


def engine(message: nodes_pb2.HostFacts) -> Document | None:
    """The container engine of a host as its agent found it; null where it has none."""
    if not message.HasField("engine"):
        return None
    facts = message.engine
    return {
        "name": facts.name,
        "address": facts.address or None,
        "available": facts.available,
        "problem": facts.problem or None,
        "version": facts.version or None,
        "api_version": facts.api_version or None,
        "storage_driver": facts.storage_driver or None,
        "cgroup_version": facts.cgroup_version or None,
        "root_dir": facts.root_dir or None,
        "live_restore": facts.live_restore,
        "rootless": facts.rootless,
        "runtimes": list(facts.runtimes),
    }


def _drain(message: nodes_pb2.Node) -> Document | None:
    """How a node is being emptied, and what is left; `null` where it is not."""
    if not message.HasField("drain"):
        return None
    drain = message.drain
    return {
        "since": words.time(drain.since),
        "until": words.time(drain.until),
        "by": drain.by,
        "reason": drain.reason,
        "done": drain.done,
        "tasks_left": drain.left,
    }


def node(message: nodes_pb2.Node) -> Document:
    """A host as `node ls` and `node show` give it."""
    facts = message.facts
    return {
        "id": message.id,
        "name": message.name,
        "state": words.node_state(message.state),
        "admin_state": words.admin_state(message.admin_state),
        "drain": _drain(message),
        "labels": dict(sorted(message.labels.items())),
        "agent_version": facts.agent_version or None,
        "joined_at": words.time(message.joined_at),
        "connected_since": words.time(message.connected_since),
        "last_seen": words.time(message.last_seen),
        "address": message.address or None,
        "addresses": list(facts.addresses),
        "hostname": facts.hostname or None,
        "os": facts.os or None,
        "kernel": facts.kernel or None,
        "architecture": facts.architecture or None,
        "capabilities": list(facts.capabilities),
        "engine": engine(facts),
        "slots": facts.slots,
        "resources": {
            "cpus": facts.resources.cpus,
            "memory_total": facts.resources.memory_total,
            "disk_total": facts.resources.disk_total,
        },
        "clock_skew": message.clock_skew,
        "disks": [{"mount": d.mount, "used": d.used, "total": d.total} for d in message.metrics.disks],
        "metrics": metrics(message.metrics),
        "tasks_running": message.tasks_running,
        "certificate_not_after": words.time(message.certificate_not_after),
    }


def node_metrics(message: state_management_pb2.GetNodeMetricsResponse) -> Document:
    """A node's samples of the last hour, oldest first."""
    return {
        "node_id": message.node_id,
        "node": message.node,
        "samples": [document for sample in message.samples if (document := metrics(sample)) is not None],
    }


def token(message: administration_pb2.CreateJoinTokenResponse) -> Document:
    """A join token, the only time that its secret is shown."""
    return {
        "id": message.id,
        "token": message.token,
        "join_command": message.join_command,
        "expires_at": words.time(message.expires_at),
        "uses": message.uses,
        "warnings": list(message.warnings),
    }
