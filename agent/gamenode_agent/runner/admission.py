"""Whether this agent takes an assignment: who signed it, for whom, until when, and whether the host can carry it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from gamenode_agent.host import free_bytes
from gamenode_agent.steps import is_inline, unknown_kinds
from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.placement import ENGINE
from gamenode_pipelines.plan import Plan, surely_run
from gamenode_proto import tickets
from gamenode_proto.v1.agent_link_pb2 import Assign


@dataclass(frozen=True, slots=True)
class Admission:
    """The checks of one node."""

    node_id: str
    cluster_id: str
    ticket_key: Ed25519PublicKey
    directory: Path
    #: Bytes of free disk below which no new task starts.
    disk_reserve: int
    #: What containers can have here, in the words that kinds ask for; None while that cannot be known.
    capabilities: Callable[[], frozenset[str] | None]

    def digest_of(self, assign: Assign, *, server_now: float) -> str:
        """The digest of the bundle that the assignment's ticket allows.

        Raises GameNodeError: INTEGRITY_FAILED for a ticket that is not the cluster's or not for this, TIMEOUT for one
        that has run out by the server's clock.
        """
        ticket = tickets.verify(self.ticket_key, assign.ticket)
        said = (ticket.cluster_id, ticket.node_id, ticket.task_id, ticket.fence)
        wanted = (self.cluster_id, self.node_id, assign.task.id, assign.task.fence)
        if said != wanted:
            what = ("cluster", "node", "task", "fence")
            wrong = [name for name, is_, must in zip(what, said, wanted, strict=True) if is_ != must]
            raise GameNodeError(
                Code.INTEGRITY_FAILED, f"the assignment's ticket is for another {' and another '.join(wrong)}"
            )
        if ticket.not_after and server_now > ticket.not_after:
            raise GameNodeError(
                Code.TIMEOUT,
                f"the assignment came {server_now - ticket.not_after:.0f} s after its ticket had run out",
                details={"not_after": f"{ticket.not_after:.3f}"},
            )
        return ticket.bundle_digest

    def refusal(self, plan: Plan) -> Error | None:
        """Why this host cannot take the plan now; None where it can."""
        unknown = unknown_kinds(plan)
        if unknown is not None:
            return unknown
        lacking = lacking_here(plan, self.capabilities())
        if lacking is not None:
            return lacking
        free = free_bytes(self.directory)
        if free < self.disk_reserve:
            return Error(
                Code.INSUFFICIENT_RESOURCES,
                f"{free} bytes of disk are free under {self.directory}, {self.disk_reserve} must be",
                {"needed": str(self.disk_reserve), "free": str(free), "resource": "disk"},
            )
        return None


def lacking_here(plan: Plan, capabilities: frozenset[str] | None) -> Error | None:
    """Why the steps of a plan cannot run here, where a node must be able to do something that this one cannot.

    Looks at what runs in any case: a step that may be skipped is looked at when it starts.
    """
    steps = [each for each in surely_run(plan) if is_inline(each.kind)]
    if capabilities is None or not steps:
        return None
    from gamenode_pipelines.kinds import KINDS  # with the template engine

    for step in steps:
        missing = sorted(KINDS[step.kind].capabilities(step.with_) - capabilities) if step.kind in KINDS else []
        if ENGINE in missing:
            what = f"step {step.id!r} needs a container engine, and this agent was told to do without"
            return Error(Code.ENGINE_UNAVAILABLE, what, {"step": step.id, "capability": ENGINE})
        if missing:
            what = f"step {step.id!r} needs what this node cannot do: {', '.join(missing)}"
            return Error(Code.INSUFFICIENT_RESOURCES, what, {"step": step.id, "capability": missing[0]})
    return None
