"""Notifiers on a store: what gets into a queue, in which order it is told, and what a restart keeps."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_server.notifiers.delivery import Delivery
from gamenode_server.notifiers.notifying import Notifying
from gamenode_server.notifiers.outcome import Outcome
from gamenode_server.notifiers.reading import read
from gamenode_server.notifiers.standing import Standing
from gamenode_server.records import NewEvent
from support.receiver import Receiver, receiving
from support.stores import OpenStore, a_node, opened
from support.waiting import until

WALL = 1_800_000_000.0


def soon(outcome: Outcome, attempts: int, random: float) -> float:
    return 0.02


@asynccontextmanager
async def notifying(
    store: OpenStore, *specs: dict[str, Any], patience: Any = soon, wall: float = WALL
) -> AsyncIterator[Notifying]:
    deliveries = [Delivery(each, wall=lambda: wall, version="1") for each in read(specs)]
    notifiers = Notifying(
        deliveries, store=store.store, hub=store.hub, wall=lambda: wall, incarnation=lambda: "one", patience=patience
    )
    async with asyncio.TaskGroup() as group:
        task = group.create_task(notifiers.run())
        names = [each.notifier.name for each in deliveries]
        await until(lambda: store.store.apply(lambda tx: all(tx.meta(f"notifier:{name}") for name in names)))
        yield notifiers
        task.cancel()


async def emit(store: OpenStore, *types: str, **fields: Any) -> None:
    await store.store.apply(lambda tx: tx.emit([NewEvent(type=each, **fields) for each in types]))


def stands(notifiers: Notifying, name: str = "hook") -> Standing:
    return next(each.standing for each in notifiers.listed() if each.notifier.name == name)


async def standing(notifiers: Notifying, look: Callable[[Standing], object]) -> Standing:
    """How it stands as soon as that is as the test waits for."""
    await until(lambda: look(stands(notifiers)))
    return stands(notifiers)


def hook(receiver: Receiver, **more: Any) -> dict[str, Any]:
    return {"name": "hook", "url": receiver.url, "events": ["run.*"], "timeout": 2, **more}


def types(receiver: Receiver) -> list[str]:
    return [json.loads(got.body)["event"]["type"] for got in receiver.got]


async def test_events_are_told_in_order_each_once_and_others_not_at_all() -> None:
    with receiving() as receiver:
        async with opened() as store, notifying(store, hook(receiver)) as notifiers:
            await emit(store, *[f"run.e{chr(97 + n)}" for n in range(20)], "node.offline")
            await until(lambda: len(receiver.got) >= 20)
            now = await standing(notifiers, lambda s: s.sent == 20)
    assert types(receiver) == [f"run.e{chr(97 + n)}" for n in range(20)]
    assert len(set(receiver.ids)) == 20
    assert all(id.startswith("one-") and id.endswith("-hook") for id in receiver.ids)
    assert (now.queued, now.failed, now.dropped) == (0, 0, 0)


async def test_only_events_of_nodes_that_are_selected() -> None:
    with receiving() as receiver:
        spec = hook(receiver, events=["node.*"], select="role=game")
        async with opened() as store, notifying(store, spec):
            await store.store.apply(lambda tx: tx.put_node(a_node("n1", "eu-1", labels={"role": "game"})))
            await store.store.apply(lambda tx: tx.put_node(a_node("n2", "db-1")))
            await emit(store, "node.offline", node_id="n2")
            await emit(store, "node.offline", node_id="gone")
            await emit(store, "node.online", node_id="n1")
            await until(lambda: receiver.got)
    assert types(receiver) == ["node.online"]


async def test_a_receiver_that_is_away_gets_everything_later_and_it_is_told_once_that_it_was() -> None:
    with receiving() as receiver:
        pass
    async with opened() as store, notifying(store, hook(receiver)) as notifiers:
        await emit(store, "run.a", "run.b", "run.c")
        failing = await standing(notifiers, lambda s: s.last_failure and s.queued == 3)
        assert failing.last_error == "nothing listens there"
        assert notifiers.failing()["hook"][1] == "nothing listens there"
        with receiving(receiver):
            now = await standing(notifiers, lambda s: s.sent == 3)
        told = [event.type for event in await store.events() if event.type.startswith("notifier.")]
        assert notifiers.failing() == {}
    assert types(receiver) == ["run.a", "run.b", "run.c"]
    assert (now.queued, now.failing_since) == (0, 0.0)
    assert told == ["notifier.failing", "notifier.recovered"]


async def test_what_fails_for_good_does_not_hold_up_what_comes_after() -> None:
    with receiving(Receiver(answer=400)) as receiver:
        async with opened() as store, notifying(store, hook(receiver)) as notifiers:
            await emit(store, "run.a")
            await standing(notifiers, lambda s: s.failed == 1)
            receiver.answer = 200
            await emit(store, "run.b")
            now = await standing(notifiers, lambda s: s.sent == 1)
    assert types(receiver) == ["run.a", "run.b"]
    assert now.queued == 0


async def test_a_full_queue_takes_no_more_and_counts_what_it_left_out() -> None:
    with receiving() as receiver:
        pass
    never = lambda outcome, attempts, random: 3600.0  # noqa: E731
    async with opened() as store, notifying(store, hook(receiver, queue=3), patience=never) as notifiers:
        await emit(store, *[f"run.e{chr(97 + n)}" for n in range(10)])
        now = await standing(notifiers, lambda s: s.dropped)
    assert (now.queued, now.dropped) == (3, 7)


async def test_a_message_that_is_tried_for_too_long_is_given_up() -> None:
    with receiving() as receiver:
        pass
    async with opened() as store, notifying(store, hook(receiver, keep="1s")) as notifiers:
        await emit(store, "run.a")
        await standing(notifiers, lambda s: s.last_failure)
        store.clock.time += 2
        now = await standing(notifiers, lambda s: s.failed)
    assert (now.queued, now.failed, now.sent) == (0, 1, 0)


async def test_the_same_is_told_once_in_its_window_also_over_a_restart(tmp_path: Path) -> None:
    with receiving() as receiver:
        spec = hook(receiver, dedupe={"window": "10m", "key": "${{ event.type }}"})
        async with opened(tmp_path / "db") as store:
            async with notifying(store, spec) as notifiers:
                await emit(store, "run.a", "run.a", "run.b")
                await standing(notifiers, lambda s: s.sent == 2)
            async with notifying(store, spec) as notifiers:
                await emit(store, "run.a")
                await standing(notifiers, lambda s: s.deduplicated == 2)
                store.clock.time += 601
                await emit(store, "run.a")
                await standing(notifiers, lambda s: s.sent == 3)
    assert types(receiver) == ["run.a", "run.b", "run.a"]


async def test_silence_leaves_out_and_counts() -> None:
    with receiving() as receiver:
        spec = hook(receiver, silence=[{"until": "2030-01-01"}])
        async with opened() as store:
            async with notifying(store, spec) as notifiers:
                await emit(store, "run.a")
                now = await standing(notifiers, lambda s: s.silenced)
                assert notifiers.listed()[0].silent
            async with notifying(store, spec, wall=2_000_000_000.0) as notifiers:
                await emit(store, "run.b")
                await standing(notifiers, lambda s: s.sent)
    assert (now.silenced, now.queued) == (1, 0)
    assert types(receiver) == ["run.b"]


async def test_no_more_than_its_rate() -> None:
    with receiving() as receiver:
        spec = hook(receiver, rate={"count": 2, "per": "1h"})
        async with opened() as store, notifying(store, spec) as notifiers:
            await emit(store, "run.a", "run.b", "run.c")
            await standing(notifiers, lambda s: s.sent == 2)
            assert stands(notifiers).queued == 1
    assert types(receiver) == ["run.a", "run.b"]


async def test_what_was_queued_or_not_yet_seen_at_the_end_is_told_by_the_next_server(tmp_path: Path) -> None:
    with receiving() as receiver:
        pass
    async with opened(tmp_path / "db") as store:
        async with notifying(store, hook(receiver)) as notifiers:
            await emit(store, "run.a")
            await standing(notifiers, lambda s: s.queued == 1)
        await emit(store, "run.b")  # nobody follows
    async with opened(tmp_path / "db") as store, notifying(store, hook(receiver)) as notifiers:
        with receiving(receiver):
            await standing(notifiers, lambda s: s.sent == 2)
    assert types(receiver) == ["run.a", "run.b"]


async def test_a_new_notifier_hears_nothing_of_the_past(tmp_path: Path) -> None:
    with receiving() as receiver:
        old = {**hook(receiver), "name": "old", "events": ["token.*"]}
        async with opened() as store:
            async with notifying(store, old):
                await emit(store, "run.past")
            async with notifying(store, old, hook(receiver)) as notifiers:
                await emit(store, "run.now")
                await standing(notifiers, lambda s: s.sent == 1)
    assert types(receiver) == ["run.now"]


async def test_one_that_was_taken_out_for_a_while_hears_nothing_of_the_while() -> None:
    with receiving() as receiver:
        async with opened() as store:
            async with notifying(store, hook(receiver)) as notifiers:
                await emit(store, "run.a")
                await standing(notifiers, lambda s: s.sent == 1)
            async with notifying(store):
                await until(lambda: store.store.apply(lambda tx: tx.meta("notifiers.names") == "[]"))
                await emit(store, "run.meanwhile")
            async with notifying(store, hook(receiver)) as notifiers:
                await emit(store, "run.b")
                await standing(notifiers, lambda s: s.sent == 2)
    assert types(receiver) == ["run.a", "run.b"]


async def test_a_notifier_is_not_told_of_its_own_failures_but_another_is() -> None:
    with receiving() as away:
        pass
    with receiving() as receiver:
        async with (
            opened() as store,
            notifying(
                store, hook(away, events=["*"]), {**hook(receiver, events=["notifier.*"]), "name": "second"}
            ) as notifiers,
        ):
            await emit(store, "run.a")
            await until(lambda: receiver.got)
            assert stands(notifiers).queued == 1
    assert types(receiver) == ["notifier.failing"]
    assert "nothing listens there" in json.loads(receiver.got[0].body)["event"]["text"]


async def test_a_store_that_cannot_store_holds_notifiers_up_and_they_go_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gamenode_server.notifiers.notifying.AGAIN", 0.02)
    with receiving() as receiver:
        async with opened() as store, notifying(store, hook(receiver)) as notifiers:
            apply, failures = store.store.apply, [GameNodeError(Code.STORAGE_FULL, "full"), RuntimeError("a bug")]

            async def failing(operation: Any) -> Any:
                if failures:
                    raise failures.pop()
                return await apply(operation)

            await emit(store, "run.a")
            monkeypatch.setattr(store.store, "apply", failing)
            await until(lambda: not failures)
            await emit(store, "run.b")
            await standing(notifiers, lambda s: s.sent >= 2)
    assert [kind for n, kind in enumerate(types(receiver)) if kind not in types(receiver)[:n]] == ["run.a", "run.b"]


async def test_a_test_is_told_past_silence_and_queue_and_says_what_came_back() -> None:
    with receiving() as receiver:
        spec = hook(receiver, silence=[{"until": "2030-01-01"}])
        async with opened() as store, notifying(store, spec) as notifiers:
            tried = await notifiers.test("hook", by="alice")
            assert tried.outcome == Outcome(True, "204 No Content")
            receiver.answer, receiver.text = 401, b"who are you"
            assert (
                await notifiers.test("hook", by="alice")
            ).outcome.answer == "it answers 401 Unauthorized: who are you"
            with pytest.raises(GameNodeError, match="there is no notifier 'hok'; did you mean 'hook'"):
                await notifiers.test("hok", by="alice")
            assert stands(notifiers).sent == 0
    assert types(receiver)[0] == "notifier.test"
    assert "by alice" in json.loads(receiver.got[0].body)["event"]["text"]
