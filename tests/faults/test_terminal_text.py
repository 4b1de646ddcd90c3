"""Promises 17 and 33: what a terminal must not obey, and a watcher that has stopped reading."""

from __future__ import annotations

import asyncio
import fcntl
import json
import os
import pty
import re
import signal
import struct
import sys
import termios
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil
import pytest
import pytest_asyncio

from gamenode_console.gateway import Gateway
from gamenode_pipelines.states import RunState
from support.cluster import Cluster, running_cluster, settled, start_run, state_of

#: A title, a colour by a C1 control, a screen that is cleared, text that reads backwards, and a bell.
HOSTILE = "a\x1b]0;owned\x07b\u009b31mc\x1b[2Jd\u202ee\rf\x7fg"
SAYING = """
pipeline: saying
params: {{text: {{type: string}}}}
steps:
  - id: say
    env: {{TEXT: "${{{{ params.text }}}}"}}
    run: |
      printf '%s\\n' "$TEXT"
      printf '%s\\n' "$TEXT" >&2
      printf 'said=%s\\n' "$TEXT" >> "$GAMENODE_OUTPUT"
      {ending}
"""
#: What a table may hold: colours, and the ends of lines.
_ALLOWED = re.compile(r"\x1b\[[0-9;]*m|\r\n")
_ACTIVE = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def cluster(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Cluster]:
    async with running_cluster(tmp_path_factory.mktemp("terminal"), agents=["eu-1"]) as cluster:
        yield cluster


async def on_a_terminal(cluster: Cluster, *words: str) -> tuple[int | None, str]:
    """Runs the client with a terminal on every end: its exit code, and all that the terminal was sent."""
    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 200, 0, 0))
    env: Mapping[str, str] = {key: value for key, value in cluster.env.items() if key != "NO_COLOR"}
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "gamenode_console", "--data-dir", str(cluster.data_dir), *words),
        env={**env, "TERM": "xterm-256color"},
        stdin=follower,
        stdout=follower,
        stderr=follower,
    )
    os.close(follower)

    def read() -> bytes:
        chunks: list[bytes] = []
        while True:
            try:
                data = os.read(leader, 1 << 16)
            except OSError:  # nobody has the other end any more
                return b"".join(chunks)
            chunks.append(data)

    try:
        sent = await asyncio.wait_for(asyncio.to_thread(read), 40)
        return await asyncio.wait_for(process.wait(), 10), sent.decode(errors="strict")
    finally:
        os.close(leader)


@pytest.mark.asyncio(loop_scope="module")
async def test_no_text_from_elsewhere_acts_on_a_terminal_and_logs_stay_raw(cluster: Cluster, tmp_path: Path) -> None:
    fine, failing, slow = (tmp_path / f"{name}.yaml" for name in ("fine", "failing", "slow"))
    fine.write_text(SAYING.format(ending="true"))
    failing.write_text(SAYING.format(ending='printf "%s" "$TEXT" > "$GAMENODE_OUTPUT"; exit 3'))
    slow.write_text(SAYING.format(ending="sleep 60"))
    text = ["-p", f"text={HOSTILE}", "--note", HOSTILE]
    run_id = (await cluster.cli("pipeline", "run", str(fine), *text, "--wait", "-o", "name")).strip()
    await cluster.cli("pipeline", "run", str(failing), *text, "--wait", code=1)
    cancelled = (await cluster.cli("pipeline", "run", str(slow), *text, "-o", "name")).strip()
    await cluster.cli("run", "cancel", cancelled, "--reason", HOSTILE)
    await cluster.cli("run", "wait", cancelled, code=9)

    commands = [
        *(["run", "show", found] for found in (run_id, cancelled)),
        *(["run", "show", found, "-o", "json"] for found in (run_id, cancelled)),
        ["run", "logs", run_id],
        ["run", "logs", run_id, "--timestamps"],
        ["run", "ls", "-o", "wide"],
        ["run", "ls", "-o", "json"],
        ["run", "explain", cancelled],
        ["events", "-o", "jsonl"],
        ["events"],
        ["audit", "ls"],
        ["audit", "ls", "-o", "json"],
        ["pipeline", "run", str(fine), *text, "--follow"],
        ["node", "show", HOSTILE],
        ["node", "ls", "-l", HOSTILE],
        ["node", "label", "eu-1", f"key={HOSTILE}"],
        ["node", "token", "--name", HOSTILE],
        ["run", "show", HOSTILE],
        ["pipeline", "lint", HOSTILE],
        ["pipeline", "run", HOSTILE],
        ["nod" + HOSTILE],
        ["node", "ls", "--" + HOSTILE],
        ["pipeline", "run", str(fine), "--node", HOSTILE],
        ["container", "ls", "--node", HOSTILE],
        ["container", "logs", HOSTILE],
        ["container", "stop", HOSTILE, "--yes"],
        ["container", "rm", f"eu-1/{HOSTILE}", "--dry-run"],
        ["explain", HOSTILE],
        ["--config", HOSTILE, "node", "ls"],
        ["--log-level", HOSTILE, "node", "ls"],
    ]
    shown = 0
    room = asyncio.Semaphore(2)

    async def look(words: list[str]) -> None:
        nonlocal shown
        async with room:
            _, sent = await on_a_terminal(cluster, *words)
        assert sent
        active = _ACTIVE.search(_ALLOWED.sub("", sent).replace("\n", ""))
        assert active is None, (words, active, sent)
        shown += "␛]0;owned␇" in sent or "\\u001b]0;owned\\u0007" in sent

    for outcome in await asyncio.gather(*(look(words) for words in commands), return_exceptions=True):
        if outcome is not None:
            raise outcome
    assert shown >= 12, "it is shown, as a picture of itself"

    raw = await cluster.cli("run", "logs", run_id, "--step", "say")
    assert raw == f"{HOSTILE}\n{HOSTILE}\n"
    document = json.loads(await cluster.cli("run", "show", run_id, "-o", "json"))
    assert document["note"] == HOSTILE
    assert document["tasks"][0]["steps"][0]["outputs"] == {"said": HOSTILE}


