"""Promises 26 and 27: how a host becomes a node, stays one, and is shut out."""

from __future__ import annotations

import asyncio
import base64
import time
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import grpc.aio
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gamenode_pipelines.errors import Code, Error, GameNodeError
from gamenode_pipelines.states import NodeState
from gamenode_proto.errors import from_rpc
from gamenode_proto.v1 import administration_pb2, agent_link_pb2, enrolment_pb2
from support.open_doors import Host, House, Joined, open_house, set_state


@pytest.fixture
async def house(tmp_path: Path) -> AsyncIterator[House]:
    async with open_house(tmp_path / "data") as opened:
        yield opened


async def refused(call: Any) -> GameNodeError:
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await call
    return from_rpc(caught.value)


async def no_node(house: House) -> bool:
    return not house.store.view.nodes()


# --- tokens ----------------------------------------------------------------------------------------------------------


async def test_a_host_joins_and_the_certificate_says_only_what_the_server_wants(house: House) -> None:
    node = await house.join("eu-1", labels={"region": "eu"})
    certificate = x509.load_pem_x509_certificate(node.shown[0])
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.UniformResourceIdentifier) == [
        f"spiffe://{house.cluster.cluster_id}/node/{node.node_id}"
    ]
    assert "evil" not in certificate.subject.rfc4514_string()
    assert not certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    assert time.time() - certificate.not_valid_before_utc.timestamp() > 590
    assert 29 * 86400 < certificate.not_valid_after_utc.timestamp() - time.time() <= 30 * 86400
    stored = house.store.view.node(node.node_id)
    assert stored is not None
    assert (stored.name, dict(stored.labels), stored.address) == ("eu-1", {"region": "eu"}, "127.0.0.1")
    assert await house.event_types() == ["token.created", "node.joined"]
    row = (await house.audit())[-1]
    assert (row.method, row.target, row.outcome, row.source) == ("Join", "eu-1", "ok", "127.0.0.1")
    assert row.principal.startswith("token:")
    assert "evil" not in row.request


async def test_each_defect_of_a_token_is_refused_with_its_own_words_and_audited(house: House) -> None:
    stub = house.enrolment()
    expired = await house.token(ttl=0.001)
    await asyncio.sleep(0.01)
    good = await house.token()
    cases = {
        "unknown": Host().request(good, token_id="aaaabbbbcccc"),
        "secret is wrong": Host().request(good, token_secret=b"x" * 32),
        "has expired": Host().request(expired),
        "not a certificate request": Host().request(good, csr_pem="hello"),
        "no node name": Host().request(good, name="a\x1b[31m"),
    }
    cases["does not know the join token"] = cases.pop("unknown")
    for words, request in cases.items():
        error = await refused(stub.Join(request))
        assert words in error.message
        assert error.code in (Code.UNAUTHENTICATED, Code.INVALID_ARGUMENT)
        row = (await house.audit())[-1]
        assert (row.method, row.outcome) == ("Join", error.code.value)
        assert words in row.reason
    assert await no_node(house)
    await stub.Join(Host().request(good))  # none of it cost the token its use


async def test_a_used_up_token_is_refused_but_a_lost_reply_can_be_asked_for_again(house: House) -> None:
    stub, host, token = house.enrolment(), Host(), await house.token()
    first = await stub.Join(host.request(token))
    again = await stub.Join(host.request(token))
    assert again.node_id == first.node_id
    serials = {x509.load_pem_x509_certificate(a.certificate_pem.encode()).serial_number for a in (first, again)}
    assert len(serials) == 1
    error = await refused(stub.Join(Host().request(token)))
    assert error.code is Code.UNAUTHENTICATED
    assert "used up" in error.message
    assert len(house.store.view.nodes()) == 1


async def test_a_key_that_was_used_is_forgotten_after_ten_minutes(tmp_path: Path) -> None:
    from gamenode_server.identity import joining

    async with open_house(tmp_path) as house:
        stub, host, token = house.enrolment(), Host(), await house.token()
        await stub.Join(host.request(token))
        window = joining.RETRY_WINDOW
        joining.RETRY_WINDOW = 0.0
        try:
            error = await refused(stub.Join(host.request(token)))
        finally:
            joining.RETRY_WINDOW = window
    assert error.code is Code.UNAUTHENTICATED
    assert "minutes ago" in error.message


