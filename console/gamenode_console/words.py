"""Messages' enums, times and values as the words of the contract. Pure; refuses to know of terminals and of gRPC."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache

from google.protobuf.descriptor import EnumDescriptor

from gamenode_proto.v1 import common_pb2


@cache
def _table(enum: EnumDescriptor) -> dict[int, str]:
    """Number → word of an enum; its values all start with the name of the zero value, less `UNSPECIFIED`."""
    prefix = enum.values_by_number[0].name.removesuffix("UNSPECIFIED")
    return {value.number: value.name.removeprefix(prefix).lower() for value in enum.values}


def _word(enum: EnumDescriptor, number: int) -> str:
    """The word for a number; one that a newer server knows and this client does not is still shown, as a number."""
    return _table(enum).get(number, f"unknown_{number}")


def run_state(number: int) -> str:
    """`running`, `succeeded`, …"""
    return _word(common_pb2.RunState.DESCRIPTOR, number)


def task_state(number: int) -> str:
    """`dispatched`, `lost`, …"""
    return _word(common_pb2.TaskState.DESCRIPTOR, number)


def step_state(number: int) -> str:
    """`pending`, `skipped`, …"""
    return _word(common_pb2.StepState.DESCRIPTOR, number)


def node_state(number: int) -> str:
    """`online`, `suspect`, …"""
    return _word(common_pb2.NodeState.DESCRIPTOR, number)


def admin_state(number: int) -> str:
    """`active`, `cordoned`, …; a server that does not say means `active`."""
    return _word(common_pb2.AdminState.DESCRIPTOR, number or common_pb2.ADMIN_STATE_ACTIVE)


def time(seconds: float) -> str | None:
    """RFC 3339 in UTC with milliseconds; None for 0, which means "not set"."""
    if not seconds:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def value(message: common_pb2.Value) -> str | int | float | bool | None:
    """A parameter's value with its own type; None where nothing is set."""
    match message.WhichOneof("kind"):
        case "text":
            return message.text
        case "integer":
            return message.integer
        case "number":
            return message.number
        case "boolean":
            return message.boolean
        case _:
            return None
