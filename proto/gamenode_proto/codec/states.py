"""The states' numbers on the wire. Tables rather than calls: they are looked up for every event."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, NoReturn

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.states import AdminState, NodeState, RunState, StepState, TaskState
from gamenode_proto.v1 import common_pb2

RUN_STATE: Final = {s: common_pb2.RunState.Value(f"RUN_STATE_{s.name}") for s in RunState}
TASK_STATE: Final = {s: common_pb2.TaskState.Value(f"TASK_STATE_{s.name}") for s in TaskState}
STEP_STATE: Final = {s: common_pb2.StepState.Value(f"STEP_STATE_{s.name}") for s in StepState}
NODE_STATE: Final = {s: common_pb2.NodeState.Value(f"NODE_STATE_{s.name}") for s in NodeState}
ADMIN_STATE: Final = {s: common_pb2.AdminState.Value(f"ADMIN_STATE_{s.name}") for s in AdminState}

_RUN_STATE_OF: Final[Mapping[int, RunState]] = {number: s for s, number in RUN_STATE.items()}
_TASK_STATE_OF: Final[Mapping[int, TaskState]] = {number: s for s, number in TASK_STATE.items()}
_STEP_STATE_OF: Final[Mapping[int, StepState]] = {number: s for s, number in STEP_STATE.items()}
_NODE_STATE_OF: Final[Mapping[int, NodeState]] = {number: s for s, number in NODE_STATE.items()}
_ADMIN_STATE_OF: Final[Mapping[int, AdminState]] = {number: s for s, number in ADMIN_STATE.items()}


def run_state_from_proto(number: int) -> RunState:
    """The run state of a number; PROTOCOL_ERROR where there is none."""
    return _RUN_STATE_OF.get(number) or _unknown("run", number)


def task_state_from_proto(number: int) -> TaskState:
    """The task state of a number; PROTOCOL_ERROR where there is none."""
    return _TASK_STATE_OF.get(number) or _unknown("task", number)


def step_state_from_proto(number: int) -> StepState:
    """The step state of a number; PROTOCOL_ERROR where there is none."""
    return _STEP_STATE_OF.get(number) or _unknown("step", number)


def node_state_from_proto(number: int) -> NodeState:
    """The node state of a number; PROTOCOL_ERROR where there is none."""
    return _NODE_STATE_OF.get(number) or _unknown("node", number)


def admin_state_from_proto(number: int) -> AdminState:
    """The admin state of a number; PROTOCOL_ERROR where there is none."""
    return _ADMIN_STATE_OF.get(number) or _unknown("admin", number)


def _unknown(kind: str, number: int) -> NoReturn:
    raise GameNodeError(Code.PROTOCOL_ERROR, f"{number} is not a {kind} state this version knows")