async def test_a_token_for_many_names_hosts_by_what_they_are_called(house: House) -> None:
    token, stub = await house.token(uses=3), house.enrolment()
    names = [(await stub.Join(Host().request(token))).name for _ in range(3)]
    assert names == ["host.example", "host.example-2", "host.example-3"]
    assert "used up" in (await refused(stub.Join(Host().request(token)))).message


async def test_a_name_that_is_taken_is_said_so_and_costs_nothing(house: House) -> None:
    await house.join("eu-1")
    token, stub = await house.token(), house.enrolment()
    error = await refused(stub.Join(Host().request(token, name="eu-1")))
    assert error.code is Code.ALREADY_EXISTS
    assert (await stub.Join(Host().request(token, name="eu-2"))).name == "eu-2"


async def test_a_token_can_fix_the_name_and_labels(house: House) -> None:
    token, stub = await house.token(name="db-1", labels={"tier": "prod"}), house.enrolment()
    assert "for the name db-1" in (await refused(stub.Join(Host().request(token, name="db-2")))).message
    answer = await stub.Join(Host().request(token, labels={"tier": "test", "rack": "4"}))
    stored = house.store.view.node(answer.node_id)
    assert stored is not None
    assert (stored.name, dict(stored.labels)) == ("db-1", {"tier": "prod", "rack": "4"})


async def test_wishes_for_tokens_that_cannot_be_are_refused(house: House) -> None:
    stub, metadata = await house.administration()
    await house.join("eu-1")
    wishes: dict[str, dict[str, Any]] = {
        "lives at most": {"ttl": 1e9},
        "used 1 to": {"uses": -1},
        "once only": {"uses": 2, "name": "x"},
        "no node name": {"name": "-x"},
        "exists already": {"name": "eu-1"},
        "no node": {"replace": "nobody"},
        "label": {"labels": {"a b": "c"}},
    }
    for words, wish in wishes.items():
        request = administration_pb2.CreateJoinTokenRequest(**wish)
        assert words in (await refused(stub.CreateJoinToken(request, metadata=metadata))).message
        assert (await house.audit())[-1].outcome != "ok"


async def test_a_token_says_where_to_go_and_warns_of_a_server_nobody_can_reach(house: House) -> None:
    stub, metadata = await house.administration()
    made = await stub.CreateJoinToken(administration_pb2.CreateJoinTokenRequest(), metadata=metadata)
    assert made.join_command == f"gamenode-agent join {made.token}"
    assert (await house.token()).addresses == (house.bound.join_listen,)
    assert "only this machine can reach" in made.warnings[0]
    assert made.uses == 1
    assert abs(made.expires_at - time.time() - 3600) < 60
    rows = await house.audit()
    assert all(made.token not in row.request for row in rows)


@pytest.mark.parametrize("kind", ["rsa", "p384", "ed25519", "foreign signature"])
async def test_only_good_keys_are_certified(house: House, kind: str) -> None:
    keys: dict[str, Callable[[], Any]] = {
        "rsa": lambda: rsa.generate_private_key(65537, 2048),
        "p384": lambda: ec.generate_private_key(ec.SECP384R1()),
        "ed25519": Ed25519PrivateKey.generate,
        "foreign signature": lambda: ec.generate_private_key(ec.SECP256R1()),
    }
    key = keys[kind]()
    name = x509.Name([])
    algorithm = None if kind == "ed25519" else hashes.SHA256()
    request = x509.CertificateSigningRequestBuilder().subject_name(name).sign(key, algorithm)
    pem = request.public_bytes(serialization.Encoding.PEM).decode()
    if kind == "foreign signature":
        der = bytearray(request.public_bytes(serialization.Encoding.DER))
        der[-1] ^= 1
        label = "CERTIFICATE REQUEST-----"
        pem = f"-----BEGIN {label}\n{base64.encodebytes(der).decode()}-----END {label}\n"
    call = house.enrolment().Join(Host().request(await house.token(), csr_pem=pem))
    if kind == "ed25519":
        assert (await call).node_id
    else:
        assert (await refused(call)).code is Code.INVALID_ARGUMENT
        assert await no_node(house)


