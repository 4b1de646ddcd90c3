"""One attempt of a step, from the evidence that it may have run to the report that it is over.

`running`: the main process lives. `closing`: it has ended, and what it left behind is being ended too. Over: nothing of
it is left, and the final report is on disk. What ends an attempt before its time (`cause`) is decided once: the first
of a stop, a deadline and a limit.
"""

from __future__ import annotations

import os
import select
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from typing import Protocol

from gamenode_agent.supervisor import processes, protocol, records, starting
from gamenode_agent.supervisor.cgroups import Group, Groups, group_name
from gamenode_agent.supervisor.children import Children
from gamenode_agent.supervisor.loop import Loop, Timer, boottime
from gamenode_agent.supervisor.orders import Order
from gamenode_agent.supervisor.output import Output
from gamenode_agent.supervisor.pipes import Pipes
from gamenode_agent.supervisor.protocol import Json
from gamenode_agent.supervisor.stopping import AFTER_SIGNAL, StopCommand
from gamenode_agent.supervisor.verdicts import verdict

#: Seconds between two looks at a tree that was killed and is not gone, and at one whose limits nothing else keeps.
_LOOK_AGAIN = 0.1


class Host(Protocol):
    """What an attempt needs of the process around it."""

    loop: Loop
    children: Children
    groups: Groups
    devnull: int
    boot_id: str

    def now(self) -> float:
        """Unix seconds."""
        ...

    def grew(self, attempt: Attempt) -> None:
        """There is more output."""
        ...

    def over(self, attempt: Attempt) -> None:
        """The attempt's final report is there."""
        ...


