"""The memory of the store against a model that is too simple to be wrong, with operations that fail and restarts."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from gamenode_pipelines.states import RunState, TaskState
from gamenode_server.store import cache as cache_module
from gamenode_server.store.cache import Bundles, HotCache
from support.stores import OpenStore, a_node, a_run, a_task, opened

RUNS = [f"r{n}" for n in range(4)]
NODES = [f"n{n}" for n in range(3)]


class Failed(Exception):
    """What a failing operation raises."""


@st.composite
def _puts(draw: st.DrawFn) -> tuple[str, Any]:
    kind = draw(st.sampled_from(["run", "task", "node", "remove"]))
    if kind == "run":
        state = draw(st.sampled_from([RunState.RUNNING, RunState.PAUSED, RunState.SUCCEEDED]))
        run_id = draw(st.sampled_from(RUNS))
        return kind, a_run(run_id, state=state, note=draw(st.text("ab", max_size=2)), created_at=float(run_id[1:]))
    if kind == "task":
        run_id, position = draw(st.sampled_from(RUNS)), draw(st.integers(0, 3))
        state = draw(st.sampled_from([TaskState.PENDING, TaskState.RUNNING, TaskState.FAILED]))
        task_id = f"{run_id}t{position}"
        node = NODES[position % len(NODES)]
        return kind, a_task(task_id, run_id, node, position=position, state=state, created_at=float(position))
    node_id = draw(st.sampled_from(NODES))
    return kind, a_node(node_id, session_epoch=draw(st.integers(0, 3)))


_operations = st.lists(st.tuples(st.lists(_puts(), max_size=6), st.booleans()), max_size=8)
#: Batches of operations; each is followed by a restart or not.
_histories = st.lists(st.tuples(_operations, st.booleans()), max_size=4)


class _Model:
    """Three dictionaries."""

    def __init__(self) -> None:
        self.runs: dict[str, Any] = {}
        self.tasks: dict[str, Any] = {}
        self.nodes: dict[str, Any] = {}

    def put(self, kind: str, record: Any) -> None:
        match kind:
            case "run":
                self.runs[record.id] = record
            case "task":
                self.tasks[record.id] = record
            case "node":
                self.nodes[record.id] = record
            case _:
                self.nodes.pop(record.id, None)

    def lists(self) -> Any:
        tasks = sorted(self.tasks.values(), key=lambda task: task.position)
        live = [task for task in tasks if not task.state.ended]
        return (
            sorted(self.nodes.values(), key=lambda node: node.name),
            [self.runs[r] for r in RUNS if r in self.runs and not self.runs[r].state.ended],
            {run_id: [task for task in tasks if task.run_id == run_id] for run_id in RUNS},
            {run_id: [task for task in live if task.run_id == run_id] for run_id in RUNS},
            {node_id: [task for task in live if task.node.id == node_id] for node_id in NODES},
            [self.runs.get(run_id) for run_id in RUNS],
        )


def _lists(tx: Any) -> Any:
    by_created = lambda tasks: sorted(tasks, key=lambda task: (task.position, task.id))  # noqa: E731
    runs = [tx.run(run_id) for run_id in RUNS]  # brings back what has left memory
    return (
        list(tx.nodes()),
        list(tx.live_runs()),
        {run_id: list(tx.tasks_of(run_id)) for run_id in RUNS},
        {run_id: list(tx.live_tasks_of(run_id)) for run_id in RUNS},
        {node_id: by_created(tx.live_tasks_on(node_id)) for node_id in NODES},
        runs,
    )


def _expected(model: _Model) -> Any:
    lists = list(model.lists())
    lists[4] = {node: sorted(tasks, key=lambda task: (task.position, task.id)) for node, tasks in lists[4].items()}
    return tuple(lists)


async def _batch(there: OpenStore, model: _Model, operations: list[tuple[list[tuple[str, Any]], bool]]) -> None:
    def operation(puts: list[tuple[str, Any]], *, fails: bool) -> Any:
        def run(tx: Any) -> Any:
            for kind, record in puts:
                match kind:
                    case "run":
                        tx.run(record.id)  # as every operation does: it reads what it changes
                        tx.put_run(record)
                    case "task":
                        if tx.run(record.run_id) is None:
                            tx.put_run(a_run(record.run_id, created_at=float(record.run_id[1:])))
                        tx.put_task(record)
                    case "node":
                        tx.put_node(record)
                    case _:
                        tx.remove_node(record.id)
            if fails:
                raise Failed
            return _lists(tx)

        return run

    async with asyncio.TaskGroup() as group:
        waiting = []
        for puts, fails in operations:
            applied = there.store.apply(operation(puts, fails=fails))
            waiting.append(group.create_task(_outcome(applied)))
    for (puts, fails), task in zip(operations, waiting, strict=True):
        if fails:
            assert isinstance(task.result(), Failed)
            continue
        for kind, record in puts:
            if kind == "task" and record.run_id not in model.runs:
                model.put("run", a_run(record.run_id, created_at=float(record.run_id[1:])))
            model.put(kind, record)
        assert task.result() == _expected(model)


async def _outcome(applied: Any) -> Any:
    try:
        return await applied
    except Failed as error:
        return error


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(history=_histories, ended_limit=st.sampled_from([1, 3, 10_000]))
def test_memory_is_what_was_stored(history: Any, ended_limit: int) -> None:
    async def main() -> None:
        with TemporaryDirectory() as folder:
            model = _Model()
            for operations, _ in history:
                async with opened(Path(folder) / "store.db") as there:
                    assert await there.store.apply(_lists) == _expected(model)
                    await _batch(there, model, operations)
                    _same_memory(there)

    limit, cache_module.ENDED_TASKS = cache_module.ENDED_TASKS, ended_limit
    try:
        asyncio.run(main())
    finally:
        cache_module.ENDED_TASKS = limit


def _same_memory(there: OpenStore) -> None:
    writer = there.store._backend.memory.cache
    view = there.store.view
    assert {run.id: (run, tasks) for run, tasks in writer.entries()} == {
        run.id: (run, tasks) for run, tasks in view.entries()
    }
    assert writer.nodes() == view.nodes()
    assert writer.live_runs() == view.live_runs()


def test_ended_runs_leave_in_the_order_they_were_used(monkeypatch: Any) -> None:
    monkeypatch.setattr(cache_module, "ENDED_TASKS", 6)
    cache = HotCache()
    for number in range(5):
        cache.set_run(a_run(f"r{number}", state=RunState.SUCCEEDED))
        cache.set_task(a_task(f"t{number}", f"r{number}", state=TaskState.SUCCEEDED))
        cache.settle([f"r{number}"])
    assert [run.id for run, _ in cache.entries()] == ["r2", "r3", "r4"]
    cache.settle(["r2"])
    cache.set_run(a_run("r5", state=RunState.SUCCEEDED))
    cache.settle(["r5"])
    assert [run.id for run, _ in cache.entries()] == ["r2", "r4", "r5"]
    assert cache.task("t3") is None


def test_a_big_ended_run_stays_until_the_next(monkeypatch: Any) -> None:
    monkeypatch.setattr(cache_module, "ENDED_TASKS", 3)
    cache = HotCache()
    cache.set_run(a_run("big", state=RunState.FAILED))
    for number in range(10):
        cache.set_task(a_task(f"t{number}", "big", state=TaskState.FAILED, position=number))
    cache.settle(["big"])
    assert len(cache.tasks_of("big")) == 10
    cache.set_run(a_run("next", state=RunState.FAILED))
    cache.settle(["next"])
    assert not cache.has_run("big")


def test_lists_belong_to_the_caller() -> None:
    cache = HotCache()
    cache.set_run(a_run("r1"))
    cache.set_task(a_task("t1", "r1"))
    before = cache.tasks_of("r1")
    cache.set_task(replace(before[0], fence=9))
    assert [task.fence for task in before] == [1]
    cache.tasks_of("r1").clear()
    assert len(cache.tasks_of("r1")) == 1


def test_bundles_are_bounded_by_bytes(monkeypatch: Any) -> None:
    monkeypatch.setattr(cache_module, "BUNDLE_BYTES", 10)
    bundles = Bundles()
    bundles.add("a", (b"xxxxx", 0.0))
    bundles.add("b", (b"xxxxx", 0.0))
    assert bundles.get("a") is not None
    bundles.add("c", (b"x", 0.0))
    assert bundles.get("b") is None
    bundles.drop("a")
    bundles.add("d", (b"x" * 100, 0.0))  # too big alone, and still the one just used
    assert (bundles.get("c"), bundles.get("d")) == (None, (b"x" * 100, 0.0))
