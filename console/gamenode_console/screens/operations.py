"""What the keys and commands do to the fleet: asked for first, as far as it reaches; then done; then told.

Every method returns at once; what takes time goes on beside the screen.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from gamenode_console import texts, words
from gamenode_console.core.logfeeds import Source
from gamenode_console.model import blast, node_columns
from gamenode_console.model.blast import Blast
from gamenode_console.model.labels import label_changes
from gamenode_console.screens.choosing import Choosing
from gamenode_console.screens.confirm import Confirm
from gamenode_console.screens.enrolment import Enrolment
from gamenode_console.screens.logs import Logs
from gamenode_console.screens.node import NodeDetail
from gamenode_console.screens.run import RunDetail
from gamenode_console.screens.trigger import Trigger
from gamenode_console.widgets.prompt import Question
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import RunState
from gamenode_proto.v1 import common_pb2, nodes_pb2, work_pb2
from gamenode_proto.v1.pipeline_management_pb2 import RetryRunRequest

if TYPE_CHECKING:
    from gamenode_console.app import ConsoleApp
    from gamenode_console.gateway import Gateway


#: What can have become of a task.
OUTCOMES = ("succeeded", "failed", "retry")

T = TypeVar("T", nodes_pb2.Node, work_pb2.Run)


class Operations:
    """The operator's hands."""

    def __init__(self, app: ConsoleApp) -> None:
        self._app = app
        #: Names of pipelines, as last heard of.
        self.pipelines: list[str] = []

    def may_change(self) -> None:
        """Raises PERMISSION_DENIED in a console that only looks."""
        if self._app.options.read_only:
            raise GameNodeError(Code.PERMISSION_DENIED, "this console is read-only: start it without --read-only")

    # -- what is meant by a word --------------------------------------------------------------------------------------

    def node(self, word: str) -> nodes_pb2.Node:
        """A node by id, name or id prefix. Raises NOT_FOUND, or INVALID_ARGUMENT with those it could be."""
        nodes = self._app.world.node_list()
        found = [node for node in nodes if word in (node.id, node.name)]
        if not found and len(word) >= 4:
            found = [node for node in nodes if node.id.startswith(word)]
        return _only(found, word, "node", [node.name for node in found])

    def run(self, word: str) -> work_pb2.Run:
        """A run by id or id prefix, of those that are looked at. Raises as `node` does."""
        runs = self._app.world.run_list()
        found = [run for run in runs if run.id == word or (len(word) >= 4 and run.id.startswith(word))]
        return _only(found, word, "run", [run.id for run in found])

    # -- runs ---------------------------------------------------------------------------------------------------------

    def cancel(self, ids: Sequence[str]) -> None:
        """Cancels runs that have not ended."""
        self.may_change()
        runs = [run for run in map(self.run, ids) if not _ended(run)]
        if not runs:
            self._app.tell("nothing to cancel: it has ended")
            return
        self._app.work(partial(self._cancel, runs), group="operation")

    async def _cancel(self, runs: list[work_pb2.Run]) -> None:
        nodes = sum(run.total for run in runs)
        what = f"{runs[0].pipeline} ({runs[0].id})" if len(runs) == 1 else f"{len(runs)} runs"
        reach = blast.level(nodes, len(self._app.world.nodes))
        lines = [f"{run.pipeline} {run.id}: {blast.tally(run.counts)}" for run in runs[: blast.LISTED]]
        lines.append("What runs is ended, with its grace; `finally` steps still run; finished steps stay done.")
        question = Blast(f"Cancel {what}?", "Cancel it", reach, tuple(lines), str(nodes) if reach == 3 else "")
        if not await self.sure(question):
            return
        await self._app.core.ask(lambda gateway: gateway.pipelines.cancel([run.id for run in runs]))
        self._app.tell(f"cancelling {what}")

    def retry(self, word: str) -> None:
        """Runs a run again on the nodes where it did not succeed."""
        self.may_change()
        self._app.work(partial(self._retry, self.run(word)), group="operation")

    async def _retry(self, run: work_pb2.Run) -> None:
        failed = sum(count for state, count in run.counts.items() if state not in ("succeeded", "skipped"))
        question = Blast(
            f"Run {run.pipeline} again where it failed?",
            "Run again",
            blast.level(failed, len(self._app.world.nodes)),
            (f"{failed} of {run.total} nodes; the same version and parameters.",),
        )
        if not await self.sure(question):
            return
        new = await self._app.core.ask(
            lambda gateway: gateway.pipelines.retry(
                RetryRunRequest(run=run.id, failed_only=True, request_id=secrets.token_hex(8))
            )
        )
        self._app.tell(f"started run {new.run.id}")
        self.open_run(new.run.id)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def cordon(self, nodes: Sequence[nodes_pb2.Node], *, back: bool) -> None:
        """Lets nodes have no new tasks, or have them again."""
        self.may_change()
        if nodes:
            self._app.work(partial(self._cordon, nodes, back=back), group="operation")

    async def _cordon(self, nodes: Sequence[nodes_pb2.Node], *, back: bool) -> None:
        verb = "uncordon" if back else "cordon"
        names = [node.name for node in nodes]
        what = texts.one_line(names[0]) if len(names) == 1 else f"{len(names)} nodes"
        meaning = "New tasks may be placed there again." if back else "No new tasks; what runs there goes on."
        question = blast.on_nodes(
            f"{verb.capitalize()} {what}?",
            verb.capitalize(),
            names,
            fleet=len(self._app.world.nodes),
            notes=[meaning],
        )
        if not await self.sure(question):
            return
        state = common_pb2.ADMIN_STATE_ACTIVE if back else common_pb2.ADMIN_STATE_CORDONED
        await self._app.core.ask(
            lambda gateway: gateway.state.set_admin_state([node.id for node in nodes], state=state)
        )
        self._app.tell(f"{verb}ed {what}")

    def cordon_or_back(self, nodes: Sequence[nodes_pb2.Node]) -> None:
        """Cordons nodes; where all of them are cordoned, lets them have work again."""
        self.cordon(nodes, back=bool(nodes) and all(map(node_columns.is_cordoned, nodes)))

    def label(self, nodes: Sequence[nodes_pb2.Node], changes: Sequence[str]) -> None:
        """Sets and removes labels: `K=V` and `K-`."""
        self.may_change()
        given, removed = label_changes(changes)
        self._app.work(partial(self._label, nodes, given, removed), group="operation")

    async def _label(self, nodes: Sequence[nodes_pb2.Node], given: dict[str, str], removed: list[str]) -> None:
        said = ", ".join([*(f"{key}={value}" for key, value in given.items()), *(f"{key} removed" for key in removed)])
        names = [node.name for node in nodes]
        what = texts.one_line(names[0]) if len(names) == 1 else f"{len(names)} nodes"
        if len(nodes) > 1:
            question = blast.on_nodes(
                f"Label {what}: {said}?", "Label", names, fleet=len(self._app.world.nodes), notes=[]
            )
            if not await self.sure(question):
                return
        for node in nodes:
            await self._app.core.ask(partial(_set_labels, node.id, given, removed))
        self._app.tell(f"{what}: {said}")

    def ask_labels(self, nodes: Sequence[nodes_pb2.Node]) -> None:
        """Asks for the labels of nodes."""
        view = self._app.shown_view
        if view is None or not nodes:
            return

        def done(text: str) -> str:
            try:
                self.label(nodes, text.split())
            except GameNodeError as error:
                return error.message
            return ""

        what = texts.one_line(nodes[0].name) if len(nodes) == 1 else f"{len(nodes)} nodes"
        view.ask(Question(f"labels of {what}:", done=done, placeholder="region=eu tier-"))

    def enrol(self) -> None:
        """Makes a token for one node and shows the line that joins it."""
        self.may_change()
        self._app.work(self._enrol, group="operation")

    async def _enrol(self) -> None:
        token = await self._app.core.ask(lambda gateway: gateway.administration.create_join_token(ttl=3600.0, uses=1))
        self._app.push_screen(Enrolment(token, self._app.keeping.copy))

    # -- showing ------------------------------------------------------------------------------------------------------

    def open_node(self, node_id: str) -> None:
        """Opens a node."""
        self._app.show(NodeDetail(node_id))

    def open_run(self, run_id: str, *, why: bool = False) -> None:
        """Opens a run; `why` asks why it does not move."""
        self._app.show(RunDetail(run_id, why=why))

    def open_source(self, source: Source) -> None:
        """Opens a log."""
        self._app.show(Logs(source))

    def open_events(self, words: str) -> None:
        """Shows the events that match."""
        self._app.commanding.open_view("events", words)

    def open_runs(self, words: str) -> None:
        """Shows the runs that match."""
        self._app.commanding.open_view("runs", words)

    def ask_resolve(self, run_id: str, *, node: str = "") -> None:
        """Asks what became of a task that waits for a person."""
        view = self._app.shown_view
        if view is not None:
            view.ask(self._app.commanding.question(" ".join(filter(None, ["resolve", run_id, node])) + " "))

    def resolve(self, word: str, node: str, outcome: str, reason: str) -> None:
        """Says what became of a task that cannot move by itself."""
        self.may_change()
        if outcome not in OUTCOMES:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"{outcome!r}: say {', '.join(OUTCOMES)}")
        if not reason.strip():
            raise GameNodeError(Code.INVALID_ARGUMENT, "say why, at the end of the line")
        self._app.work(partial(self._resolve, self.run(word), node, outcome, reason), group="operation")

    async def _resolve(self, run: work_pb2.Run, node: str, outcome: str, reason: str) -> None:
        question = Blast(f"Count {node} of {run.pipeline} ({run.id}) as {outcome}?", "Decide", 1, (reason,))
        if not await self.sure(question):
            return
        await self._app.core.ask(
            lambda gateway: gateway.pipelines.resolve(run.id, node=node, outcome=outcome, reason=reason)
        )
        self._app.tell(f"{texts.one_line(node)}: {outcome}")

    def choose_log(self, node: nodes_pb2.Node) -> None:
        """Asks which log of a node: what it last worked on, or one of its containers; where there is one, opens it."""
        self._app.work(partial(self._choose_log, node), group="logs")

    async def _choose_log(self, node: nodes_pb2.Node) -> None:
        found: dict[str, tuple[str, Source]] = {}
        if run := self._app.world.last_run_on(node.id):
            found["run"] = (f"the last run here: {run}", Source(run=run, node=node.name))
        for each in await self._app.core.ask(lambda gateway: gateway.containers.list(node=node.id, all=True)):
            container = each.container
            said = f"container {container.name} ({container.state})"
            found[f"c-{container.id}"] = (said, Source(node=node.name, container=container.name))
        if not found:
            self._app.tell(f"{texts.one_line(node.name)} has no log: nothing ran there, and it has no container")
            return
        choices = [(id, text) for id, (text, _) in found.items()]
        chosen = choices[0][0]
        if len(choices) > 1:
            chosen = await self._app.push_screen_wait(Choosing(f"Logs of {node.name}", choices))
        if chosen:
            self.open_source(found[chosen][1])

    def open_log(self, word: str, *, node: str = "", step: str = "") -> None:
        """Opens the log of a run, or of NODE/CONTAINER."""
        where, slash, container = word.partition("/")
        if slash:
            self.open_source(Source(node=self.node(where).name, container=container))
        else:
            self.open_source(Source(run=word, node=node, step=step))

    def trigger(self, pipeline: str = "", *, nodes: Sequence[str] = ()) -> None:
        """Opens the form that starts a pipeline."""
        self.may_change()
        self._app.push_screen(Trigger(pipeline, list(nodes)))

    # -- asking -------------------------------------------------------------------------------------------------------

    async def sure(self, question: Blast) -> bool:
        """Asks, and waits for the answer."""
        answer: bool = await self._app.push_screen_wait(Confirm(question))
        return answer


async def _set_labels(node_id: str, given: dict[str, str], removed: list[str], gateway: Gateway) -> None:
    await gateway.state.label_node(node_id, set=given, remove=removed)


def _only(found: list[T], word: str, what: str, names: list[str]) -> T:
    if len(found) == 1:
        return found[0]
    if found:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{word!r} could be {', '.join(names[:5])}: say more of it")
    raise GameNodeError(Code.NOT_FOUND, f"there is no {what} {word!r} here")


def _ended(run: work_pb2.Run) -> bool:
    return RunState(words.run_state(run.state)).ended
