"""Promise 29: who may do what on the control socket, and what is written down of it."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import shutil
import sqlite3
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.errors import from_rpc
from gamenode_proto.process.clock import SystemClock
from gamenode_proto.v1 import administration_pb2, administration_pb2_grpc, state_management_pb2
from gamenode_server.app import Server, open_server
from gamenode_server.config import ServerSettings
from gamenode_server.identity.login import LoginDesk, SocketAccess, UnixRoles
from gamenode_server.identity.principals import Role
from gamenode_server.identity.roles import RULES
from gamenode_server.store import queries
from gamenode_server.store.audit_chain import AuditRow

NOBODY = pwd.getpwnam("nobody").pw_uid
MUTATING = [method for method, rule in RULES.items() if rule.mutates]


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    settings = ServerSettings(
        data_dir=tmp_path,
        listen="127.0.0.1:0",
        join_listen="127.0.0.1:0",
        stop_grace=0.001,
        unix_roles=("nobody=viewer",),
    )
    async with open_server(settings) as running:
        yield running


async def call(server: Server, method: str, token: str, request: bytes = b"") -> GameNodeError | None:
    async with transport.open_unix_channel(str(server.bound.control_socket)) as channel:
        method_call: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(method)
        try:
            await method_call(request, metadata=transport.bearer(token), timeout=5)
        except grpc.aio.AioRpcError as error:
            return from_rpc(error)
        return None


async def audit(server: Server) -> list[AuditRow]:
    return await server.core.store.read(queries.list_audit)


async def test_a_viewer_may_change_nothing_and_every_try_is_written_down(server: Server) -> None:
    token, _ = server.doors.desk.admit(NOBODY)
    for method in MUTATING:
        error = await call(server, method, token)
        assert error is not None
        assert error.code is Code.PERMISSION_DENIED, method
    rows = await audit(server)
    assert [row.method for row in rows] == [method.rpartition("/")[2] for method in MUTATING]
    assert {(row.principal, row.outcome) for row in rows} == {("nobody", "permission_denied")}
    assert {row.source for row in rows} == {f"unix:uid={NOBODY}"}
    assert (await server.doors.ledger.verify()).intact


async def test_a_viewer_may_look_and_looking_leaves_no_row(server: Server) -> None:
    token, _ = server.doors.desk.admit(NOBODY)
    status = "/gamenode.v1.StateManagement/GetStatus"
    assert await call(server, status, token) is None
    for method in ("ListAudit", "VerifyAudit"):
        error = await call(server, f"/gamenode.v1.Administration/{method}", token)
        assert error is not None
        assert error.code is Code.PERMISSION_DENIED
    assert await audit(server) == []


async def test_a_call_that_fails_is_written_down_with_its_outcome(server: Server) -> None:
    token, _ = server.doors.desk.admit(0)
    request = state_management_pb2.RevokeNodeRequest(node="nowhere", reason="stolen").SerializeToString()
    error = await call(server, "/gamenode.v1.StateManagement/RevokeNode", token, request)
    assert error is not None
    assert error.code is Code.NOT_FOUND
    (row,) = await audit(server)
    assert (row.principal, row.method, row.target, row.outcome) == ("root", "RevokeNode", "nowhere", "not_found")
    assert row.reason == "stolen"


async def test_each_mutating_call_leaves_exactly_one_row(server: Server) -> None:
    token, _ = server.doors.desk.admit(0)
    request = administration_pb2.CreateJoinTokenRequest(uses=3).SerializeToString()
    for _ in range(3):
        assert await call(server, "/gamenode.v1.Administration/CreateJoinToken", token, request) is None
    assert [(row.seq, row.method, row.outcome) for row in await audit(server)] == [
        (seq, "CreateJoinToken", "ok") for seq in (1, 2, 3)
    ]


async def test_a_row_that_was_changed_in_the_database_is_named(server: Server) -> None:
    token, _ = server.doors.desk.admit(0)
    for _ in range(5):
        await call(server, "/gamenode.v1.Administration/CreateJoinToken", token)

    async def verified() -> administration_pb2.VerifyAuditResponse:
        async with transport.open_unix_channel(str(server.bound.control_socket)) as channel:
            stub: Any = administration_pb2_grpc.AdministrationStub(channel)
            request = administration_pb2.VerifyAuditRequest()
            answer = await stub.VerifyAudit(request, metadata=transport.bearer(token))
            assert isinstance(answer, administration_pb2.VerifyAuditResponse)
            return answer

    fine = await verified()
    assert (fine.intact, fine.records, fine.broken_at) == (True, 5, 0)
    await server.doors.ledger.mark()
    with sqlite3.connect(server.place.database) as database:
        database.execute("DELETE FROM audit WHERE seq = 5")
    database.close()
    cut = await verified()
    assert not cut.intact
    assert (cut.broken_at, "missing at the end" in cut.problem) == (5, True)
    with sqlite3.connect(server.place.database) as database:
        database.execute("UPDATE audit SET principal = 'mallory' WHERE seq = 3")
    database.close()
    edited = await verified()
    assert (edited.intact, edited.broken_at, edited.records) == (False, 3, 2)


# --- the login socket ------------------------------------------------------------------------------------------------

ASK = "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); print(s.makefile().readline())"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """A folder that other users can reach, which pytest's own are not."""
    folder = Path(tempfile.mkdtemp(prefix="gamenode-test-"))
    folder.chmod(0o755)
    yield folder
    shutil.rmtree(folder)


