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
from gamenode_agent.supervisor.cgroups import Group, Groups, Limits
from gamenode_agent.supervisor.children import Children
from gamenode_agent.supervisor.loop import Loop, Timer, boottime
from gamenode_agent.supervisor.masking import Masker
from gamenode_agent.supervisor.output import Output
from gamenode_agent.supervisor.protocol import Json

_READ = 1 << 16
#: Bytes a second read from an attempt whose log is full: its output is only looked at for its end.
_FULL_RATE = 64 << 20
#: Seconds between two looks at a tree that was killed and is not gone, and at one whose limits nothing else keeps.
_LOOK_AGAIN = 0.1
_SIGNALS = {s.name.removeprefix("SIG"): s for s in signal.Signals}


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


class Request:
    """What is to be started, checked. Raises ValueError, KeyError or TypeError for what is not a request."""

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
        self.log_limit = int(_seconds(given.get("log_limit", 0))) or protocol.DEFAULT_LOG_LIMIT
        self.masks = [_text(mask).encode("latin-1") for mask in _list(given.get("masks", [])) if mask]


class Attempt:
    """See the module."""

    def __init__(self, request: Request, host: Host) -> None:
        self._request = request
        self._host = host
        self.key = request.key
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
        self._pipes: dict[int, int] = {}
        self._masks: dict[int, Masker] = {}
        self._output = Output(f"{request.directory}/{records.LOG_FILE}", request.log_limit)
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
        request, host = self._request, self._host
        evidence: Json = {"boot_id": host.boot_id, "key": self.key, "at": host.now()}
        try:
            state = records.create(request.directory, evidence)
        except FileExistsError:
            raise
        except OSError as problem:
            code = protocol.STORAGE_FULL if problem.errno in (28, 122) else protocol.NOT_FOUND
            self._fail(protocol.error(code, f"{request.directory} cannot be used: {problem.strerror}"))
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
        if force or self._request.grace <= 0:
            self._kill()
        elif "grace" not in self._timers and self.status is None:
            self._after("grace", self._request.grace, self._kill)
            self._signal_all(self._request.signal)

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
            self._drain()
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
        request, host = self._request, self._host
        who = starting.account(request.user)
        marks = dict(zip(protocol.MARKS, request.key.split("/"), strict=True))
        env = starting.environment(request.env, marks, who)
        if request.limits.before_exec:
            self.group = host.groups.create(self.key.replace("/", "."), request.limits)
        theirs: list[int] = []
        try:
            for stream in (1, 2):
                readable, writable = os.pipe2(os.O_CLOEXEC)
                self._pipes[stream] = readable
                theirs.append(writable)
                os.set_blocking(readable, False)
            before = boottime()
            started = host.now()
            fds = (host.devnull, theirs[0], theirs[1])
            self.pid = starting.start(
                request.argv, env, request.cwd, fds, who=who, limits=request.limits, group=self.group
            )
        finally:
            for fd in theirs:
                os.close(fd)
        self._started_at = started
        self._may_have_started = True
        host.children.add(self.pid, self)
        # A full disk: recovery finds it by its marks then; it runs, and that is what counts now.
        with suppress(OSError):
            records.add(state, {"pid": self.pid, "from": before, "to": boottime(), "at": started})
        if request.masks:
            self._masks = {stream: Masker(request.masks) for stream in self._pipes}
        for stream, fd in self._pipes.items():
            host.loop.watch(fd, partial(self._readable, stream))
        if request.timeout > 0:
            self._after("timeout", request.timeout, self._timed_out)
        self._watch_limits()

    def _fail(self, problem: Json) -> None:
        for fd in self._pipes.values():
            os.close(fd)
        self._pipes.clear()
        self._cause = problem
        self._ended_at = self._host.now()
        self._conclude()

    # Output

    def _readable(self, stream: int, _mask: int) -> None:
        fd = self._pipes[stream]
        try:
            data = os.read(fd, _READ)
        except BlockingIOError:
            return
        if not data:
            self._close_pipe(stream)
            return
        self._take(data, stream)
        if self._output.over and len(data) >= _READ // 4:
            self._host.loop.unwatch(fd)
            self._after(f"pipe{stream}", len(data) / _FULL_RATE, partial(self._resume, stream))

    def _resume(self, stream: int) -> None:
        fd = self._pipes.get(stream)
        if fd is not None and not self._host.loop.watching(fd):
            self._host.loop.watch(fd, partial(self._readable, stream))

    def _take(self, data: bytes, stream: int) -> None:
        masker = self._masks.get(stream)
        if masker is not None:
            data = masker.feed(data)
            if not data:
                return
        self._add(data, stream)

    def _add(self, data: bytes, stream: int) -> None:
        output, limit = self._output, self._request.limits.output
        if limit and output.total + len(data) > limit:
            room = max(0, limit - output.total)
            if room:
                output.add(data[:room], stream, self._host.now())
            output.refuse(len(data) - room)
            self._over_limit("output", f"more than {limit} bytes of output")
        else:
            output.add(data, stream, self._host.now())
        self._host.grew(self)

    def _drain(self) -> None:
        # Whoever could write is gone, so what a pipe holds is all there is; or the writer is foreign, and not our
        # business: then what is there now is enough.
        for stream, fd in list(self._pipes.items()):
            for _ in range(32):
                try:
                    data = os.read(fd, _READ)
                except BlockingIOError:
                    break
                if not data:
                    break
                self._take(data, stream)
            self._close_pipe(stream)

    def _close_pipe(self, stream: int) -> None:
        fd = self._pipes.pop(stream)
        self._host.loop.unwatch(fd)
        os.close(fd)
        masker = self._masks.pop(stream, None)
        if masker is not None:
            rest = masker.end()
            if rest:
                self._add(rest, stream)

    # Limits and deadlines

    def _timed_out(self) -> None:
        seconds = self._request.timeout
        self.stop(protocol.error(protocol.STEP_TIMEOUT, f"not finished after {seconds:g} s", timeout=f"{seconds:g}"))

    def _over_limit(self, limit: str, what: str) -> None:
        value = str(getattr(self._request.limits, limit))
        cause = protocol.error(protocol.RESOURCE_LIMIT, f"stopped at its limit: {what}", limit=limit, value=value)
        self.stop(cause, force=True)

    def _watch_limits(self) -> None:
        limits, group = self._request.limits, self.group
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
            self._over_limit("pids", f"more than {self._request.limits.pids} processes")

    def _close_events(self) -> None:
        if self._events >= 0:
            self._host.loop.unwatch(self._events)
            os.close(self._events)
            self._events = -1

    def _poll_limits(self) -> None:
        limits, group = self._request.limits, self.group
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
        try:
            if self.status is None:
                os.killpg(self.pid, number)
            for process in self._tree():
                if process.group != self.pid or self.status is not None:
                    processes.signal_process(process, number)
            if number != signal.SIGKILL and self.status is None:
                os.killpg(self.pid, signal.SIGCONT)
        except (ProcessLookupError, PermissionError):
            # Ended just now; or it has become another user's, which only root could end. It is looked at again.
            return

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
        code, problem = self._verdict()
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
            records.finish(self._request.directory, self._final)
        self._remove_group()
        self._host.over(self)

    def _remove_group(self, tries: int = 50) -> None:
        if self.group is not None and not self.group.remove() and tries:
            # The kernel may need a moment to see that it is empty.
            self._host.loop.after(_LOOK_AGAIN, partial(self._remove_group, tries - 1))

    def _verdict(self) -> tuple[int | None, Json | None]:
        """Exit code and error, once everything is known."""
        if self.status is None:
            return None, self._cause
        number = os.WTERMSIG(self.status) if os.WIFSIGNALED(self.status) else 0
        code = 128 + number if number else os.WEXITSTATUS(self.status)
        limits = self._request.limits
        if self._cause is not None or not code:
            return code, self._cause
        if self.group is not None and self.group.oom_kills():
            message = f"killed: it needed more than its {limits.memory} bytes of memory"
            return code, protocol.error(protocol.OOM_KILLED, message, limit="memory", value=str(limits.memory))
        if self.group is not None and self.group.refused_forks():
            message = f"it wanted more than its {limits.pids} processes"
            return code, protocol.error(protocol.RESOURCE_LIMIT, message, limit="pids", value=str(limits.pids))
        if limits.file_size and code == 128 + signal.SIGXFSZ:
            message = f"stopped at its limit: a file of more than {limits.file_size} bytes"
            value = str(limits.file_size)
            return code, protocol.error(protocol.RESOURCE_LIMIT, message, limit="file_size", value=value)
        if number:
            name = signal.Signals(number).name if number in signal.Signals._value2member_map_ else str(number)
            return code, protocol.error(protocol.EXIT_NONZERO, f"ended by signal {name}", signal=name)
        return code, None

    def _after(self, name: str, seconds: float, callback: Callable[[], None]) -> None:
        old = self._timers.get(name)
        if old is not None:
            old.cancel()
        self._timers[name] = self._host.loop.after(seconds, callback)


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
