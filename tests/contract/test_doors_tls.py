"""Promise 25: who may not come in does not, on every port."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto import transport
from gamenode_proto.errors import from_rpc
from gamenode_proto.login import fetch_login
from gamenode_proto.v1 import administration_pb2, agent_link_pb2
from gamenode_proto.v1.agent_link_pb2_grpc import AgentLinkStub
from gamenode_proto.v1.pipeline_management_pb2 import ListRunsRequest
from gamenode_proto.v1.pipeline_management_pb2_grpc import PipelineManagementStub
from support.open_doors import Host, House, Shown, client_certificate, make_cluster, open_house


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data", control_listen="127.0.0.1:0") as opened:
        yield opened


async def knock(house: House, shown: Shown | None) -> GameNodeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.agents(shown).RenewCertificate(agent_link_pb2.RenewCertificateRequest(), timeout=5)
    return from_rpc(caught.value)


async def test_a_node_comes_in_and_is_known_by_its_certificate(house: House) -> None:
    node = await house.join("eu-1")
    session = house.agents(node.shown).Session()
    frame = await session.read()
    assert frame.welcome.session_id == f"node:eu-1 {node.node_id}"
    session.cancel()


@pytest.mark.parametrize("who", ["nobody", "another CA", "an operator"])
async def test_others_are_refused_on_the_agent_port_before_any_call(house: House, tmp_path: Path, who: str) -> None:
    shown = {
        "nobody": None,
        "another CA": client_certificate(make_cluster(tmp_path / "other"), name="eu-1"),
        "an operator": client_certificate(house.cluster, kind="user", name="eu-1"),
    }[who]
    assert (await knock(house, shown)).code is Code.DISCONNECTED
    node = await house.join("eu-1")
    assert (await knock(house, node.shown)).code is Code.INVALID_ARGUMENT  # got as far as its request


async def test_a_certificate_of_a_node_nobody_knows_is_refused(house: House) -> None:
    error = await knock(house, client_certificate(house.cluster, name="aaaabbbbcccc"))
    assert error.code is Code.UNAUTHENTICATED
    assert "does not know the node" in error.message


async def test_a_certificate_the_store_never_heard_of_is_refused(house: House) -> None:
    node = await house.join("eu-1")
    error = await knock(house, client_certificate(house.cluster, name=node.node_id))
    assert error.code is Code.UNAUTHENTICATED
    assert "replaced" in error.message


def ports(house: House) -> list[tuple[str, int]]:
    bound = house.bound
    return [transport.split_address(address) for address in (bound.listen, bound.join_listen, bound.control_listen)]


async def test_tls_below_1_2_is_refused_on_every_port(house: House) -> None:
    old = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    old.check_hostname = False
    old.verify_mode = ssl.CERT_NONE
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.warns(DeprecationWarning, match="TLSv1"):
        old.minimum_version = ssl.TLSVersion.TLSv1
    with pytest.warns(DeprecationWarning, match="TLSv1_1"):
        old.maximum_version = ssl.TLSVersion.TLSv1_1
    new = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    new.check_hostname = False
    new.verify_mode = ssl.CERT_NONE
    new.set_alpn_protocols(["h2"])
    for host, port in ports(house):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            await asyncio.open_connection(host, port, ssl=old)
        _, writer = await asyncio.open_connection(host, port, ssl=new)  # the same knock, in today's version
        assert writer.get_extra_info("ssl_object").version() in ("TLSv1.2", "TLSv1.3")
        writer.transport.abort()


async def test_plain_text_and_garbage_are_refused_on_every_port_and_hurt_nobody(house: House) -> None:
    node = await house.join("eu-1")
    session = house.agents(node.shown).Session()
    await session.read()
    for host, port in ports(house):
        for rubbish in (
            b"GET / HTTP/1.1\r\n\r\n",
            b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
            bytes(range(256)) * 64,
            b"\x16\x03",
        ):
            reader, writer = await asyncio.open_connection(host, port)
            writer.write(rubbish)
            try:
                writer.write_eof()
                answer = await asyncio.wait_for(reader.read(4096), 10)
            except OSError:  # hung up on
                answer = b""
            assert b"HTTP/1.1 200" not in answer
            writer.transport.abort()
        async with grpc.aio.insecure_channel(f"{host}:{port}") as channel:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await AgentLinkStub(channel).RenewCertificate(agent_link_pb2.RenewCertificateRequest(), timeout=3)
            assert caught.value.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)
    await session.write(agent_link_pb2.AgentFrame(heartbeat=agent_link_pb2.Heartbeat(seq=7)))
    assert (await session.read()).ack.acked == 7
    session.cancel()


async def test_each_port_serves_its_own_services_and_no_other(house: House) -> None:
    node = await house.join("eu-1")
    enrolment = transport.open_tls_channel(house.bound.join_listen, ca_pem=house.cluster.ca_pem)
    house.channels.append(enrolment)
    for channel in (enrolment, house.control_channel()):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await AgentLinkStub(channel).RenewCertificate(agent_link_pb2.RenewCertificateRequest())
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await PipelineManagementStub(house.agent_channel(node.shown)).ListRuns(ListRunsRequest())
    assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_health_is_served_on_every_port_and_reflection_to_operators_only(house: House) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc  # type: ignore[import-untyped]
    from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc  # type: ignore[import-untyped]

    node = await house.join("eu-1")
    agents = house.agent_channel(node.shown)
    enrolment = transport.open_tls_channel(house.bound.join_listen, ca_pem=house.cluster.ca_pem)
    house.channels.append(enrolment)
    control = house.control_channel()
    serving = health_pb2.HealthCheckResponse.SERVING
    for channel, name in ((agents, "AgentLink"), (enrolment, "Enrolment"), (control, "Administration")):
        stub = health_pb2_grpc.HealthStub(channel)
        assert (await stub.Check(health_pb2.HealthCheckRequest(service=f"gamenode.v1.{name}"))).status == serving
    login = await fetch_login(house.bound.control_socket)
    ask = [reflection_pb2.ServerReflectionRequest(list_services="")]

    async def services(channel: grpc.aio.Channel) -> list[str]:
        call = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
            iter(ask), metadata=transport.bearer(login.token)
        )
        return [s.name async for answer in call for s in answer.list_services_response.service]

    assert "gamenode.v1.Administration" in await services(control)
    for channel in (agents, enrolment):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await services(channel)
        assert caught.value.code() is grpc.StatusCode.UNIMPLEMENTED


async def test_a_call_on_the_control_socket_needs_a_login(house: House) -> None:
    from gamenode_proto.v1.administration_pb2_grpc import AdministrationStub

    stub = AdministrationStub(house.control_channel())
    for metadata in ((), transport.bearer("made-up"), (("authorization", "Basic cm9vdA=="),)):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await stub.WhoAmI(administration_pb2.WhoAmIRequest(), metadata=metadata)
        assert from_rpc(caught.value).code is Code.UNAUTHENTICATED
    admin, metadata = await house.administration()
    who = await admin.WhoAmI(administration_pb2.WhoAmIRequest(), metadata=metadata)
    assert (who.principal, who.role, who.method) == ("root", "admin", "socket")
    assert who.cluster_id == house.cluster.cluster_id


@pytest.mark.parametrize("flag", ["listen", "join_listen", "control_listen"])
async def test_a_port_that_is_taken_is_named(house: House, tmp_path: Path, flag: str) -> None:
    address = house.bound.listen
    said = rf"--{flag.replace('_', '-')}: cannot listen on {re.escape(address)}: the port is in use"
    with pytest.raises(GameNodeError, match=said) as caught:
        async with open_house(tmp_path / "second", **{flag: address}):
            raise AssertionError("two servers on one port")
    assert caught.value.code is Code.STATE_CONFLICT
    async with open_house(tmp_path / "second"):  # nothing was left behind
        pass


async def test_the_server_shows_a_new_certificate_without_a_restart(house: House) -> None:
    before = house.cluster.leaf
    house.wall.offset = 21 * 86400  # less than a third of its 30 days is left
    assert house.cluster.renew_leaf()
    assert house.cluster.leaf is not before
    assert not house.cluster.renew_leaf()
    house.wall.offset = 0
    for host, port in ports(house):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        _, writer = await asyncio.open_connection(host, port, ssl=context)
        der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
        assert ssl.DER_cert_to_PEM_cert(der).encode().strip() in house.cluster.leaf.chain_pem
        writer.transport.abort()


async def test_what_is_too_large_is_refused_and_the_connection_lives(house: House) -> None:
    node = await house.join("eu-1")
    stub = house.agents(node.shown)
    session = stub.Session()
    await session.read()
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RenewCertificate(agent_link_pb2.RenewCertificateRequest(csr_pem="x" * (transport.AGENT_MESSAGE + 1)))
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    huge = (("x-padding", "x" * 60_000),)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await stub.RenewCertificate(agent_link_pb2.RenewCertificateRequest(), metadata=huge)
    assert caught.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
    long = "x" * 100_000
    error = await refused_join(house, long)
    assert error.code is Code.INVALID_ARGUMENT
    await session.write(agent_link_pb2.AgentFrame(heartbeat=agent_link_pb2.Heartbeat(seq=9)))
    assert (await session.read()).ack.acked == 9
    session.cancel()


async def refused_join(house: House, csr: str) -> GameNodeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await house.enrolment().Join(Host().request(await house.token(), csr_pem=csr))
    return from_rpc(caught.value)


async def test_streams_without_end_on_one_connection_do_not_starve_another_node(house: House) -> None:
    greedy, other = await house.join("greedy"), await house.join("other")
    stub = house.agents(greedy.shown)
    calls = [stub.Session() for _ in range(500)]
    session = house.agents(other.shown).Session()
    async with asyncio.timeout(10):
        assert (await session.read()).welcome.session_id.startswith("node:other")
        await session.write(agent_link_pb2.AgentFrame(heartbeat=agent_link_pb2.Heartbeat(seq=1)))
        assert (await session.read()).ack.acked == 1
    for call in (*calls, session):
        call.cancel()
