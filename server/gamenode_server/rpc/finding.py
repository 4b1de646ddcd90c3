"""What a request names: runs and tasks by id, prefix or name, from memory where they are there, else from the store."""

from __future__ import annotations

from collections.abc import Sequence

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.runs import Run
from gamenode_pipelines.task_state import Task
from gamenode_proto.codec.work import run_from_proto, task_from_proto
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_server.core import Core
from gamenode_server.records import Node
from gamenode_server.rpc import documents, log_documents
from gamenode_server.store import queries
from gamenode_server.store.names import missing, resolve_node


async def run_id(core: Core, text: str) -> str:
    """The id of the run that `text` stands for; NOT_FOUND, or INVALID_ARGUMENT where it could be several."""
    if core.store.view.run(text) is not None:
        return text
    return await core.store.read(queries.resolve_run, text)


def node(core: Core, text: str) -> Node:
    """The node that `text` stands for; raises as `run_id` does."""
    view = core.store.view
    return view.node(text) or view.node_named(text) or resolve_node(view.nodes(), text)


async def run_and_tasks(core: Core, id: str) -> tuple[Run, Sequence[Task]]:
    """A run with its tasks by position; NOT_FOUND where it is not kept any more."""
    view = core.store.view
    run = view.run(id)
    if run is not None:
        return run, view.tasks_of(id)
    found = await core.store.read(queries.run_document, id)
    if found is None:
        raise missing("run", id)
    return run_from_proto(found.run), [task_from_proto(task) for task in found.tasks]


async def run_document(core: Core, id: str) -> pb.RunDocument:
    """A run with its tasks and logs."""
    run, tasks = await run_and_tasks(core, id)
    return documents.run_document(run, tasks, await log_documents.of_tasks(core.logs, id, tasks))


def task_on(tasks: Sequence[Task], text: str) -> Task:
    """The one task on the node that `text` stands for; the node itself may be gone by now."""
    known = [Node(id=task.node.id, name=task.node.name) for task in tasks]
    wanted = resolve_node(known, text).id
    for task in tasks:
        if task.node.id == wanted:
            return task
    raise GameNodeError(Code.NOT_FOUND, f"there is no task on node {text!r}")
