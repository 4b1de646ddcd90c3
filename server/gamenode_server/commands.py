"""What `gamenode-server` does when it is called: serve, serve in the background, stop. Owns signals and exit codes.

Every problem is one line on stderr; where a server detaches, the line comes back from the new process.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import logging
import os
import select
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

import click

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import logs
from gamenode_proto.process.detach import python_module, spawn_detached
from gamenode_proto.process.exits import ExitCode, exit_for
from gamenode_proto.process.locks import Lock, holder_of
from gamenode_proto.process.places import default_data_dir
from gamenode_proto.process.settings import load, options
from gamenode_proto.transport import quiet_core
from gamenode_server.config import ServerSettings
from gamenode_server.place import Place

logger = logging.getLogger(__name__)

PROGRAM = "gamenode-server"
#: Seconds after which a stop that hangs is cut short.
STOP_DEADLINE = 9.0
#: A detached server tells this file descriptor of its parent how its start went.
_READY_FD = "GAMENODE_READY_FD"


def run() -> int:
    """Runs the command line; the exit code."""
    return _to_the_end(lambda: server.main(prog_name=PROGRAM, standalone_mode=False))


def take_over(data_dir: str, lock: int) -> int:
    """Serves as the standby that waited for this lock, with the settings that were left to it; the exit code."""
    from gamenode_server.succession import settings_left

    def serve() -> None:
        place = Place(Path(data_dir))
        settings = settings_left(place)
        logs.configure(settings.log_level, settings.log_format)
        logger.info("the server before this one is gone; taking over", extra={"data_dir": data_dir})
        asyncio.run(_serve(settings, Lock(place.lock, lock)))

    return _to_the_end(serve)


def _to_the_end(work: Callable[[], int | None]) -> int:
    """Does the work of a command; whatever goes wrong is one line on stderr and an exit code."""
    try:
        return int(work() or ExitCode.OK)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.ClickException as error:
        message = error.format_message().partition("\n")[0]
        return _complain(f"{message} (see {PROGRAM} --help)", ExitCode.USAGE)
    except (click.Abort, KeyboardInterrupt):
        return ExitCode.INTERRUPTED
    except BaseExceptionGroup as group:
        return _failed(_first(group))
    except Exception as error:
        return _failed(error)


@click.group(invoke_without_command=True, context_settings={"help_option_names": ["-h", "--help"]})
@options(ServerSettings)
@click.option("--detach", is_flag=True, help="Serve in the background, and return once it does.")
@click.version_option(version("gamenode"), message=f"{PROGRAM} %(version)s")
@click.pass_context
def server(context: click.Context, flags: dict[str, Any], detach: bool) -> int:
    """Serve agents and operators: create, dispatch and track runs."""
    context.obj = flags
    if context.invoked_subcommand is not None:
        return ExitCode.OK
    settings = load(ServerSettings, flags=flags, env=os.environ)
    logs.configure(settings.log_level, settings.log_format)
    if detach:
        return _detach(settings)
    asyncio.run(_serve(settings))
    return ExitCode.OK


@server.command()
@click.option("--data-dir", metavar="DIR", default=None, help="The data dir of the server to stop.")
@click.pass_context
def stop(context: click.Context, data_dir: str | None) -> int:
    """Stop the server on the data dir, with the console that it may run in, and wait until it has."""
    flags: dict[str, Any] = dict(context.obj)
    if data_dir is not None:
        flags["data_dir"] = data_dir
    settings = load(ServerSettings, flags=flags, env=os.environ)
    folder = settings.data_dir or default_data_dir(os.environ)
    place = Place(folder)
    pid, standby = holder_of(place.lock), holder_of(place.standby_lock)
    if not pid:
        raise GameNodeError(Code.NOT_FOUND, f"no server runs on {folder}")
    with _no_standby_serves(place, pid), contextlib.suppress(ProcessLookupError):  # it ended by itself meanwhile
        _end(pid)
    inside = ""
    if standby:
        inside = ", with the console that it ran in and its standby"
        with contextlib.suppress(ProcessLookupError):
            _end(standby, signal_it=False)
    click.echo(f"stopped the server on {folder} (pid {pid}){inside}", err=True)
    return ExitCode.OK


@contextlib.contextmanager
def _no_standby_serves(place: Place, pid: int) -> Iterator[None]:
    """Marks the server as stopped for good; takes the mark back where the stop fails, since it goes on."""
    try:
        place.mark_stopped()
    except PermissionError:
        raise _not_ours(pid) from None
    try:
        yield
    except BaseException:
        place.stopped.unlink(missing_ok=True)
        raise


def _not_ours(pid: int) -> GameNodeError:
    return GameNodeError(Code.PERMISSION_DENIED, f"the server (pid {pid}) belongs to another user")


def _end(pid: int, *, signal_it: bool = True) -> None:
    """Asks a process to end and waits until it has. Raises ProcessLookupError where it is gone already."""
    handle = os.pidfd_open(pid)
    try:
        if signal_it:
            signal.pidfd_send_signal(handle, signal.SIGTERM)
        ended, _, _ = select.select([handle], [], [], STOP_DEADLINE + 3)
    except PermissionError:
        raise _not_ours(pid) from None
    finally:
        os.close(handle)
    if not ended:
        raise GameNodeError(Code.TIMEOUT, f"the server (pid {pid}) has not ended; `kill -9 {pid}` will, losing nothing")


async def _serve(settings: ServerSettings, lock: Lock | None = None) -> None:
    quiet_core()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, _stop, stopping)
    from gamenode_server.app import open_server

    async with open_server(settings, lock=lock) as running:
        bound = running.bound
        control = ",".join(filter(None, (str(bound.control_socket), bound.control_listen)))
        metrics = f" metrics={running.metrics_listen}" if running.metrics_listen else ""
        _announce(f"ready agents={bound.listen} join={bound.join_listen} control={control}{metrics} pid={os.getpid()}")
        await stopping.wait()
        logger.info("stopping")
    logger.info("stopped")


def _stop(stopping: asyncio.Event) -> None:
    if stopping.is_set():
        return
    stopping.set()
    timer = threading.Timer(STOP_DEADLINE, _cut_short)
    timer.daemon = True
    timer.start()


def _cut_short() -> None:
    """What is committed is safe, and the rest is what a crash would lose: nothing that was acknowledged."""
    logger.error("the stop took longer than %g s and was cut short", STOP_DEADLINE)
    os._exit(ExitCode.FAILED)


# --- in the background -----------------------------------------------------------------------------------------------


def _detach(settings: ServerSettings) -> int:
    """Starts the same command without --detach, and waits for what it says of its start."""
    folder = settings.data_dir or default_data_dir(os.environ)
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        reader, writer = os.pipe()
        try:
            words = [word for word in sys.argv[1:] if word != "--detach"]
            pid = spawn_detached(
                python_module("gamenode_server", *words),
                log_path=folder / "server.log",
                env={**os.environ, _READY_FD: str(writer)},
                cwd=str(Path.cwd()),
                pass_fds=(writer,),
            )
        finally:
            os.close(writer)
        with os.fdopen(reader, encoding="utf-8") as answer:
            said = answer.readline().rstrip("\n")
    except OSError as error:
        raise GameNodeError(
            Code.PERMISSION_DENIED, f"the data dir {folder} cannot be used: {error.strerror or error}"
        ) from error
    if said.startswith("ready "):
        click.echo(said)
        return ExitCode.OK
    code, _, message = said.partition(" ")
    if not code.isdecimal():
        return _complain(f"the server (pid {pid}) ended at once; see {folder / 'server.log'}", ExitCode.FAILED)
    return _complain(message, int(code))


def _announce(line: str) -> None:
    """Says `ready …` on stdout and, in the background, to whoever started this process."""
    try:
        sys.stdout.write(line + "\n")
        sys.stdout.flush()
    except OSError as error:
        if error.errno not in (errno.EPIPE, errno.EBADF):  # nobody listens, and the server serves all the same
            raise
    _tell_parent(line)


def _tell_parent(line: str) -> None:
    number = os.environ.pop(_READY_FD, "")
    if not number.isdecimal():
        return
    try:
        with os.fdopen(int(number), "w", encoding="utf-8") as parent:
            parent.write(line + "\n")
    except OSError as error:
        logger.debug("the parent did not wait for this process: %s", error)


# --- problems --------------------------------------------------------------------------------------------------------


def _failed(error: BaseException) -> int:
    if isinstance(error, GameNodeError) and error.code is not Code.INTERNAL:
        return _complain(error.message, exit_for(error.code))
    if isinstance(error, OSError):
        where = f" ({error.filename})" if error.filename else ""
        return _complain(f"{error.strerror or error}{where}", ExitCode.FAILED)
    logger.debug("internal error", exc_info=error)
    return _complain(
        f"internal error: {type(error).__name__}: {error} (more with --log-level debug)".replace("\n", " "),
        ExitCode.FAILED,
    )


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


def _complain(message: str, code: int) -> int:
    line = message.replace("\n", " ")
    click.echo(f"{PROGRAM}: {line}", err=True)
    _tell_parent(f"{int(code)} {line}")
    return int(code)
