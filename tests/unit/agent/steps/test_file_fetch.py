"""file.fetch: the file that was meant, whole or not at all, over connections that break."""

from __future__ import annotations

import asyncio
import hashlib
import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent.engines.inline import Result
from gamenode_pipelines.errors import Code, GameNodeError
from support.inline_attempts import Bench, FakeHandle, stop

DATA = bytes(range(256)) * 4096
DIGEST = hashlib.sha256(DATA).hexdigest()


@dataclass
class Web:
    """A web server that answers each question as the next of its answers says; the last one stays."""

    answers: list[Callable[[str, int], bytes]] = field(default_factory=list)
    questions: list[str] = field(default_factory=list)
    port: int = 0

    def url(self, path: str = "/x") -> str:
        return f"http://127.0.0.1:{self.port}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        question = (await reader.readuntil(b"\r\n\r\n")).decode()
        self.questions.append(question)
        start = int(question.partition("Range: bytes=")[2].partition("-")[0] or 0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        writer.write(answer(question, start))
        await writer.drain()
        writer.close()


@asynccontextmanager
async def web(*answers: Callable[[str, int], bytes]) -> AsyncIterator[Web]:
    there = Web(list(answers))
    server = await asyncio.start_server(there.serve, "127.0.0.1", 0)
    there.port = server.sockets[0].getsockname()[1]
    async with server:
        yield there


def head(status: str, *headers: str) -> bytes:
    return "".join(f"{line}\r\n" for line in (f"HTTP/1.1 {status}", *headers, "")).encode()


def whole(_: str, __: int) -> bytes:
    return head("200 OK", f"Content-Length: {len(DATA)}") + DATA


def cut(_: str, start: int) -> bytes:
    """Half of what is left, then nothing."""
    rest = DATA[start:]
    return _part(start) + rest[: len(rest) // 2]


def rest_of_it(_: str, start: int) -> bytes:
    return _part(start) + DATA[start:]


def _part(start: int) -> bytes:
    length = f"Content-Length: {len(DATA) - start}"
    if not start:
        return head("200 OK", length)
    return head("206 Partial Content", length, f"Content-Range: bytes {start}-{len(DATA) - 1}/{len(DATA)}")


def chunked(_: str, __: int) -> bytes:
    pieces = [DATA[at : at + 70_000] for at in range(0, len(DATA), 70_000)]
    body = b"".join(b"%x;a=b\r\n%s\r\n" % (len(piece), piece) for piece in pieces)
    return head("200 OK", "Transfer-Encoding: chunked") + body + b"0\r\n\r\n"


def until_the_end(_: str, __: int) -> bytes:
    return head("200 OK") + DATA


def to(path: str) -> Callable[[str, int], bytes]:
    return lambda *_: head("302 Found", f"Location: {path}", "Content-Length: 0")


def says(status: str) -> Callable[[str, int], bytes]:
    return lambda *_: head(status, "Content-Length: 0")


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules["gamenode_agent.steps.web_file"], "PAUSE", 0.0)


async def fetch(folder: Path, url: str, handle: FakeHandle | None = None, **more: Any) -> Result:
    bench = Bench(None)
    with_ = {"url": url, "path": "got", "sha256": DIGEST, **more}
    return await bench.step("file.fetch", with_, workspace=str(folder)).run(handle or bench.handle())


@pytest.mark.parametrize("answer", [whole, chunked, until_the_end])
async def test_a_file_is_fetched_with_its_mode_and_described(
    tmp_path: Path, answer: Callable[[str, int], bytes]
) -> None:
    async with web(answer) as there:
        result = await fetch(tmp_path, there.url(), mode="0750")
    path = tmp_path / "got"
    assert path.read_bytes() == DATA
    assert path.stat().st_mode & 0o7777 == 0o750
    assert result.outputs == {"path": str(path), "bytes": str(len(DATA)), "sha256": DIGEST}
    assert os.listdir(tmp_path) == ["got"]


async def test_what_is_there_is_not_fetched_again(tmp_path: Path) -> None:
    (tmp_path / "got").write_bytes(DATA)
    async with web(says("500 No")) as there:
        await fetch(tmp_path, there.url())
    assert there.questions == []


async def test_a_broken_connection_goes_on_where_it_got_to(tmp_path: Path) -> None:
    async with web(cut, cut, says("503 Later"), rest_of_it) as there:
        await fetch(tmp_path, there.url())
    assert (tmp_path / "got").read_bytes() == DATA
    asked = [question.partition("Range: ")[2].partition("\r")[0] for question in there.questions]
    assert asked == ["", "bytes=524288-", "bytes=786432-", "bytes=786432-"]


async def test_a_server_without_ranges_begins_again(tmp_path: Path) -> None:
    async with web(cut, whole) as there:
        await fetch(tmp_path, there.url())
    assert (tmp_path / "got").read_bytes() == DATA


async def test_another_agent_goes_on_with_it(tmp_path: Path) -> None:
    (tmp_path / ".gamenode.task.1.a.1").write_bytes(DATA[:1000])
    async with web(rest_of_it) as there:
        await fetch(tmp_path, there.url())
    assert "Range: bytes=1000-" in there.questions[0]
    assert (tmp_path / "got").read_bytes() == DATA


async def test_another_file_is_refused_and_the_old_one_stays(tmp_path: Path) -> None:
    (tmp_path / "got").write_text("old")
    async with web(whole) as there:
        with pytest.raises(GameNodeError, match="is another file") as caught:
            await fetch(tmp_path, there.url(), sha256="0" * 64)
    assert caught.value.code is Code.INTEGRITY_FAILED
    assert (tmp_path / "got").read_text() == "old"
    assert os.listdir(tmp_path) == ["got"]


@pytest.mark.parametrize("answer", [whole, chunked, until_the_end])
async def test_there_is_a_limit_to_size(tmp_path: Path, answer: Callable[[str, int], bytes]) -> None:
    async with web(answer) as there:
        with pytest.raises(GameNodeError, match="larger than 102400 bytes") as caught:
            await fetch(tmp_path, there.url(), max_size="100k")
    assert caught.value.code is Code.LIMIT_EXCEEDED
    assert os.listdir(tmp_path) == []


async def test_redirects_are_followed_so_far(tmp_path: Path) -> None:
    async with web(to("/a"), to("b"), whole) as there:
        await fetch(tmp_path, there.url())
    assert [question.split()[1] for question in there.questions] == ["/x", "/a", "/b"]
    async with web(to("/round")) as there:
        with pytest.raises(GameNodeError, match="from one place to the next"):
            await fetch(tmp_path / "..", there.url(), path="other")
    assert len(there.questions) == 6


async def test_a_password_stays_with_its_host_and_out_of_the_log(tmp_path: Path) -> None:
    handle = Bench(None).handle()
    async with web(whole) as other, web(to(f"http://127.0.0.1:{other.port}/y")) as there:
        await fetch(tmp_path, there.url().replace("//", "//kim:hush@"), handle)
    assert "Authorization: " in there.questions[0]
    assert "Authorization: " not in other.questions[0]
    assert "hush" not in "".join(handle.said)


@pytest.mark.parametrize("target", ["file:///etc/passwd", "gopher://x/"])
async def test_it_is_led_to_nothing_but_the_web(tmp_path: Path, target: str) -> None:
    async with web(to(target)) as there:
        with pytest.raises(GameNodeError, match="which is not followed"):
            await fetch(tmp_path, there.url())


@pytest.mark.parametrize(
    ("answer", "said", "questions"),
    [
        (says("404 Not Found"), "it answers 404 Not Found", 1),
        (says("500 Oops"), "it answers 500 Oops", 5),
        (lambda *_: b"SSH-2.0-OpenSSH\r\n\r\n", "is not HTTP", 5),
        (lambda *_: b"", "closed before the answer was whole", 5),
        (lambda *_: head("200 OK", "Transfer-Encoding: chunked") + b"zz\r\n", "is not HTTP", 5),
    ],
)
async def test_a_server_that_does_not_give_it_is_told_of(
    tmp_path: Path, answer: Callable[[str, int], bytes], said: str, questions: int
) -> None:
    async with web(answer) as there:
        with pytest.raises(GameNodeError, match=said) as caught:
            await fetch(tmp_path, there.url())
    assert caught.value.code is Code.STEP_FAILED
    assert len(there.questions) == questions


async def test_nothing_is_left_of_one_that_is_cancelled(tmp_path: Path) -> None:
    (tmp_path / ".gamenode.task.1.a.1").write_bytes(DATA[:1000])
    bench = Bench(None)
    step = bench.step(
        "file.fetch", {"url": "http://127.0.0.1:9/", "path": "got", "sha256": DIGEST}, workspace=str(tmp_path)
    )
    await step.end(bench.handle(), stop())
    assert os.listdir(tmp_path) == []


async def test_no_link_leads_out_of_the_workspace(tmp_path: Path) -> None:
    (tmp_path / "work").mkdir()
    (tmp_path / "work" / "out").symlink_to(tmp_path)
    with pytest.raises(GameNodeError, match="out of the task's workspace"):
        await fetch(tmp_path / "work", "http://127.0.0.1:9/", path="out/file")