async def test_guessing_is_slowed_down_and_joining_is_not(house: House) -> None:
    stub, token = house.enrolment(), await house.token(uses=50)
    for _ in range(30):
        await stub.Join(Host().request(token))
    codes = [(await refused(stub.Join(Host().request(token, token_secret=b"?")))).code for _ in range(25)]
    assert codes[:20] == [Code.UNAUTHENTICATED] * 20
    assert codes[-1] is Code.LIMIT_EXCEEDED
    assert sum(row.outcome == "unauthenticated" for row in await house.audit()) < 25


async def test_a_new_host_takes_the_place_of_an_old_one(house: House) -> None:
    old = await house.join("eu-1", labels={"a": "b"})
    session = house.agents(old.shown).Session()
    await session.read()
    token = await house.token(replace="eu-1")
    new = Host()
    answer = await house.enrolment().Join(new.request(token))
    assert (answer.node_id, answer.name) == (old.node_id, "eu-1")
    assert (await ended(session)).code is Code.SUPERSEDED
    error = await refused(renew(house, old))
    assert error.code is Code.UNAUTHENTICATED
    assert "replaced" in error.message
    stored = house.store.view.node(old.node_id)
    assert stored is not None
    assert stored.state is not NodeState.QUARANTINED
    assert dict(stored.labels) == {"a": "b"}


# --- standing --------------------------------------------------------------------------------------------------------


async def ended(session: Any, seconds: float = 1.0) -> GameNodeError:
    async with asyncio.timeout(seconds):
        with pytest.raises(grpc.aio.AioRpcError) as caught:
            await session.read()
    return from_rpc(caught.value)


def renew(house: House, node: Joined, host: Host | None = None) -> Any:
    request = agent_link_pb2.RenewCertificateRequest(csr_pem=(host or node.host).csr)
    return house.agents(node.shown).RenewCertificate(request)


async def renewed(house: House, node: Joined) -> Joined:
    host = Host()
    answer = await renew(house, node, host)
    return Joined(node.node_id, node.name, (answer.certificate_pem.encode(), host.key_pem), host)


async def test_a_node_that_is_shut_out_is_out_within_a_second_and_stays_out(house: House) -> None:
    node, other = await house.join("eu-1"), await house.join("eu-2")
    sessions = [house.agents(node.shown).Session() for _ in range(3)]
    bystander = house.agents(other.shown).Session()
    for session in (*sessions, bystander):
        await session.read()
    await house.store.apply(set_state(node.node_id, NodeState.REVOKED))
    started = time.monotonic()
    house.live.close(node.node_id, Error(Code.REVOKED, "node eu-1 has been revoked: stolen"))
    for session in sessions:
        error = await ended(session)
        assert (error.code, error.message) == (Code.REVOKED, "node eu-1 has been revoked: stolen")
    assert time.monotonic() - started < 1
    assert (await refused(renew(house, node))).code is Code.REVOKED
    await bystander.write(agent_link_pb2.AgentFrame(heartbeat=agent_link_pb2.Heartbeat(seq=3)))
    assert (await bystander.read()).ack.acked == 3
    bystander.cancel()


