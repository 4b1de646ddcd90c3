"""Errors as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from gamenode_pipelines.errors import Code, Error
from gamenode_proto.v1 import common_pb2

_CODE_OF: Final[Mapping[str, Code]] = {str(code): code for code in Code}


def error_to_proto(error: Error) -> common_pb2.Error:
    """An error as a message."""
    return common_pb2.Error(code=error.code, message=error.message, details=error.details)


def error_from_proto(message: common_pb2.Error) -> Error:
    """The error in a message. A code of a newer version becomes INTERNAL, with the word kept in the details."""
    details = dict(message.details)
    code = _CODE_OF.get(message.code)
    if code is None:
        code = Code.INTERNAL
        details.setdefault("unknown_code", message.code)
    return Error(code, message.message, details)
