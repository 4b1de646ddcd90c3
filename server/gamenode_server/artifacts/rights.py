"""What a step may store and have: only what its plan says, while its task is the calling node's."""

from __future__ import annotations

from collections.abc import Callable, Collection

from gamenode_pipelines import foreseen
from gamenode_pipelines.artifacts import check_reference
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2
from gamenode_server.controller.plans import Plans
from gamenode_server.store.tx import Tx

#: The kinds that store, and the kinds that fetch, with the field of theirs that says what.
STORES = {"artifact.put": "name"}
#: Characters of a name, or of a digest and what is before it.
LONGEST = 128
FETCHES = {"container.load": "from", "file.fetch": "from"}


def run_of(
    plans: Plans, ref: common_pb2.AttemptRef, *, node_id: str, kinds: dict[str, str], said: str
) -> Callable[[Tx], str]:
    """The operation that finds the run of a step that asks for the artifact `said`, by kind one of `kinds`.

    Raises NOT_FOUND, PERMISSION_DENIED; SUPERSEDED where the task has been given away again.
    """

    def op(tx: Tx) -> str:
        task = tx.task(ref.task_id)
        run = tx.run(task.run_id) if task is not None else None
        if task is None or run is None:
            raise GameNodeError(Code.NOT_FOUND, f"there is no task {ref.task_id[:80]!r}")
        if task.node.id != node_id:
            raise GameNodeError(Code.PERMISSION_DENIED, f"task {task.id} is not a task of this node")
        if task.fence != ref.fence:
            raise GameNodeError(Code.SUPERSEDED, f"task {task.id} was assigned again since")
        if task.state.ended:
            raise GameNodeError(Code.STATE_CONFLICT, f"task {task.id} has ended")
        plan = plans.plan(run.bundle_digest, tx.bundle)
        steps = (step for step in (*plan.steps, *plan.finally_) if step.id == ref.step_id)
        if (step := next(steps, None)) is None or step.kind not in kinds:
            raise _not_said(ref, kinds)
        written = step.with_.get(kinds[step.kind], "")
        if not isinstance(written, str) or len(said) > LONGEST:
            raise _not_said(ref, kinds)
        # What earlier steps have a say in is known only on the node.
        meant = foreseen.may_become(_plain(written), step, plan, task.node, run.id)
        if not any(meant(each) for each in (said, _plain(said), f"sha256:{said}")):
            raise _not_said(ref, kinds)
        return run.id

    return op


def _not_said(ref: common_pb2.AttemptRef, kinds: Collection[str]) -> GameNodeError:
    return GameNodeError(
        Code.PERMISSION_DENIED, f"step {ref.step_id[:80]!r} is no step of {' or '.join(kinds)} with this artifact"
    )


def _plain(said: str) -> str:
    try:
        return check_reference(said)
    except ValueError:
        return said
