"""The operators' port: promises 25, 27 and 29 for users with a certificate."""

from __future__ import annotations

import asyncio
import os
import pwd
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.errors import from_rpc
from gamenode_proto.v1 import administration_pb2 as pb
from gamenode_proto.v1.agent_link_pb2 import RenewCertificateRequest
from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkStub
from gamenode_server.identity.roles import RULES
from support.open_doors import Host, House, Shown, client_certificate, make_cluster, open_house

NOBODY = pwd.getpwnam("nobody").pw_uid


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data", control_listen="127.0.0.1:0") as opened:
        yield opened


async def refused(call: Any) -> GameNodeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


def who_am_i(house: House, shown: Shown | None) -> Any:
    return house.operator(shown).WhoAmI(pb.WhoAmIRequest(), timeout=5)


async def revoke(house: House, name: str, reason: str = "") -> pb.User:
    stub, metadata = await house.administration()
    answer = await stub.RevokeUser(pb.RevokeUserRequest(name=name, reason=reason), metadata=metadata)
    assert isinstance(answer, pb.User)
    return answer


async def test_a_user_comes_in_with_its_certificate_and_its_role(house: House) -> None:
    answer = await who_am_i(house, await house.user("alice", "operator"))
    assert (answer.principal, answer.role, answer.method) == ("alice", "operator", "certificate")
    assert answer.cluster_id == house.cluster.cluster_id


@pytest.mark.parametrize("who", ["nobody", "another CA", "a node"])
async def test_others_are_refused_before_any_call(house: House, tmp_path: Path, who: str) -> None:
    shown = {
        "nobody": None,
        "another CA": client_certificate(make_cluster(tmp_path / "other"), kind="user", name="alice"),
        "a node": (await house.join("eu-1")).shown,
    }[who]
    alice = await house.user("alice", "admin")
    assert (await refused(who_am_i(house, shown))).code is Code.DISCONNECTED
    assert (await who_am_i(house, alice)).principal == "alice"


async def test_a_user_is_refused_on_the_agent_port(house: House) -> None:
    alice = await house.user("alice", "admin")
    error = await refused(house.agents(alice).RenewCertificate(RenewCertificateRequest(), timeout=5))
    assert error.code is Code.DISCONNECTED


async def test_plain_text_is_refused_and_nobody_shows_a_bearer_token_here(house: House) -> None:
    from gamenode_proto.v1.administration_pb2_grpc import AdministrationStub

    async with grpc.aio.insecure_channel(house.bound.control_listen) as channel:
        error = await refused(AdministrationStub(channel).WhoAmI(pb.WhoAmIRequest(), timeout=5))
        assert error.code is Code.DISCONNECTED
    token, _ = house.doors.desk.admit(os.getuid())
    viewer = house.operator(await house.user("carol"))
    answer = await viewer.WhoAmI(pb.WhoAmIRequest(), metadata=transport.bearer(token))
    assert (answer.principal, answer.role) == ("carol", "viewer")


