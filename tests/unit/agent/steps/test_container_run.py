"""container.run: has one running by its name, once, and touches nothing that is not its own."""

from __future__ import annotations

import asyncio
import dataclasses
import json
from collections.abc import Mapping
from typing import Any

import pytest

from gamenode_agent.engines.containers import CLUSTER, FENCE, RESTART, STOP, TASK, ContainerSpec, HalfStarted
from gamenode_agent.engines.inline import Result
from gamenode_agent.journal import Attempt
from gamenode_pipelines.errors import Code, GameNodeError
from support.fake_engine import FakeEngine
from support.inline_attempts import Bench, FakeHandle, stop
from support.play import IMAGE
from support.waiting import until

GAME: Mapping[str, Any] = {"name": "oa", "image": IMAGE, "command": ["sleep=600"]}


async def run(bench: Bench, values: Mapping[str, Any] = GAME, handle: FakeHandle | None = None) -> Result:
    handle = handle or bench.handle()
    return await bench.step("container.run", values, key=handle.key).run(handle)


async def foreign(engine: FakeEngine, name: str = "oa") -> str:
    container = await engine.create(ContainerSpec(name=name, image=IMAGE, command=("sleep=600",)))
    await engine.start(container)
    return container


async def test_it_makes_notes_and_starts_one() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    done = await run(bench, {**GAME, "env": {"A": "1"}, "restart": "on-failure:3", "stop": {"signal": "INT"}}, handle)
    (made,) = engine.everything.values()
    assert made.shown.running
    assert handle.notes["id"] == made.id
    assert done.outputs == {
        "id": made.id,
        "name": "oa",
        "image_id": made.shown.image_id,
        "address": "172.17.0.2",
        "port": "",
        "ports": "{}",
    }
    labels = made.spec.labels
    assert (labels[CLUSTER], labels[TASK], labels[FENCE]) == ("cluster", "task", "1")
    assert labels[RESTART] == "on-failure:3"
    assert json.loads(labels[STOP])["signal"] == "INT"
    assert made.spec.env["A"] == "1"
    assert made.spec.env["GAMENODE_TASK_ID"] == "task"
    assert "GAMENODE_WORKSPACE" not in made.spec.env, "a folder of the host means nothing in there"


async def test_most_of_the_time_three_questions_are_enough() -> None:
    engine = FakeEngine()
    await run(Bench(engine))
    assert engine.calls == ["inspect", "create", "start", "inspect"]


async def test_what_is_there_as_asked_for_is_taken() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    first = await run(bench)
    engine.calls.clear()
    second = await run(bench, handle=bench.handle(Attempt("other", 1, "a", 1)))
    assert second.outputs == first.outputs
    assert "start" not in engine.calls


async def test_what_has_ended_is_started_again_by_another_task() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    first = await run(bench)
    engine.finish("oa")
    await run(bench, handle=bench.handle(Attempt("other", 1, "a", 1)))
    found = await engine.inspect("oa")
    assert found is not None
    assert (found.id, found.running) == (first.outputs["id"], True)


async def test_one_made_otherwise_is_a_conflict_or_replaced() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    first = await run(bench)
    other = {**GAME, "command": ["sleep=500"]}
    handle = bench.handle(Attempt("other", 1, "a", 1))
    with pytest.raises(GameNodeError, match="replace: true") as caught:
        await run(bench, other, handle)
    assert caught.value.code is Code.NAME_CONFLICT
    second = await run(bench, {**other, "replace": True}, handle)
    assert second.outputs["id"] != first.outputs["id"]
    assert [each.shown.name for each in engine.everything.values()] == ["oa"]


async def test_the_same_words_for_another_image_are_replaced_where_that_is_allowed() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    values = {**GAME, "replace": True}
    first = await run(bench, values)
    handle = bench.handle(Attempt("other", 1, "a", 1))
    assert (await run(bench, values, handle)).outputs["id"] == first.outputs["id"]

    engine.images[IMAGE] = dataclasses.replace(engine.images[IMAGE], id="sha256:newer")
    assert (await run(bench, values, handle)).outputs["id"] != first.outputs["id"]


@pytest.mark.parametrize("replace", [False, True])
async def test_a_foreign_one_is_never_touched(replace: bool) -> None:
    engine = FakeEngine()
    container = await foreign(engine)
    with pytest.raises(GameNodeError, match="not made by GameNode") as caught:
        await run(Bench(engine), {**GAME, "replace": replace})
    assert caught.value.code is Code.NAME_CONFLICT
    assert engine.everything[container].shown.running


async def test_a_killed_agent_starts_nothing_twice() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    await run(bench, handle=handle)
    engine.finish("oa", 3)
    done = await run(bench, handle=handle.again())
    found = await engine.inspect("oa")
    assert found is not None
    assert not found.running, "it was started, and what became of it is not a start's affair"
    assert done.outputs["id"] == found.id


async def test_after_a_reboot_it_runs_again() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    await run(bench, handle=handle)
    engine.finish("oa", 137)
    await run(bench, handle=handle.again(same_boot=False))
    assert (await engine.inspect("oa")).running  # type: ignore[union-attr]


async def test_one_made_by_an_agent_that_died_before_it_could_note_it_is_found() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    handle.full = True
    engine.fail_next("remove", Code.INTERNAL, "nobody cleans up")
    with pytest.raises(GameNodeError, match="nobody cleans up"):
        await run(bench, handle=handle)
    assert (await engine.inspect("oa")).state == "created"  # type: ignore[union-attr]
    handle.full = False
    await run(bench, handle=handle.again())
    assert len(engine.everything) == 1
    assert (await engine.inspect("oa")).running  # type: ignore[union-attr]