# -- a watcher that does not read --------------------------------------------------------------------------------------

FLOOD = """
pipeline: flood
steps:
  - id: flood
    run: |
      i=0
      while [ $i -lt 20 ]; do seq -f %09.0f "${i}00000" "${i}99999"; sleep 0.05; i=$((i + 1)); done
"""
FLOODED = b"".join(b"%09d\n" % number for number in range(2_000_000))
SMALL = "pipeline: small\nsteps: [{id: a, run: 'true'}, {id: b, run: 'true'}]\n"


async def _watcher(cluster: Cluster, *words: str) -> asyncio.subprocess.Process:
    argv = [sys.executable, "-m", "gamenode_console", "--data-dir", str(cluster.data_dir), *words]
    env = {**cluster.env, "PYTHONUNBUFFERED": "1"}  # so a write to stdout may be cut short when the process is stopped
    return await asyncio.create_subprocess_exec(
        *argv, env=env, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL, limit=1 << 20
    )


async def _gaps(gateway: Gateway, run_id: str) -> list[float]:
    """The seconds between the changes that a watcher who reads is told of."""
    found, before = [], time.monotonic()
    async for update in gateway.pipelines.watch_run(run_id):
        now = time.monotonic()
        found.append(now - before)
        before = now
        if update.ended:
            return found
    raise AssertionError("the watch ended before its run")


@pytest.mark.asyncio(loop_scope="module")
async def test_who_stops_reading_costs_the_server_nothing_and_others_notice_nothing(cluster: Cluster) -> None:
    server = psutil.Process(cluster.server.pid)
    async with cluster.gateway() as gateway:
        warm = await start_run(gateway, FLOOD)  # what the server needs anyway for so much
        await settled(gateway, warm.run.id)
        before = server.memory_info().rss
        flood = await start_run(gateway, FLOOD)
        stopped = [
            await _watcher(cluster, "run", "logs", "-f", flood.run.id),
            await _watcher(cluster, "run", "logs", "-f", flood.run.id),
            await _watcher(cluster, "events", "-f", "-o", "jsonl", "--since", "1s"),
            await _watcher(cluster, "run", "watch", flood.run.id, "-o", "jsonl"),
        ]
        try:
            for watcher in stopped[:2]:
                assert watcher.stdout is not None
                await asyncio.wait_for(watcher.stdout.read(1), 20)
            for watcher in stopped:
                watcher.send_signal(signal.SIGSTOP)
            reader = await _watcher(cluster, "events", "-f", "-o", "jsonl", "--since", "10m")
            started: set[str] = set()
            waits: list[float] = []
            for _ in range(60):
                begun = time.monotonic()
                small = await start_run(gateway, SMALL)
                await _gaps(gateway, small.run.id)
                waits.append(time.monotonic() - begun)
                started.add(small.run.id)
            assert sorted(waits)[len(waits) // 2] < 0.25
            assert max(waits) < 3
            document = await settled(gateway, flood.run.id)
            assert state_of(document) is RunState.SUCCEEDED
            grown = server.memory_info().rss - before
            assert grown < 24 << 20, f"{grown >> 20} MiB for four that do not read 20 MB"

            # Another one hears of everything.
            seen: set[str] = set()

            async def hear() -> None:
                assert reader.stdout is not None
                while not started <= seen:
                    event = json.loads(await reader.stdout.readline())
                    if event["type"] == "run.succeeded":
                        seen.add(event["run_id"])

            async with asyncio.timeout(20):
                await hear()
            reader.terminate()
            await reader.communicate()

            # And those who go on reading get all of it, to the last byte.
            for watcher in stopped:
                watcher.send_signal(signal.SIGCONT)
            for watcher in stopped[:2]:
                out, _ = await asyncio.wait_for(watcher.communicate(), 60)
                assert watcher.returncode == 0
                assert FLOODED.endswith(out)
                assert len(out) == len(FLOODED) - 1, "the first byte was read before"
        finally:
            for watcher in stopped:
                if watcher.returncode is None:
                    watcher.kill()
                    await watcher.communicate()