async def test_the_port_serves_operators_only_and_is_not_there_unless_it_was_asked_for(
    house: House, tmp_path: Path
) -> None:
    channel = house.operator_channel(await house.user("alice"))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await AgentLinkStub(channel).RenewCertificate(RenewCertificateRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    async with open_house(tmp_path / "closed") as closed:
        assert closed.bound.control_listen == ""
        stub, metadata = await closed.administration()
        request = pb.CreateUserRequest(name="alice", role="viewer", csr_pem=Host().csr)
        assert "--control-listen" in (await stub.CreateUser(request, metadata=metadata)).warnings[0]


async def test_a_certificate_the_store_never_heard_of_is_refused(house: House) -> None:
    error = await refused(who_am_i(house, client_certificate(house.cluster, kind="user", name="ghost")))
    assert error.code is Code.UNAUTHENTICATED
    assert "does not know the user" in error.message
    await house.user("alice")
    error = await refused(who_am_i(house, client_certificate(house.cluster, kind="user", name="alice")))
    assert "replaced by a newer one" in error.message


# --- promise 27 ------------------------------------------------------------------------------------------------------


async def watching(house: House, shown: Shown) -> Any:
    """A call of the user that goes on for ever."""
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

    call = reflection_pb2_grpc.ServerReflectionStub(house.operator_channel(shown)).ServerReflectionInfo()
    await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
    await call.read()
    return call


async def ended(call: Any, seconds: float) -> GameNodeError:
    async with asyncio.timeout(seconds):
        return await refused(call.read())


async def test_a_revoked_user_is_out_within_a_second_and_stays_out(house: House) -> None:
    alice, bob = await house.user("alice", "operator"), await house.user("bob")
    calls, bystander = [await watching(house, alice) for _ in range(3)], await watching(house, bob)
    started = time.monotonic()
    answer = await revoke(house, "alice", "left the team")
    for call in calls:
        error = await ended(call, 1)
        assert error.code is Code.REVOKED
        assert "gamenode user create alice" in error.message
    assert time.monotonic() - started < 1
    assert (await refused(who_am_i(house, alice))).code is Code.REVOKED
    assert (answer.revoked_by, answer.revoked_at > 0) == ("root", True)
    assert (await revoke(house, "alice")).revoked_at == answer.revoked_at  # again changes nothing
    assert not bystander.done()
    bystander.cancel()
    rows = [(r.method, r.target, r.reason) for r in await house.audit() if r.method == "RevokeUser"]
    assert rows == [("RevokeUser", "alice", "left the team"), ("RevokeUser", "alice", "")]


async def test_calls_end_at_the_moment_the_certificate_does(house: House) -> None:
    shown = await house.user("alice", ttl=2.0)
    call = await watching(house, shown)
    end = x509.load_pem_x509_certificate(shown[0]).not_valid_after_utc.timestamp()
    error = await ended(call, 10)
    assert end - 0.05 <= time.time() < end + 1
    assert (error.code, "expired" in error.message) == (Code.UNAUTHENTICATED, True)
    assert (await refused(who_am_i(house, shown))).code in (Code.DISCONNECTED, Code.UNAUTHENTICATED)


async def test_a_name_is_free_again_once_its_user_does_not_count(house: House) -> None:
    first = await house.user("alice", "admin")
    assert (await refused(house.user("alice"))).code is Code.ALREADY_EXISTS
    await revoke(house, "alice")
    second = await house.user("alice", "viewer")
    assert (await who_am_i(house, second)).role == "viewer"
    assert "replaced" in (await refused(who_am_i(house, first))).message
    house.wall.offset = 100 * 86400  # past its 90 days
    await house.user("alice", "operator")
    house.wall.offset = 0
    assert house.store.view.users["alice"].role == "operator"
    assert "replaced" in (await refused(who_am_i(house, second))).message


async def test_a_certificate_lives_as_long_as_it_was_asked_to_and_begins_now(house: House) -> None:
    for ttl, days in ((0.0, 90), (366 * 86400.0, 366)):
        certificate = x509.load_pem_x509_certificate((await house.user(f"u{days}", ttl=ttl))[0])
        assert abs(certificate.not_valid_after_utc.timestamp() - time.time() - days * 86400) < 60
        assert certificate.not_valid_before_utc.timestamp() < time.time()


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        ({"name": "Alice"}, "no user name"),
        ({"name": "server"}, "the server's own"),
        ({"role": "king"}, "no role"),
        ({"ttl": 367 * 86400.0}, "at most 366 days"),
        ({"ttl": -1.0}, "at most 366 days"),
        ({"csr_pem": "x"}, "not a certificate request"),
    ],
)
async def test_wishes_that_cannot_be_are_refused_in_words(house: House, wish: dict[str, Any], said: str) -> None:
    stub, metadata = await house.administration()
    request = pb.CreateUserRequest(**{"name": "alice", "role": "viewer", "csr_pem": Host().csr, **wish})
    error = await refused(stub.CreateUser(request, metadata=metadata))
    assert (error.code, said in error.message) == (Code.INVALID_ARGUMENT, True), error.message
    assert (await stub.ListUsers(pb.ListUsersRequest(), metadata=metadata)).users == []


