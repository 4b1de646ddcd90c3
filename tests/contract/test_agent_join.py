"""Joining, leaving, and everything around them, with the real command line."""

from __future__ import annotations

import asyncio
import socket
import stat
import struct
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from pathlib import Path

import pytest

from gamenode_agent.identity import load_identity
from support.agent_process import agent_command
from support.cluster import end_processes_of
from support.fake_authority import Authority
from support.fake_server import FakeServer, fake_server


@pytest.fixture
async def fake() -> AsyncIterator[FakeServer]:
    async with fake_server() as fake:
        yield fake


async def test_join_stores_an_identity_that_only_its_owner_reads(tmp_path: Path, fake: FakeServer) -> None:
    data = tmp_path / "data"
    code, out, err = await agent_command(
        tmp_path, data, "join", fake.token().encode(), "--name", "eu-1", "--label", "role=game", "--label", "gpu="
    )
    assert (code, out) == (0, f"joined as node=eu-1 id=node1 server={fake.address}\n"), err
    (request,) = fake.joined
    assert (request.name, dict(request.labels)) == ("eu-1", {"role": "game", "gpu": ""})
    assert request.facts.hostname
    path = data / "agent" / "identity.pem"
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    identity = load_identity(data / "agent")
    assert identity.addresses == (fake.address,)
    assert not list((data / "agent").glob("join-*.key"))
    code, _, err = await agent_command(tmp_path, data, "join", fake.token().encode())
    assert code == 6
    assert "already" in err


@pytest.mark.parametrize("way", ["-", "file"])
async def test_the_token_need_not_be_an_argument(tmp_path: Path, fake: FakeServer, way: str) -> None:
    text = f"gamenode-agent join {fake.token().encode()}\n"
    if way == "-":
        code, _, _ = await agent_command(tmp_path, tmp_path / "data", "join", "-", stdin=text.encode())
    else:
        (tmp_path / "token").write_text(text)
        code, _, _ = await agent_command(tmp_path, tmp_path / "data", "join", "--token-file", str(tmp_path / "token"))
    assert code == 0


async def test_a_lost_reply_is_asked_for_again_with_the_same_key(tmp_path: Path, fake: FakeServer) -> None:
    fake.join_drops = 2
    code, _, err = await agent_command(tmp_path, tmp_path / "data", "join", fake.token().encode())
    assert code == 0, err
    assert len({request.csr_pem for request in fake.joined}) == 1
    assert len(fake.joined) == 3


async def test_a_server_of_another_ca_hears_nothing(tmp_path: Path, fake: FakeServer) -> None:
    wrong = replace(fake.token(), ca_pin=Authority().pin)
    code, _, err = await agent_command(tmp_path, tmp_path / "data", "join", wrong.encode())
    assert code == 5
    assert fake.authority.pin.hex() in err
    assert wrong.ca_pin.hex() in err
    assert not fake.joined


def _close(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.close()


def _reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.close()


@pytest.mark.parametrize("end", [_close, _reset])
async def test_no_server_is_said_to_be_no_server(
    tmp_path: Path, fake: FakeServer, end: Callable[[asyncio.StreamReader, asyncio.StreamWriter], None]
) -> None:
    silent = await asyncio.start_server(end, "127.0.0.1", 0)
    port = silent.sockets[0].getsockname()[1]
    token = replace(fake.token(), addresses=("127.0.0.1:1", f"127.0.0.1:{port}"))
    began = time.monotonic()
    code, _, err = await agent_command(tmp_path, tmp_path / "data", "join", token.encode())
    silent.close()
    assert code == 4
    assert "127.0.0.1:1: Connection refused" in err
    assert f"127.0.0.1:{port}: something answers" in err
    assert time.monotonic() - began < 25


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["join"], "give the token"),
        (["join", "nonsense"], "not a join token"),
        (["join", "gn1.AAAA"], "cut short"),
        (["join", "gn1.AAAA", "--label", "x"], "KEY=VALUE"),
        (["join", "gn1.AAAA", "--label", "-x=1"], "-x"),
        (["join", "--token-file", "/no/such/file"], "/no/such/file"),
        (["set-server", "nowhere"], "HOST:PORT"),
        (["fly"], "fly"),
        (["status", "--log-level", "loud"], "loud"),
    ],
)
async def test_bad_usage_is_one_clear_line(tmp_path: Path, words: list[str], said: str) -> None:
    code, out, err = await agent_command(tmp_path, tmp_path / "data", *words)
    assert (code, out) == (2, "")
    assert said in err


