"""Messages → the JSON documents of the contract. Pure functions; the keys and their meaning are promised to scripts.

Keys are snake_case, times RFC 3339 UTC or null, sizes bytes, durations seconds. Documents may grow, nothing in them may
come to mean something else.
"""

from __future__ import annotations

from typing import Any

from gamenode_console import words
from gamenode_proto.v1 import common_pb2

Document = dict[str, Any]


def error(message: common_pb2.Error) -> Document | None:
    """`null` or `{code, message, details}`."""
    if not message.code:
        return None
    return {"code": message.code, "message": message.message, "details": dict(message.details)}


def cancel(message: common_pb2.CancelInfo) -> Document | None:
    """Who asked for a cancel; `null` where nobody did."""
    if not message.at:
        return None
    return {"by": message.by, "reason": message.reason, "force": message.force, "at": words.time(message.at)}
