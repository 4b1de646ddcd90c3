"""What the store keeps beside runs and tasks: nodes, pipelines, tokens, events and audit rows, as frozen records."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from gamenode_pipelines.events import TaskEvent
from gamenode_pipelines.states import AdminState, NodeState


@dataclass(frozen=True, slots=True)
class Drain:
    """A node is being emptied. What is left at `until` is cancelled (0: nothing is); `done`: nothing is left."""

    since: float
    until: float
    by: str
    reason: str = ""
    done: bool = False


@dataclass(frozen=True, slots=True)
class Node:
    """A host that runs an agent, as far as it is durable. What changes with every heartbeat lives in its session."""

    id: str
    name: str
    state: NodeState = NodeState.NEVER_CONNECTED
    admin_state: AdminState = AdminState.ACTIVE
    labels: Mapping[str, str] = field(default_factory=dict)
    #: Serialized `HostFacts` as last reported.
    facts: bytes = b""
    joined_at: float = 0.0
    last_seen: float = 0.0
    address: str = ""
    session_epoch: int = 0
    boot_id: str = ""
    outbox_id: str = ""
    outbox_acked: int = 0
    public_key: bytes = b""
    certificate_serial: str = ""
    previous_certificate_serial: str = ""
    certificate_not_after: float = 0.0
    drain: Drain | None = None


@dataclass(frozen=True, slots=True)
class PipelineVersion:
    """One stored version of a pipeline. Versions count from 1."""

    name: str
    version: int
    text: str
    description: str
    sha256: str
    created_at: float
    created_by: str
    shipped: bool = False
    #: A `Bundle` with the files that travel along and no plan; empty for none.
    files: bytes = b""

    @property
    def removed(self) -> bool:
        """This version took the pipeline out of use: it has no text, and what was stored before stays."""
        return not self.text


@dataclass(frozen=True, slots=True)
class JoinToken:
    """A join token, without its secret. `joined` maps the key (hex SHA-256 of its DER) of each join onto its node."""

    id: str
    secret_sha256: bytes
    expires_at: float
    uses_left: int
    created_by: str
    created_at: float
    name: str = ""
    labels: Mapping[str, str] = field(default_factory=dict)
    replace: str = ""
    joined: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class User:
    """An operator beside those whom the settings name: by a certificate, or by a Unix user's or group's login."""

    name: str
    #: A word of `identity.principals.Role`.
    role: str
    created_at: float
    created_by: str
    unix_user: str = ""
    unix_group: str = ""
    #: Of the certificate in force, and when it ends by the wall clock; empty and 0 for a Unix login.
    certificate_serial: str = ""
    certificate_not_after: float = 0.0
    #: 0 for one that counts.
    revoked_at: float = 0.0
    revoked_by: str = ""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event before it has a cursor, which the store gives it in commit order."""

    type: str
    node_id: str = ""
    run_id: str = ""
    task_id: str = ""
    step_id: str = ""
    fence: int = 0
    actor: str = ""
    data: Mapping[str, str] = field(default_factory=dict)
    task_event: TaskEvent | None = None
    #: 0 means the transaction's time.
    time: float = 0.0


@dataclass(frozen=True, slots=True)
class NewAudit:
    """An audit row before it is numbered and chained."""

    principal: str
    method: str
    target: str
    outcome: str
    request: str
    source: str
    reason: str = ""
