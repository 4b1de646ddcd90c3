"""The supervisor's side of its socket: connections, operations, and what is pushed to clients.

Any number of clients; what one asks for is answered to it, what happens is pushed to all that said hello. Everything
that is said within one turn of the loop leaves in one write. A client that does not read is dropped, and finds out all
it missed by `list` when it comes back.
"""

from __future__ import annotations

import json
import os
import socket
import struct
import sys
from functools import partial

from gamenode_agent.supervisor import protocol, recovery
from gamenode_agent.supervisor.attempts import Attempt
from gamenode_agent.supervisor.cgroups import Groups
from gamenode_agent.supervisor.children import Children
from gamenode_agent.supervisor.loop import READABLE, WRITABLE, Loop, Timer, boottime
from gamenode_agent.supervisor.orders import Order
from gamenode_agent.supervisor.protocol import Json

_READ = 1 << 18
#: Unread bytes after which a client is given up.
_MOST_UNREAD = 8 << 20

_encode = json.JSONEncoder(separators=(",", ":")).encode


class _Connection:
    __slots__ = ("greeted", "incoming", "outgoing", "socket")

    def __init__(self, sock: socket.socket) -> None:
        self.socket = sock
        self.incoming = b""
        self.outgoing = bytearray()
        self.greeted = False


