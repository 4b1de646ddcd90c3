"""Hands a bundle's bytes to a node that has a task of it."""

from __future__ import annotations

from collections.abc import Callable

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.store.tx import Tx


def bundle_for(*, node_id: str, task_id: str, digest: str) -> Callable[[Tx], bytes]:
    """The bundle of a task of the node. NOT_FOUND where there is none, PERMISSION_DENIED where it is another's."""

    def op(tx: Tx) -> bytes:
        task = tx.task(task_id)
        run = tx.run(task.run_id) if task is not None else None
        if task is None or run is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no task {task_id[:80]!r}")
        if task.node.id != node_id:
            raise GameNodeError(Code.PERMISSION_DENIED, f"task {task.id} is not a task of this node")
        if run.bundle_digest != digest:
            raise GameNodeError(Code.NOT_FOUND, f"task {task.id} is not of the bundle {digest[:12]}…")
        data = tx.bundle(digest)
        if data is None:
            raise GameNodeError(Code.DATA_LOSS, f"the store has no bundle {digest[:12]}…")
        return data

    return op
