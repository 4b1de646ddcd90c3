"""The loop that keeps the agent connected goes on, whatever the disk says."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gamenode_agent import renewal
from gamenode_agent.clock import BootClock
from gamenode_agent.config import AgentSettings
from gamenode_agent.identity import Identity
from gamenode_agent.journal import Journal, StorageFull
from gamenode_agent.link import connection
from gamenode_agent.link.connection import Link, LinkHooks, LinkState
from gamenode_agent.link.session import OutboxRewound
from gamenode_agent.outbox import Outbox
from gamenode_proto.v1.agent_link_pb2 import Hello
from support.waiting import until


def identity(*, ends: float = 4e9) -> Identity:
    return Identity("n", "n", "c", ("127.0.0.1:1",), ("127.0.0.1:1",), b"", "key", "certificate", "ca", (0.0, ends))


@asynccontextmanager
async def linked(tmp_path: Path, identity: Identity) -> AsyncIterator[tuple[Link, Callable[[], str]]]:
    """A link that runs, and what it last said ails it."""
    states: list[LinkState] = [LinkState()]
    journal = Journal(tmp_path / "journal.db")
    outbox = Outbox(journal, outbox_id="o", first=1, last=0, acked=0)
    settings = AgentSettings(data_dir=tmp_path, reconnect_base=0.01, reconnect_max=0.02)
    clock = BootClock.from_wall()
    link = Link(
        identity,
        agent_dir=tmp_path,
        settings=settings,
        clock=clock,
        journal=journal,
        outbox=outbox,
        uplinks=(),
        max_epoch=0,
    )
    nobody: Any = None  # no session comes to work, nor to tell anything
    hooks = LinkHooks(Hello, nobody, nobody, states.append, lambda _by, _why: None, lambda: None)
    async with asyncio.TaskGroup() as group:
        running = group.create_task(link.run(nobody, hooks))
        yield link, lambda: states[-1].problem
        assert not running.done()
        link.stop("enough")
    await journal.close()


async def test_a_certificate_that_cannot_be_stored_is_asked_for_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[Identity] = []

    async def recover(old: Identity) -> Identity:
        asked.append(old)
        return identity()

    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(renewal, "recover", recover)
    monkeypatch.setattr(connection, "save_identity", full)
    async with linked(tmp_path, identity(ends=1.0)) as (_, problem):
        await until(lambda: "No space left" in problem(), seconds=5, every=0.01, what="the reason")
        await until(lambda: len(asked) >= 2, seconds=5, every=0.01, what="another try")
        monkeypatch.setattr(connection, "save_identity", lambda *_: None)
        await until(lambda: "No space left" not in problem(), seconds=5, every=0.01, what="going on")


async def test_an_outbox_that_cannot_be_renamed_is_tried_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tries = 0
    renew = Journal.renew_outbox

    async def renewed(self: Journal) -> str:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise StorageFull(OSError(28, "No space left on device"))
        return await renew(self)

    async def one(_link: Link, _address: str, *_: object) -> None:
        if tries == 0:
            raise OutboxRewound(1, 2)
        await asyncio.sleep(0.01)

    monkeypatch.setattr(Journal, "renew_outbox", renewed)
    monkeypatch.setattr(Link, "_one", one)
    async with linked(tmp_path, identity()) as (link, _):
        await until(lambda: link._outbox.outbox_id != "o", seconds=5, every=0.01, what="the outbox's new name")
        assert tries == 3
