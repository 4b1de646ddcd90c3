"""Contents come in, get names and go: on a real store and a real disk."""

from __future__ import annotations

import asyncio
import dataclasses
import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.artifacts.shelf import LEFT_ALONE, Limits, Offer, Shelf
from gamenode_server.store import artifacts
from gamenode_server.store.artifacts import Artifact
from support.stores import OpenStore, opened

DAY = 86_400.0


def offered(data: bytes, name: str = "map", *, sender: str = "ann", keep: float = 0.0, **fields: Any) -> Offer:
    digest = hashlib.sha256(data).hexdigest()
    given = {"digest": digest, "bytes": len(data), "node_id": "", "folder": False, **fields}
    return Offer(Artifact(name=name, created_at=0, created_by=sender, expires_at=0, **given), keep, sender)


async def pieces(data: bytes, at: int = 0, step: int = 4) -> AsyncIterator[tuple[int, bytes]]:
    while at < len(data):
        yield at, data[at : at + step]
        at += step


@asynccontextmanager
async def shelf_in(tmp_path: Path, limits: Limits | None = None) -> AsyncIterator[tuple[Shelf, OpenStore]]:
    async with opened(tmp_path / "store.db") as there:
        shelf = Shelf(tmp_path / "artifacts", there.store, limits or Limits(100, 150, DAY))
        try:
            yield shelf, there
        finally:
            await shelf.close()


async def stored(shelf: Shelf, data: bytes, name: str = "map", **more: Any) -> Artifact:
    offer = offered(data, name, **more)
    answer = await shelf.offer(offer)
    return answer if isinstance(answer, Artifact) else await shelf.upload(offer, answer, pieces(data, answer))


def files(tmp_path: Path) -> list[str]:
    return sorted(path.name[:4] for path in (tmp_path / "artifacts").rglob("*") if path.is_file())


async def refused(work: Any) -> Code:
    with pytest.raises(GameNodeError) as caught:
        await work
    return caught.value.code


async def test_a_content_comes_once_and_can_be_read_from_anywhere(tmp_path: Path) -> None:
    async with shelf_in(tmp_path) as (shelf, there):
        first = await stored(shelf, b"0123456789")
        assert (first.bytes, first.expires_at - first.created_at) == (10, DAY)
        assert isinstance(await shelf.offer(offered(b"0123456789", "other", sender="bob", keep=5.0)), Artifact)
        assert len(files(tmp_path)) == 1
        assert [piece async for piece in shelf.read(first.digest, 7)] == [(7, b"789")]
        assert {each.name for each in await there.store.read(artifacts.listed)} == {"map", "other"}
        assert (await stored(shelf, b"", "empty")).bytes == 0


async def test_what_breaks_off_goes_on_for_its_sender_alone(tmp_path: Path) -> None:
    data = b"0123456789"
    async with shelf_in(tmp_path) as (shelf, _):
        offer = offered(data)
        assert await refused(shelf.upload(offer, 0, pieces(data[:8]))) is Code.PROTOCOL_ERROR
        assert await shelf.offer(offer) == 8
        assert await shelf.offer(offered(data, sender="bob")) == 0
        assert await refused(shelf.upload(offer, 4, pieces(data, 4))) is Code.PROTOCOL_ERROR
        assert await refused(shelf.upload(offer, 8, pieces(data, 9))) is Code.PROTOCOL_ERROR
        assert (await shelf.upload(offer, 8, pieces(data, 8))).digest == offer.artifact.digest


async def test_another_content_than_was_offered_is_refused_and_nothing_of_it_stays(tmp_path: Path) -> None:
    async with shelf_in(tmp_path) as (shelf, _):
        assert await refused(shelf.upload(offered(b"0123"), 0, pieces(b"abcd"))) is Code.INTEGRITY_FAILED
        assert files(tmp_path) == []
        assert await refused(shelf.upload(offered(b"01234567"), 0, pieces(b"abcd"))) is Code.PROTOCOL_ERROR
        # What came before was wrong: whoever offers it again begins anew.
        assert await refused(shelf.upload(offered(b"01234567"), 4, pieces(b"01234567", 4))) is Code.PROTOCOL_ERROR
        assert (await stored(shelf, b"01234567")).bytes == 8


async def test_a_later_call_of_the_same_sender_takes_over_from_one_that_hangs(tmp_path: Path) -> None:
    data, begun = b"0123456789", asyncio.Event()

    async def hanging() -> AsyncIterator[tuple[int, bytes]]:
        yield 0, data[:4]
        begun.set()
        await asyncio.Event().wait()

    async with shelf_in(tmp_path) as (shelf, _), asyncio.timeout(10):
        stuck = asyncio.create_task(shelf.upload(offered(data), 0, hanging()))
        await begun.wait()
        assert await shelf.offer(offered(data)) == 4
        assert (await shelf.upload(offered(data), 4, pieces(data, 4))).bytes == 10
        assert await refused(stuck) is Code.PROTOCOL_ERROR


@pytest.mark.parametrize(
    ("offer", "code"),
    [
        (offered(b"x", "a/b"), Code.INVALID_ARGUMENT),
        (offered(b"x", "a" * 64), Code.INVALID_ARGUMENT),
        (offered(b"x", digest="A" * 64), Code.INVALID_ARGUMENT),
        (offered(b"x", digest="../../etc/passwd"), Code.INVALID_ARGUMENT),
        (offered(b"x", bytes=-1), Code.INVALID_ARGUMENT),
        (offered(b"x", keep=-1.0), Code.INVALID_ARGUMENT),
        (offered(b"x", keep=float("inf")), Code.INVALID_ARGUMENT),
        (offered(b"x", keep=float("nan")), Code.INVALID_ARGUMENT),
        (offered(b"x" * 101), Code.LIMIT_EXCEEDED),
    ],
)
async def test_bad_offers_are_refused_before_anything_is_written(tmp_path: Path, offer: Offer, code: Code) -> None:
    async with shelf_in(tmp_path) as (shelf, _):
        assert await refused(shelf.offer(offer)) is code
        assert await refused(shelf.upload(offer, 0, pieces(b"x"))) is code
        assert files(tmp_path) == []


