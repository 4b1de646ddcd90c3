"""What is known of nodes, runs and pipelines as messages: durable records joined with what only the sessions know."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from gamenode_pipelines.errors import Problem
from gamenode_pipelines.parameters import Parameter
from gamenode_pipelines.plan import Scalar
from gamenode_pipelines.runs import Run
from gamenode_pipelines.task_state import Task, on_node
from gamenode_proto.codec.states import ADMIN_STATE, NODE_STATE
from gamenode_proto.codec.values import scalar_from_proto, scalar_to_proto
from gamenode_proto.codec.work import run_to_proto, task_to_proto
from gamenode_proto.v1 import common_pb2, nodes_pb2, pipeline_management_pb2
from gamenode_server.controller.files import stored_files
from gamenode_server.controller.slots import holds_slot, host_facts
from gamenode_server.records import Node, PipelineVersion
from gamenode_server.sessions import Sessions
from gamenode_server.store.cache import HotCache
from gamenode_server.store.rows import drain_message


def node_document(node: Node, sessions: Sessions, view: HotCache) -> nodes_pb2.Node:
    """A node as operators see it."""
    message = nodes_pb2.Node(
        id=node.id,
        name=node.name,
        state=NODE_STATE[node.state],
        admin_state=ADMIN_STATE[node.admin_state],
        labels=node.labels,
        joined_at=node.joined_at,
        last_seen=node.last_seen,
        address=node.address,
        session_epoch=node.session_epoch,
        certificate_serial=node.certificate_serial,
        certificate_not_after=node.certificate_not_after,
        outbox_id=node.outbox_id,
        outbox_acked=node.outbox_acked,
        boot_id=node.boot_id,
        tasks_running=sum(map(holds_slot, view.live_tasks_on(node.id))),
    )
    if node.facts:
        message.facts.CopyFrom(host_facts(node.facts))
    if node.drain is not None:
        message.drain.CopyFrom(drain_message(node.drain))
        message.drain.left = sum(map(on_node, view.live_tasks_on(node.id)))
    session = sessions.get(node.id)
    if session is not None:
        message.connected_since = session.opened_at
        message.last_seen = max(node.last_seen, session.last_heard)
        message.clock_skew = session.clock_skew
        if session.metrics is not None:
            message.metrics.CopyFrom(session.metrics)
    return message


def run_document(
    run: Run, tasks: Iterable[Task], logs: Sequence[pipeline_management_pb2.LogStatus] = ()
) -> pipeline_management_pb2.RunDocument:
    """A run with its tasks and logs."""
    return pipeline_management_pb2.RunDocument(
        run=run_to_proto(run), tasks=[task_to_proto(task) for task in tasks], logs=logs
    )


def pipeline_document(pipeline: PipelineVersion) -> pipeline_management_pb2.Pipeline:
    """A version of a pipeline."""
    return pipeline_management_pb2.Pipeline(
        name=pipeline.name,
        version=pipeline.version,
        description=pipeline.description,
        text=pipeline.text,
        created_at=pipeline.created_at,
        created_by=pipeline.created_by,
        sha256=pipeline.sha256,
        shipped=pipeline.shipped,
        removed=pipeline.removed,
        files=stored_files(pipeline.files),
    )


def parameter_document(parameter: Parameter) -> pipeline_management_pb2.Parameter:
    """A parameter as a form needs it."""
    message = pipeline_management_pb2.Parameter(
        name=parameter.name,
        type=str(parameter.type),
        description=parameter.description,
        required=parameter.required,
        choices=parameter.choices,
    )
    if parameter.default is not None:
        message.default.CopyFrom(scalar_to_proto(parameter.default))
    if parameter.min is not None:
        message.min = parameter.min
    if parameter.max is not None:
        message.max = parameter.max
    return message


def problem_document(problem: Problem) -> pipeline_management_pb2.Problem:
    """Something wrong with a pipeline file."""
    return pipeline_management_pb2.Problem(
        file=problem.file,
        line=problem.line,
        column=problem.column,
        message=problem.message,
        suggestion=problem.suggestion,
        warning=problem.warning,
    )


def scalars(values: Mapping[str, common_pb2.Value]) -> dict[str, Scalar]:
    """Parameters as they were given."""
    return {name: scalar_from_proto(value) for name, value in values.items()}
