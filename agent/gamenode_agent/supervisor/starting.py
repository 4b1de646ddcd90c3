"""Starts one process: new session, own descriptors, and whatever must hold before its program begins.

The plain case is one `posix_spawn`. Where limits or another user are asked for, a fork of this single-threaded process
prepares itself and then becomes the program; a pipe that closes with the exec brings back what went wrong before it.
"""

from __future__ import annotations

import errno
import os
import signal
from typing import NoReturn

from gamenode_agent.supervisor import protocol
from gamenode_agent.supervisor.cgroups import Group, Limits
from gamenode_agent.supervisor.protocol import Json

#: Signals that may be ignored here must not be in a step.
_DEFAULTS = [
    signal.SIGPIPE,
    signal.SIGXFSZ,
    signal.SIGINT,
    signal.SIGHUP,
    signal.SIGTERM,
    signal.SIGQUIT,
    signal.SIGCHLD,
]
_FALLBACK_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
#: What this process inherits of the agent's environment, and a step of it, where it is set. Nothing else: secrets
#: stay out.
INHERITED = ("PATH", "LANG", "LC_ALL", "TZ", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR")


class CannotStart(Exception):
    """Nothing was started, and `error` says why."""

    def __init__(self, code: str, message: str, **details: str) -> None:
        super().__init__(message)
        self.error: Json = protocol.error(code, message, **details)


class Account:
    """Who a step runs as."""

    __slots__ = ("gid", "groups", "home", "name", "uid")

    def __init__(self, name: str, uid: int, gid: int, home: str, groups: list[int]) -> None:
        self.name = name
        self.uid = uid
        self.gid = gid
        self.home = home
        self.groups = groups


def account(user: str) -> Account | None:
    """The account that `user` (NAME, UID, NAME:GROUP or UID:GID) names; None if it is our own. Raises CannotStart."""
    if not user:
        return None
    import grp
    import pwd

    name, _, group = user.partition(":")
    try:
        entry = pwd.getpwuid(int(name)) if name.isdigit() else pwd.getpwnam(name)
        uid, gid, home, name = entry.pw_uid, entry.pw_gid, entry.pw_dir, entry.pw_name
    except KeyError:
        if not name.isdigit():
            raise CannotStart(protocol.INVALID_ARGUMENT, f"there is no user {name!r} on this host", user=user) from None
        uid, gid, home = int(name), int(name), "/"
    except OverflowError:
        raise CannotStart(protocol.INVALID_ARGUMENT, f"{name} is no user id", user=user) from None
    if group:
        try:
            gid = int(group) if group.isdigit() else grp.getgrnam(group).gr_gid
        except KeyError:
            raise CannotStart(
                protocol.INVALID_ARGUMENT, f"there is no group {group!r} on this host", user=user
            ) from None
    if os.geteuid() != 0:
        if uid == os.geteuid() and gid == os.getegid():
            return None
        raise CannotStart(
            protocol.PERMISSION_DENIED, f"only an agent that runs as root can run a step as {user!r}", user=user
        )
    return Account(name, uid, gid, home, os.getgrouplist(name, gid) if not name.isdigit() else [gid])


def environment(given: dict[str, str], marks: dict[str, str], who: Account | None) -> dict[str, str]:
    """What a step's process gets: a minimal base, what was asked for, and the marks it is found by."""
    base = {name: os.environ[name] for name in INHERITED if name in os.environ}
    base.setdefault("PATH", _FALLBACK_PATH)
    if who is not None:
        base.update({"HOME": who.home, "USER": who.name, "LOGNAME": who.name})
    base.update(given)
    base.update(marks)
    return base


def find(program: str, cwd: str, path: str) -> str:
    """The file that `program` names, found along `path` like a shell would. Raises CannotStart."""
    if "/" in program:
        candidates = [os.path.join(cwd, program)]
    else:
        candidates = [os.path.join(folder or cwd, program) for folder in path.split(":")]
    denied = ""
    for candidate in candidates:
        if os.access(candidate, os.X_OK) and not os.path.isdir(candidate):
            return candidate
        if not denied and os.path.exists(candidate):
            denied = candidate
    if denied:
        raise CannotStart(protocol.PERMISSION_DENIED, f"{denied} cannot be executed", program=program)
    raise CannotStart(protocol.NOT_FOUND, f"there is no program {program!r} on this host", program=program)


def start(
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    fds: tuple[int, int, int],
    *,
    who: Account | None,
    limits: Limits,
    group: Group | None,
) -> int:
    """Starts `argv` with `fds` as its 0, 1 and 2, as leader of a new session; returns its pid. Raises CannotStart.

    Changes this process's own working directory: nobody relies on it.
    """
    if not argv:
        raise CannotStart(protocol.INVALID_ARGUMENT, "there is no command to start")
    try:
        os.chdir(cwd)
        program = find(argv[0], cwd, env["PATH"])
        if who is None and not limits.before_exec:
            actions = [(os.POSIX_SPAWN_DUP2, fd, target) for target, fd in enumerate(fds)]
            return os.posix_spawn(
                program, argv, env, file_actions=actions, setsid=True, setsigmask=(), setsigdef=_DEFAULTS
            )
        return _fork(program, argv, env, cwd, fds, who, limits, group)
    except ValueError as problem:  # a NUL in an argument, a "=" in a variable's name
        raise CannotStart(protocol.INVALID_ARGUMENT, f"cannot start {argv[0]!r}: {problem}") from None
    except OSError as problem:
        raise _explain(problem, argv[0], cwd) from None


def _explain(problem: OSError, program: str, cwd: str, stage: str = "") -> CannotStart:
    reason = os.strerror(problem.errno or 0)
    details = {"errno": errno.errorcode.get(problem.errno or 0, str(problem.errno))}
    if stage == "chdir" or problem.filename == cwd:
        code = protocol.PERMISSION_DENIED if problem.errno == errno.EACCES else protocol.NOT_FOUND
        return CannotStart(code, f"the working directory {cwd} cannot be entered: {reason}", **details)
    match problem.errno:
        case errno.ENOENT:
            message = f"{program!r} cannot be started: the interpreter that its first line names is missing"
            return CannotStart(protocol.NOT_FOUND, message, **details)
        case errno.EACCES | errno.EPERM:
            code = protocol.PERMISSION_DENIED
        case errno.EAGAIN | errno.ENOMEM | errno.EMFILE | errno.ENFILE:
            code = protocol.INSUFFICIENT_RESOURCES
        case errno.ENOEXEC:
            reason += " (neither a program nor a script with a first line like #!/bin/sh)"
            code = protocol.INVALID_ARGUMENT
        case errno.E2BIG:
            code = protocol.INVALID_ARGUMENT
        case _:
            code = protocol.INTERNAL
    where = f" ({stage})" if stage else ""
    return CannotStart(code, f"{program!r} cannot be started{where}: {reason}", **details)


def _fork(
    program: str,
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    fds: tuple[int, int, int],
    who: Account | None,
    limits: Limits,
    group: Group | None,
) -> int:
    os.fsencode(program)
    entrances = group.entrances if group is not None else []
    affinity = _affinity(limits, group)
    if limits.file_size or limits.open_files:
        import resource  # noqa: F401 - here rather than in the child
    readable, writable = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _become(program, argv, env, cwd, fds, who, limits, entrances, affinity, writable)
    os.close(writable)
    with os.fdopen(readable, "rb") as pipe:
        trouble = pipe.read().decode()
    if not trouble:
        return pid
    os.waitpid(pid, 0)
    stage, number, message = trouble.split(" ", 2)
    if stage == "value":
        raise ValueError(message)
    raise _explain(OSError(int(number), message), argv[0], cwd, "" if stage == "exec" else stage)


def _affinity(limits: Limits, group: Group | None) -> set[int]:
    if not limits.cpus or (group is not None and group.keeps("cpu")):
        return set()
    allowed = sorted(os.sched_getaffinity(0))
    return set(allowed[: max(1, -int(-limits.cpus // 1))])


def _become(
    program: str,
    argv: list[str],
    env: dict[str, str],
    cwd: str,
    fds: tuple[int, int, int],
    who: Account | None,
    limits: Limits,
    entrances: list[str],
    affinity: set[int],
    trouble: int,
) -> NoReturn:
    stage = "descriptors"
    try:
        os.setsid()
        for target, fd in enumerate(fds):
            os.dup2(fd, target)
        stage = "cgroup"
        for path in entrances:
            entrance = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
            os.write(entrance, b"0")
        stage = "limits"
        if affinity:
            os.sched_setaffinity(0, affinity)
        if limits.file_size or limits.open_files:
            import resource

            if limits.file_size:
                resource.setrlimit(resource.RLIMIT_FSIZE, (limits.file_size, limits.file_size))
            if limits.open_files:
                resource.setrlimit(resource.RLIMIT_NOFILE, (limits.open_files, limits.open_files))
        stage = "user"
        if who is not None:
            os.setgroups(who.groups)
            os.setresgid(who.gid, who.gid, who.gid)
            os.setresuid(who.uid, who.uid, who.uid)
        stage = "chdir"
        os.chdir(cwd)  # again, as the user who is to work there
        stage = "signals"
        for number in _DEFAULTS:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        stage = "exec"
        os.execve(program, argv, env)
    except ValueError as problem:
        os.write(trouble, f"value 0 {problem}".encode())
    except OSError as problem:
        os.write(trouble, f"{stage} {problem.errno or 0} {problem.strerror}".encode())
    finally:
        os._exit(127)
