"""The console from start to end: where the server is, the core, the screen, and what becomes of a server of its own.

Knows nothing of the screen: `show` is one, and calls `Stage.begin` once its first frame is there.
"""

from __future__ import annotations

import contextlib
import gc
import logging
import os
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from gamenode_console import discovery, machine
from gamenode_console.core.life import Life, Wanted
from gamenode_console.core.thread import CoreThread
from gamenode_console.embedded import refuse_in_silence
from gamenode_console.model.world import World
from gamenode_console.options import Farewell
from gamenode_console.settings import ConsoleSettings
from gamenode_console.terminal.standard import kept_clean
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import logs
from gamenode_proto.process.clock import Clock, SystemClock
from gamenode_proto.process.exits import ExitCode

logger = logging.getLogger(__name__)

#: Seconds that the core may take to end; what has not ended by then goes with the process, and loses nothing.
GRACE = 3.0
#: A log that is larger at a start begins anew; the old one stays beside it.
MAX_LOG = 8 << 20


@dataclass(frozen=True, slots=True)
class Stage:
    """What a screen is given."""

    core: CoreThread
    world: World
    clock: Clock
    settings: ConsoleSettings
    env: Mapping[str, str]
    #: Where exports, copies and what was typed are kept.
    state_dir: Path
    log: Path

    def begin(self) -> None:
        """The first frame is there: what was put off for it begins."""
        gc.freeze()  # what was imported stays, and is not looked through again
        gc.enable()
        self.core.start()


def run(
    settings: ConsoleSettings,
    *,
    flags: Mapping[str, Any],
    env: Mapping[str, str],
    show: Callable[[Stage], Farewell],
) -> int:
    """Runs the console; the exit code. `flags` are those of the command line.

    Raises GameNodeError for what can be said before the screen is taken, and where the screen broke.
    """
    where = discovery.choose(settings.client, env, flags=flags)
    if isinstance(where, discovery.Place):
        refuse_in_silence(where)
    elif settings.with_agent:
        raise GameNodeError(
            Code.INVALID_ARGUMENT, "--with-agent is for a server on this machine, --connect for another"
        )
    state_dir = state_dir_of(env)
    log = log_file(where, state_dir)
    clock, world = SystemClock(), World()
    life = Life(
        Wanted(where, env, _server_flags(settings, flags), settings.with_agent, machine.config_words(flags, env)),
        world,
        clock=clock,
    )
    core = CoreThread(life)
    farewell = Farewell.LEAVE_RUNNING
    with kept_clean(log):
        logs.configure(settings.log_level, settings.log_format)
        try:
            farewell = show(Stage(core, world, clock, settings, env, state_dir, log))
        finally:
            stop_for_good = life.stop_for_good
            stops = _stops_server(farewell, settings)
            if stops and stop_for_good is not None:
                stop_for_good()
            ended = core.stop(GRACE)
            if not ended:
                logger.warning("the core did not end in %g s", GRACE)
    if stop_for_good is not None:
        _say_goodbye(stopped=stops)
    if not ended:
        os._exit(ExitCode.OK)  # a thread that hangs must not hold the terminal
    return ExitCode.OK


def _stops_server(farewell: Farewell, settings: ConsoleSettings) -> bool:
    return farewell is Farewell.STOP_SERVER or (farewell is Farewell.HANGUP and settings.on_hangup == "exit")


def _say_goodbye(*, stopped: bool) -> None:
    """What has become of the server of this console, for who reads the terminal after it."""
    text = "the server was stopped" if stopped else "the server goes on without a terminal; `gamenode down` stops it"
    with contextlib.suppress(OSError):  # the terminal may be gone
        sys.stderr.write(f"{text}\n")
        sys.stderr.flush()


def _server_flags(settings: ConsoleSettings, flags: Mapping[str, Any]) -> dict[str, Any]:
    """What a server of its own is told; the rest is in the environment and in the config file's section `server`."""
    told = {
        "listen": settings.listen,
        "join_listen": settings.join_listen,
        "advertise": settings.advertise,
        "config": flags.get("config"),
    }
    return {name: value or None for name, value in told.items()}


def log_file(where: discovery.Place | discovery.NetworkTarget, state_dir: Path) -> Path:
    """Where this console logs: in the data dir of its server where it may, else among the user's own files."""
    folder = state_dir
    if isinstance(where, discovery.Place):
        with contextlib.suppress(OSError):
            where.data_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        if os.access(where.data_dir, os.W_OK):
            folder = where.data_dir
    file = folder / "console.log"
    with contextlib.suppress(FileNotFoundError):
        if file.stat().st_size > MAX_LOG:
            file.replace(file.with_suffix(".log.1"))
    return file


def state_dir_of(env: Mapping[str, str]) -> Path:
    """The folder for what the console keeps between two starts."""
    told = env.get("XDG_STATE_HOME", "")
    base = Path(told) if told.startswith("/") else Path(env.get("HOME") or Path.home()) / ".local" / "state"
    return base / "gamenode"
