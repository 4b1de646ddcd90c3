from __future__ import annotations

import io
import json
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import logs
from gamenode_proto.process.addresses import join_address, split_address
from gamenode_proto.process.detach import python_module, spawn_detached
from gamenode_proto.process.locks import holder_of, lock_file
from gamenode_proto.process.places import (
    SYSTEM_SOCKET,
    control_socket_path,
    default_data_dir,
    login_socket_path,
    prepare_socket_dir,
)


def test_a_lock_names_its_holder_and_dies_with_it(tmp_path: Path) -> None:
    path = tmp_path / "server.lock"
    code = (
        "import sys, pathlib; from gamenode_proto.process.locks import lock_file;"
        f"lock = lock_file(pathlib.Path({str(path)!r})); print('held', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        with pytest.raises(GameNodeError, match=rf"the data dir x is in use .*pid {holder.pid}") as caught:
            lock_file(path, what="the data dir x")
        assert caught.value.code is Code.STATE_CONFLICT
        assert caught.value.details == {"pid": str(holder.pid)}
        assert holder_of(path) == holder.pid
        holder.send_signal(signal.SIGKILL)
        holder.wait()
    assert holder_of(path) is None
    with lock_file(path) as lock:
        assert path.read_text() == f"{os.getpid()}\n"
        lock.release()
    with lock_file(path):
        pass
    assert holder_of(tmp_path / "none") is None


def wait_for(path: Path) -> str:
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        if path.exists() and path.read_text():
            return path.read_text()
        time.sleep(0.01)
    raise AssertionError(f"{path} did not come")


def test_a_detached_process_has_its_own_session_and_its_output_in_the_log(tmp_path: Path) -> None:
    out = tmp_path / "out"
    code = (
        "import os, sys, pathlib; print('hello', flush=True); print('oops', file=sys.stderr, flush=True);"
        f"pathlib.Path({str(out)!r}).write_text(f'{{os.getpid()}} {{os.getsid(0)}} {{sys.stdin.read()!r}}')"
    )
    pid = spawn_detached([sys.executable, "-c", code], log_path=tmp_path / "log")
    assert wait_for(out) == f"{pid} {pid} ''"
    assert (tmp_path / "log").read_text() == "hello\noops\n"
    assert (tmp_path / "log").stat().st_mode & 0o777 == 0o600
    assert python_module("x", "y") == [sys.executable, "-m", "x", "y"]


@pytest.fixture
def restored_root() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


@pytest.mark.usefixtures("restored_root")
def test_logs_are_text_or_json_and_always_inert() -> None:
    stream = io.StringIO()
    logs.configure("info", "text", stream=stream)
    logging.getLogger("x.y").info("escape \x1b[31m", extra={"node": "eu 1", "count": 3})
    logging.getLogger("x.y").debug("not shown")
    line = stream.getvalue()
    assert line.endswith('INFO    x.y: escape \\x1b[31m node="eu 1" count=3\n')
    assert line.count("\n") == 1
    stream = io.StringIO()
    logs.configure("debug", "json", stream=stream)
    try:
        raise KeyError("k")
    except KeyError:
        logging.getLogger("x").exception("bad", extra={"run": "r1", "path": Path("/x")})
    document = json.loads(stream.getvalue())
    assert document["level"] == "error"
    assert document["run"] == "r1"
    assert document["path"] == "/x"
    assert "KeyError" in document["exception"]
    with pytest.raises(ValueError, match="loud"):
        logs.configure("loud")


def test_addresses() -> None:
    assert split_address("[::1]:80") == ("::1", 80)
    assert join_address(*split_address("[::1]:80")) == "[::1]:80"
    assert split_address("localhost:0") == ("localhost", 0)
    for bad in ("x", "x:", ":80", "x:99999", "::1:80", "x:-1", ""):
        with pytest.raises(ValueError, match=r"HOST:PORT|names no host|IPv6"):
            split_address(bad)


def test_sockets_are_in_the_data_dir_unless_its_path_is_too_long(tmp_path: Path) -> None:
    assert control_socket_path(Path("/var/lib/gamenode")) == SYSTEM_SOCKET
    assert control_socket_path(Path("/d")) == Path("/d/control.sock")
    long = Path("/" + "x" * 120)
    short = control_socket_path(long, uid=77)
    assert short.parent == Path("/tmp/gamenode-77")
    assert short == control_socket_path(long, uid=77)
    assert short != control_socket_path(Path("/" + "y" * 120), uid=77)
    assert login_socket_path(Path("/d/control.sock")) == Path("/d/control.login")


def test_a_socket_folder_of_someone_else_is_refused(tmp_path: Path) -> None:
    prepare_socket_dir(tmp_path / "new" / "a.sock")
    assert (tmp_path / "new").stat().st_mode & 0o777 == 0o700
    prepare_socket_dir(tmp_path / "new" / "a.sock")
    (tmp_path / "new").chmod(0o777)
    with pytest.raises(GameNodeError, match="only this user"):
        prepare_socket_dir(tmp_path / "new" / "a.sock")
    (tmp_path / "link").symlink_to(tmp_path)
    with pytest.raises(GameNodeError, match="only this user"):
        prepare_socket_dir(tmp_path / "link" / "a.sock")


def test_data_dirs() -> None:
    assert default_data_dir({}, uid=0) == Path("/var/lib/gamenode")
    assert default_data_dir({"HOME": "/h"}, uid=5) == Path("/h/.local/share/gamenode")
    assert default_data_dir({"HOME": "/h", "XDG_DATA_HOME": "/x"}, uid=5) == Path("/x/gamenode")
