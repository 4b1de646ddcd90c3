"""One try to tell somebody, against real receivers and real programs, the worst there are."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_server.notifiers import command, messages, signing
from gamenode_server.notifiers.delivery import Delivery
from gamenode_server.notifiers.outcome import CAP, LONGEST_WISH, MAX_SAID, Outcome, wait
from gamenode_server.notifiers.reading import read
from support.receiver import Receiver, a_certificate, receiving
from support.waiting import until

EVENT = messages.sample(id="event-1", wall=1_800_000_000.0, actor="alice")
WALL = 1_800_000_000.0


async def send(event: messages.Document = EVENT, **spec: Any) -> Outcome:
    (notifier,) = read([{"name": "n", "events": ["*"], "timeout": 5, **spec}])
    return await Delivery(notifier, wall=lambda: WALL, version="1").send(event)


# --- webhooks --------------------------------------------------------------------------------------------------------


async def test_a_message_says_which_it_is_and_is_signed_as_receivers_know_it(tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("whsec_" + base64.b64encode(b"k" * 24).decode() + "\n")
    with receiving() as receiver:
        outcome = await send(url=receiver.url, **{"secret-file": str(tmp_path / "secret")}, headers={"X-Team": "ops"})
    assert outcome == Outcome(True, "204 No Content")
    (got,) = receiver.got
    assert got.path == "/hook?token=very-secret"
    assert got.headers["content-type"] == "application/json"
    assert got.headers["x-team"] == "ops"
    assert (got.headers["webhook-id"], got.headers["webhook-timestamp"]) == ("event-1", str(int(WALL)))
    mac = hmac.new(b"k" * 24, b"event-1.1800000000." + got.body, hashlib.sha256).digest()
    assert got.headers["webhook-signature"] == f"v1,{base64.b64encode(mac).decode()}"
    assert json.loads(got.body) == {"event": EVENT}


async def test_without_a_secret_there_is_no_signature() -> None:
    with receiving() as receiver:
        await send(url=receiver.url)
    assert "webhook-signature" not in receiver.got[0].headers


def test_a_plain_secret_is_its_own_bytes_and_a_broken_one_is_refused() -> None:
    assert signing.key_of("hunter2") == b"hunter2"
    for broken in ("", "whsec_***"):
        with pytest.raises(ValueError, match=r"empty|base64"):
            signing.key_of(broken)


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (503, True), (429, True), (408, True), (400, False), (404, False), (410, False)]
)
async def test_what_an_answer_means(status: int, again: bool) -> None:
    with receiving(Receiver(answer=status, text=b"no \x1b[31m luck")) as receiver:
        outcome = await send(url=receiver.url)
    assert (outcome.delivered, outcome.again) == (False, again)
    assert outcome.answer.startswith(f"it answers {status} ")
    assert outcome.answer.endswith(": no [31m luck")


@pytest.mark.parametrize("status", [301, 302, 307, 308])
async def test_a_redirect_is_refused_and_nobody_else_is_told(status: int) -> None:
    with receiving() as other, receiving(Receiver(answer=status, headers={"Location": other.url})) as receiver:
        outcome = await send(url=receiver.url)
    assert (outcome.delivered, outcome.again, other.got) == (False, False, [])
    assert "redirects are not followed" in outcome.answer
    assert "very-secret" not in outcome.answer


async def test_a_receiver_may_say_when_to_come_back() -> None:
    with receiving(Receiver(answer=429, headers={"Retry-After": "17"})) as receiver:
        assert (await send(url=receiver.url)).wish == 17
        receiver.headers = {"Retry-After": "Fri, 15 Jan 2027 08:00:30 GMT"}
        assert (await send(url=receiver.url)).wish == 30
        receiver.headers = {"Retry-After": "soon"}
        assert (await send(url=receiver.url)).wish == 0


def _silence(handler: BaseHTTPRequestHandler) -> None:
    time.sleep(2)


def _trickled_head(handler: BaseHTTPRequestHandler) -> None:
    for byte in b"HTTP/1.1 200 OK\r\nX-Slow: " + b"." * 1000:
        handler.wfile.write(bytes([byte]))
        time.sleep(0.02)


def _trickled_body(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 200 OK\r\nContent-Length: 4000\r\n\r\n")
    for _ in range(1000):
        handler.wfile.write(b".")
        time.sleep(0.02)


@pytest.mark.parametrize("how", [_silence, _trickled_head])
async def test_a_slow_answer_is_cut_off_at_the_one_deadline(how: Callable[[BaseHTTPRequestHandler], None]) -> None:
    with receiving(Receiver(answer=how)) as receiver:
        began = time.monotonic()
        outcome = await send(url=receiver.url, timeout=0.5)
        assert time.monotonic() - began < 4
    assert (outcome.delivered, outcome.again) == (False, True)
    assert outcome.answer == "no whole answer within 0.5 s"


async def test_a_message_that_was_taken_is_delivered_however_long_the_receiver_goes_on() -> None:
    with receiving(Receiver(answer=_trickled_body)) as receiver:
        began = time.monotonic()
        assert (await send(url=receiver.url)).delivered
        assert time.monotonic() - began < 4


def _garbage(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"\x00\xff SSH-2.0\r\n\r\n")


def _hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)


def _huge(handler: BaseHTTPRequestHandler) -> None:
    handler.wfile.write(b"HTTP/1.1 500 Oh\r\n\r\n" + b"x" * (1 << 20))


@pytest.mark.parametrize(
    ("how", "says"),
    [
        (_garbage, "what it answers is not HTTP"),
        (_hangs_up, "the connection was closed before the answer was whole"),
        (_huge, "it answers 500 Oh: " + "x" * 200),
    ],
)
async def test_a_broken_answer_is_a_reason_and_can_be_tried_again(
    how: Callable[[BaseHTTPRequestHandler], None], says: str
) -> None:
    with receiving(Receiver(answer=how)) as receiver:
        outcome = await send(url=receiver.url)
    assert outcome == Outcome(False, says, again=True)


async def test_nobody_there() -> None:
    with receiving() as receiver:
        pass
    assert await send(url=receiver.url) == Outcome(False, "nothing listens there", again=True)


async def test_certificates_are_verified(tmp_path: Path) -> None:
    chain = a_certificate(tmp_path)
    with receiving(tls=chain) as receiver:
        outcome = await send(url=receiver.url)
        assert not outcome.delivered
        assert outcome.answer.startswith("its certificate is not trusted: ")
        assert (await send(url=receiver.url, **{"ca-file": str(chain[0])})).delivered
        other = await send(url=receiver.url.replace("127.0.0.1", "localhost"), **{"ca-file": str(chain[0])})
        assert "certificate is not trusted" in other.answer
    with receiving() as plain:
        assert "no TLS with it" in (await send(url=plain.url.replace("http:", "https:"))).answer
        missing = await send(url=plain.url.replace("http:", "https:"), **{"ca-file": str(tmp_path / "none")})
        assert missing.answer.startswith("the ca-file cannot be used")


async def test_an_address_can_come_from_a_file_and_is_never_told(tmp_path: Path) -> None:
    with receiving() as receiver:
        (tmp_path / "url").write_text(receiver.url + "\n")
        (notifier,) = read([{"name": "n", "events": ["*"], "url-file": str(tmp_path / "url")}])
        assert (await Delivery(notifier, wall=lambda: WALL, version="1").send(EVENT)).delivered
    assert receiver.url not in repr(notifier) + notifier.target


@pytest.mark.parametrize("content", [b"", b"ftp://very-secret", b"\xff"])
def test_a_file_that_cannot_be_used_is_named_without_what_is_in_it(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "url").write_bytes(content)
    (notifier,) = read([{"name": "n", "events": ["*"], "url-file": str(tmp_path / "url")}])
    with pytest.raises(GameNodeError, match=f"notifier n: url-file {tmp_path}/url is not") as error:
        Delivery(notifier, wall=lambda: WALL, version="1")
    assert "very-secret" not in error.value.message


# --- commands --------------------------------------------------------------------------------------------------------


def script(code: str) -> list[str]:
    return [sys.executable, "-c", code]


async def test_a_command_gets_the_event_and_nothing_of_the_servers_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMENODE_PASSWORD", "very-secret")
    code = "import json,os,sys; print(json.load(sys.stdin)['actor'], sorted(k for k in os.environ if 'GAMENODE' in k))"
    outcome = await send(type="command", command=script(code))
    assert outcome.delivered
    assert "alice ['GAMENODE_EVENT_ID', 'GAMENODE_EVENT_TYPE', 'GAMENODE_NOTIFIER']" in outcome.answer


async def test_no_shell_reads_a_command(tmp_path: Path) -> None:
    outcome = await send(
        type="command", command=[*script("import sys; print(sys.argv[1])"), f"$(touch {tmp_path}/x); `id`"]
    )
    assert f"$(touch {tmp_path}/x); `id`" in outcome.answer
    assert not (tmp_path / "x").exists()


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (script("import sys; sys.exit('out of paper')"), "exit code 1: out of paper"),
        (script("import os; os.kill(os.getpid(), 9)"), "it was ended by signal 9"),
        (["/nowhere/to/be/found"], "/nowhere/to/be/found cannot be started: No such file or directory"),
    ],
)
async def test_a_command_that_fails_is_a_reason(argv: list[str], says: str) -> None:
    outcome = await send(type="command", command=argv)
    assert (outcome.delivered, outcome.again) == (False, True)
    assert outcome.answer == says


async def test_a_command_that_hangs_is_killed_with_what_it_started(tmp_path: Path) -> None:
    child = f"import os,time; open({str(tmp_path / 'pid')!r},'w').write(str(os.getpid())); time.sleep(60)"
    code = f"import subprocess,sys,time; subprocess.Popen([sys.executable,'-c',{child!r}]); time.sleep(60)"
    outcome = await send(type="command", command=script(code), timeout=2)
    assert outcome.answer == "it did not end within 2 s and was killed"
    pid = int(await until(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text()))
    await until(lambda: not os.path.exists(f"/proc/{pid}") or "Z" in Path(f"/proc/{pid}/stat").read_text().split()[2])


def test_a_command_that_floods_or_does_not_listen_takes_no_memory() -> None:
    flood = "import os\nfor _ in range(2000): os.write(1, b'x' * 65536)"
    outcome = command.run(script(flood), given=b"y" * (1 << 20), variables={}, timeout=20)
    assert outcome == Outcome(True, "exit code 0: " + "x" * MAX_SAID)


# --- waiting ---------------------------------------------------------------------------------------------------------


def test_waits_grow_and_are_bounded_and_a_receivers_wish_is_heeded_within_reason() -> None:
    failed = Outcome(False, "x")
    assert wait(failed, 0, 0.999) <= 1.5
    assert wait(failed, 3, 0.999) <= 8.5
    assert wait(failed, 10_000, 0.999) <= CAP + 0.5
    assert wait(failed, 10_000, 0.0) > 0
    assert wait(Outcome(False, "x", wish=20), 5, 0.9) == 20
    assert wait(Outcome(False, "x", wish=1e9), 5, 0.9) == LONGEST_WISH
