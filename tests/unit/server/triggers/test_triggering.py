"""Starts of triggers over a real store: each event once, whatever ends in between, and never in a circle."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.triggers import LONGEST_CHAIN
from gamenode_server.controller.compiler import Compiler
from gamenode_server.records import NewEvent, PipelineVersion
from gamenode_server.triggers.triggering import Triggering
from support.fleet import Fleet, fleet

ON_LOSS = "on: {event: node.offline, select: role=game, params: {why: '${{ event.node }} is away'}}\n"


@dataclass
class Starts:
    """What was asked for; the same request id gives the same run."""

    asked: list[dict[str, Any]] = field(default_factory=list)
    runs: dict[str, str] = field(default_factory=dict)
    refusal: GameNodeError | None = None

    async def start(self, pipeline: str, params: Mapping[str, str], **how: Any) -> str:
        self.asked.append({"pipeline": pipeline, "params": dict(params), **how})
        if self.refusal is not None:
            raise self.refusal
        return self.runs.setdefault(f"{how['by']}/{how['request_id']}", f"run-{len(self.runs) + 1}")


@dataclass
class World:
    fleet: Fleet
    starts: Starts = field(default_factory=Starts)
    triggering: Triggering = field(init=False)

    def __post_init__(self) -> None:
        self.restarted()

    def restarted(self) -> None:
        """Another server over the same store."""
        self.triggering = Triggering(
            store=self.fleet.store,
            newest=lambda: self.fleet.hub.newest,
            compiler=Compiler(),
            starter=self.starts,
            clock=self.fleet.clock,
            tick=1.0,
        )

    async def put(self, on: str, *, name: str = "answer", targets: str = "", version: int = 1) -> None:
        head = f"pipeline: {name}\nparams: {{why: {{default: ''}}}}\n{targets}"
        text = f"{head}{on}steps: [{{id: a, run: 'true'}}]\n" if on else ""
        record = PipelineVersion(name, version, text, "", "", self.fleet.clock.now(), "ann")
        await self.fleet.apply(lambda tx: tx.put_pipeline(record))

    async def happens(self, kind: str, node_id: str = "", *, run: str = "", **data: str) -> None:
        self.fleet.clock.time += 1.0
        event = NewEvent(type=kind, node_id=node_id, run_id=run, data=data)
        await self.fleet.apply(lambda tx: tx.emit([event]))

    async def look(self) -> list[str]:
        """One round; the runs that there are by then."""
        await self.triggering.look()
        return list(self.starts.runs.values())

    async def told(self) -> list[str]:
        return [kind for kind in await self.fleet.events() if kind.startswith("trigger.")]


@pytest.fixture
async def world() -> AsyncIterator[World]:
    async with fleet() as made:
        found = World(made)
        await found.look()
        yield found


async def test_an_event_starts_what_waits_for_it_where_it_happened(world: World) -> None:
    game, web = await world.fleet.node("a", labels={"role": "game"}), await world.fleet.node("b")
    await world.put(ON_LOSS)
    for node in (web, game):
        await world.happens("node.offline", node)
    await world.happens("node.online", game)
    assert await world.look() == ["run-1"]
    (asked,) = world.starts.asked
    assert (asked["pipeline"], asked["params"]) == ("answer", {"why": "a is away"})
    assert (asked["node"], asked["by"], asked["note"], asked["chain"]) == (
        game,
        "trigger:answer",
        "because of node.offline on a",
        (),
    )
    assert await world.told() == ["trigger.started"]


async def test_with_targets_of_its_own_it_runs_there(world: World) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.put(ON_LOSS, targets="targets: {select: role=web}\n")
    await world.happens("node.offline", node)
    await world.look()
    assert [asked["node"] for asked in world.starts.asked] == [""]


async def test_what_happened_before_counts_for_nothing(world: World) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.happens("node.offline", node)
    world.fleet.clock.time += 1.0
    await world.put(ON_LOSS)
    assert await world.look() == []
    await world.put("", version=2)
    await world.happens("node.offline", node)
    assert await world.look() == []


async def test_the_same_node_starts_nothing_more_until_the_cooldown_is_over(world: World) -> None:
    a, b = [await world.fleet.node(name, labels={"role": "game"}) for name in "ab"]
    await world.put(ON_LOSS)
    for node in (a, a, b):
        await world.happens("node.offline", node)
    assert await world.look() == ["run-1", "run-2"]
    world.restarted()
    await world.happens("node.offline", a)
    assert await world.look() == ["run-1", "run-2"]
    world.fleet.clock.time += 60.0
    await world.happens("node.offline", a)
    assert await world.look() == ["run-1", "run-2", "run-3"]
    assert (await world.told()).count("trigger.held_back") == 2


async def test_a_server_that_ends_after_a_start_finds_it_again(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.put(ON_LOSS)
    await world.happens("node.offline", node)
    apply = world.fleet.store.apply

    async def ends(op: Any) -> Any:
        if world.starts.runs:
            raise GameNodeError(Code.DISCONNECTED, "the server is killed")
        return await apply(op)

    monkeypatch.setattr(world.fleet.store, "apply", ends)
    with pytest.raises(GameNodeError):
        await world.look()
    monkeypatch.undo()
    world.restarted()
    assert await world.look() == ["run-1"]
    assert len(world.starts.asked) == 2
    assert await world.told() == ["trigger.started"]
    world.restarted()
    await world.look()
    assert len(world.starts.asked) == 2


async def test_what_passes_keeps_the_event_waiting(world: World) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.put(ON_LOSS)
    await world.happens("node.offline", node)
    world.starts.refusal = GameNodeError(Code.STORAGE_FULL, "no space")
    with pytest.raises(GameNodeError):
        await world.look()
    world.starts.refusal = None
    assert await world.look() == ["run-1"]


async def test_a_start_that_fails_is_told_until_one_works_or_the_pipeline_is_another(world: World) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.put(ON_LOSS)
    world.starts.refusal = GameNodeError(Code.NOT_FOUND, "no node has role=game")
    await world.happens("node.offline", node)
    await world.look()
    assert await world.told() == ["trigger.failed"]
    world.restarted()
    await world.look()
    ((name, (at, why)),) = world.triggering.failed().items()
    assert (name, at, why) == ("answer", world.fleet.clock.now(), "not_found: no node has role=game")
    world.fleet.clock.time += 60.0
    await world.put(ON_LOSS, version=2)
    await world.look()
    assert world.triggering.failed() == {}
    await world.happens("node.offline", node)
    await world.look()
    world.starts.refusal = None
    world.fleet.clock.time += 60.0
    assert set(world.triggering.failed()) == {"answer"}
    await world.happens("node.offline", node)
    await world.look()
    assert world.triggering.failed() == {}


async def test_an_expression_that_cannot_be_filled_in_is_told(world: World) -> None:
    node = await world.fleet.node("a")
    await world.put("on: {event: node.offline, params: {why: '${{ 1 / (event.data.n | int) }}'}}\n")
    await world.happens("node.offline", node, n="0")
    await world.look()
    assert (await world.told(), world.starts.asked) == (["trigger.failed"], [])


async def test_a_chain_ends_where_it_comes_back_or_grows_too_long(world: World) -> None:
    node = await world.fleet.node("a")
    await world.put("on: {event: run.failed, pipeline: demo}\n", targets="targets: {select: role=game}\n")
    for number, chain in enumerate([("x",), ("answer", "x"), tuple("vwxyz")[: LONGEST_CHAIN - 1]]):
        run = await world.fleet.run(node, id=f"r{number}")
        await world.fleet.apply(lambda tx, run=run, chain=chain: tx.put_run(replace(run, chain=chain)))
        world.fleet.clock.time += 60.0
        await world.happens("run.failed", run=run.id)
        await world.look()
    assert [asked["chain"] for asked in world.starts.asked] == [("x", "demo")]
    assert await world.told() == ["trigger.started", "trigger.refused", "trigger.refused"]
    assert "pipelines would start each other" in world.triggering.failed()["answer"][1]


async def test_what_happens_while_pipelines_are_read_waits_for_those_that_came_meanwhile(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    node = await world.fleet.node("a", labels={"role": "game"})
    await world.put("on: {event: node.online}\n", name="other")
    await world.happens("node.online", node)
    read = world.triggering._read

    async def slowly(version: PipelineVersion) -> Any:
        found = await read(version)
        if version.name == "other":
            await world.put(ON_LOSS)
            await world.happens("node.offline", node)
        return found

    monkeypatch.setattr(world.triggering, "_read", slowly)
    assert await world.look() == ["run-1"]
    assert await world.look() == ["run-1", "run-2"]
    assert [asked["pipeline"] for asked in world.starts.asked] == ["other", "answer"]