@pytest.mark.parametrize("words", [["run"], ["run", "--detach"], ["status"], ["leave", "--yes"], ["set-server", "h:1"]])
async def test_a_host_that_has_not_joined_is_told_how(tmp_path: Path, words: list[str]) -> None:
    code, _, err = await agent_command(tmp_path, tmp_path / "data", *words)
    assert code == 3
    assert "gamenode-agent join" in err


async def test_detached_it_runs_until_it_is_stopped(tmp_path: Path, fake: FakeServer) -> None:
    data = tmp_path / "data"
    try:
        await agent_command(tmp_path, data, "join", fake.token().encode())
        code, out, err = await agent_command(tmp_path, data, "run", "--detach", "--slots", "3")
        assert code == 0, err
        assert out.startswith("started pid=")
        await fake.wait_connected()
        assert fake.sessions[0].hello.facts.slots == 3
        code, _, err = await agent_command(tmp_path, data, "run", "--detach")
        assert code == 6
        code, out, _ = await agent_command(tmp_path, data, "doctor")
        assert "is connected to" in out
        assert "FAIL" not in out, out
        assert code == 0
        code, _, _ = await agent_command(tmp_path, data, "leave", "--yes")
        assert code == 6
        code, _, _ = await agent_command(tmp_path, data, "stop")
        assert code == 0
        code, out, _ = await agent_command(tmp_path, data, "leave", "--yes")
        assert code == 0
        assert not (data / "agent" / "identity.pem").exists()
        assert not (data / "agent" / "journal.db").exists()
    finally:
        end_processes_of(tmp_path)


async def test_doctor_names_what_is_wrong(tmp_path: Path, fake: FakeServer) -> None:
    data = tmp_path / "data"
    fake.identity(data)
    (data / "agent" / "identity.pem").chmod(0o644)
    fake.verdict = "revoked"
    code, out, _ = await agent_command(tmp_path, data, "doctor")
    assert code == 1
    assert "mode 644" in out
    assert "revoked" in out


async def test_a_damaged_identity_is_said_to_be_damaged(tmp_path: Path, fake: FakeServer) -> None:
    data = tmp_path / "data"
    fake.identity(data)
    path = data / "agent" / "identity.pem"
    for text in ("", "{}", path.read_text()[:500], "\x00"):
        path.write_text(text)
        code, _, err = await agent_command(tmp_path, data, "run")
        assert code == 1
        assert "damaged" in err


async def test_version_is_quick(tmp_path: Path) -> None:
    process = await asyncio.create_subprocess_exec(
        *(__import__("sys").executable, "-X", "importtime", "-m", "gamenode_agent", "--version"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await process.communicate()
    assert out.startswith(b"gamenode-agent 0.")
    assert b"click" not in err
    assert b"grpc" not in err


async def test_the_agent_imports_nothing_that_it_does_not_need() -> None:
    code = (
        "import sys; import gamenode_agent.app, gamenode_agent.commands;"
        "bad = {'pydantic', 'yaml', 'rich', 'sqlalchemy', 'jinja2', 'textual', 'docker'} & set(sys.modules);"
        "sys.exit(str(bad) if bad else 0)"
    )
    process = await asyncio.create_subprocess_exec(__import__("sys").executable, "-c", code)
    assert await process.wait() == 0
