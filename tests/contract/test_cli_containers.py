"""`gamenode container` as a process against a control server: formats, names, what destroys, logs, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import re
import signal
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import state_management_pb2
from gamenode_proto.v1.state_management_pb2 import ContainerLogPiece, ListContainersRequest, ListContainersResponse
from support.control_messages import T0, a_container, a_node, an_engine
from support.fake_control import FakeControl, fake_control

Answer = ListContainersResponse | GameNodeError


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path) as fake:
        fake.answers["ListContainers"] = lambda request: fleet(request)
        fake.answers["StopContainer"] = state_management_pb2.StopContainerResponse()
        fake.answers["RemoveContainer"] = state_management_pb2.RemoveContainerResponse()
        yield fake


OA, DB, OLD = (
    a_container(),
    a_container("db", own=False),
    a_container("old", node="game-2", state="exited", exit_code=3),
)
NAMED: Mapping[str, state_management_pb2.NodeContainer] = {"oa-27960": OA, "game-1/oa-27960": OA, "db": DB, "old": OLD}


def fleet(request: ListContainersRequest) -> Answer:
    """What a server with three containers answers."""
    if not request.container:
        return ListContainersResponse(containers=[OA, DB, *([OLD] if request.all else [])])
    if request.container in NAMED:
        return ListContainersResponse(containers=[NAMED[request.container]])
    return GameNodeError(Code.NOT_FOUND, f"there is no container {request.container!r}")


async def test_containers_in_every_format(fake: FakeControl) -> None:
    table, wide, document, lines, names, ids = await asyncio.gather(
        fake.cli("container", "ls"),
        fake.cli("container", "ps", "-a", "-o", "wide"),
        fake.cli("container", "list", "--all", "-o", "json", "--node", "game-1", "-l", "role=game", "-l", "region=eu"),
        fake.cli("container", "ls", "-o", "jsonl", "--filter", "own=true memory_used>1000000"),
        fake.cli("container", "ls", "-a", "-o", "name", "--sort-by", "-name"),
        fake.cli("container", "ls", "-q"),
    )
    assert [found[0] for found in (table, wide, document, lines, names, ids)] == [0] * 6
    head, first, second = table[1].decode().splitlines()
    assert head.split() == ["NODE", "NAME", "IMAGE", "STATE", "OWN", "CPU", "MEM", "UP", "PORTS", "RESTARTS", "RUN"]
    assert first.split()[:5] == ["game-1", "oa-27960", "gn/openarena:0.8.8", "running", "(healthy)"]
    assert second.split()[:5] == ["game-1", "db", "postgres:16", "running", "no"]
    assert b"\x1b" not in table[1]
    assert "exited (3)" in wide[1].decode()
    assert [found["name"] for found in json.loads(document[1])] == ["oa-27960", "db", "old"]
    assert [json.loads(line)["name"] for line in lines[1].splitlines()] == ["oa-27960"]
    assert names[1] == b"game-2/old\ngame-1/oa-27960\ngame-1/db\n", "as other commands take them"
    assert ids[1].splitlines()[0].decode() == OA.container.id
    asked = [(r.node, r.all, list(r.selectors)) for r in fake.requests("ListContainers")]
    assert ("game-1", True, ["role=game", "region=eu"]) in asked
    assert ("", False, []) in asked


async def test_no_containers_say_so(fake: FakeControl) -> None:
    fake.answers["ListContainers"] = ListContainersResponse()
    some, every, document = await asyncio.gather(
        fake.cli("container", "ls"), fake.cli("container", "ls", "-a"), fake.cli("container", "ls", "-o", "json")
    )
    assert (some[:2], "gamenode container ls -a" in some[2]) == ((0, b""), True)
    assert every == (0, b"", "no containers\n")
    assert json.loads(document[1]) == []


async def test_a_watched_list_shows_changes_that_no_event_tells_of(fake: FakeControl) -> None:
    async def silent(request: object) -> AsyncIterator[object]:
        await asyncio.Event().wait()
        yield request

    fake.answers["WatchEvents"] = silent
    fake.answers["ListContainers"] = ListContainersResponse(containers=[OA])
    process = await fake.popen("container", "ls", "-w", "-o", "jsonl")
    assert process.stdout is not None
    assert json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["state"] == "running"
    fake.answers["ListContainers"] = ListContainersResponse(containers=[a_container(state="exited", exit_code=1)])
    assert json.loads(await asyncio.wait_for(process.stdout.readline(), 20))["exit_code"] == 1
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130


# --- stop and rm -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("verb", "method"), [("stop", "StopContainer"), ("rm", "RemoveContainer")])
async def test_what_ends_containers_wants_yes_in_a_script_and_can_show_first(
    fake: FakeControl, verb: str, method: str
) -> None:
    code, out, err = await fake.cli("container", verb, "oa-27960", "old")
    assert (code, out) == (2, b"")
    assert "game-1/oa-27960 (running (healthy), up" in err
    assert "game-2/old (exited (3), of run runaaaaaaaaa)" in err
    assert "--yes" in err
    shown, document = await asyncio.gather(
        fake.cli("container", verb, "oa-27960", "db", "--dry-run"),
        fake.cli("container", verb, "oa-27960", "db", "--dry-run", "-o", "json"),
    )
    assert shown[0] == 0
    assert "would be refused: game-1/db is not ours" in shown[2]
    assert [found["name"] for found in json.loads(document[1])] == ["oa-27960", "db"]
    assert not fake.requests(method)


async def test_stop_names_node_and_whole_id_and_each_container_once(fake: FakeControl) -> None:
    words = ["container", "stop", "oa-27960", "game-1/oa-27960", "old", "--yes", "--reason", "moved"]
    code, out, err = await fake.cli(*words, "--grace", "30s")
    assert (code, out, err) == (0, b"game-1/oa-27960: stopped\ngame-2/old: stopped\n", "")
    asked = {(r.node, r.container, r.grace, r.reason) for r in fake.requests("StopContainer")}
    assert asked == {
        (OA.node_id, OA.container.id, 30.0, "moved"),
        (OLD.node_id, OLD.container.id, 30.0, "moved"),
    }
    assert len(fake.requests("StopContainer")) == 2
    await asyncio.gather(
        fake.cli("container", "stop", "old", "-y"), fake.cli("container", "stop", "old", "-y", "--grace", "0")
    )
    assert sorted(r.grace for r in fake.requests("StopContainer")[2:]) == [-1.0, 0.0], "the container's own, or none"


async def test_rm_removes_those_that_run_only_by_force(fake: FakeControl) -> None:
    plan = await fake.cli("container", "rm", "oa-27960", "old", "--dry-run")
    assert "would be refused: game-1/oa-27960: it runs; --force kills it first" in plan[2]
    assert "would remove game-2/old" in plan[2]
    assert "would remove game-1/oa-27960" in (await fake.cli("container", "rm", "oa-27960", "--force", "--dry-run"))[2]
    code, out, _ = await fake.cli("container", "delete", "oa-27960", "--force", "--yes", "-o", "json")
    assert (code, json.loads(out)) == (
        0,
        [{"node_id": OA.node_id, "node": "game-1", "id": OA.container.id, "name": "oa-27960", "result": "removed",
          "error": None}],
    )  # fmt: skip
    assert [r.force for r in fake.requests("RemoveContainer")] == [True]


async def test_a_foreign_container_is_refused_with_one_line_and_the_others_are_stopped(fake: FakeControl) -> None:
    refused = GameNodeError(Code.PERMISSION_DENIED, "container db on game-1 is not ours \x1b[31m")

    def answer(request: state_management_pb2.StopContainerRequest) -> object:
        return refused if request.container == DB.container.id else state_management_pb2.StopContainerResponse()

    fake.answers["StopContainer"] = answer
    alone = await fake.cli("container", "stop", "db", "--yes")
    assert alone == (5, b"", "gamenode: container db on game-1 is not ours ␛[31m\n")
    several, document = await asyncio.gather(
        fake.cli("container", "stop", "db", "oa-27960", "--yes"),
        fake.cli("container", "stop", "db", "oa-27960", "--yes", "-o", "json"),
    )
    assert several[:2] == (5, b"game-1/oa-27960: stopped\n")
    results = {found["name"]: (found["result"], found["error"]) for found in json.loads(document[1])}
    assert results["oa-27960"] == ("stopped", None)
    assert results["db"][0] == "failed"
    assert results["db"][1]["code"] == "permission_denied"


@pytest.mark.parametrize(
    ("error", "exit_code"),
    [
        (GameNodeError(Code.STATE_CONFLICT, "node game-1 is offline: it cannot be asked now"), 6),
        (GameNodeError(Code.TIMEOUT, "node game-1 has not said how it went"), 7),
        (GameNodeError(Code.ENGINE_UNAVAILABLE, "docker does not answer"), 4),
    ],
)
async def test_what_a_node_cannot_do_has_its_exit_code(fake: FakeControl, error: GameNodeError, exit_code: int) -> None:
    fake.answers["RemoveContainer"] = error
    code, out, err = await fake.cli("container", "rm", "old", "--yes")
    assert (code, out, err.splitlines()[0]) == (exit_code, b"", f"gamenode: {error.message}")


async def test_an_unknown_or_ambiguous_name_does_nothing_to_the_others(fake: FakeControl) -> None:
    assert (await fake.cli("container", "stop", "oa-27960", "nothing", "--yes"))[0] == 3
    fake.answers["ListContainers"] = GameNodeError(Code.INVALID_ARGUMENT, "two are called oa: game-1/oa, game-2/oa")
    code, _, err = await fake.cli("container", "rm", "oa", "--yes")
    assert (code, "game-2/oa" in err) == (2, True)
    assert not fake.requests("StopContainer") + fake.requests("RemoveContainer")


async def test_a_person_is_asked_and_may_say_no(fake: FakeControl) -> None:
    code, out = await on_a_terminal(fake, "container", "stop", "oa-27960", type=b"n\n")
    assert code == 130
    assert b"Stop game-1/oa-27960 (running (healthy), up" in out
    assert not fake.requests("StopContainer")
    code, out = await on_a_terminal(fake, "container", "stop", "oa-27960", type=b"y\n")
    assert (code, b"game-1/oa-27960: stopped" in out) == (0, True)


# --- logs ------------------------------------------------------------------------------------------------------------


def line(data: bytes, *, stream: int = 1, time: float = T0) -> ContainerLogPiece:
    return ContainerLogPiece(data=data, time=time, stream=stream)


HOSTILE = b"\x1b]0;owned\x07\x9b31m\xe2\x80\xae\n"


async def test_a_log_into_a_pipe_is_byte_for_byte_and_inert_on_a_terminal(fake: FakeControl) -> None:
    fake.answers["TailContainerLogs"] = lambda request: [line(HOSTILE), line(b"oops\r\n", stream=2), line(b"no end")]
    code, out, err = await fake.cli("container", "logs", "game-1/oa-27960", "--tail", "5", "--since", "10m")
    assert (code, out, err) == (0, HOSTILE + b"oops\r\nno end", "")
    (asked,) = fake.requests("TailContainerLogs")
    assert (asked.container, asked.tail, asked.follow) == ("game-1/oa-27960", 5, False)
    assert asked.since > T0
    code, shown = await on_a_terminal(fake, "container", "logs", "oa-27960")
    assert code == 0
    assert not re.search(rb"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]|\xc2[\x80-\x9f]|\xe2\x80\xae", shown)
    assert "␛]0;owned␇" in shown.decode()


async def test_lines_of_both_streams_have_their_time_and_do_not_mix(fake: FakeControl) -> None:
    pieces = [line(b"half "), line(b"error\n", stream=2, time=T0 + 1), line(b"whole\n")]
    fake.answers["TailContainerLogs"] = lambda request: pieces
    code, out, _ = await fake.cli("container", "logs", "oa-27960", "--timestamps")
    assert code == 0
    assert out.decode().splitlines() == ["2026-01-02T03:04:06.000Z error", "2026-01-02T03:04:05.000Z half whole"]


async def test_ctrl_c_while_following_leaves_the_container_alone(fake: FakeControl) -> None:
    async def endless(request: object) -> AsyncIterator[ContainerLogPiece]:
        yield line(b"one\n")
        await asyncio.Event().wait()

    fake.answers["TailContainerLogs"] = endless
    process = await fake.popen("container", "logs", "oa-27960", "-f")
    assert process.stdout is not None
    assert await asyncio.wait_for(process.stdout.readline(), 20) == b"one\n"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b"oa-27960 is left as it is" in err
    assert b"Traceback" not in err
    assert not fake.requests("StopContainer")


async def test_a_log_that_cannot_be_had_has_its_exit_code(fake: FakeControl) -> None:
    for failed, code in ((Code.NOT_FOUND, 3), (Code.STATE_CONFLICT, 6), (Code.ENGINE_UNAVAILABLE, 4)):
        fake.answers["TailContainerLogs"] = GameNodeError(failed, "no log")
        assert (await fake.cli("container", "logs", "oa-27960", "-f"))[0] == code


# --- what else knows of containers -----------------------------------------------------------------------------------


async def test_nodes_show_their_engine_and_doctor_warns_of_one_that_is_away(fake: FakeControl) -> None:
    here, away, without = a_node("game-1"), a_node("game-2"), a_node("game-3")
    here.facts.engine.CopyFrom(an_engine())
    here.metrics.containers_running, here.metrics.containers_total = 2, 5
    away.facts.engine.CopyFrom(an_engine(available=False, problem="permission denied on the socket\x1b[2J"))
    fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse(nodes=[here, away, without])
    fake.answers["GetNode"] = lambda request: {"game-1": here, "game-2": away, "game-3": without}[request.node]
    fake.answers["GetStatus"] = state_management_pb2.GetStatusResponse(server_version="0.1.0", storage="ok")
    listed, first, second, third, document, doctor = await asyncio.gather(
        fake.cli("node", "ls", "--columns", "name,containers", "--no-headers"),
        fake.cli("node", "show", "game-1"),
        fake.cli("node", "show", "game-2"),
        fake.cli("node", "show", "game-3"),
        fake.cli("node", "show", "game-1", "-o", "json"),
        fake.cli("doctor"),
    )
    assert [row.split(maxsplit=1)[1] for row in listed[1].decode().splitlines()] == ["2/5", "no engine", "-"]
    text = first[1].decode()
    assert "docker 20.10.24 at unix:///var/run/docker.sock; API 1.41; storage overlay2 in /var/lib/docker" in text
    assert "cgroup v2; live-restore on" in text
    assert "Containers:   2 running, 5 in all" in text
    assert "does not answer: permission denied on the socket␛[2J" in second[1].decode()
    assert "Engine:       none" in third[1].decode()
    assert json.loads(document[1])["engine"]["storage_driver"] == "overlay2"
    (warning,) = [row for row in doctor[1].decode().splitlines() if row.startswith("engine of")]
    assert warning.split()[:4] == ["engine", "of", "game-2", "warn"]
    assert "permission denied" in warning


async def test_container_names_are_completed(fake: FakeControl) -> None:
    twin = a_container("oa-27960", node="game-2")
    fake.answers["ListContainers"] = ListContainersResponse(containers=[OA, twin, DB, OLD])

    async def offered(words: str) -> list[str]:
        env = {"_GAMENODE_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(len(words.split(" ")) - 1)}
        place = {"GAMENODE_DATA_DIR": str(fake.data_dir)}
        _, out, _ = await fake.cli(env={**env, **place})
        return [line.removeprefix("plain,") for line in out.decode().splitlines()]

    assert await offered("gamenode container logs ") == ["game-1/oa-27960", "game-2/oa-27960", "db", "old"]
    assert await offered("gamenode container stop o") == ["old"]
    assert await offered("gamenode container rm game-2/") == ["game-2/oa-27960", "game-2/old"]


async def on_a_terminal(fake: FakeControl, *words: str, type: bytes = b"") -> tuple[int, bytes]:
    """Runs the client on a terminal into which `type` is typed: exit code and what it was sent."""
    leader, follower = pty.openpty()
    process = await asyncio.create_subprocess_exec(
        *fake.argv(*words), env=fake.env({"TERM": "xterm-256color"}), stdin=follower, stdout=follower, stderr=follower
    )
    os.close(follower)
    if type:
        os.write(leader, type)
    chunks: list[bytes] = []

    def read() -> None:
        while True:
            try:
                chunks.append(os.read(leader, 65536))
            except OSError:  # nobody has the other end any more
                return

    await asyncio.wait_for(asyncio.to_thread(read), 30)
    os.close(leader)
    return await asyncio.wait_for(process.wait(), 20), b"".join(chunks)