class Attempt:
    """See the module."""

    def __init__(self, order: Order, host: Host) -> None:
        self._order = order
        self._host = host
        self.key = order.key
        self.pid = 0
        #: What waitpid said of the main process; None while it lives.
        self.status: int | None = None
        self.group: Group | None = None
        self._may_have_started = False
        self._started_at = 0.0
        self._ended_at = 0.0
        self._cause: Json | None = None
        self._killed = False
        self._finishing = False
        self._final: Json | None = None
        self._output = Output(f"{order.directory}/{records.LOG_FILE}", order.log_limit)
        self._pipes = Pipes(host.loop, self._took, order.masks)
        self._stop_command = StopCommand(order, host.loop, self._took)
        self._timers: dict[str, Timer] = {}
        self._events = -1

    @property
    def size(self) -> int:
        """Bytes in its log."""
        return self._output.size

    def report(self) -> Json:
        """How it stands."""
        if self._final is not None:
            return self._final
        return {
            "key": self.key,
            "phase": protocol.RUNNING,
            "pid": self.pid,
            "started_at": self._started_at,
            "ended_at": 0.0,
            "exit_code": None,
            "error": None,
            "log": None,
            "size": self.size,
            "may_have_started": True,
        }

    def start(self) -> None:
        """Starts it, or finds why it cannot be started: then it is over at once, and was never run."""
        order, host = self._order, self._host
        evidence: Json = {"boot_id": host.boot_id, "key": self.key, "at": host.now()}
        try:
            state = records.create(order.directory, evidence)
        except FileExistsError:
            raise
        except OSError as problem:
            code = protocol.STORAGE_FULL if problem.errno in (28, 122) else protocol.NOT_FOUND
            self._fail(protocol.error(code, f"{order.directory} cannot be used: {problem.strerror}"))
            return
        try:
            self._start(state)
        except starting.CannotStart as problem:
            self._fail(problem.error)
        except OSError as problem:
            cause = protocol.error(protocol.INSUFFICIENT_RESOURCES, f"its surroundings cannot be made: {problem}")
            if self.pid:
                self.stop(cause, force=True)
            else:
                self._fail(cause)
        finally:
            os.close(state)

    def stop(self, cause: Json, *, force: bool = False) -> None:
        """Begins to end it; `cause` becomes its error unless it is ending for another reason already."""
        if self._final is not None:
            return
        if self.status is None and self._cause is None:
            self._cause = cause
        if force or self._order.grace <= 0:
            self._kill()
        elif "grace" not in self._timers and self.status is None:
            pid = self._stop_command.start(self._host.devnull, self._marks(), self.group)
            if pid:
                self._host.children.add_beside(pid, self)
                self._after("grace", self._order.grace, self._still_there)
            else:
                self._after("grace", self._order.grace, self._kill)
                self._signal_all(self._order.signal)

    def main_ended(self, status: int) -> None:
        """The main process has been reaped."""
        self.status = status
        self._ended_at = self._host.now()

    def settle(self) -> None:
        """After the main process has ended: ends what is left, and the attempt when nothing is."""
        if self._finishing or self.status is None:
            return
        left = self._left()
        if not left:
            self._pipes.drain()
            self._stop_command.drain()
            self._finishing = True
            self._step(self._output.finish(self._host.now()))
        elif self._killed or "grace" not in self._timers:
            self._kill()

    def abandon(self, reason: str) -> None:
        """Something unforeseen happened here; it must not stay `running` for it."""
        if self._final is None:
            self._cause = self._cause or protocol.error(protocol.INTERNAL, reason)
            if self.status is None:
                self._kill()
            else:
                self._conclude()

    def _start(self, state: int) -> None:
        order, host = self._order, self._host
        who = starting.account(order.user)
        env = starting.environment(order.env, self._marks(), who)
        if order.limits.before_exec:
            self.group = host.groups.create(group_name(self.key), order.limits)
        try:
            fds = (host.devnull, *self._pipes.open())
            before = boottime()
            started = host.now()
            self.pid = starting.start(order.argv, env, order.cwd, fds, who=who, limits=order.limits, group=self.group)
        finally:
            self._pipes.close_other_ends()
        self._started_at = started
        self._may_have_started = True
        host.children.add(self.pid, self)
        # A full disk: recovery finds it by its marks then; it runs, and that is what counts now.
        with suppress(OSError):
            records.add(state, {"pid": self.pid, "from": before, "to": boottime(), "at": started})
        self._pipes.watch()
        if order.timeout > 0:
            self._after("timeout", order.timeout, self._timed_out)
        self._watch_limits()

    def _marks(self) -> dict[str, str]:
        return dict(zip(protocol.MARKS, self.key.split("/"), strict=True))

    def _fail(self, problem: Json) -> None:
        self._pipes.close()
        self._cause = problem
        self._ended_at = self._host.now()
        self._conclude()

    def _took(self, data: bytes, stream: int) -> bool:
        """Keeps what was read; whether to go slow, because the log is full and only its end is still looked for."""
        output, limit = self._output, self._order.limits.output
        if limit and output.total + len(data) > limit:
            room = max(0, limit - output.total)
            if room:
                output.add(data[:room], stream, self._host.now())
            output.refuse(len(data) - room)
            self._over_limit("output", f"more than {limit} bytes of output")
        else:
            output.add(data, stream, self._host.now())
        self._host.grew(self)
        return output.over

    # Limits and deadlines

    def _timed_out(self) -> None:
        seconds = self._order.timeout
        self.stop(protocol.error(protocol.STEP_TIMEOUT, f"not finished after {seconds:g} s", timeout=f"{seconds:g}"))

    def _over_limit(self, limit: str, what: str) -> None:
        value = str(getattr(self._order.limits, limit))
        cause = protocol.error(protocol.RESOURCE_LIMIT, f"stopped at its limit: {what}", limit=limit, value=value)
        self.stop(cause, force=True)

    def _watch_limits(self) -> None:
        limits, group = self._order.limits, self.group
        if group is not None:
            fd = group.open_pids_events()
            if fd is not None:
                os.read(fd, 256)  # from here on a change makes it ready
                self._events = fd
                self._host.loop.watch(fd, self._pids_event, select.EPOLLPRI)
        unkept = [name for name in ("memory", "pids") if limits.of(name) and not (group and group.keeps(name))]
        if unkept:
            self._after("poll", _LOOK_AGAIN, self._poll_limits)

    def _pids_event(self, _mask: int) -> None:
        os.pread(self._events, 256, 0)
        if self.group is not None and self.group.refused_forks():
            self._close_events()
            self._over_limit("pids", f"more than {self._order.limits.pids} processes")

    def _close_events(self) -> None:
        if self._events >= 0:
            self._host.loop.unwatch(self._events)
            os.close(self._events)
            self._events = -1

    def _poll_limits(self) -> None:
        limits, group = self._order.limits, self.group
        tree = self._tree()
        memory = sum(process.rss for process in tree)
        if limits.memory and memory > limits.memory and not (group and group.keeps("memory")):
            self._over_limit("memory", f"{memory} bytes of memory where {limits.memory} are allowed")
        elif limits.pids and len(tree) > limits.pids and not (group and group.keeps("pids")):
            self._over_limit("pids", f"more than {limits.pids} processes")
        elif self.status is None:
            self._after("poll", _LOOK_AGAIN, self._poll_limits)

    # Ending

    def _tree(self) -> list[processes.Process]:
        roots = self._host.children.orphans_of(self)
        if self.status is None:
            roots.append(self.pid)
        return processes.descendants(roots, processes.everything())

    def _left(self) -> bool:
        if self._host.children.orphans_of(self):
            return True
        return self.group is not None and bool(self.group.pids())

    def _signal_all(self, number: int) -> None:
        self._host.children.adopt()
        if self.status is None:
            self._signal_group(number)
        for process in self._tree():
            if process.group != self.pid or self.status is not None:
                processes.signal_process(process, number)
        if number != signal.SIGKILL and self.status is None:
            self._signal_group(signal.SIGCONT)

    def _signal_group(self, number: int) -> None:
        # Ended just now; or it has become another user's, which only root could end. It is looked at again.
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    def _still_there(self) -> None:
        self._after("grace", AFTER_SIGNAL, self._kill)
        self._signal_all(self._order.signal)

    def _kill(self) -> None:
        self._killed = True
        self._signal_all(signal.SIGKILL)
        for pid in self.group.pids() if self.group is not None else ():
            process = processes.look(pid)
            if process is not None:
                processes.signal_process(process, signal.SIGKILL)
        self._after("again", _LOOK_AGAIN, self._again)

    def _again(self) -> None:
        if self._final is None and not self._finishing:
            self._host.children.adopt()
            if self.status is None:
                self._kill()
            else:
                self.settle()

    def _step(self, work: Iterator[None]) -> None:
        try:
            next(work)
        except StopIteration:
            self._conclude()
        else:
            self._after("finish", 0.0, partial(self._step, work))

    def _conclude(self) -> None:
        for timer in self._timers.values():
            timer.cancel()
        self._timers.clear()
        self._close_events()
        code, problem = verdict(self.status, self._cause, self._order.limits, self.group)
        self._final = {
            "key": self.key,
            "phase": protocol.ENDED,
            "pid": self.pid,
            "started_at": self._started_at,
            "ended_at": self._ended_at,
            "exit_code": code,
            "error": problem,
            "log": self._output.summary(),
            "size": self.size,
            "may_have_started": self._may_have_started,
        }
        self._output.close()
        # A full disk, or the directory is gone: the report is kept here until the agent has it.
        with suppress(OSError):
            records.finish(self._order.directory, self._final)
        self._remove_group()
        self._host.over(self)

    def _remove_group(self, tries: int = 50) -> None:
        if self.group is not None and not self.group.remove() and tries:
            # The kernel may need a moment to see that it is empty.
            self._host.loop.after(_LOOK_AGAIN, partial(self._remove_group, tries - 1))

    def _after(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        old = self._timers.get(name)
        if old is not None:
            old.cancel()
        self._timers[name] = self._host.loop.after(seconds, callback)