class Refused(Exception):
    """An operation that is not done, and the error the client gets."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(message)
        self.error = protocol.error(code, message)


class Service:
    """The host of all attempts."""

    def __init__(self, loop: Loop, listener: socket.socket, *, boot_id: str, origin: float, name: str) -> None:
        self.loop = loop
        self.boot_id = boot_id
        self.groups = Groups(name)
        self.devnull = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._origin = origin
        self._listener = listener
        self._connections: dict[int, _Connection] = {}
        self._unsent: set[_Connection] = set()
        self._running: dict[str, Attempt] = {}
        self._over: dict[str, Json] = {}
        self.children = Children(self._running)
        self._grown: dict[str, Attempt] = {}
        self._idle: Timer | None = None
        self._ending = False
        listener.setblocking(False)
        loop.watch(listener.fileno(), self._accept, vital=True)
        loop.at_end_of_turn(self._flush)
        self._maybe_idle()

    # What attempts need

    def now(self) -> float:
        """Unix seconds: the wall clock when this process started, and the time since."""
        return self._origin + boottime()

    def grew(self, attempt: Attempt) -> None:
        """Has the new size reported, soon."""
        if not self._grown:
            self.loop.after(protocol.OUTPUT_DELAY, self._report_output)
        self._grown[attempt.key] = attempt

    def over(self, attempt: Attempt) -> None:
        """Notes and reports the end of an attempt."""
        report = attempt.report()
        self._grown.pop(attempt.key, None)
        self._over[attempt.key] = report
        if self._running.pop(attempt.key, None) is not None:  # else the answer to `spawn` says it
            self.children.forget(attempt)
            self._push({"push": "ended", "report": report})
        self._maybe_idle()

    def children_ended(self) -> None:
        """Some of our children may have ended."""
        try:
            touched = self.children.reap()
        except OSError:  # no descriptor left to look into /proc
            self.loop.report()
            touched = list(self._running.values())
            self.loop.after(1.0, self.children_ended)
        for attempt in touched:
            self.guarded(attempt)

    def guarded(self, attempt: Attempt) -> None:
        """Settles an attempt; a failure in that is the attempt's end and not this process's."""
        try:
            attempt.settle()
        except Exception as problem:
            self.loop.report()
            attempt.abandon(f"the supervisor failed: {problem}")

    def end(self) -> None:
        """Stops everything, then this process: it was told to end."""
        self._ending = True
        cause = protocol.error(protocol.SUPERVISOR_LOST, "the supervisor was told to end")
        for attempt in list(self._running.values()):
            attempt.stop(cause)
        self._maybe_idle()

    def _report_output(self) -> None:
        grown, self._grown = self._grown, {}
        for key, attempt in grown.items():
            self._push({"push": "output", "key": key, "size": attempt.size})

    def _maybe_idle(self) -> None:
        if self._ending and not self._running:
            self.loop.stop()
        elif self._running or self._connections:
            if self._idle is not None:
                self._idle.cancel()
                self._idle = None
        elif self._idle is None:
            self._idle = self.loop.after(protocol.IDLE_EXIT, self.loop.stop)

    # Operations

    def _spawn(self, given: Json) -> Json:
        try:
            order = Order(given)
        except (KeyError, TypeError, ValueError) as problem:
            raise Refused(protocol.INVALID_ARGUMENT, f"not an order to start something: {problem}") from None
        known = self._report_of(order.key)
        if known is not None:
            return known
        if self._ending:
            raise Refused(protocol.SUPERVISOR_LOST, "the supervisor is ending")
        attempt = Attempt(order, self)
        try:
            attempt.start()
        except FileExistsError:
            # An earlier supervisor has begun it: it is never begun again.
            return self._recovered([recovery.Lost(order.key, order.directory, "")])[0]
        if attempt.pid:
            self._running[order.key] = attempt
        return attempt.report()

    def _stop(self, given: Json) -> Json:
        attempt = self._running.get(str(given.get("key")))
        if attempt is None:
            return {"running": False}
        code, reason = str(given.get("code", protocol.CANCELLED)), str(given.get("reason", ""))
        attempt.stop(protocol.error(code, reason or "stopped"), force=bool(given.get("force")))
        return {"running": True}

    def _list(self, _given: Json) -> Json:
        return {"attempts": [*self._over.values(), *(attempt.report() for attempt in self._running.values())]}

    def _recover(self, given: Json) -> Json:
        attempts = given.get("attempts")
        if not isinstance(attempts, list):
            raise Refused(protocol.INVALID_ARGUMENT, "recover needs a list of attempts")
        lost = [recovery.Lost(str(a["key"]), str(a["directory"]), str(a.get("boot_id", ""))) for a in attempts]
        if self._ending and any(self._report_of(attempt.key) is None for attempt in lost):
            # What it does not know may be begun by the next one, and not be looked for by two.
            raise Refused(protocol.SUPERVISOR_LOST, "the supervisor is ending")
        return {"attempts": self._recovered(lost)}

    def _recovered(self, lost: list[recovery.Lost]) -> list[Json]:
        unknown = [attempt for attempt in lost if self._report_of(attempt.key) is None]
        reports = recovery.recover(unknown, boot_id=self.boot_id, now=self.now, groups=self.groups)
        for key, report in reports.items():
            # "Never started" is no end: it may be started now.
            if report["phase"] != protocol.RUNNING and report["may_have_started"]:
                self._over[key] = report
        return [self._report_of(attempt.key) or reports[attempt.key] for attempt in lost]

    def _forget(self, given: Json) -> Json:
        keys = given.get("keys")
        for key in keys if isinstance(keys, list) else ():
            self._over.pop(key, None)
        return {}

    def _capabilities(self, _given: Json) -> Json:
        return {**self.groups.capabilities(), "users": os.geteuid() == 0}

    def _shutdown(self, given: Json) -> Json:
        if self._running and not given.get("force"):
            raise Refused(protocol.STATE_CONFLICT, f"{len(self._running)} attempts are running")
        self.end()
        return {}

    def _report_of(self, key: str) -> Json | None:
        attempt = self._running.get(key)
        return attempt.report() if attempt is not None else self._over.get(key)

    # Connections

    def _accept(self, _mask: int) -> None:
        try:
            sock, _ = self._listener.accept()
        except OSError:  # gone again, or no descriptor left: it stays in the queue
            return
        _, uid, _ = struct.unpack("3i", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
        if uid not in (0, os.geteuid()):
            sock.close()
            return
        sock.setblocking(False)
        connection = _Connection(sock)
        self._connections[sock.fileno()] = connection
        self.loop.watch(sock.fileno(), partial(self._ready, connection))
        self._maybe_idle()

    def _ready(self, connection: _Connection, mask: int) -> None:
        if mask & WRITABLE:
            self._unsent.add(connection)
        if not mask & ~WRITABLE:
            return
        try:
            data = connection.socket.recv(_READ)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._drop(connection)
            return
        *lines, connection.incoming = (connection.incoming + data).split(b"\n")
        for line in lines:
            self._answer(connection, line)
        if len(connection.incoming) > protocol.MAX_LINE:
            self._drop(connection)

    def _answer(self, connection: _Connection, line: bytes) -> None:
        number: object = None
        try:
            request = json.loads(line)
            number = request["id"]
            reply: Json = {"id": number, "ok": self._do(connection, request)}
        except Refused as refusal:
            reply = {"id": number, "error": refusal.error}
        except (ValueError, TypeError, KeyError, AttributeError) as problem:
            message = f"not understood: {type(problem).__name__}: {problem}"
            reply = {"id": number, "error": protocol.error(protocol.INVALID_ARGUMENT, message)}
        except Exception as problem:
            self.loop.report()
            reply = {"id": number, "error": protocol.error(protocol.INTERNAL, f"the supervisor failed: {problem}")}
        self._say(connection, reply)

    def _do(self, connection: _Connection, request: Json) -> Json:
        match request["op"]:
            case "spawn":
                return self._spawn(request)
            case "stop":
                return self._stop(request)
            case "list":
                return self._list(request)
            case "recover":
                return self._recover(request)
            case "forget":
                return self._forget(request)
            case "capabilities":
                return self._capabilities(request)
            case "shutdown":
                return self._shutdown(request)
            case "hello":
                connection.greeted = True
                return {
                    "version": protocol.VERSION,
                    "version_min": protocol.VERSION_MIN,
                    "pid": os.getpid(),
                    "boot_id": self.boot_id,
                    "running": len(self._running),
                }
            case other:
                raise Refused(protocol.INVALID_ARGUMENT, f"there is no operation {other!r}")

    def _push(self, message: Json) -> None:
        for connection in self._connections.values():
            if connection.greeted:
                self._say(connection, message)

    def _say(self, connection: _Connection, message: Json) -> None:
        connection.outgoing += _encode(message).encode() + b"\n"
        self._unsent.add(connection)

    def _flush(self) -> None:
        if not self._unsent:
            return
        unsent, self._unsent = self._unsent, set()
        for connection in unsent:
            fd = connection.socket.fileno()
            if fd < 0:
                continue
            try:
                sent = connection.socket.send(connection.outgoing)
            except BlockingIOError:
                sent = 0
            except OSError:
                self._drop(connection)
                continue
            waiting = len(connection.outgoing) - sent
            del connection.outgoing[:sent]
            if waiting > _MOST_UNREAD:
                self._drop(connection)
            elif waiting or sent == 0:
                self.loop.change(fd, READABLE | WRITABLE)
            else:
                self.loop.change(fd, READABLE)

    def _drop(self, connection: _Connection) -> None:
        fd = connection.socket.fileno()
        if fd >= 0:
            self.loop.unwatch(fd)
            del self._connections[fd]
            connection.socket.close()
        self._maybe_idle()

    def close(self) -> None:
        """Closes what this owns; the last words have been sent."""
        self._flush()
        self.groups.close()
        sys.stderr.flush()