async def test_a_session_ends_at_the_moment_its_certificate_does_and_the_key_brings_the_node_back(
    tmp_path: Path,
) -> None:
    async with open_house(tmp_path, certificate_life=2.0) as house:
        node = await house.join("eu-1")
        end = x509.load_pem_x509_certificate(node.shown[0]).not_valid_after_utc.timestamp()
        session = house.agents(node.shown).Session()
        await session.read()
        error = await ended(session, 5)
        assert end - 0.05 <= time.time() < end + 1
        assert error.code is Code.UNAUTHENTICATED
        assert "expired" in error.message
        assert (await refused(renew(house, node))).code in (Code.DISCONNECTED, Code.UNAUTHENTICATED)
        stub = house.enrolment()
        why = await stub.WhyRefused(enrolment_pb2.WhyRefusedRequest(node_id=node.node_id, certificate_serial="1"))
        assert why.verdict == "certificate_expired"
        nonce = (await stub.Recover(enrolment_pb2.RecoverRequest(node_id=node.node_id))).nonce
        request = enrolment_pb2.RecoverRequest(
            node_id=node.node_id, nonce=nonce, signature=node.host.prove(nonce), csr_pem=node.host.csr
        )
        answer = await stub.Recover(request)
        back = Joined(node.node_id, node.name, (answer.certificate_pem.encode(), node.host.key_pem), node.host)
        frame = await house.agents(back.shown).Session().read()
        assert frame.welcome.session_id == f"node:eu-1 {node.node_id}"
        assert "has been used" in (await refused(stub.Recover(request))).message  # a nonce is good once


async def test_recovering_needs_the_key_a_fresh_nonce_and_a_node_in_good_standing(house: House) -> None:
    node, other, stub = await house.join("eu-1"), await house.join("eu-2"), house.enrolment()

    async def nonce(of: Joined) -> bytes:
        return bytes((await stub.Recover(enrolment_pb2.RecoverRequest(node_id=of.node_id))).nonce)

    async def tries(who: Joined, used: bytes, key: Host) -> GameNodeError:
        request = enrolment_pb2.RecoverRequest(
            node_id=who.node_id, nonce=used, signature=key.prove(used), csr_pem=key.csr
        )
        return await refused(stub.Recover(request))

    assert "not the key" in (await tries(node, await nonce(node), Host())).message
    assert "nonce" in (await tries(node, await nonce(other), node.host)).message
    assert "nonce" in (await tries(node, b"made up", node.host)).message
    await house.store.apply(set_state(node.node_id, NodeState.REVOKED))
    assert (await refused(stub.Recover(enrolment_pb2.RecoverRequest(node_id=node.node_id)))).code is Code.REVOKED
    why = await stub.WhyRefused(enrolment_pb2.WhyRefusedRequest(node_id=node.node_id))
    assert (why.verdict, why.error.code) == ("revoked", "revoked")
    unknown = await stub.WhyRefused(enrolment_pb2.WhyRefusedRequest(node_id="aaaabbbbcccc"))
    assert unknown.verdict == "unknown_node"
    fine = await stub.WhyRefused(enrolment_pb2.WhyRefusedRequest(node_id=other.node_id))
    assert fine.verdict == "accepted"
    assert [row.outcome for row in await house.audit() if row.method == "Recover"].count("ok") == 0


async def test_a_renewal_whose_reply_was_lost_leaves_the_old_certificate_in_force(house: House) -> None:
    node = await house.join("eu-1")
    await renewed(house, node)  # the reply never arrives
    after = await renewed(house, node)
    await house.agents(after.shown).Session().read()
    stored = house.store.view.node(node.node_id)
    assert stored is not None
    assert stored.certificate_serial == f"{x509.load_pem_x509_certificate(after.shown[0]).serial_number:x}"
    # calls that were under way with the old one are still served, and it cannot be renewed any more
    await house.agents(node.shown).Session().read()
    assert (await refused(renew(house, node))).code is Code.STATE_CONFLICT


async def test_an_old_certificate_that_comes_back_quarantines_the_node(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("gamenode_server.identity.standing.CHANGEOVER", 0.0)
    node = await house.join("eu-1")
    after = await renewed(house, node)
    await house.agents(after.shown).Session().read()
    error = await refused(renew(house, node))
    assert error.code is Code.QUARANTINED
    assert (await refused(renew(house, after))).code is Code.QUARANTINED
    row = next(row for row in reversed(await house.audit()) if row.outcome == "quarantined")
    assert (row.principal, row.target, row.source) == ("node:eu-1", "eu-1", "127.0.0.1")
    assert "node.quarantined" in await house.event_types()
    token = await house.token(replace="eu-1")
    answer = await house.enrolment().Join(Host().request(token))
    stored = house.store.view.node(answer.node_id)
    assert stored is not None
    assert stored.state is NodeState.OFFLINE
