"""An order to start an attempt, as it came over the socket, checked field by field."""

from __future__ import annotations

import signal

from gamenode_agent.supervisor import protocol
from gamenode_agent.supervisor.cgroups import Limits
from gamenode_agent.supervisor.protocol import Json

_SIGNALS = {s.name.removeprefix("SIG"): s for s in signal.Signals}


class Order:
    """What is to be started. Raises ValueError, KeyError or TypeError for what is no order."""

    def __init__(self, given: Json) -> None:
        self.key = _text(given["key"])
        self.directory = _text(given["directory"])
        if self.key.count("/") != len(protocol.MARKS) - 1 or not self.directory.startswith("/"):
            raise ValueError(f"not a key and an absolute directory: {self.key!r}, {self.directory!r}")
        self.argv = [_text(item) for item in _list(given["argv"])]
        env = given.get("env", {})
        if not isinstance(env, dict):
            raise TypeError("env is not a mapping")
        self.env = {_text(name): _text(value) for name, value in env.items()}
        self.cwd = _text(given.get("cwd", "")) or self.directory
        self.user = _text(given.get("user", ""))
        limits = given.get("limits", {})
        self.limits = Limits(limits if isinstance(limits, dict) else {})
        self.timeout = _seconds(given.get("timeout", 0))
        name = _text(given.get("signal", "TERM"))
        if name not in _SIGNALS:
            raise ValueError(f"there is no signal {name!r}")
        self.signal = _SIGNALS[name]
        self.grace = _seconds(given.get("grace", 10))
        stop = given.get("stop", {})
        if not isinstance(stop, dict):
            raise TypeError("stop is not a mapping")
        self.stop_argv = [_text(item) for item in _list(stop.get("argv", []))]
        stop_env = stop.get("env", {})
        if not isinstance(stop_env, dict):
            raise TypeError("the env of stop is not a mapping")
        self.stop_env = {_text(name): _text(value) for name, value in stop_env.items()}
        self.log_limit = int(_seconds(given.get("log_limit", 0))) or protocol.DEFAULT_LOG_LIMIT
        self.masks = [_text(mask).encode("latin-1") for mask in _list(given.get("masks", [])) if mask]


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"not a text: {value!r}")
    return value


def _list(value: object) -> list[object]:
    if not isinstance(value, list):
        raise TypeError(f"not a list: {value!r}")
    return value


def _seconds(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 1e12:
        raise ValueError(f"not a number from 0 up: {value!r}")
    return float(value)
