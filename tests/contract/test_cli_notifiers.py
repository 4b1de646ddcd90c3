"""Notifiers as a user has them: a real server and its config file, a receiver that comes and goes, the page on them."""

from __future__ import annotations

import asyncio
import json
import re
import signal
import sys
import threading
from pathlib import Path

import pytest
import yaml

from gamenode_server.notifiers.reading import read
from support.cluster import Cluster, run_to_end, running_cluster
from support.receiver import receiving
from support.waiting import until

PAGE = Path(__file__).parents[2] / "docs" / "notifiers.md"


def config(folder: Path, *notifiers: dict[str, object]) -> dict[str, str]:
    file = folder / "gamenode.yaml"
    file.write_text(yaml.safe_dump({"server": {"notifiers": list(notifiers)}}))
    return {"GAMENODE_CONFIG": str(file)}


async def listed(cluster: Cluster) -> dict[str, dict[str, object]]:
    return {each["name"]: each for each in json.loads(await cluster.cli("notifier", "ls", "-o", "json"))}


async def test_a_server_that_is_killed_tells_everything_in_order_once_it_and_its_receiver_are_back(
    tmp_path: Path,
) -> None:
    with receiving() as receiver:
        pass
    (tmp_path / "url").write_text(receiver.url)
    hook = {"name": "hook", "url-file": str(tmp_path / "url"), "events": ["run.*", "token.created"]}
    async with running_cluster(tmp_path / "c", agents=["eu-1"], env=config(tmp_path, hook)) as cluster:
        await cluster.cli("pipeline", "run", "hello", "--node", "eu-1", "--wait")

        async def waits() -> bool:
            now = (await listed(cluster))["hook"]
            return now["state"] == "failing" and now["queued"] == 4

        await until(waits)
        status = json.loads(await cluster.cli("status", "-o", "json"))
        assert [(a["kind"], a["name"]) for a in status["attention"]] == [("notifier", "hook")]
        assert await cluster.server.kill(signal.SIGKILL) == -signal.SIGKILL
        await cluster.start_server()
        with receiving(receiver):
            # A receiver whose answer is lost is told again.
            await until(lambda: len(set(receiver.ids)) == 4)
            now = await until(lambda: _quiet(cluster))
        assert [json.loads(got.body)["event"]["type"] for got in receiver.got] == [
            "token.created", "run.created", "run.started", "run.succeeded",
        ]  # fmt: skip
        assert (now["queued"], now["state"], now["sent"]) == (0, "ok", 4)
        assert "very-secret" not in json.dumps(now)
        assert "very-secret" not in cluster.server.log.read_text()


async def _quiet(cluster: Cluster) -> dict[str, object] | None:
    now = (await listed(cluster))["hook"]
    return now if now["queued"] == 0 else None


async def test_a_test_says_what_came_back_and_is_audited(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "import sys; print(len(sys.stdin.read()) > 100)"]
    with receiving() as receiver:
        receiver.answer, receiver.text = 403, b"\x1b]0;gotcha\x07 go away"
        hook = {"name": "hook", "url": receiver.url, "events": ["*"], "silence": [{"until": "2999-01-01"}]}
        page = {"name": "page", "type": "command", "command": argv, "events": ["run.failed"]}
        async with running_cluster(tmp_path / "c", env=config(tmp_path, hook, page)) as cluster:
            said = await cluster.cli("notifier", "test", "hook", code=1)
            assert re.fullmatch(
                r"hook: not delivered in \d\.\d\d s: it answers 403 Forbidden: ]0;gotcha go away\n", said
            )
            assert "\x1b" not in said
            assert (await cluster.cli("notifier", "test", "page")).endswith(" s: exit code 0: True\n")
            found = json.loads(await cluster.cli("notifier", "test", "page", "-o", "json"))
            assert {**found, "seconds": 0} == {
                "name": "page", "delivered": True, "answer": "exit code 0: True", "seconds": 0,
            }  # fmt: skip
            await cluster.cli("notifier", "test", "hok", code=3)
            rows = json.loads(await cluster.cli("audit", "ls", "-o", "json"))
            tests = [(row["target"], row["outcome"]) for row in rows if row["method"] == "TestNotifier"]
            assert tests == [("hook", "ok"), ("page", "ok"), ("page", "ok"), ("hok", "not_found")]
            now = await listed(cluster)
    assert (now["hook"]["state"], now["page"]["target"]) == ("silent", sys.executable)
    assert (now["hook"]["sent"], now["page"]["sent"]) == (0, 0)


async def test_a_server_says_in_one_line_why_it_cannot_start_with_a_notifier(tmp_path: Path) -> None:
    env = config(tmp_path, {"name": "hook", "url-file": str(tmp_path / "none"), "events": ["run.*"]})
    argv = [sys.executable, "-m", "gamenode_server", "--data-dir", str(tmp_path / "d"), "--listen", "127.0.0.1:0"]
    _, said, code = await run_to_end([*argv, "--join-listen", "127.0.0.1:0"], env=env, code=None)
    assert code == 2
    assert said == (
        f"gamenode-server: notifier hook: url-file {tmp_path}/none cannot be read: No such file or directory\n"
    )


async def test_a_stop_waits_for_no_receiver_and_the_message_is_told_by_the_next_server(tmp_path: Path) -> None:
    over = threading.Event()
    with receiving() as receiver:
        receiver.answer = lambda handler: over.wait(60) and None
        hook = {"name": "hook", "url": receiver.url, "events": ["token.created"], "timeout": "60s"}
        async with running_cluster(tmp_path / "c", env=config(tmp_path, hook)) as cluster:
            await cluster.cli("node", "token")
            await until(lambda: receiver.got)
            assert await asyncio.wait_for(cluster.server.kill(signal.SIGTERM), 9) == 0
            receiver.answer = 200
            over.set()
            await cluster.start_server()
            await until(lambda: _quiet(cluster))
    assert len(receiver.ids) == 2
    assert len(set(receiver.ids)) == 1


async def test_without_notifiers_there_is_nothing_to_list_and_a_stop_is_quick(tmp_path: Path) -> None:
    async with running_cluster(tmp_path) as cluster:
        assert await listed(cluster) == {}
        await cluster.cli("notifier", "test", "x", code=3)
        assert await asyncio.wait_for(cluster.server.kill(signal.SIGTERM), 9) == 0


BLOCKS = re.findall(r"^```yaml\n(.*?)^```", PAGE.read_text(), re.MULTILINE | re.DOTALL)


@pytest.mark.parametrize("block", BLOCKS)
def test_every_example_of_the_page_is_read(block: str) -> None:
    assert read(yaml.safe_load(block)["server"]["notifiers"])


def test_the_page_has_every_key() -> None:
    from gamenode_server.notifiers.reading import KEYS

    said = set(re.findall(r"`([a-z-]+)`", PAGE.read_text().partition("## Keys")[2].partition("## Bodies")[0]))
    assert {key for keys in KEYS.values() for key in keys} <= said
