"""After a supervisor died: what became of the attempts it had, as far as their files and /proc can tell.

What it left running is ended, for nobody could say any more how it ends: by its pid and the moment it was started, by
the marks in its environment, by its control group, and with everything below it. Only then is the attempt reported, as
`unknown`.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable

from gamenode_agent.supervisor import output, processes, protocol, records
from gamenode_agent.supervisor.cgroups import Groups, group_name
from gamenode_agent.supervisor.loop import boottime
from gamenode_agent.supervisor.protocol import Json

_PATIENCE = 5.0


class Lost:
    """An attempt to recover. `boot_id` is the host's boot when it was begun, if the agent knows it."""

    __slots__ = ("boot_id", "directory", "key")

    def __init__(self, key: str, directory: str, boot_id: str) -> None:
        self.key = key
        self.directory = directory
        self.boot_id = boot_id


def recover(lost: list[Lost], *, boot_id: str, now: Callable[[], float], groups: Groups) -> dict[str, Json]:
    """A report for each. Blocks while processes end, at most some seconds."""
    reports: dict[str, Json] = {}
    open_: dict[str, tuple[Lost, records.State]] = {}
    for attempt in lost:
        state = records.read(attempt.directory)
        if state.final is not None:
            reports[attempt.key] = state.final
        elif state.evidence is None:
            # Evidence comes before the process. But after a crash of the host it may have been lost with the cache.
            rebooted = bool(attempt.boot_id) and attempt.boot_id != boot_id
            reports[attempt.key] = _report(attempt, state, may_have_started=rebooted)
        else:
            open_[attempt.key] = (attempt, state)
    here = {
        key: state for key, (_, state) in open_.items() if (state.evidence or {}).get("boot_id", boot_id) == boot_id
    }
    left = end_trees(here, groups) if here else set()
    for key, (attempt, state) in open_.items():
        report = _report(attempt, state, may_have_started=True)
        if key in left:
            # Not even SIGKILL ends it: say so instead of claiming that it is gone, and look again when asked again.
            report["phase"] = protocol.RUNNING
            reports[key] = report
            continue
        report["ended_at"] = now()
        try:
            report["log"] = output.recover(f"{attempt.directory}/{records.LOG_FILE}", now())
            records.finish(attempt.directory, report)
        except OSError as problem:
            sys.stderr.write(f"{attempt.directory}: {problem}\n")
        reports[key] = report
    return reports


def end_trees(states: dict[str, records.State], groups: Groups) -> set[str]:
    """Kills every process of these attempts; returns the keys of those that would not go."""
    deadline = boottime() + _PATIENCE
    while True:
        found = _find(states, groups)
        victims = [process for tree in found.values() for process in tree]
        if not victims:
            groups.clean()
        if not victims or boottime() > deadline:
            return {key for key, tree in found.items() if tree}
        for process in victims:
            processes.signal_process(process, signal.SIGKILL)  # another user's stays, and is reported
        processes.wait_gone(victims, 1.0)


def _find(states: dict[str, records.State], groups: Groups) -> dict[str, list[processes.Process]]:
    snapshot = processes.everything()
    roots: dict[str, list[int]] = {key: [*groups.members(group_name(key))] for key in states}
    sessions: dict[int, str] = {}
    for key, state in states.items():
        main = _main(state, snapshot)
        if main is not None:
            roots[key].append(main.pid)
            sessions[main.pid] = key
    own = os.getpid()
    for process in snapshot.values():
        owner = sessions.get(process.session)
        if owner is None:
            mark = processes.mark_of(process.pid)
            owner = mark if mark in states else None
        if owner is not None and process.pid != own:
            roots[owner].append(process.pid)
    return {key: processes.descendants(pids, snapshot) for key, pids in roots.items()}


def _main(state: records.State, snapshot: dict[int, processes.Process]) -> processes.Process | None:
    if state.process is None:
        return None
    pid, begin, end = state.process.get("pid"), state.process.get("from"), state.process.get("to")
    if not isinstance(pid, int) or not isinstance(begin, float) or not isinstance(end, float):
        return None
    process = snapshot.get(pid)
    if process is None:
        return None
    tick = 1 / processes.TICKS
    return process if begin - tick <= process.started * tick <= end + tick else None


def _report(attempt: Lost, state: records.State, *, may_have_started: bool) -> Json:
    process = state.process or {}
    return {
        "key": attempt.key,
        "phase": protocol.UNKNOWN,
        "pid": process.get("pid", 0),
        "started_at": process.get("at", 0.0),
        "ended_at": 0.0,
        "exit_code": None,
        "error": None,
        "log": None,
        "size": 0,
        "may_have_started": may_have_started,
    }
