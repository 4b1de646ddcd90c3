"""What doctor makes of facts."""

from __future__ import annotations

import stat

import pytest

from gamenode_console import checks
from gamenode_console.documents import nodes, server
from gamenode_proto.v1 import common_pb2, state_management_pb2
from support.control_messages import T0, a_node

DIR = stat.S_IFDIR


def test_python_and_sqlite() -> None:
    assert checks.python((3, 11, 0)).result == "ok"
    assert checks.python((3, 10, 9)).result == "fail"
    assert checks.sqlite((3, 30, 0)).result == "fail"


@pytest.mark.parametrize(
    ("version", "bug"),
    [((3, 40, 1), True), ((3, 44, 5), True), ((3, 44, 6), False), ((3, 45, 0), True), ((3, 50, 6), True),
     ((3, 50, 7), False), ((3, 51, 2), True), ((3, 51, 3), False), ((3, 52, 0), False)],
)  # fmt: skip
def test_the_wal_reset_bug(version: tuple[int, int, int], bug: bool) -> None:
    assert ("WAL-reset" in checks.sqlite(version).text) is bug


def test_limits() -> None:
    assert checks.open_files(1024, 4095).result == "warn"
    assert checks.open_files(1024, 65536).result == "ok"
    assert checks.open_files(-1, -1).result == "ok", "unlimited"


def test_the_last_setting_of_logind_counts() -> None:
    assert checks.kill_user_processes(["#KillUserProcesses=yes"]).result == "ok"
    assert checks.kill_user_processes(["[Login]\nKillUserProcesses=yes"]).result == "warn"
    assert checks.kill_user_processes(["KillUserProcesses=yes", "KillUserProcesses = no"]).result == "ok"


@pytest.mark.parametrize(
    ("mode", "writable", "result"),
    [(None, False, "warn"), (stat.S_IFREG | 0o600, True, "fail"), (DIR | 0o700, True, "ok"),
     (DIR | 0o777, True, "fail"), (DIR | 0o705, True, "warn"), (DIR | 0o700, False, "warn")],
)  # fmt: skip
def test_the_data_dir(mode: int | None, writable: bool, result: str) -> None:
    assert checks.data_dir("/d", mode, owner=1, uid=1, writable=writable).result == result


def test_disk_space() -> None:
    assert checks.disk("/", 1 << 20, 1 << 40).result == "fail"
    assert checks.disk("/", 500 << 20, 1 << 40).result == "warn"
    assert checks.disk("/", 5 << 30, 1 << 40).result == "ok"


def test_clocks_and_certificates() -> None:
    online = a_node()
    assert checks.clock(0.0, []).result == "fail"
    online.clock_skew = -5.0
    worst = checks.clock(1_800_000_000.0, [nodes.node(online)])
    assert (worst.result, "-5.0 s" in worst.text) == ("warn", True)
    assert checks.certificates(T0, []).result == "ok"
    assert checks.certificates(T0, [nodes.node(online)]).result == "warn", "ends in a day"
    assert "has ended" in checks.certificates(T0 + 2 * 86400, [nodes.node(online)]).text
    revoked = a_node(state=common_pb2.NODE_STATE_REVOKED)
    assert checks.certificates(T0 + 2 * 86400, [nodes.node(revoked)]).result == "ok"


def test_the_server() -> None:
    status = state_management_pb2.GetStatusResponse(server_version="1", cluster_id="c", storage="ok")
    assert checks.server(server.status(status), client_version="1").result == "ok"
    assert checks.server(server.status(status), client_version="2").result == "warn"
    status.attention.add(text="x")
    assert checks.server(server.status(status), client_version="1").hint == "gamenode status"
    status.storage = "storage_full"
    assert checks.server(server.status(status), client_version="1").result == "fail"