async def ask(path: Path, uid: int) -> dict[str, object]:
    process = await asyncio.create_subprocess_exec(
        "/usr/bin/env", "-i", "python3", "-c", ASK, str(path), user=uid, cwd="/", stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    answer = json.loads(out)
    assert isinstance(answer, dict)
    return answer


@pytest.mark.skipif(os.getuid() != 0 or shutil.which("python3", path="/usr/bin") is None, reason="needs to be root")
async def test_the_kernel_says_who_logs_in(open_folder: Path) -> None:
    clock = SystemClock()
    desk = LoginDesk(roles=UnixRoles.parse(("nobody=viewer",)), clock=clock)
    path = open_folder / "control.login"
    await desk.start(path, access=SocketAccess(mode=0o666))
    try:
        viewer = desk.principal_of(str((await ask(path, NOBODY))["token"]))
        assert (viewer.name, viewer.role, viewer.kind) == ("nobody", Role.VIEWER, "local")
        assert viewer.source == f"unix:uid={NOBODY}"
        admin = desk.principal_of(str((await ask(path, 0))["token"]))
        assert (admin.name, admin.role) == ("root", Role.ADMIN)
        stranger = await ask(path, 12345)
        assert stranger["error"] == {
            "code": "permission_denied",
            "message": "user uid-12345 has no role on this server; an admin can give one: `gamenode user create`",
        }
    finally:
        await desk.stop()
    assert not path.exists()


class Hand:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at


def test_tokens_end_and_do_not_pile_up() -> None:
    clock = Hand()
    desk = LoginDesk(roles=UnixRoles.parse(()), clock=clock, lifetime=600)
    first, lifetime = desk.admit(0)
    assert lifetime == 600
    clock.at += 100
    assert desk.admit(0) == (first, 500)
    clock.at += 300  # less than half is left
    second, _ = desk.admit(0)
    assert second != first
    assert desk.principal_of(first).name == "root"
    clock.at += 200
    with pytest.raises(GameNodeError) as caught:
        desk.principal_of(first)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert desk.principal_of(second).role is Role.ADMIN


@pytest.mark.parametrize("item", ["alice", "alice=king", "=admin", "@=admin"])
def test_bad_roles_are_refused(item: str) -> None:
    with pytest.raises(ValueError, match="USER=ROLE"):
        UnixRoles.parse((item,))


def test_roles_come_from_users_and_groups_and_the_highest_counts() -> None:
    group = "nogroup" if os.path.exists("/etc/debian_version") else "nobody"
    assert UnixRoles.parse((f"@{group}=operator",)).of(NOBODY) is Role.OPERATOR
    assert UnixRoles.parse((f"@{group}=operator", "nobody=viewer")).of(NOBODY) is Role.OPERATOR
    assert UnixRoles.parse(("nobody=admin", f"@{group}=viewer")).of(NOBODY) is Role.ADMIN
    assert UnixRoles.parse(("54321=viewer",)).of(54321) is Role.VIEWER
    assert UnixRoles.parse(()).of(NOBODY) is None
    assert UnixRoles.parse(()).of(os.getuid()) is Role.ADMIN
