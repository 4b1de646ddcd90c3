"""gamenode-server as a program: what it prints, where it is found, how it stops, and what a failed start says."""

from __future__ import annotations

import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from gamenode_console import discovery
from gamenode_console.gateway import open_gateway
from gamenode_proto.process.places import control_socket_path

LOOPBACK = ("--listen", "127.0.0.1:0", "--join-listen", "127.0.0.1:0")
MODULE = (sys.executable, "-m", "gamenode_server")


def environment(**more: str) -> dict[str, str]:
    clean = {key: value for key, value in os.environ.items() if not key.startswith("GAMENODE_")}
    return {**clean, **more}


def run(*words: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """The program, to its end."""
    return subprocess.run(
        [*MODULE, *words], env=env or environment(), capture_output=True, text=True, timeout=30, check=False
    )


@contextmanager
def serving(data_dir: Path, *words: str, addresses: Sequence[str] = LOOPBACK) -> Iterator[subprocess.Popen[str]]:
    """The program, until it is ready; killed at the end if it still runs."""
    argv = [*MODULE, "--data-dir", str(data_dir), *addresses, *words]
    with subprocess.Popen(
        argv, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            assert process.stdout is not None
            line = process.stdout.readline()
            assert line.startswith("ready "), process.communicate()
            yield process
        finally:
            process.kill()


def server_file(data_dir: Path) -> dict[str, Any]:
    document: dict[str, Any] = json.loads((data_dir / "server.json").read_text())
    return document


def complaint(done: subprocess.CompletedProcess[str], code: int) -> str:
    """The one line that a failed start says."""
    assert done.returncode == code, done
    assert done.stdout == ""
    assert done.stderr.startswith("gamenode-server: ")
    assert done.stderr.count("\n") == 1, done.stderr
    return done.stderr


# --- finding it ------------------------------------------------------------------------------------------------------


def test_server_json_says_where_it_is_and_is_private(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        document = server_file(tmp_path)
        assert set(document) == {
            "pid", "version", "listen", "join_listen", "control_socket", "control_listen", "metrics_listen",
        }  # fmt: skip
        assert document["pid"] == process.pid
        for key in ("listen", "join_listen"):
            host, port = document[key].rsplit(":", 1)
            assert int(port) > 0
            socket.create_connection((host, int(port)), timeout=5).close()
        control = Path(document["control_socket"])
        assert control == tmp_path / "control.sock"
        assert {p.stat().st_mode & 0o777 for p in (control, control.with_suffix(".login"))} == {0o600}
        assert (tmp_path / "server.json").stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "server" / "identity").stat().st_mode & 0o077 == 0


def test_a_restarted_server_takes_the_port_it_had_even_after_a_kill(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        first = server_file(tmp_path)
        process.kill()
        process.wait()
    with serving(tmp_path) as process:
        second = server_file(tmp_path)
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    assert [second[key] for key in ("listen", "join_listen")] == [first[key] for key in ("listen", "join_listen")]
    host, port = first["listen"].rsplit(":", 1)
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind((host, int(port)))
        taken.listen()
        with serving(tmp_path):
            assert server_file(tmp_path)["listen"] != first["listen"]


async def test_a_data_dir_with_a_long_path_has_its_sockets_elsewhere(tmp_path: Path) -> None:
    data_dir = tmp_path / ("long-" * 20) / "data"
    with serving(data_dir) as process:
        control = Path(server_file(data_dir)["control_socket"])
        assert control == control_socket_path(data_dir)
        assert control.parent == Path(f"/tmp/gamenode-{os.getuid()}")
        assert control.parent.stat().st_mode & 0o777 == 0o700
        async with open_gateway(discovery.find_target(discovery.Place(data_dir, "the test"))) as gateway:
            assert (await gateway.administration.who_am_i()).role == "admin"
        process.send_signal(signal.SIGTERM)
        assert process.wait(10) == 0
    assert not control.exists()
    assert not control.with_suffix(".login").exists()


# --- stopping --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_it_stops_at_once_though_somebody_watches(tmp_path: Path, number: signal.Signals) -> None:
    with serving(tmp_path) as process:
        place = discovery.Place(tmp_path, "the test")
        async with open_gateway(discovery.find_target(place), patience=0.01) as gateway:
            await gateway.administration.who_am_i()
            watching = gateway.state.watch_nodes([])
            await anext(watching)
            started = time.monotonic()
            process.send_signal(number)
            assert process.wait(10) == 0
            assert time.monotonic() - started < 5
            await watching.aclose()  # type: ignore[attr-defined] # it is an async generator
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()
    assert not (tmp_path / "server.json").exists()
    assert not (tmp_path / "control.sock").exists()
    assert not (tmp_path / "control.login").exists()


def test_stop_ends_it_and_says_when_there_is_nothing_to_stop(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        done = run("stop", "--data-dir", str(tmp_path))
        assert (done.returncode, str(process.pid) in done.stderr) == (0, True), done
        assert process.wait(1) == 0
    assert "no server runs on" in complaint(run("--data-dir", str(tmp_path), "stop"), 3)
    assert "no server runs on" in complaint(run("stop", "--data-dir", str(tmp_path / "nowhere")), 3)


def test_detached_it_returns_once_it_serves_and_lives_on(tmp_path: Path) -> None:
    done = run("--data-dir", str(tmp_path), *LOOPBACK, "--detach")
    try:
        assert done.returncode == 0, done
        assert done.stdout.startswith("ready ")
        pid = server_file(tmp_path)["pid"]
        assert f"pid={pid}" in done.stdout
        assert os.getsid(pid) == pid
        files = {os.readlink(f"/proc/{pid}/fd/{number}") for number in (0, 1, 2)}
        assert files == {"/dev/null", str(tmp_path / "server.log")}
        again = complaint(run("--data-dir", str(tmp_path), *LOOPBACK, "--detach"), 6)
        assert f"pid {pid}" in again
    finally:
        assert run("stop", "--data-dir", str(tmp_path)).returncode == 0


# --- not starting ----------------------------------------------------------------------------------------------------


def test_a_second_server_on_a_data_dir_names_the_first(tmp_path: Path) -> None:
    """Promise 22."""
    with serving(tmp_path) as process:
        before = server_file(tmp_path)
        said = complaint(run("--data-dir", str(tmp_path), *LOOPBACK), 6)
        assert f"the data dir {tmp_path} is in use" in said
        assert f"pid {process.pid}" in said
        assert server_file(tmp_path) == before
        assert (tmp_path / "control.sock").exists()


def test_a_taken_port_is_named_with_its_flag(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        for flag in ("--listen", "--join-listen"):
            said = complaint(run("--data-dir", str(tmp_path), *LOOPBACK, flag, address), 6)
            assert f"{flag}: cannot listen on {address}: the port is in use" in said
            assert not (tmp_path / "server.json").exists()


@pytest.mark.parametrize(
    ("words", "env", "code", "says"),
    [
        (["--lisen", "x"], {}, 2, "No such option '--lisen'. (Did you mean"),
        (["--listen", "nonsense"], {}, 2, "--listen: 'nonsense' is not HOST:PORT"),
        (["--listen", "127.0.0.1:70000"], {}, 2, "is not HOST:PORT"),
        (["--listen", "no.such.host.invalid:0"], {}, 6, "cannot listen on no.such.host.invalid:0"),
        (["--listen", "192.0.2.1:0"], {}, 6, "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
        (["serve"], {}, 2, "No such command 'serve'"),
        (["--log-level", "loud"], {}, 2, "--log-level: 'loud' is not one of"),
        ([], {"GAMENODE_HEARTBEAT": "soon"}, 2, "GAMENODE_HEARTBEAT: "),
        ([], {"GAMENODE_SUSPECT": "1s"}, 2, "must grow in this order"),
        ([], {"GAMENODE_UNIX_ROLES": "bob=king"}, 2, "GAMENODE_UNIX_ROLES: 'bob=king' is not USER=ROLE"),
        (["--config", "/nowhere/x.yaml"], {}, 3, "/nowhere/x.yaml does not exist"),
    ],
)
def test_what_is_wrong_at_the_start_is_one_line(
    tmp_path: Path, words: list[str], env: dict[str, str], code: int, says: str
) -> None:
    listens = () if "--listen" in words else LOOPBACK
    done = run("--data-dir", str(tmp_path), *listens, *words, env=environment(**env))
    assert says in complaint(done, code)


def test_a_wrong_key_in_the_config_file_names_file_key_and_the_nearest(tmp_path: Path) -> None:
    config = tmp_path / "gamenode.yaml"
    config.write_text("server:\n  join-lisen: 127.0.0.1:0\n")
    said = complaint(run("--config", str(config), "--data-dir", str(tmp_path)), 2)
    assert f"{config}: unknown key 'server.join-lisen'; did you mean 'join-listen'?" in said


def test_data_dirs_that_cannot_be_used_are_said_so(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("")
    for folder in (file, file / "below"):
        assert f"the data dir {folder} cannot be used" in complaint(run("--data-dir", str(folder), *LOOPBACK), 5)
        complaint(run("--data-dir", str(folder), *LOOPBACK, "--detach"), 5)


def test_keys_that_are_gone_or_of_another_cluster_stop_the_start(tmp_path: Path) -> None:
    ours, other = tmp_path / "ours", tmp_path / "other"
    for data_dir in (ours, other):
        with serving(data_dir) as process:
            process.send_signal(signal.SIGTERM)
            process.wait(10)
    identity = ours / "server" / "identity"
    identity.rename(tmp_path / "kept")
    assert "restore the folder from a backup" in complaint(run("--data-dir", str(ours), *LOOPBACK), 1)
    (other / "server" / "identity").rename(identity)
    assert "belongs to the cluster" in complaint(run("--data-dir", str(ours), *LOOPBACK), 1)
    (identity / "root.pem").write_text("rubbish")
    assert "root.pem is damaged" in complaint(run("--data-dir", str(ours), *LOOPBACK), 1)


def test_a_newer_schema_and_a_foreign_file_are_refused(tmp_path: Path) -> None:
    with serving(tmp_path) as process:
        process.send_signal(signal.SIGTERM)
        process.wait(10)
    path = tmp_path / "server" / "gamenode.db"
    database = sqlite3.connect(path)
    with database:
        database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.close()
    said = complaint(run("--data-dir", str(tmp_path), *LOOPBACK, "--log-level", "warning"), 6)
    assert "newer" in said
    path.write_bytes(b"this is no database" * 100)
    complaint(run("--data-dir", str(tmp_path), *LOOPBACK), 1)
    assert path.read_bytes().startswith(b"this is no database")


def test_the_version_is_quick(tmp_path: Path) -> None:
    code = (
        "import sys; sys.argv = ['gamenode-server', '--version']\n"
        "from gamenode_server.cli import main\n"
        "main(); print(*sorted({'click', 'grpc', 'sqlalchemy', 'cryptography', 'yaml'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    version, modules = done.stdout.splitlines()
    assert version.startswith("gamenode-server ")
    assert modules == ""
    assert run("--data-dir", str(tmp_path), "--version").stdout == version + "\n"


def test_help_tells_of_every_flag() -> None:
    done = run("--help")
    assert done.returncode == 0
    for flag in (
        "--data-dir",
        "--config",
        "--log-level",
        "--log-format",
        "--listen",
        "--join-listen",
        "--advertise",
        "--detach",
    ):
        assert flag in done.stdout
    assert "stop" in done.stdout
