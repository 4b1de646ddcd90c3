"""Scalars as messages: parameters and settings."""

from __future__ import annotations

from collections.abc import Mapping

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.plan import Scalar
from gamenode_proto.v1 import common_pb2

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
