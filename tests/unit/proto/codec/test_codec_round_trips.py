"""Every domain value comes back from its message, over the bytes, as it was."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from google.protobuf.message import Message
from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.states import AdminState, NodeState, RunState, StepState, TaskState
from gamenode_proto.codec import states as codec_states
from gamenode_proto.codec.errors import error_from_proto, error_to_proto
from gamenode_proto.codec.plan import BundleFile, bundle_bytes, bundle_from_bytes, plan_from_proto, plan_to_proto
from gamenode_proto.codec.values import scalar_from_proto, scalar_to_proto
from gamenode_proto.codec.work import (
    cancel_from_proto,
    cancel_to_proto,
    held_from_proto,
    held_to_proto,
    log_summary_from_proto,
    log_summary_to_proto,
    node_facts_from_proto,
    node_facts_to_proto,
    run_from_proto,
    run_to_proto,
    step_from_proto,
    step_to_proto,
    task_event_from_proto,
    task_event_to_proto,
    task_from_proto,
    task_to_proto,
)
from gamenode_proto.v1 import common_pb2, plan_pb2, work_pb2
from support import domain_strategies as domain

PAIRS: dict[str, tuple[st.SearchStrategy[Any], Callable[[Any], Message], Callable[[Any], Any]]] = {
    "error": (domain.errors, error_to_proto, error_from_proto),
    "scalar": (domain.scalars, scalar_to_proto, scalar_from_proto),
    "cancel": (domain.cancels, cancel_to_proto, cancel_from_proto),
    "log summary": (domain.logs, log_summary_to_proto, log_summary_from_proto),
    "node facts": (domain.facts, node_facts_to_proto, node_facts_from_proto),
    "step": (domain.steps.filter(bool).map(lambda s: next(iter(s.values()))), step_to_proto, step_from_proto),
    "task": (domain.task_values, task_to_proto, task_from_proto),
    "run": (domain.run_values, run_to_proto, run_from_proto),
    "task event": (domain.task_events, task_event_to_proto, task_event_from_proto),
    "inventory": (domain.helds, held_to_proto, held_from_proto),
    "plan": (domain.plans, plan_to_proto, plan_from_proto),
}


@pytest.mark.parametrize("name", PAIRS)
@settings(max_examples=60, deadline=None)
@given(data=st.data())
def test_comes_back_as_it_was(name: str, data: st.DataObject) -> None:
    strategy, to_proto, from_proto = PAIRS[name]
    value = data.draw(strategy)
    message = to_proto(value)
    again = from_proto(type(message).FromString(message.SerializeToString()))
    assert again == value
    assert type(again) is type(value)  # True is not 1


def test_steps_keep_their_order() -> None:
    plan = Plan("p", 1, tuple(StepPlan(id) for id in ("zeta", "alpha", "mid")))
    assert [step.id for step in plan_from_proto(plan_to_proto(plan)).steps] == ["zeta", "alpha", "mid"]


@settings(max_examples=30, deadline=None)
@given(plan=domain.plans, contents=st.dictionaries(st.sampled_from("abcd"), st.binary(max_size=9)))
def test_a_bundle_has_one_form(plan: Plan, contents: dict[str, bytes]) -> None:
    files = [BundleFile(path, content, 0o755) for path, content in contents.items()]
    data = bundle_bytes(plan, files)
    mirrored = Plan(
        plan.pipeline,
        plan.version,
        plan.steps,
        plan.finally_,
        dict(reversed([*plan.params.items()])),
        dict(reversed([*plan.env.items()])),
        plan.timeout,
        plan.finally_timeout,
        plan.on_lost,
        dict(reversed([*plan.scopes.items()])),
    )
    assert bundle_bytes(mirrored, reversed(files)) == data
    plan_again, files_again = bundle_from_bytes(data)
    assert plan_again == plan
    assert sorted(files, key=lambda f: f.path) == list(files_again)


@pytest.mark.parametrize("data", [b"\xff\xff", b"", b"not a bundle"])
def test_bytes_that_are_no_bundle_are_refused(data: bytes) -> None:
    with pytest.raises(GameNodeError) as caught:
        bundle_from_bytes(data)
    assert caught.value.code is Code.INTEGRITY_FAILED


@pytest.mark.parametrize("path", ["../x", "/etc/passwd", "a/../../b", "", "a\0b"])
def test_a_file_that_would_leave_the_workspace_is_refused(path: str) -> None:
    bundle = plan_pb2.Bundle(plan=plan_to_proto(Plan("p", 1, ())))
    bundle.files.add(path=path)
    with pytest.raises(GameNodeError, match="would leave the workspace"):
        bundle_from_bytes(bundle.SerializeToString())


@pytest.mark.parametrize("value", [2**63, -(2**63) - 1])
def test_a_number_beyond_64_bits_is_refused(value: int) -> None:
    with pytest.raises(GameNodeError) as caught:
        scalar_to_proto(value)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_code_of_a_newer_version_keeps_its_word() -> None:
    error = error_from_proto(common_pb2.Error(code="moon_phase", message="full"))
    assert error == Error(Code.INTERNAL, "full", {"unknown_code": "moon_phase"})


@pytest.mark.parametrize(
    ("read", "message"),
    [
        (task_from_proto, work_pb2.Task(id="t", state=99)),  # type: ignore[arg-type]
        (task_from_proto, work_pb2.Task(id="t")),
        (run_from_proto, work_pb2.Run(id="r", state=1, counts={"sleeping": 1})),  # type: ignore[arg-type]
        (task_event_from_proto, work_pb2.TaskEvent(task_id="t")),
        (task_event_from_proto, work_pb2.TaskEvent(resolved=work_pb2.TaskResolved(by="x"))),
        (scalar_from_proto, common_pb2.Value()),
        (plan_from_proto, plan_pb2.Plan(pipeline="p")),
        (
            plan_from_proto,
            plan_pb2.Plan(on_lost=1, steps=[plan_pb2.StepPlan(retry=plan_pb2.RetryPolicy(on=["rain"]))]),  # type: ignore[arg-type]
        ),
    ],
)
def test_what_no_value_fits_is_a_protocol_error(read: Callable[[Any], object], message: Message) -> None:
    with pytest.raises(GameNodeError) as caught:
        read(message)
    assert caught.value.code is Code.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("kind", "numbers", "from_proto"),
    [
        (RunState, codec_states.RUN_STATE, codec_states.run_state_from_proto),
        (TaskState, codec_states.TASK_STATE, codec_states.task_state_from_proto),
        (StepState, codec_states.STEP_STATE, codec_states.step_state_from_proto),
        (NodeState, codec_states.NODE_STATE, codec_states.node_state_from_proto),
        (AdminState, codec_states.ADMIN_STATE, codec_states.admin_state_from_proto),
    ],
)
def test_every_state_has_a_number(kind: Any, numbers: Any, from_proto: Any) -> None:
    assert [from_proto(numbers[state]) for state in kind] == list(kind)
    assert 0 not in numbers.values()
    with pytest.raises(GameNodeError):
        from_proto(0)
