"""check.tcp and check.http: they wait until something is there, and say what is there instead."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from gamenode_agent.engines.inline import Result
from gamenode_agent.steps.patience import patience
from gamenode_pipelines.errors import Code, GameNodeError
from support.inline_attempts import Bench, FakeHandle
from support.waiting import until


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


@asynccontextmanager
async def serving(
    answer: bytes | Callable[[bytes], bytes],
    *,
    port: int = 0,
    close: bool = True,
    tls: ssl.SSLContext | None = None,
    plain: bytes = b"",
) -> AsyncIterator[int]:
    """A server that reads a request's head and sends the answer; with `close` False it keeps the connection.

    `plain`: what it says before it is asked anything.
    """
    held: list[asyncio.StreamWriter] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        held.append(writer)
        writer.write(plain)
        try:
            request = await reader.readuntil(b"\r\n\r\n")
            writer.write(answer(request) if callable(answer) else answer)
            await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            close_now = True
        else:
            close_now = close
        if close_now:
            writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", port, ssl=tls)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for writer in held:
            writer.close()


def own_certificate(folder: Path) -> ssl.SSLContext:
    """A server's side of TLS that only itself would trust."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "127.0.0.1")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    file = folder / "server.pem"
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + certificate.public_bytes(serialization.Encoding.PEM))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file)
    return context


def bench() -> tuple[Bench, FakeHandle]:
    made = Bench(None)
    return made, made.handle()


async def tcp(handle: FakeHandle, made: Bench, port: int, **step: Any) -> Result:
    return await made.step("check.tcp", {"port": port}, **step).run(handle)


async def http(port: int, seconds: float = 1.0, path: str = "/", scheme: str = "http", **values: Any) -> Result:
    made, handle = bench()
    url = f"{scheme}://127.0.0.1:{port}{path}"
    return await made.step("check.http", {"url": url, **values}, timeout=seconds).run(handle)


async def refusal(port: int, **values: Any) -> str:
    with pytest.raises(GameNodeError) as caught:
        await http(port, **values)
    assert caught.value.code is Code.STEP_TIMEOUT
    return caught.value.message


def answer(status: str = "200 OK", body: bytes = b"", *headers: str) -> bytes:
    head = "\r\n".join([f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers])
    return head.encode() + b"\r\n\r\n" + body


def test_it_gives_up_itself_before_its_time_limit_and_not_at_once_without_one() -> None:
    assert (patience(0), patience(60), patience(1)) == (30.0, 59.0, 0.9)


async def test_tcp_waits_until_something_listens() -> None:
    made, handle = bench()
    port = free_port()
    async with asyncio.TaskGroup() as group:
        task = group.create_task(tcp(handle, made, port, timeout=20))
        await until(lambda: "connection refused" in handle.said)
        async with serving(b"", port=port):
            assert await task == Result()
    assert handle.said == ["connection refused", f"127.0.0.1:{port} accepts connections"], "each reason once"


async def test_tcp_says_why_nothing_is_there() -> None:
    made, handle = bench()
    with pytest.raises(GameNodeError, match=r"accepts no connections after 0\.9 s: connection refused") as caught:
        await tcp(handle, made, free_port(), timeout=1)
    assert caught.value.code is Code.STEP_TIMEOUT
    assert handle.said == ["connection refused"]


async def test_the_time_counts_from_when_the_attempt_first_began() -> None:
    made, handle = bench()
    handle.again().started_at -= 60
    with pytest.raises(GameNodeError, match="connection refused"):
        await asyncio.wait_for(tcp(handle, made, free_port(), timeout=60), 5)


@pytest.mark.parametrize("host", ["a..b", "x" * 70])
async def test_a_host_that_is_no_name_is_said_so(host: str) -> None:
    made, handle = bench()
    with pytest.raises(GameNodeError, match="name"):
        await made.step("check.tcp", {"host": host, "port": 1}, timeout=0.5).run(handle)


async def test_http_takes_an_answer_and_reads_no_more_of_it_than_it_needs() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\nand then never an end", close=False) as port:
        assert (await http(port)).outputs == {"status": "200"}


