"""Logging as every GameNode program does it: one line a record on stderr, as text for people or JSON for collectors.

Facts go in `extra` and come out as `key=value` or JSON members. Control characters never reach a terminal raw.
"""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import traceback
from typing import Any, TextIO

LEVELS = ("debug", "info", "warning", "error")
FORMATS = ("text", "json")

_STANDARD = frozenset(vars(logging.LogRecord("", 0, "", 0, "", (), None))) | {"message", "asctime", "taskName"}
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f]")


def _inert(text: str) -> str:
    return _CONTROL.sub(lambda match: f"\\x{ord(match[0]):02x}", text)


def _timestamp(record: logging.LogRecord) -> str:
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(record.created))}.{int(record.msecs):03d}Z"


def _facts(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _trace(record: logging.LogRecord) -> str:
    if record.exc_info and record.exc_info[1] is not None:
        return "".join(traceback.format_exception(record.exc_info[1])).rstrip()
    return ""


class TextFormatter(logging.Formatter):
    """`TIME LEVEL logger: message key=value …`, tracebacks on the lines below."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as text."""
        message = _inert(record.getMessage()).replace("\n", "\n  ")
        facts = "".join(f" {key}={_inert(_plain(value))}" for key, value in _facts(record).items())
        line = f"{_timestamp(record)} {record.levelname:<7} {record.name}: {message}{facts}"
        trace = _trace(record)
        return f"{line}\n{_inert(trace)}" if trace else line


class JsonFormatter(logging.Formatter):
    """One JSON object a line: `time`, `level`, `logger`, `message`, the facts, and `exception` where there is one."""

    def format(self, record: logging.LogRecord) -> str:
        """One record as JSON."""
        document: dict[str, Any] = {
            **_facts(record),
            "time": _timestamp(record),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        trace = _trace(record)
        if trace:
            document["exception"] = trace
        return json.dumps(document, default=str)


def _plain(value: object) -> str:
    text = value if isinstance(value, str) else repr(value) if isinstance(value, float) else str(value)
    return json.dumps(text) if not text or any(c.isspace() or c in '"=' for c in text) else text


def configure(level: str = "info", format: str = "text", *, stream: TextIO | None = None) -> None:
    """Sets up the root logger, replacing what was set up before. Raises ValueError for an unknown word."""
    if level.lower() not in LEVELS:
        raise ValueError(f"unknown log level {level!r}; use one of {', '.join(LEVELS)}")
    if format not in FORMATS:
        raise ValueError(f"unknown log format {format!r}; use one of {', '.join(FORMATS)}")
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonFormatter() if format == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())
    # What the libraries below say at "info" is noise at ours.
    for noisy in ("asyncio", "alembic", "docker", "urllib3", "grpc"):
        logging.getLogger(noisy).setLevel(max(logging.WARNING, root.level))