# --- promise 29 ------------------------------------------------------------------------------------------------------


async def test_a_viewer_with_a_certificate_changes_nothing_and_every_try_is_written_down(house: House) -> None:
    channel = house.operator_channel(await house.user("carol"))
    before = len(await house.audit())
    mine = [m for m, rule in RULES.items() if rule.mutates and m.startswith("/gamenode.v1.Administration/")]
    for method in mine:
        call: Any = channel.unary_unary(method)
        assert (await refused(call(b"", timeout=5))).code is Code.PERMISSION_DENIED
    rows = (await house.audit())[before:]
    assert [row.method for row in rows] == [method.rpartition("/")[2] for method in mine]
    assert {(r.principal, r.outcome, r.source) for r in rows} == {("carol", "permission_denied", "127.0.0.1")}
    assert (await house.verify()).intact


async def test_an_admin_over_the_network_may_do_what_an_admin_may(house: House) -> None:
    admin = house.operator(await house.user("alice", "admin"))
    bob = await house.user("bob", "operator")
    assert (await admin.RevokeUser(pb.RevokeUserRequest(name="bob"))).revoked_by == "alice"
    assert (await refused(who_am_i(house, bob))).code is Code.REVOKED
    users = (await admin.ListUsers(pb.ListUsersRequest())).users
    assert [(user.name, user.role, user.revoked_at > 0) for user in users] == [
        ("alice", "admin", False),
        ("bob", "operator", True),
    ]


# --- users of the host -----------------------------------------------------------------------------------------------


async def local_user(house: House, **login: str) -> None:
    stub, metadata = await house.administration()
    await stub.CreateUser(pb.CreateUserRequest(name="people", role="operator", **login), metadata=metadata)


GROUP = "nogroup" if os.path.exists("/etc/debian_version") else "nobody"


@pytest.mark.parametrize("login", [{"unix_user": "nobody"}, {"unix_group": GROUP}])
async def test_a_unix_user_or_group_gets_its_role_and_the_sockets_open_for_it(
    house: House, login: dict[str, str]
) -> None:
    socket = house.bound.control_socket
    sockets = (socket, socket.with_suffix(".login"))
    with pytest.raises(GameNodeError, match="gamenode user create"):
        house.doors.desk.admit(NOBODY)
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o600, 0o600]
    await local_user(house, **login)
    token, _ = house.doors.desk.admit(NOBODY)
    assert house.doors.desk.principal_of(token).role == "operator"
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o666, 0o666]
    await revoke(house, "people")
    with pytest.raises(GameNodeError) as caught:
        house.doors.desk.principal_of(token)
    assert caught.value.code is Code.UNAUTHENTICATED
    assert [path.stat().st_mode & 0o777 for path in sockets] == [0o600, 0o600]


async def test_a_revoked_unix_user_is_out_at_once_and_others_go_on(house: House) -> None:
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

    async def watch(uid: int) -> Any:
        token, _ = house.doors.desk.admit(uid)
        stub = reflection_pb2_grpc.ServerReflectionStub(house.control_channel())
        call = stub.ServerReflectionInfo(metadata=transport.bearer(token))
        await call.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        await call.read()
        return call

    await local_user(house, unix_user="nobody")
    theirs, mine = await watch(NOBODY), await watch(os.getuid())
    await revoke(house, "people")
    assert "log in again" in (await ended(theirs, 1)).message
    assert not mine.done()
    mine.cancel()


async def test_a_login_the_host_does_not_know_or_with_a_lifetime_is_refused(house: House) -> None:
    stub, metadata = await house.administration()
    for wish, said in (
        ({"unix_user": "no-such-user"}, "knows no Unix user"),
        ({"unix_group": "no-such-group"}, "knows no Unix group"),
        ({"unix_user": "nobody", "ttl": 60.0}, "until it is revoked"),
        ({}, "one of them"),
    ):
        request = pb.CreateUserRequest(name="people", role="viewer", **wish)  # type: ignore[arg-type]
        error = await refused(stub.CreateUser(request, metadata=metadata))
        assert (error.code, said in error.message) == (Code.INVALID_ARGUMENT, True), error.message
