"""The seam between what the server decides and where it is kept: what an operation may do inside a transaction.

An operation is a plain function `op(tx)`. It runs on the writer thread, reads through `tx`, decides with the pure core,
and writes through `tx`. It must not wait for anything or touch anything else, because it can be run again. What it
wants done in the world it hands to `tx.effect`; effects are carried out in order after the commit, never without one.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_server.records import JoinToken, NewAudit, NewEvent, Node, PipelineVersion, User


class Tx(Protocol):
    """One operation's view of the store: everything committed, plus the batch's and its own writes."""

    #: The time of this operation, Unix seconds; never goes backwards, also over restarts.
    now: float

    def meta(self, key: str) -> str:
        """A setting of the store; empty where there is none."""
        ...

    def put_meta(self, key: str, value: str) -> None:
        """Sets one."""
        ...

    def run(self, run_id: str) -> Run | None:
        """A run by its whole id."""
        ...

    def put_run(self, run: Run) -> None:
        """Stores a run, new or changed."""
        ...

    def live_runs(self) -> Sequence[Run]:
        """Every run that has not ended, oldest first. From memory."""
        ...

    def task(self, task_id: str) -> Task | None:
        """A task by its whole id."""
        ...

    def put_task(self, task: Task) -> None:
        """Stores a task, new or changed."""
        ...

    def tasks_of(self, run_id: str) -> Sequence[Task]:
        """A run's tasks, by position."""
        ...

    def live_tasks_of(self, run_id: str) -> Sequence[Task]:
        """The run's tasks that have not ended, by position. From memory."""
        ...

    def live_tasks_on(self, node_id: str) -> Sequence[Task]:
        """The node's tasks that have not ended, oldest first. From memory."""
        ...

    def live_tasks_in(self, group: str) -> Sequence[Task]:
        """The tasks of a group that have not ended, oldest first. From memory."""
        ...

    def node(self, node_id: str) -> Node | None:
        """A node by its whole id."""
        ...

    def node_named(self, name: str) -> Node | None:
        """A node by its name."""
        ...

    def nodes(self) -> Sequence[Node]:
        """Every node, by name. From memory."""
        ...

    def put_node(self, node: Node) -> None:
        """Stores a node, new or changed."""
        ...

    def remove_node(self, node_id: str) -> None:
        """Forgets a node."""
        ...

    def pipeline(self, name: str, version: int = 0) -> PipelineVersion | None:
        """A version of a pipeline; 0 means the newest."""
        ...

    def put_pipeline(self, pipeline: PipelineVersion) -> None:
        """Stores a new version."""
        ...

    def bundle(self, digest: str) -> bytes | None:
        """The exact bytes of a bundle. From memory while a live run uses it."""
        ...

    def put_bundle(self, digest: str, data: bytes) -> None:
        """Stores a bundle; storing it again changes nothing."""
        ...

    def token(self, token_id: str) -> JoinToken | None:
        """A join token."""
        ...

    def put_token(self, token: JoinToken) -> None:
        """Stores a token, new or changed."""
        ...

    def user(self, name: str) -> User | None:
        """A user, also one that was revoked. From memory."""
        ...

    def put_user(self, user: User) -> None:
        """Stores a user, new or changed."""
        ...

    def answer(self, principal: str, request_id: str) -> tuple[str, str] | None:
        """What an earlier request of this id asked for and made: (hex SHA-256 of the request, id of what it made)."""
        ...

    def put_answer(self, principal: str, request_id: str, request_sha256: str, made: str) -> None:
        """Remembers a request's answer for a day."""
        ...

    def emit(self, events: Iterable[NewEvent]) -> None:
        """Appends events; they get their cursors in commit order and reach the hub after the commit."""
        ...

    def audit(self, record: NewAudit) -> None:
        """Appends to the audit chain. If the row cannot be written, the operation does not happen."""
        ...

    def effect(self, effect: object) -> None:
        """Hands something to carry out after the commit."""
        ...