async def test_nothing_is_thrown_out_to_make_room(tmp_path: Path) -> None:
    async with shelf_in(tmp_path) as (shelf, _):
        await stored(shelf, b"a" * 100)
        assert await refused(shelf.offer(offered(b"b" * 51, "more"))) is Code.STORAGE_FULL
        assert (await stored(shelf, b"b" * 50, "more")).bytes == 50
        assert (await stored(shelf, b"a" * 100, "again")).bytes == 100, "it is here already"


async def test_time_takes_names_and_then_contents_but_never_one_that_has_another_name(tmp_path: Path) -> None:
    async with shelf_in(tmp_path) as (shelf, there):
        await stored(shelf, b"a", "short", keep=10.0)
        await stored(shelf, b"a", "long", keep=1000.0)
        await stored(shelf, b"b", "alone", keep=10.0)
        await refused(shelf.upload(offered(b"cccccccc"), 0, pieces(b"cccc")))
        there.clock.time += 20
        await shelf.sweep()
        assert [each.name for each in await there.store.read(artifacts.listed)] == ["long"]
        assert len(files(tmp_path)) == 2, "the content of `long`, and what is coming in"
        for path in (tmp_path / "artifacts").rglob("*"):
            if path.is_file():
                os.utime(path, (0, path.stat().st_mtime - LEFT_ALONE - 1))
        await shelf.sweep()
        assert len(files(tmp_path)) == 1
        assert [piece async for piece in shelf.read(hashlib.sha256(b"a").hexdigest(), 0)] == [(0, b"a")]


async def test_what_comes_in_takes_the_space_that_it_will_have(tmp_path: Path) -> None:
    begun, go_on = asyncio.Event(), asyncio.Event()

    async def slow() -> AsyncIterator[tuple[int, bytes]]:
        yield 0, b"a" * 50
        begun.set()
        await go_on.wait()
        yield 50, b"a" * 50

    async with shelf_in(tmp_path) as (shelf, _), asyncio.timeout(10):
        coming = asyncio.create_task(shelf.upload(offered(b"a" * 100), 0, slow()))
        await begun.wait()
        assert await refused(shelf.offer(offered(b"b" * 60, "more"))) is Code.STORAGE_FULL
        unasked = shelf.upload(offered(b"b" * 60, "more"), 0, pieces(b"b" * 60))
        assert await refused(unasked) is Code.STORAGE_FULL
        go_on.set()
        assert (await coming).bytes == 100
        assert (await stored(shelf, b"b" * 50, "more")).bytes == 50


async def test_of_many_calls_of_one_sender_the_last_goes_on(tmp_path: Path) -> None:
    data, begun, let_go = b"0123456789", asyncio.Event(), asyncio.Event()

    async def holding() -> AsyncIterator[tuple[int, bytes]]:
        yield 0, data[:4]
        begun.set()
        try:
            await asyncio.Event().wait()
        finally:
            await let_go.wait()

    async with shelf_in(tmp_path) as (shelf, _), asyncio.timeout(10):
        first = asyncio.create_task(shelf.upload(offered(data), 0, holding()))
        await begun.wait()
        second = asyncio.create_task(shelf.upload(offered(data), 4, pieces(data, 4)))
        await asyncio.sleep(0)
        third = asyncio.create_task(shelf.upload(offered(data), 4, pieces(data, 4)))
        assert await refused(second) is Code.PROTOCOL_ERROR
        assert not third.done(), "the first still has the file"
        let_go.set()
        assert await refused(first) is Code.PROTOCOL_ERROR
        assert (await third).bytes == 10


async def test_what_is_longer_than_it_should_be_is_begun_anew(tmp_path: Path) -> None:
    data = b"0123456789"
    async with shelf_in(tmp_path) as (shelf, _):
        lied = offered(data, bytes=20)
        assert await refused(shelf.upload(lied, 0, pieces(data + b"more"))) is Code.PROTOCOL_ERROR
        offset = await shelf.offer(offered(data))
        assert await refused(shelf.upload(offered(data), int(str(offset)), pieces(data))) is Code.PROTOCOL_ERROR
        assert (await stored(shelf, data)).bytes == 10


async def test_what_is_stored_anew_while_it_expires_stays(tmp_path: Path) -> None:
    async with shelf_in(tmp_path) as (shelf, there):
        await stored(shelf, b"a", keep=10.0)
        there.clock.time += 20
        await asyncio.gather(stored(shelf, b"a", keep=10.0), shelf.sweep(), stored(shelf, b"a", keep=10.0))
        assert [each.name for each in await there.store.read(artifacts.listed)] == ["map"]
        assert len(files(tmp_path)) == 1


async def test_who_may_not_store_it_any_more_gives_it_no_name(tmp_path: Path) -> None:
    def over(_: object) -> None:
        raise GameNodeError(Code.SUPERSEDED, "the task was assigned again")

    async with shelf_in(tmp_path) as (shelf, there):
        offer = dataclasses.replace(offered(b"0123"), allowed=over)
        assert await refused(shelf.upload(offer, 0, pieces(b"0123"))) is Code.SUPERSEDED
        assert await there.store.read(artifacts.listed) == []
        assert (await stored(shelf, b"x" * 101, "large", node_id="n1")).bytes == 101, "what a node keeps is its own"
