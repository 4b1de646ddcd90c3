"""What is kept in memory: every node, every live run with all of its tasks, a few ended ones, the newest pipelines.

A plain index over immutable records without a clock or a database; used by one thread. The writer has one that its
operations change in place (`transaction` puts it back where they fail), the event loop another that follows commits.

A run and its tasks are one entry, loaded and dropped together: an entry that is here is whole.
"""

from __future__ import annotations

from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Container, Iterable, Sequence
from operator import attrgetter

from gamenode_pipelines.runs import Run
from gamenode_pipelines.tasks import Task
from gamenode_server.records import Node, PipelineVersion, User

#: Ended runs stay until there are more than so many tasks in them, all together.
ENDED_TASKS = 10_000
BUNDLE_BYTES = 64 << 20

_position = attrgetter("position")
_created_at = attrgetter("created_at")
_name = attrgetter("name")


class _Entry:
    __slots__ = ("live", "run", "tasks")

    def __init__(self) -> None:
        self.run: Run | None = None
        #: By position.
        self.tasks: list[Task] = []
        #: Those that have not ended.
        self.live: dict[str, Task] = {}

    @property
    def hot(self) -> bool:
        return (self.run is not None and not self.run.state.ended) or bool(self.live)


class HotCache:
    """Records by id, with the indexes that operations ask for. Nothing returned is changed by later writes."""

    def __init__(self) -> None:
        self.meta: dict[str, str] = {}
        self.pipelines: dict[str, PipelineVersion] = {}
        self.users: dict[str, User] = {}
        self._nodes: dict[str, Node] = {}
        self._node_ids: dict[str, str] = {}
        self._sorted: list[Node] | None = []
        self._tasks: dict[str, Task] = {}
        self._entries: dict[str, _Entry] = {}
        self._live_runs: dict[str, Run] = {}
        self._live_on: dict[str, dict[str, Task]] = {}
        self._live_in: dict[str, dict[str, Task]] = {}
        self._ended: OrderedDict[str, int] = OrderedDict()
        self._ended_tasks = 0

    # -- runs ---------------------------------------------------------------------------------------------------------

    def has_run(self, run_id: str) -> bool:
        """Whether the run's entry is here."""
        return run_id in self._entries

    def run(self, run_id: str) -> Run | None:
        """A run, if its entry is here."""
        entry = self._entries.get(run_id)
        return entry.run if entry is not None else None

    def set_run(self, run: Run) -> None:
        """Adds or replaces a run."""
        entry = self._entries.get(run.id)
        if entry is None:
            entry = self._entries[run.id] = _Entry()
        entry.run = run
        if run.state.ended:
            self._live_runs.pop(run.id, None)
        else:
            self._live_runs[run.id] = run

    def drop_run(self, run_id: str) -> None:
        """Takes a run out, but not its tasks."""
        self._live_runs.pop(run_id, None)
        entry = self._entries.get(run_id)
        if entry is not None:
            entry.run = None
            self._drop_empty(run_id, entry)

    def entries(self) -> list[tuple[Run, list[Task]]]:
        """Every run that is here, with its tasks."""
        return [(entry.run, entry.tasks.copy()) for entry in self._entries.values() if entry.run is not None]

    def bundles_in_use(self, *, but: Container[str]) -> set[str]:
        """The digests of the bundles of the runs that are here, but for some."""
        runs = [entry.run for entry in self._entries.values() if entry.run is not None]
        return {run.bundle_digest for run in runs if run.id not in but}

    def live_runs(self) -> list[Run]:
        """Runs that have not ended, oldest first."""
        return sorted(self._live_runs.values(), key=_created_at)

    # -- tasks --------------------------------------------------------------------------------------------------------

    def task(self, task_id: str) -> Task | None:
        """A task, if its run's entry is here."""
        return self._tasks.get(task_id)

    def set_task(self, task: Task) -> None:
        """Adds or replaces a task."""
        entry = self._entries.get(task.run_id)
        if entry is None:
            entry = self._entries[task.run_id] = _Entry()
        old = self._tasks.get(task.id)
        self._tasks[task.id] = task
        if old is not None:
            entry.tasks[_index(entry.tasks, old)] = task
            if old.node.id != task.node.id:
                self._off_node(old)
        elif not entry.tasks or entry.tasks[-1].position < task.position:
            entry.tasks.append(task)
        else:
            entry.tasks.insert(bisect_right(entry.tasks, task.position, key=_position), task)
        if task.state.ended:
            entry.live.pop(task.id, None)
            self._off_node(task)
            self._off_group(task)
        else:
            if task.group:
                self._live_in.setdefault(task.group, {})[task.id] = task
            entry.live[task.id] = task
            self._live_on.setdefault(task.node.id, {})[task.id] = task

    def drop_task(self, task_id: str) -> None:
        """Takes a task out."""
        task = self._tasks.pop(task_id, None)
        if task is None:
            return
        entry = self._entries[task.run_id]
        del entry.tasks[_index(entry.tasks, task)]
        entry.live.pop(task_id, None)
        self._off_node(task)
        self._off_group(task)
        self._drop_empty(task.run_id, entry)

    def tasks_of(self, run_id: str) -> list[Task]:
        """A run's tasks by position; a list of the caller's own."""
        entry = self._entries.get(run_id)
        return entry.tasks.copy() if entry is not None else []

    def live_tasks_of(self, run_id: str) -> list[Task]:
        """A run's tasks that have not ended, by position."""
        entry = self._entries.get(run_id)
        return sorted(entry.live.values(), key=_position) if entry is not None else []

    def live_tasks_on(self, node_id: str) -> list[Task]:
        """A node's tasks that have not ended, oldest first."""
        return sorted(self._live_on.get(node_id, {}).values(), key=_created_at)

    def live_tasks_in(self, group: str) -> list[Task]:
        """A group's tasks that have not ended, oldest first."""
        return sorted(self._live_in.get(group, {}).values(), key=_created_at)

    def _off_group(self, task: Task) -> None:
        there = self._live_in.get(task.group)
        if there is not None and there.pop(task.id, None) is not None and not there:
            del self._live_in[task.group]

    def _off_node(self, task: Task) -> None:
        there = self._live_on.get(task.node.id)
        if there is not None and there.pop(task.id, None) is not None and not there:
            del self._live_on[task.node.id]

    def _drop_empty(self, run_id: str, entry: _Entry) -> None:
        if entry.run is None and not entry.tasks:
            del self._entries[run_id]

    # -- what may leave -----------------------------------------------------------------------------------------------

    def settle(self, run_ids: Iterable[str]) -> None:
        """After a commit: notes which of these runs have ended, and drops the ended ones that nobody used for longest.

        The one used last always stays, however many tasks it has.
        """
        for run_id in run_ids:
            entry = self._entries.get(run_id)
            self._ended_tasks -= self._ended.pop(run_id, 0)
            if entry is not None and not entry.hot:
                weight = 1 + len(entry.tasks)
                self._ended[run_id] = weight
                self._ended_tasks += weight
        while self._ended_tasks > ENDED_TASKS and len(self._ended) > 1:
            run_id, _ = next(iter(self._ended.items()))
            self.forget_run(run_id)

    def forget_run(self, run_id: str) -> None:
        """Drops a run's whole entry."""
        self._ended_tasks -= self._ended.pop(run_id, 0)
        entry = self._entries.pop(run_id, None)
        if entry is None:
            return
        self._live_runs.pop(run_id, None)
        for task in entry.tasks:
            self._tasks.pop(task.id, None)
            self._off_node(task)
            self._off_group(task)

    # -- nodes --------------------------------------------------------------------------------------------------------

    def node(self, node_id: str) -> Node | None:
        """A node by its id."""
        return self._nodes.get(node_id)

    def node_named(self, name: str) -> Node | None:
        """A node by its name."""
        node_id = self._node_ids.get(name)
        return self._nodes[node_id] if node_id is not None else None

    def nodes(self) -> list[Node]:
        """Every node by name; a list of the caller's own."""
        if self._sorted is None:
            self._sorted = sorted(self._nodes.values(), key=_name)
        return self._sorted.copy()

    def set_node(self, node: Node) -> None:
        """Adds or replaces a node. Its name must be free."""
        old = self._nodes.get(node.id)
        self._nodes[node.id] = node
        if old is None or old.name != node.name:
            if old is not None:
                del self._node_ids[old.name]
            self._node_ids[node.name] = node.id
            self._sorted = None
        elif self._sorted is not None:
            self._sorted[bisect_right(self._sorted, node.name, key=_name) - 1] = node

    def drop_node(self, node_id: str) -> None:
        """Takes a node out."""
        node = self._nodes.pop(node_id, None)
        if node is not None:
            del self._node_ids[node.name]
            self._sorted = None


