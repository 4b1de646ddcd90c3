"""Scalars as messages: parameters and settings."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Scalar, Setting
from gamenode_proto.v1 import common_pb2, plan_pb2

_INT64 = range(-(2**63), 2**63)


def scalar_to_proto(value: Scalar) -> common_pb2.Value:
    """A scalar as a message; INVALID_ARGUMENT for an integer beyond 64 bits."""
    if isinstance(value, bool):
        return common_pb2.Value(boolean=value)
    if isinstance(value, int):
        if value not in _INT64:
            raise GameNodeError(Code.INVALID_ARGUMENT, f"the number {value} does not fit into 64 bits")
        return common_pb2.Value(integer=value)
    if isinstance(value, float):
        return common_pb2.Value(number=value)
    return common_pb2.Value(text=value)


def scalar_from_proto(message: common_pb2.Value) -> Scalar:
    """The scalar in a message; PROTOCOL_ERROR where it is of no kind."""
    match message.WhichOneof("kind"):
        case "text":
            return message.text
        case "integer":
            return message.integer
        case "number":
            return message.number
        case "boolean":
            return message.boolean
        case None:
            raise GameNodeError(Code.PROTOCOL_ERROR, "a value of no kind this version knows")


def scalars_to_proto(values: Mapping[str, Scalar]) -> dict[str, common_pb2.Value]:
    """Named scalars as messages."""
    return {name: scalar_to_proto(value) for name, value in values.items()}


def scalars_from_proto(messages: Mapping[str, common_pb2.Value]) -> dict[str, Scalar]:
    """The named scalars in messages."""
    return {name: scalar_from_proto(message) for name, message in messages.items()}


def setting_to_proto(value: Setting) -> plan_pb2.Setting:
    """A value of a step's `with` as a message."""
    if isinstance(value, Mapping):
        return plan_pb2.Setting(map=settings_to_proto(value))
    if isinstance(value, tuple | list):
        return plan_pb2.Setting(list=plan_pb2.SettingList(items=map(setting_to_proto, value)))
    return plan_pb2.Setting(value=scalar_to_proto(value))


def settings_to_proto(values: Mapping[str, Setting]) -> plan_pb2.SettingMap:
    """A mapping of such values as a message, in its order."""
    return plan_pb2.SettingMap(
        entries=[plan_pb2.SettingEntry(key=key, value=setting_to_proto(value)) for key, value in values.items()]
    )


def setting_from_proto(message: plan_pb2.Setting) -> Setting:
    """The value in a message; PROTOCOL_ERROR where it is of no kind. Depth is bounded by protobuf itself."""
    match message.WhichOneof("kind"):
        case "value":
            return scalar_from_proto(message.value)
        case "list":
            return tuple(map(setting_from_proto, message.list.items))
        case "map":
            return settings_from_proto(message.map)
        case None:
            raise GameNodeError(Code.PROTOCOL_ERROR, "a setting of no kind this version knows")


def settings_from_proto(message: plan_pb2.SettingMap) -> dict[str, Setting]:
    """The mapping in a message."""
    return {entry.key: setting_from_proto(entry.value) for entry in message.entries}
