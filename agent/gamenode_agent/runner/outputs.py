"""What a step wrote to `$GAMENODE_OUTPUT`: `KEY=VALUE` lines, and `KEY<<END` … `END` for values of several lines."""

from __future__ import annotations

import os
import re
from pathlib import Path

from gamenode_pipelines.errors import Code, GameNodeError

#: The largest file that is read, in bytes.
MAX_BYTES = 64 << 10
_KEY = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
_HEREDOC = re.compile(r"([^=<]*)<<(.*)")


def read_outputs(path: str | Path) -> dict[str, str]:
    """The outputs in the file of one attempt; empty where there is no file.

    Raises GameNodeError: LIMIT_EXCEEDED for a file that is too large, STEP_FAILED for a line that cannot be read.
    """
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except FileNotFoundError:
        return {}
    except OSError as error:  # the step put something else in its place
        raise _bad(f"the step's output file cannot be read: {error.strerror}") from error
    try:
        if os.fstat(fd).st_size == 0:
            return {}
        data = os.read(fd, MAX_BYTES + 1)
    except OSError as error:
        raise _bad(f"the step's output file cannot be read: {error.strerror}") from error
    finally:
        os.close(fd)
    if len(data) > MAX_BYTES:
        raise GameNodeError(
            Code.LIMIT_EXCEEDED,
            f"the step wrote more than {MAX_BYTES} bytes to $GAMENODE_OUTPUT",
            details={"limit": str(MAX_BYTES)},
        )
    return parse_outputs(data)


def parse_outputs(data: bytes) -> dict[str, str]:
    """The outputs in `data`; a key that is set again keeps its last value. Raises GameNodeError(STEP_FAILED)."""
    try:
        lines = data.decode("utf-8").split("\n")
    except UnicodeDecodeError as error:
        raise _bad(f"$GAMENODE_OUTPUT is not UTF-8 at byte {error.start}") from error
    found: dict[str, str] = {}
    number = 0
    while number < len(lines):
        line = lines[number].removesuffix("\r")
        number += 1
        if not line.strip():
            continue
        if heredoc := _HEREDOC.fullmatch(line):
            key, end = heredoc[1].strip(), heredoc[2].strip()
            if not end:
                raise _bad(f"$GAMENODE_OUTPUT line {number}: nothing behind '<<': write KEY<<END")
            first = number
            while number < len(lines) and lines[number].removesuffix("\r") != end:
                number += 1
            if number == len(lines):
                raise _bad(f"$GAMENODE_OUTPUT line {first}: no line {_shown(end)} ends the value of {_shown(key)}")
            value = "\n".join(lines[first:number])
            number += 1
        else:
            key, equals, value = line.partition("=")
            key = key.strip()
            if not equals:
                raise _bad(f"$GAMENODE_OUTPUT line {number}: {_shown(line)} is not KEY=VALUE")
        if _KEY.fullmatch(key) is None:
            raise _bad(
                f"$GAMENODE_OUTPUT line {number}: {_shown(key)} is no key: letters, digits and '_', at most 64,"
                " and no digit first"
            )
        if "\0" in value:
            raise _bad(f"$GAMENODE_OUTPUT: the value of {_shown(key)} has a NUL byte in it")
        found[key] = value
    return found


def _shown(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:40] + "…")


def _bad(message: str) -> GameNodeError:
    return GameNodeError(Code.STEP_FAILED, message)
