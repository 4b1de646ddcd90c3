"""What every container engine keeps: images, the life of a container, commands in it. With the fake and with Docker."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from gamenode_agent.engines.containers import ContainerEvent, ContainerSpec, ExecStatus
from gamenode_pipelines.errors import Code, GameNodeError
from support.engine_bench import Bench, texts
from support.play import IMAGE, PROGRAM
from support.play_image import play_archive
from support.waiting import until

LONG = "sleep=600"


def code_of(caught: pytest.ExceptionInfo[GameNodeError]) -> Code:
    return caught.value.code


# -- images ---------------------------------------------------------------------------------------------------------


async def test_an_image_is_known_by_its_tag_and_by_its_id(bench: Bench) -> None:
    image = await bench.engine.image(IMAGE)
    assert image is not None
    assert IMAGE in image.tags
    assert await bench.engine.image(image.id) == image
    assert await bench.engine.image("gamenode-test/nothing:1") is None


async def test_loading_an_archive_gives_its_images_and_says_so(bench: Bench) -> None:
    said: list[str] = []
    (image,) = await bench.engine.load(play_archive(), said.append)
    assert image == await bench.engine.image(IMAGE)
    assert any(IMAGE in line for line in said)


@pytest.mark.parametrize("what", ["missing", "no archive"])
async def test_what_is_no_archive_is_refused(bench: Bench, tmp_path: Path, what: str) -> None:
    path = tmp_path / "images.tar"
    if what == "no archive":
        path.write_text("never an archive")
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.load(path, lambda _: None)
    assert code_of(caught) is Code.INVALID_ARGUMENT
    assert str(path) in caught.value.message


async def test_an_image_that_no_registry_gives_is_missing_by_name(bench: Bench) -> None:
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.pull("localhost:1/gamenode-test/nothing:1", lambda _: None)
    assert code_of(caught) is Code.IMAGE_MISSING
    assert "gamenode-test/nothing:1" in caught.value.message


# -- life -----------------------------------------------------------------------------------------------------------


async def test_a_container_runs_to_its_end(bench: Bench) -> None:
    spec = bench.spec("print=hello", "sleep=0.1", "exit=7", labels={"io.gamenode.task": "t1"})
    container = await bench.engine.create(spec)
    made = await bench.engine.inspect(container)
    assert made is not None
    assert (made.id, made.name, made.state, made.exit_code) == (container, spec.name, "created", None)
    assert (made.started_at, made.labels["io.gamenode.task"]) == (0, "t1")
    assert not made.running
    assert not made.ended

    await bench.engine.start(container)
    ended = await bench.engine.wait(container)
    assert (ended.id, ended.state, ended.exit_code, ended.oom_killed) == (container, "exited", 7, False)
    assert made.created_at <= ended.started_at <= ended.finished_at
    assert texts(await bench.log(container)) == ["hello"]


async def test_a_running_one_has_a_process_and_starting_it_again_does_nothing(bench: Bench) -> None:
    container = await bench.started(LONG)
    running = await bench.engine.inspect(container)
    assert running is not None
    assert running.running
    assert running.pid > 0
    await bench.engine.start(container)
    assert await bench.engine.inspect(container) == running


async def test_one_that_ended_can_be_started_again(bench: Bench) -> None:
    ended = await bench.ended("print=again", "exit=1")
    await bench.engine.start(ended.id)
    again = await bench.engine.wait(ended.id)
    assert again.started_at > ended.started_at
    assert texts(await bench.log(ended.id)) == ["again", "again"]


async def test_it_is_found_by_name_and_listed_with_the_others(bench: Bench) -> None:
    running = await bench.started(LONG)
    ended = await bench.ended("exit=3", labels={"a": "b"})
    assert (await bench.engine.inspect(ended.name)) == await bench.engine.inspect(ended.id)
    found = {each.id: each for each in await bench.engine.containers()}
    assert found[running].running
    assert (found[ended.id].exit_code, found[ended.id].name, found[ended.id].labels) == (3, ended.name, {"a": "b"})


async def test_waiting_for_many_needs_no_thread_for_each(bench: Bench) -> None:
    containers = [await bench.started("sleep=1", f"exit={number}") for number in range(8)]
    async with asyncio.timeout(60), asyncio.TaskGroup() as group:
        waits = [group.create_task(bench.engine.wait(each)) for each in containers for _ in range(8)]
    assert [wait.result().exit_code for wait in waits[::8]] == list(range(8))


@pytest.mark.parametrize(("words", "code"), [((LONG,), 143), (("ignore-term", LONG), 137)])
async def test_stop_asks_waits_and_kills(bench: Bench, words: tuple[str, ...], code: int) -> None:
    container = await bench.started("print=up", *words)
    await bench.says(container, "up")
    await asyncio.sleep(0.3)  # the words after `up` were read
    ended = await bench.engine.stop(container, signal="", grace=1.5)
    assert (ended.state, ended.exit_code) == ("exited", code)
    assert await bench.engine.stop(container, signal="", grace=1.0) == ended


async def test_stop_sends_the_signal_it_is_told_or_that_of_the_container(bench: Bench) -> None:
    told = await bench.started("print=up", LONG)
    own = await bench.started("print=up", LONG, stop_signal="SIGINT")
    for container in (told, own):
        await bench.says(container, "up")
    assert (await bench.engine.stop(told, signal="INT", grace=20)).exit_code == 130
    assert (await bench.engine.stop(own, signal="", grace=20)).exit_code == 130


async def test_kill_and_restart(bench: Bench) -> None:
    container = await bench.started("print=up", LONG)
    before = await bench.engine.inspect(container)
    await bench.engine.restart(container, signal="KILL", grace=10)
    after = await bench.engine.inspect(container)
    assert before is not None
    assert after is not None
    assert after.running
    assert after.started_at > before.started_at
    await bench.engine.kill(container)
    assert (await bench.engine.wait(container)).exit_code == 137
    await bench.engine.kill(container)  # does not run: left alone


async def test_removing(bench: Bench) -> None:
    container = await bench.started(LONG)
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.remove(container)
    assert code_of(caught) is Code.STATE_CONFLICT
    await bench.engine.remove(container, force=True)
    assert await bench.engine.inspect(container) is None
    await bench.engine.remove(container)  # gone is fine


async def test_who_waits_for_one_that_is_removed_by_hand_hears_of_it(bench: Bench) -> None:
    container = await bench.engine.create(bench.spec(LONG))
    async with asyncio.timeout(30), asyncio.TaskGroup() as group:
        waiting = group.create_task(_code_of_waiting(bench, container))
        await asyncio.sleep(0.2)
        await bench.faults.lose(container)
    assert waiting.result() is Code.CONTAINER_GONE


async def _code_of_waiting(bench: Bench, container: str) -> Code:
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.wait(container)
    return code_of(caught)


@pytest.mark.parametrize("call", ["start", "wait", "kill", "stop", "exec_create", "logs"])
async def test_what_is_asked_of_one_that_is_not_there_fails_by_name(bench: Bench, call: str) -> None:
    asked = {
        "stop": lambda name: bench.engine.stop(name, signal="", grace=1),
        "exec_create": lambda name: bench.engine.exec_create(name, ["true"], env={}),
        "logs": bench.log,
    }.get(call, getattr(bench.engine, call))
    with pytest.raises(GameNodeError) as caught:
        await asked("nothing-here")
    assert code_of(caught) is Code.CONTAINER_GONE
    assert "nothing-here" in caught.value.message


async def test_a_name_is_taken_once_and_the_holder_is_named(bench: Bench) -> None:
    first = await bench.engine.create(bench.spec(LONG, name="taken"))
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.create(bench.spec(LONG, name="taken"))
    assert code_of(caught) is Code.NAME_CONFLICT
    assert caught.value.details["holder"] == first


async def test_without_its_image_nothing_is_made(bench: Bench) -> None:
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.create(ContainerSpec(name="no-image", image="gamenode-test/nothing:1"))
    assert code_of(caught) is Code.IMAGE_MISSING
    assert "gamenode-test/nothing:1" in caught.value.message
    assert await bench.engine.inspect("no-image") is None


async def test_a_create_that_is_cancelled_is_carried_through(bench: Bench) -> None:
    spec = bench.spec(LONG)
    making = asyncio.get_running_loop().create_task(bench.engine.create(spec))
    await asyncio.sleep(0)
    making.cancel()
    await asyncio.wait([making])
    # Cancelled before it asked, or after: what is there now is all there will ever be.
    there = await bench.engine.inspect(spec.name)
    await asyncio.sleep(0.5)
    assert await bench.engine.inspect(spec.name) == there


# -- what a container is given and may use --------------------------------------------------------------------------


async def test_environment_and_files(bench: Bench) -> None:
    ended = await bench.ended("env=MODE", "touch=/tmp/x", "need=/tmp/x", "need=/tmp/y", env={"MODE": "a b"})
    assert ended.exit_code == 1
    assert texts(await bench.log(ended.id)) == ["MODE=a b"]


async def test_more_memory_than_it_has_ends_it_and_is_said(bench: Bench) -> None:
    # Docker hears of it only if it has begun to listen by then.
    ended = await bench.ended("sleep=1", "eat=64m", "eat=64m", LONG, memory=32 << 20)
    assert (ended.exit_code, ended.oom_killed, ended.memory_limit) == (137, True, 32 << 20)


async def test_more_processes_than_it_may_have_fail(bench: Bench) -> None:
    ended = await bench.ended("fork=100", pids=20)
    assert ended.exit_code == 2
    assert texts(await bench.log(ended.id)) == []


async def test_what_they_use_is_told_by_container(bench: Bench) -> None:
    busy = await bench.started("eat=24m", "print=ate", LONG)
    quiet = await bench.started("print=up", LONG)
    ended = await bench.ended("exit=0")
    await bench.says(busy, "ate")
    await bench.says(quiet, "up")
    used = await bench.engine.usage(await bench.engine.containers())
    assert ended.id not in used
    assert used[busy].memory > 20 << 20
    assert used[busy].cpu_seconds > 0
    assert used[quiet].memory < 20 << 20
    assert used[quiet].pids >= 1
    assert await bench.engine.usage([]) == {}


# -- commands in it, and its input ----------------------------------------------------------------------------------


async def test_a_command_runs_in_a_container(bench: Bench) -> None:
    container = await bench.started(LONG)
    command = [PROGRAM, "print=out*3", "err=bad", "env=WHO", "exit=4"]
    ran = await bench.engine.exec_create(container, command, env={"WHO": "me"})
    said = [piece async for piece in bench.engine.exec_start(ran)]
    assert b"".join(data for stream, data in said if stream == 1) == b"out 1\nout 2\nout 3\nWHO=me\n"
    assert b"".join(data for stream, data in said if stream == 2) == b"bad\n"
    status = await bench.engine.exec_inspect(ran)
    assert status is not None
    assert (status.running, status.exit_code, status.pid) == (False, 4, 0)
    assert await bench.engine.exec_inspect("0" * 64) is None


async def test_a_command_that_runs_has_a_process(bench: Bench) -> None:
    container = await bench.started(LONG)
    ran = await bench.engine.exec_create(container, [PROGRAM, "print=up", "sleep=600"], env={})
    output = bench.engine.exec_start(ran)
    assert await anext(output) == (1, b"up\n")

    async def known() -> ExecStatus | None:
        found = await bench.engine.exec_inspect(ran)
        return found if found is not None and found.pid else None

    status = await until(known, what="the process")  # Docker hears its output before it notes its pid
    assert status.running
    assert status.exit_code is None
    await bench.engine.kill(container)  # its commands end with it
    async with asyncio.timeout(30):
        assert [piece async for piece in output] == []


async def test_a_command_needs_a_running_container(bench: Bench) -> None:
    ended = await bench.ended("exit=0")
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.exec_create(ended.id, [PROGRAM], env={})
    assert code_of(caught) is Code.STATE_CONFLICT


async def test_what_is_written_to_its_input_reaches_it(bench: Bench) -> None:
    container = await bench.started("print=up", "read", "read", stdin_open=True)
    await bench.says(container, "up")
    await bench.engine.write_stdin(container, b"first\n")
    await bench.engine.write_stdin(container, b"second\n")
    await bench.engine.wait(container)
    assert texts(await bench.log(container)) == ["up", "read: first", "read: second"]
    with pytest.raises(GameNodeError) as caught:
        await bench.engine.write_stdin(container, b"third\n")
    assert code_of(caught) is Code.STATE_CONFLICT


# -- events ---------------------------------------------------------------------------------------------------------


async def test_a_life_is_told_in_events(bench: Bench) -> None:
    heard: list[ContainerEvent] = []
    end = bench.engine.subscribe(lambda event: heard.append(event) if event is not None else None)
    ended = await bench.ended("exit=5", labels={"io.gamenode.task": "t1"})
    await bench.engine.remove(ended.id)
    await until(lambda: any(event.action == "destroy" for event in heard), what="destroy")
    mine = [event for event in heard if event.id == ended.id]
    assert [event.action for event in mine] == ["create", "start", "die", "destroy"]
    died = mine[2]
    assert (died.exit_code, died.name, died.labels["io.gamenode.task"]) == (5, ended.name, "t1")
    assert [event.exit_code for event in mine if event is not died] == [None] * 3
    assert [event.time for event in mine] == sorted(event.time for event in mine)
    end()
    await bench.ended("exit=0")
    assert heard == mine
