"""What the command line says of runs that are under way, and of nodes that are to be emptied.

Every method returns at once; what takes time goes on beside the screen.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Coroutine
from functools import partial
from typing import TYPE_CHECKING, Any

from gamenode_console import texts
from gamenode_console.model import blast
from gamenode_console.model.blast import Blast
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.quantities import parse_duration
from gamenode_proto.v1 import common_pb2, nodes_pb2, work_pb2

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp

#: Stands for the approval before a run, where a step could be named.
BEFORE = "run"


class Steering:
    """The operator's word on what goes on."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app

    def pause(self, word: str, reason: str) -> None:
        """Holds a run back: what runs goes on, nothing else of it begins."""
        self._do(partial(self._pause, self._app.operations.run(word), True, reason))

    def resume(self, word: str) -> None:
        """Lets a run that was paused go on."""
        self._do(partial(self._pause, self._app.operations.run(word), False, ""))

    async def _pause(self, run: work_pb2.Run, paused: bool, reason: str) -> None:
        await self._app.core.ask(lambda gateway: gateway.pipelines.pause(run.id, paused=paused, reason=reason))
        self._app.tell(f"{run.pipeline} {run.id}: {'paused' if paused else 'goes on'}")

    def decide(self, word: str, step: str, node: str, *, approved: bool, reason: str = "") -> None:
        """Approves or rejects a run (`BEFORE`), or a step of it that waits."""
        run = self._app.operations.run(word)
        if not approved and not reason.strip():
            raise GameNodeError(Code.INVALID_ARGUMENT, f"say why, at the end: reject {run.id} {step} REASON")
        self._do(partial(self._decide, run, "" if step == BEFORE else step, node, approved, reason))

    async def _decide(self, run: work_pb2.Run, step: str, node: str, approved: bool, reason: str) -> None:
        verb = "Approve" if approved else "Reject"
        what = f"step {step} of {run.pipeline}" if step else run.pipeline
        asked = run.approval.message if not step else ""
        lines = [line for line in (asked, f"on {node}" if node else f"{run.total} nodes", reason) if line]
        reach = blast.level(1 if node else run.total, len(self._app.world.nodes))
        question = Blast(f"{verb} {what} ({run.id})?", verb, reach, tuple(map(texts.one_line, lines)))
        if not await self._app.operations.sure(question):
            return
        await self._app.core.ask(
            lambda gateway: gateway.pipelines.decide(run.id, approved=approved, step=step, node=node, reason=reason)
        )
        self._app.tell(f"{what} {run.id}: {'approved' if approved else 'rejected'}")

    def ask_drain(self, node: nodes_pb2.Node) -> None:
        """Asks until when a node is emptied."""
        view = self._app.shown_view
        if view is not None:
            view.ask(self._app.commanding.question(f"drain {shlex.quote(node.name)} "))

    def drain(self, word: str, deadline: str) -> None:
        """Empties a node; what is left after the deadline is cancelled."""
        try:
            seconds = float(parse_duration(deadline)) if deadline else 0.0
        except ValueError as error:
            raise GameNodeError(Code.INVALID_ARGUMENT, str(error)) from error
        self._do(partial(self._drain, self._app.operations.node(word), seconds, deadline))

    async def _drain(self, node: nodes_pb2.Node, seconds: float, deadline: str) -> None:
        meaning = f"What is left after {deadline} is cancelled." if seconds else "What runs there goes on."
        question = blast.on_nodes(
            f"Drain {texts.one_line(node.name)}?",
            "Drain",
            [node.name],
            fleet=len(self._app.world.nodes),
            notes=["No new tasks; containers stay.", meaning],
        )
        if not await self._app.operations.sure(question):
            return
        await self._app.core.ask(
            lambda gateway: gateway.state.set_admin_state(
                [node.id], state=common_pb2.ADMIN_STATE_DRAINING, deadline=seconds
            )
        )
        self._app.tell(f"draining {texts.one_line(node.name)}")

    def _do(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._app.operations.may_change()
        self._app.work(work, group="operation")