async def test_http_asks_for_what_the_url_says() -> None:
    asked: list[bytes] = []

    def serve(request: bytes) -> bytes:
        asked.append(request)
        return answer()

    async with serving(serve) as port:
        await http(port, path="/ä/%20?q=a&b=\u00e4#part")
        made, handle = bench()
        step = made.step("check.http", {"url": f"http://me:pa%20ss@127.0.0.1:{port}"}, timeout=1)
        await step.run(handle)
    assert asked[0].startswith(b"GET /%C3%A4/%20?q=a&b=%C3%A4 HTTP/1.1\r\nHost: 127.0.0.1:")
    assert asked[1].startswith(b"GET / HTTP/1.1\r\n")
    assert b"\r\nAuthorization: Basic bWU6cGEgc3M=\r\n" in asked[1]
    assert "pa%20ss" not in "".join(handle.said), "the log has no password"


@pytest.mark.parametrize(
    ("status", "wanted"), [("404 Not Found", 404), ("503 Busy", [200, 503]), ("204 No Content", None)]
)
async def test_http_takes_the_status_that_is_wanted(status: str, wanted: object) -> None:
    async with serving(answer(status)) as port:
        values: dict[str, Any] = {} if wanted is None else {"status": wanted}
        found = await http(port, **values)
    assert found.outputs["status"] == status[:3]


async def test_http_says_what_it_got_instead() -> None:
    async with serving(answer("503 Service Unavailable")) as port:
        assert "it answers 503 Service Unavailable" in await refusal(port)


async def test_a_redirect_is_an_answer_and_is_not_followed() -> None:
    async with serving(answer("302 Found", b"", "Location: http://127.0.0.1:1/login")) as port:
        assert (await http(port)).outputs["status"] == "302"
        assert "302 Found (to http://127.0.0.1:1/login)" in await refusal(port, status=200)


@pytest.mark.parametrize(
    "whole",
    [
        answer(body=b"all is well"),
        b"HTTP/1.1 200 OK\r\n\r\nall is well",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nall is\r\n5;x=y\r\n well\r\n0\r\n\r\n",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n\r\nall is well",
        b"HTTP/1.0 200\r\nContent-Type: text/plain; charset=utf-16-le\r\n\r\n" + "all is well".encode("utf-16-le"),
    ],
)
async def test_http_looks_into_the_body(whole: bytes) -> None:
    async with serving(whole) as port:
        assert (await http(port, contains="is well")).outputs["status"] == "200"
        assert "without 'is bad' in it" in await refusal(port, contains="is bad")


async def test_http_looks_at_the_first_mib_only() -> None:
    async with serving(b"HTTP/1.1 200 OK\r\n\r\n" + b"x" * (1 << 20) + b"needle", close=False) as port:
        assert "without 'needle' in it" in await refusal(port, contains="needle", seconds=3.0)


@pytest.mark.parametrize(
    ("garbage", "said"),
    [
        (b"SSH-2.0-OpenSSH\r\n\r\n", "not HTTP"),
        (b"HTTP/1.1 2", "closed before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc", "closed before the answer was whole"),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not HTTP"),
        (b"HTTP/1.1 200 OK\r\nX: " + b"x" * (70 << 10) + b"\r\n\r\n", "longer than"),
    ],
)
async def test_http_says_what_is_no_answer(garbage: bytes, said: str) -> None:
    async with serving(garbage) as port:
        assert said in await refusal(port, contains="x")


async def test_a_certificate_that_nobody_trusts_is_refused_by_name(tmp_path: Path) -> None:
    async with serving(answer(), tls=own_certificate(tmp_path)) as port:
        assert "its certificate is not trusted: self-signed certificate" in await refusal(port, scheme="https")


async def test_a_server_without_tls_is_said_so() -> None:
    async with serving(b"", plain=b"220 mail.example ready\r\n") as port:
        assert "TLS failed: WRONG_VERSION_NUMBER" in await refusal(port, scheme="https")


async def test_a_server_that_never_answers_is_left() -> None:
    async with serving(b"", close=False) as port:
        assert "it does not answer" in await refusal(port)