class Bundles:
    """The bundles used last, by digest, with the time of their use as stored; up to `BUNDLE_BYTES`."""

    def __init__(self) -> None:
        self._bundles: OrderedDict[str, tuple[bytes, float]] = OrderedDict()
        self._bytes = 0

    def get(self, digest: str) -> tuple[bytes, float] | None:
        """A bundle, if it is here."""
        bundle = self._bundles.get(digest)
        if bundle is not None:
            self._bundles.move_to_end(digest)
        return bundle

    def add(self, digest: str, bundle: tuple[bytes, float]) -> None:
        """Keeps one, and drops what was not used for longest."""
        self.drop(digest)
        self._bundles[digest] = bundle
        self._bytes += len(bundle[0])
        while self._bytes > BUNDLE_BYTES and len(self._bundles) > 1:
            self._bytes -= len(self._bundles.popitem(last=False)[1][0])

    def drop(self, digest: str) -> None:
        """Forgets one."""
        bundle = self._bundles.pop(digest, None)
        if bundle is not None:
            self._bytes -= len(bundle[0])


def _index(tasks: Sequence[Task], task: Task) -> int:
    at = task.position
    if at < len(tasks) and tasks[at].id == task.id:
        return at
    for at, other in enumerate(tasks):
        if other.id == task.id:
            return at
    raise KeyError(task.id)