async def test_a_cancel_before_it_has_finished_removes_what_it_made() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    step, handle = bench.step("container.run", GAME), bench.handle()
    await step.run(handle)
    await step.end(handle, stop())
    assert not engine.everything


async def test_a_cancel_leaves_what_others_have_made() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    await run(bench)
    handle = bench.handle(Attempt("other", 1, "a", 1))
    step = bench.step("container.run", GAME, key=handle.key)
    await step.run(handle)
    await step.end(handle, stop(force=True))
    assert (await engine.inspect("oa")).running  # type: ignore[union-attr]


async def test_one_that_does_not_start_leaves_nothing() -> None:
    engine = FakeEngine()
    engine.fail_next("start", Code.INVALID_ARGUMENT, "no such program")
    with pytest.raises(GameNodeError, match="no such program"):
        await run(Bench(engine))
    assert not engine.everything


async def test_a_missing_image_is_pulled_or_named() -> None:
    engine = FakeEngine()
    engine.registry.add("gn/new:1")
    bench = Bench(engine)
    await run(bench, {**GAME, "image": "gn/new:1"})
    with pytest.raises(GameNodeError, match="gn/none:1") as caught:
        await run(bench, {**GAME, "name": "other", "image": "gn/none:1"})
    assert caught.value.code is Code.IMAGE_MISSING
    with pytest.raises(GameNodeError, match="pull: never") as caught:
        await run(bench, {**GAME, "name": "other", "image": "gn/none:1", "pull": "never"})
    assert caught.value.code is Code.IMAGE_MISSING


async def test_auto_ports_are_free_and_nobody_elses() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    one = await run(bench, {**GAME, "name": "one", "ports": ["auto:27960/udp"]})
    engine.finish("one")  # it keeps its port while it does not run
    two = await run(bench, {**GAME, "name": "two", "ports": ["27960/udp", "auto:80"]})
    ports = json.loads(two.outputs["ports"])
    assert one.outputs["port"] != two.outputs["port"] == str(ports["27960/udp"])
    assert all(27000 <= int(port) <= 27999 for port in (one.outputs["port"], *ports.values()))


async def test_a_port_that_somebody_was_faster_with_is_chosen_anew() -> None:
    engine = FakeEngine()
    engine.fail_next("start", Code.INSUFFICIENT_RESOURCES, "port taken")
    handle = Bench(engine).handle()
    await run(Bench(engine), {**GAME, "ports": ["auto:27960/udp"]}, handle)
    assert len(engine.everything) == 1
    assert "port taken" in handle.said[0]


async def test_on_the_hosts_network_ports_are_as_they_are() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    done = await run(bench, {**GAME, "network": "host", "ports": ["27960:27960/udp"]})
    assert done.outputs["port"] == "27960"
    assert next(iter(engine.everything.values())).spec.ports == ()
    with pytest.raises(GameNodeError, match=r"ports\[0\]"):
        await run(bench, {**GAME, "name": "other", "network": "host", "ports": ["28000:27960/udp"]})


async def test_an_engine_that_is_away_is_waited_for_a_little() -> None:
    engine = FakeEngine()
    engine.go_away("the engine is away: start it")
    with pytest.raises(GameNodeError, match="start it") as caught:
        await run(Bench(engine, engine_wait=0.05))
    assert caught.value.code is Code.ENGINE_UNAVAILABLE
    with pytest.raises(GameNodeError, match="without a container engine"):
        await run(Bench(None))


async def test_an_engine_that_goes_away_meanwhile_is_waited_for() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    engine.slow(0.02)
    async with asyncio.TaskGroup() as group:
        task = group.create_task(run(bench))
        await until(lambda: "create" in engine.calls, every=0.001)
        engine.go_away()
        await asyncio.sleep(0.1)
        engine.come_back()
    assert task.result().outputs["name"] == "oa"
    assert len(engine.everything) == 1


async def test_one_whose_engine_went_away_while_it_started_is_made_anew() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    handle = bench.handle()
    engine.fail_next("start", Code.ENGINE_UNAVAILABLE)
    engine.fail_next("start", Code.STATE_CONFLICT, "task: already exists", HalfStarted)
    done = await run(bench, handle=handle)
    (left,) = engine.everything.values()
    assert left.shown.running
    assert done.outputs["id"] == handle.notes["id"] == left.id
    assert engine.calls.count("create") == 3
    assert ["making it anew" in line for line in handle.said if "engine" in line or "exists" in line] == [True, True]


async def test_one_that_is_there_and_cannot_be_started_any_more_is_made_anew() -> None:
    engine = FakeEngine()
    bench = Bench(engine)
    old = (await run(bench)).outputs["id"]
    engine.finish(old, 1)
    engine.fail_next("start", Code.STATE_CONFLICT, "task: already exists", HalfStarted)
    again = await run(bench, handle=bench.handle(Attempt("other", 1, "a", 1)))
    (left,) = engine.everything.values()
    assert left.shown.running
    assert again.outputs["id"] == left.id != old


async def test_making_it_anew_has_an_end() -> None:
    engine = FakeEngine()
    for _ in range(20):
        engine.fail_next("start", Code.STATE_CONFLICT, "task: already exists", HalfStarted)
    with pytest.raises(HalfStarted):
        await run(Bench(engine))
    assert not engine.everything
