"""The client as a process against a control server: exit codes, formats, streams, Ctrl-C."""

from __future__ import annotations

import asyncio
import json
import os
import pty
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import (
    administration_pb2,
    common_pb2,
    pipeline_management_pb2,
    plan_pb2,
    state_management_pb2,
    work_pb2,
)
from support.control_messages import T0, a_log_status, a_node, a_run, a_run_document, a_step, a_task
from support.fake_control import FakeControl, fake_control

RUNNING = common_pb2.RUN_STATE_RUNNING


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path) as fake:
        yield fake


def update(state: int, *, ended: bool = False) -> pipeline_management_pb2.RunUpdate:
    return pipeline_management_pb2.RunUpdate(run=a_run(state=state), tasks=[a_task()], ended=ended)


def piece(data: bytes, *, step: str = "one", node: str = "game-1", offset: int = 0) -> state_management_pb2.LogPiece:
    ref = common_pb2.AttemptRef(task_id=f"task{node}", fence=1, step_id=step, attempt=1)
    return state_management_pb2.LogPiece(ref=ref, node=node, data=data, offset=offset, time=T0, stream=1)


def the_end(step: str = "one", *, complete: bool = True, node: str = "game-1") -> state_management_pb2.LogPiece:
    last = piece(b"", step=step, node=node)
    last.end.CopyFrom(state_management_pb2.LogStatusEnd(complete=complete, lines=2, bytes=12, sha256="ab" * 32))
    return last


# --- lists and documents ---------------------------------------------------------------------------------------------


async def test_node_ls_in_every_format(fake: FakeControl) -> None:
    fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse(nodes=[a_node("game-2"), a_node("game-1")])
    table, wide, document, lines, names, ids = await asyncio.gather(
        fake.cli("node", "ls", "--sort-by", "name"),
        fake.cli("node", "ls", "-o", "wide", "--no-headers"),
        fake.cli("node", "list", "-o", "json", "-l", "role=game", "-l", "region in (eu,us)"),
        fake.cli("-o", "jsonl", "node", "ps", "--filter", "game-2"),
        fake.cli("node", "ls", "-o", "name"),
        fake.cli("node", "ls", "-q"),
    )
    assert [code for code, _, _ in (table, wide, document, lines, names, ids)] == [0] * 6
    head, first, second = table[1].decode().splitlines()
    assert head.split()[:3] == ["NAME", "STATE", "CPU"]
    assert (first.split()[0], second.split()[0]) == ("game-1", "game-2")
    assert b"\x1b" not in table[1]
    assert "Debian 12" in wide[1].decode()
    assert len(wide[1].decode().splitlines()) == 2
    assert [node["name"] for node in json.loads(document[1])] == ["game-2", "game-1"]
    assert json.loads(lines[1])["resources"]["cpus"] == 4.0
    assert names[1] == b"game-2\ngame-1\n"
    assert ids[1] == b"game2aaaaaaa\ngame1aaaaaaa\n"
    assert ["role=game", "region in (eu,us)"] in [list(request.selectors) for request in fake.requests("ListNodes")]


async def test_an_empty_list_says_what_next_on_stderr_and_is_a_list_in_json(fake: FakeControl) -> None:
    fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse()
    table, document = await asyncio.gather(fake.cli("node", "ls"), fake.cli("node", "ls", "-o", "json"))
    assert (table[0], table[1]) == (0, b"")
    assert "gamenode node token" in table[2]
    assert json.loads(document[1]) == []


async def test_run_show_prints_the_document(fake: FakeControl) -> None:
    fake.answers["GetRun"] = a_run_document()
    document, table = await asyncio.gather(
        fake.cli("run", "show", "runa", "-o", "json"), fake.cli("run", "inspect", "runa")
    )
    assert json.loads(document[1])["tasks"][0]["steps"][0]["log"]["sha256"] == "ab" * 32
    text = table[1].decode()
    assert "Pipeline:  hello v2" in text
    assert "game-1  one" in text


async def test_run_ls_reads_on_until_its_limit(fake: FakeControl) -> None:
    pages = {"": ["runa", "runb"], "runb": ["runc"]}

    def answer(request: pipeline_management_pb2.ListRunsRequest) -> pipeline_management_pb2.ListRunsResponse:
        ids = pages[request.after]
        return pipeline_management_pb2.ListRunsResponse(runs=[a_run(id) for id in ids], more=request.after == "")

    fake.answers["ListRuns"] = answer
    code, out, _ = await fake.cli("run", "ls", "-q", "--state", "failed", "--pipeline", "hello")
    assert (code, out) == (0, b"runa\nrunb\nrunc\n")
    assert (fake.requests("ListRuns")[0].state, fake.requests("ListRuns")[0].pipeline) == ("failed", "hello")


async def test_a_token_is_one_line_and_warnings_are_on_stderr(fake: FakeControl) -> None:
    fake.answers["CreateJoinToken"] = administration_pb2.CreateJoinTokenResponse(
        id="t",
        token="gn1.abc",
        join_command="gamenode-agent join gn1.abc",
        expires_at=T0,
        uses=2,
        warnings=["loopback"],
    )
    words = ["node", "token", "--ttl", "15m", "--uses", "2", "--name", "x", "--label", "role=game"]
    plain, document = await asyncio.gather(fake.cli(*words), fake.cli(*words, "-o", "json"))
    assert plain[1] == b"gamenode-agent join gn1.abc\n"
    assert "loopback" in plain[2]
    assert json.loads(document[1])["token"] == "gn1.abc"
    request = fake.requests("CreateJoinToken")[0]
    assert (request.ttl, request.uses, request.name, dict(request.labels)) == (900.0, 2, "x", {"role": "game"})


async def test_labels_are_set_and_taken_away(fake: FakeControl) -> None:
    fake.answers["LabelNode"] = a_node()
    code, _, _ = await fake.cli("node", "label", "game-1", "role=game", "empty=", "old-")
    request = fake.requests("LabelNode")[0]
    assert (code, dict(request.set), list(request.remove)) == (0, {"role": "game", "empty": ""}, ["old"])
    code, _, err = await fake.cli("node", "label", "game-1", "nothing")
    assert (code, "nothing" in err) == (2, True)
    code, _, err = await fake.cli("node", "label", "game-1", "bad key=1")
    assert (code, "bad key" in err) == (2, True)


# --- exit codes ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("code", "exit_code"),
    [
        (Code.INVALID_ARGUMENT, 2),
        (Code.NOT_FOUND, 3),
        (Code.PERMISSION_DENIED, 5),
        (Code.STATE_CONFLICT, 6),
        (Code.ALREADY_EXISTS, 6),
        (Code.INTERNAL, 1),
    ],
)
async def test_errors_of_the_server_are_one_line_and_an_exit_code(
    fake: FakeControl, code: Code, exit_code: int
) -> None:
    fake.answers["GetNode"] = GameNodeError(code, "what went \x1b[31mwrong")
    found, out, err = await fake.cli("node", "show", "x")
    assert (found, out) == (exit_code, b"")
    if code is not Code.INTERNAL:
        assert err.splitlines()[0] == "gamenode: what went ␛[31mwrong"


async def test_no_server_is_exit_4(tmp_path: Path) -> None:
    nowhere = FakeControl(tmp_path / "nothing")
    code, out, err = await nowhere.cli("node", "ls", env={"HOME": str(tmp_path)})
    assert (code, out) == (4, b"")
    assert "gamenode --data-dir" in err
    assert "up" in err


async def test_a_dead_server_is_exit_4(fake: FakeControl) -> None:
    await fake.stop()
    (fake.data_dir / "server.json").write_text(
        json.dumps({"pid": 2**22 + 1, "control_socket": str(fake.socket), "version": "0"})
    )
    code, _, err = await fake.cli("status")
    await fake.start()
    assert code == 4
    assert "no longer running" in err


async def test_status_says_what_needs_attention(fake: FakeControl) -> None:
    answer = state_management_pb2.GetStatusResponse(
        server_version="0.1.0", cluster_id="c", started_at=T0, storage="ok", nodes_by_state={"online": 2}
    )
    fake.answers["GetStatus"] = answer
    assert (await fake.cli("status", "--exit-code"))[0] == 0
    answer.attention.add(since=T0, kind="run", name="hello", text="needs a decision", hint="gamenode run resolve x")
    quiet, loud = await asyncio.gather(fake.cli("status"), fake.cli("status", "--exit-code"))
    assert (quiet[0], loud[0]) == (0, 8)
    assert "needs a decision" in loud[1].decode()
    assert "Nodes:    2 online" in loud[1].decode()


async def test_audit_verify_fails_where_the_chain_breaks(fake: FakeControl) -> None:
    fake.answers["VerifyAudit"] = administration_pb2.VerifyAuditResponse(intact=True, records=7)
    assert await fake.cli("audit", "verify") == (0, b"intact: 7 records\n", "")
    fake.answers["VerifyAudit"] = administration_pb2.VerifyAuditResponse(records=7, broken_at=3, problem="mac differs")
    code, out, _ = await fake.cli("audit", "verify")
    assert (code, out) == (1, b"broken at record 3: mac differs\n")


async def test_what_destroys_wants_yes_in_a_script(fake: FakeControl) -> None:
    fake.answers["GetNode"] = a_node()
    fake.answers["RevokeNode"] = a_node(state=common_pb2.NODE_STATE_REVOKED)
    fake.answers["RemoveNode"] = state_management_pb2.RemoveNodeResponse()
    for words in (["node", "revoke", "game-1"], ["node", "rm", "game-1"]):
        code, _, err = await fake.cli(*words)
        assert (code, "--yes" in err) == (2, True)
        assert (await fake.cli(*words, "--dry-run"))[0] == 0
    assert not fake.requests("RevokeNode") + fake.requests("RemoveNode")
    assert (await fake.cli("node", "revoke", "game-1", "--yes", "--reason", "stolen"))[0] == 0
    assert (await fake.cli("node", "delete", "game-1", "-y"))[0] == 0
    assert fake.requests("RevokeNode")[0].reason == "stolen"
    assert fake.requests("RemoveNode")[0].node == "game1aaaaaaa"


# --- pipelines -------------------------------------------------------------------------------------------------------


async def test_apply_sends_files_and_standard_input_and_says_every_problem(fake: FakeControl, tmp_path: Path) -> None:
    file = tmp_path / "a.yaml"
    file.write_text("pipeline: a\n")
    answer = pipeline_management_pb2.ApplyPipelinesResponse()
    answer.applied.add(name="a", version=1, result="created")
    fake.answers["ApplyPipelines"] = answer
    code, out, _ = await fake.cli("pipeline", "apply", str(file), "-", stdin=b"pipeline: b\n")
    assert code == 0
    assert out.decode().splitlines()[1].split() == ["a", "1", "created"]
    assert [(s.file, s.text) for s in fake.requests("ApplyPipelines")[0].sources] == [
        (str(file), "pipeline: a\n"),
        ("<stdin>", "pipeline: b\n"),
    ]
    bad = pipeline_management_pb2.ApplyPipelinesResponse()
    bad.problems.add(file="a.yaml", line=3, column=5, message="unknown key 'stepz'", suggestion="steps")
    bad.problems.add(file="a.yaml", line=9, column=1, message="a bare number", warning=True)
    fake.answers["ApplyPipelines"] = bad
    code, out, err = await fake.cli("pipeline", "apply", str(file))
    assert (code, out) == (2, b"")
    assert err.splitlines() == [
        "a.yaml:3:5: unknown key 'stepz'; did you mean 'steps'?",
        "a.yaml:9:1: warning: a bare number",
    ]


async def test_a_file_that_cannot_be_read_is_exit_2(fake: FakeControl, tmp_path: Path) -> None:
    latin = tmp_path / "latin.yaml"
    latin.write_bytes(b"pipeline: a\nx: \xe9\n")
    big = tmp_path / "big.yaml"
    big.write_bytes(b"#" * ((1 << 20) + 1))
    missing, wrong, large, folder = await asyncio.gather(
        fake.cli("pipeline", "apply", str(tmp_path / "none.yaml")),
        fake.cli("pipeline", "run", str(latin)),
        fake.cli("pipeline", "apply", str(big)),
        fake.cli("pipeline", "apply", str(tmp_path)),
    )
    assert [found[0] for found in (missing, wrong, large, folder)] == [2, 2, 2, 2]
    assert "No such file" in missing[2]
    assert f"{latin}:2:4: not UTF-8" in wrong[2]
    assert "1 MiB" in large[2]


async def test_run_passes_everything_on(fake: FakeControl, tmp_path: Path) -> None:
    fake.answers["RunPipeline"] = pipeline_management_pb2.RunPipelineResponse(run=a_run_document(state=RUNNING))
    params = tmp_path / "params.yaml"
    params.write_text("port: 1\nmode: on\n")
    code, out, _ = await fake.cli(
        "pipeline", "run", "hello", "-p", "port=27960", "-p", "text=a=b", "--params-file", str(params),
        "-l", "role=game", "--node", "game-1", "--request-id", "req", "--note", "why", "-o", "json",
    )  # fmt: skip
    assert code == 0
    assert json.loads(out)["state"] == "running"
    (request,) = fake.requests("RunPipeline")
    assert {key: value.text for key, value in request.params.items()} == {"port": "27960", "text": "a=b", "mode": "on"}
    assert (list(request.selectors), list(request.nodes), request.all) == (["role=game"], ["game-1"], False)
    assert (request.name, request.request_id, request.note) == ("hello", "req", "why")


async def test_params_of_json_keep_their_types(fake: FakeControl) -> None:
    fake.answers["RunPipeline"] = pipeline_management_pb2.RunPipelineResponse(run=a_run_document(state=RUNNING))
    words = ["pipeline", "run", "hello", "--all", "--params-file", "-"]
    assert (await fake.cli(*words, stdin=b'{"a": 1, "b": true, "c": 0.5, "d": "1"}'))[0] == 0
    (request,) = fake.requests("RunPipeline")
    assert request.params["a"].integer == 1
    assert request.params["b"].boolean
    assert request.params["c"].number == 0.5
    assert request.params["d"].text == "1"
    assert request.request_id, "a lost answer must be able to be asked for again"
    for bad in (b'{"a": [1]}', b"[1]", b"a: {b: c}", b"a: [", b"\t"):
        assert (await fake.cli(*words, stdin=bad))[0] == 2


@pytest.mark.parametrize(
    ("state", "code"),
    [
        (common_pb2.RUN_STATE_SUCCEEDED, 0),
        (common_pb2.RUN_STATE_FAILED, 1),
        (common_pb2.RUN_STATE_CANCELLED, 9),
        (common_pb2.RUN_STATE_NEEDS_ATTENTION, 8),
    ],
)
async def test_waiting_ends_with_the_outcome(fake: FakeControl, state: int, code: int) -> None:
    fake.answers["RunPipeline"] = pipeline_management_pb2.RunPipelineResponse(run=a_run_document(state=RUNNING))
    fake.answers["GetRun"] = a_run_document(state=state)
    fake.answers["WatchRun"] = lambda request: [update(RUNNING), update(state), update(state, ended=True)]
    fake.answers["TailLogs"] = lambda request: [piece(b"hello\n"), the_end()]
    started, waited, followed = await asyncio.gather(
        fake.cli("pipeline", "run", "hello", "--all", "--wait", "-o", "json"),
        fake.cli("run", "wait", "runa"),
        fake.cli("run", "watch", "runa"),
    )
    assert (started[0], waited[0], followed[0]) == (code, code, code)
    assert json.loads(started[1])["id"] == "runaaaaaaaaa"
    assert waited[1:] == (b"", "")
    assert followed[1] == b"hello\n"
    if code == 8:
        assert "gamenode run resolve" in followed[2]


async def test_a_wait_that_takes_too_long_is_exit_7_and_says_that_the_run_goes_on(fake: FakeControl) -> None:
    async def silent(request: object) -> AsyncIterator[pipeline_management_pb2.RunUpdate]:
        yield update(RUNNING)
        await asyncio.Event().wait()

    fake.answers["GetRun"] = a_run_document(state=RUNNING)
    fake.answers["WatchRun"] = silent
    code, _, err = await fake.cli("run", "wait", "runa", "--timeout", "300ms")
    assert code == 7
    assert "goes on" in err
    assert "gamenode run cancel runaaaaaaaaa" in err


@pytest.mark.parametrize("words", [["run", "wait", "runa"], ["run", "watch", "runa"], ["run", "logs", "runa", "-f"]])
async def test_ctrl_c_leaves_the_run_alone_and_says_how_to_cancel(fake: FakeControl, words: list[str]) -> None:
    watching = asyncio.Event()

    async def silent(request: object) -> AsyncIterator[object]:
        watching.set()
        await asyncio.Event().wait()
        yield request

    fake.answers.update(GetRun=a_run_document(state=RUNNING), WatchRun=silent, TailLogs=silent)
    process = await fake.popen(*words)
    async with asyncio.timeout(20):
        await watching.wait()
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b"gamenode run cancel runaaaaaaaaa" in err
    assert b"Traceback" not in err
    assert not fake.requests("CancelRuns")


async def test_sigterm_ends_the_client_without_a_word(fake: FakeControl) -> None:
    watching = asyncio.Event()

    async def silent(request: object) -> AsyncIterator[object]:
        watching.set()
        await asyncio.Event().wait()
        yield request

    fake.answers["WatchEvents"] = silent
    process = await fake.popen("events", "-f")
    async with asyncio.timeout(20):
        await watching.wait()
    process.terminate()
    assert await asyncio.wait_for(process.communicate(), 20) == (b"", b"")
    assert process.returncode == 128 + signal.SIGTERM


async def test_a_run_may_be_given_another_timeout(fake: FakeControl) -> None:
    fake.answers["RunPipeline"] = pipeline_management_pb2.RunPipelineResponse(run=a_run_document(state=RUNNING))
    assert (await fake.cli("pipeline", "run", "hello", "--run-timeout", "90s"))[0] == 0
    assert fake.requests("RunPipeline")[0].timeout == 90.0


async def test_render_compiles_what_is_stored_and_what_is_in_a_file(fake: FakeControl, tmp_path: Path) -> None:
    text = "pipeline: p\nparams: {n: {type: integer, default: 3}}\nsteps:\n  - {id: one, run: echo}\n"
    file = tmp_path / "p.yaml"
    file.write_text(text)
    stored = pipeline_management_pb2.Pipeline(name="p", version=4, text=text)
    fake.answers["GetPipeline"] = pipeline_management_pb2.GetPipelineResponse(pipeline=stored)
    named, filed, wrong = await asyncio.gather(
        fake.cli("pipeline", "render", "p", "-p", "n=7", "-o", "json"),
        fake.cli("pipeline", "render", str(file)),
        fake.cli("pipeline", "render", str(file), "-p", "n=x"),
    )
    plan = json.loads(named[1])
    assert (plan["version"], plan["params"], plan["steps"][0]["id"]) == (4, {"n": 7}, "one")
    assert b"n: 3" in filed[1]
    assert (wrong[0], "'n'" in wrong[2]) == (2, True)


async def test_a_dry_run_shows_where_and_why(fake: FakeControl) -> None:
    answer = pipeline_management_pb2.RenderPipelineResponse(
        plan=plan_pb2.Plan(pipeline="hello", on_lost=plan_pb2.ON_LOST_WAIT)
    )
    answer.nodes.add(node="game-1", node_id="a", chosen=True, reason="matches role=game")
    answer.nodes.add(node="game-2", node_id="b", reason="offline")
    fake.answers["RenderPipeline"] = answer
    code, out, _ = await fake.cli("pipeline", "run", "hello", "--all", "--dry-run")
    assert code == 0
    assert out.decode().startswith("would run hello on 1 of 2 nodes")
    assert "offline" in out.decode()
    assert not fake.requests("RunPipeline")


async def test_cancel_takes_several_runs(fake: FakeControl) -> None:
    fake.answers["CancelRuns"] = lambda request: pipeline_management_pb2.CancelRunsResponse(
        runs=[a_run(id, state=common_pb2.RUN_STATE_CANCELLING) for id in request.runs]
    )
    code, out, _ = await fake.cli("run", "cancel", "runa", "runb", "--reason", "wrong", "--force")
    assert (code, out) == (0, b"run runa (hello): cancelling\nrun runb (hello): cancelling\n")
    (request,) = fake.requests("CancelRuns")
    assert (request.reason, request.force) == ("wrong", True)


async def test_resolve_and_explain(fake: FakeControl) -> None:
    fake.answers["ResolveTask"] = pipeline_management_pb2.ResolveTaskResponse(task=a_task())
    words = ["run", "resolve", "runa", "--node", "game-1", "--as", "succeeded"]
    assert (await fake.cli(*words))[0] == 2, "without a reason"
    assert (await fake.cli(*words, "--reason", "looked"))[:2] == (0, b"game-1: succeeded\n")
    assert getattr(fake.requests("ResolveTask")[0], "as") == "succeeded"
    answer = pipeline_management_pb2.ExplainRunResponse(summary="waits for 1 node")
    answer.tasks.add(node="game-1", text="the node is offline since 3m")
    fake.answers["ExplainRun"] = answer
    assert (await fake.cli("run", "explain", "runa"))[
        1
    ] == b"waits for 1 node\n  game-1: the node is offline since 3m\n"


# --- logs and events -------------------------------------------------------------------------------------------------


async def test_one_log_into_a_pipe_is_the_bytes_as_they_are(fake: FakeControl) -> None:
    raw = b"\x1b[31mred\x1b[0m\r\n\xff\x00no newline at the end"
    fake.answers["GetRun"] = a_run_document()
    fake.answers["TailLogs"] = lambda request: [piece(raw[:9]), piece(raw[9:], offset=9), the_end()]
    code, out, err = await fake.cli("run", "logs", "runa")
    assert (code, out, err) == (0, raw, "")
    code, out, err = await fake.cli("run", "logs", "runa", "--verbose")
    assert out == raw
    assert "log of game-1/one: complete: 2 lines, 12 bytes, sha256 abab" in err


async def test_several_logs_have_their_origin_in_front(fake: FakeControl) -> None:
    document = a_run_document()
    document.tasks[0].steps.append(a_step("two"))
    document.tasks.append(a_task("game-2", id="taskbbbbbbbb", position=1))
    document.logs.append(a_log_status("two"))
    fake.answers["GetRun"] = document
    fake.answers["TailLogs"] = lambda request: [
        piece(b"a\nb"), piece(b"c\n", node="game-2"), piece(b"d\n", offset=3), piece(b"e", step="two"), the_end(),
    ]  # fmt: skip
    _, out, _ = await fake.cli("run", "logs", "runa")
    assert out.decode().splitlines() == ["game-1/one | a", "game-2/one | c", "game-1/one | bd", "game-1/two | e"]
    _, out, _ = await fake.cli("run", "logs", "runa", "--node", "game-1", "--timestamps", "--grep", "^[ae]$")
    assert out.decode().splitlines() == [
        "2026-01-02T03:04:05.000Z one | a",
        "2026-01-02T03:04:05.000Z two | e",
    ]
    request = fake.requests("TailLogs")[1]
    assert (request.node, request.tail, request.follow) == ("game-1", -1, False)


async def test_missing_bytes_are_marked_and_an_incomplete_log_is_said(fake: FakeControl) -> None:
    holed = piece(b"")
    holed.hole.CopyFrom(common_pb2.LogHole(offset=2, length=50, reason="limit"))
    fake.answers["GetRun"] = a_run_document()
    fake.answers["TailLogs"] = lambda request: [piece(b"a\n"), holed, the_end(complete=False)]
    _, out, err = await fake.cli("run", "logs", "runa")
    assert out == b"a\n"
    assert "50 bytes are missing here: limit" in err
    assert "not complete" in err
    _, out, _ = await fake.cli("run", "logs", "runa", "--timestamps")
    assert b"[50 bytes are missing here: limit]" in out


async def test_log_options_are_checked_and_passed_on(fake: FakeControl) -> None:
    fake.answers["GetRun"] = a_run_document()
    fake.answers["TailLogs"] = lambda request: [the_end()]
    wrong_step, wrong_re, fine = await asyncio.gather(
        fake.cli("run", "logs", "runa", "--step", "nope"),
        fake.cli("run", "logs", "runa", "--grep", "("),
        fake.cli("run", "logs", "runa", "--tail", "0", "--since", "2026-01-02T03:04:05Z"),
    )
    assert (wrong_step[0], "steps: one" in wrong_step[2]) == (2, True)
    assert wrong_re[0] == 2
    assert fine[0] == 0
    (request,) = fake.requests("TailLogs")
    assert (request.tail, request.since) == (0, T0)


async def test_events_are_a_list_and_a_stream_of_lines(fake: FakeControl) -> None:
    events = [work_pb2.Event(cursor=i, time=T0, type="run.failed", run_id="r") for i in (1, 2)]
    fake.answers["WatchEvents"] = lambda request: [state_management_pb2.EventBatch(events=events, cursor=2)]
    document, lines, table = await asyncio.gather(
        fake.cli("events", "-o", "json", "--type", "run.failed", "--run", "r", "--after", "0"),
        fake.cli("events", "-o", "jsonl"),
        fake.cli("events"),
    )
    assert [event["cursor"] for event in json.loads(document[1])] == ["1", "2"]
    assert [json.loads(line)["type"] for line in lines[1].splitlines()] == ["run.failed"] * 2
    assert len(table[1].splitlines()) == 3
    assert {(tuple(r.types), r.run, r.follow) for r in fake.requests("WatchEvents")} == {
        (("run.failed",), "r", False),
        ((), "", False),
    }


async def test_following_events_prints_them_as_they_come(fake: FakeControl) -> None:
    async def stream(
        request: state_management_pb2.WatchEventsRequest,
    ) -> AsyncIterator[state_management_pb2.EventBatch]:
        assert (request.after, request.follow) == (-1, True)
        event = work_pb2.Event(cursor=5, time=T0, type="node.joined")
        yield state_management_pb2.EventBatch(events=[event], cursor=5, resync=True)
        await asyncio.Event().wait()

    fake.answers["WatchEvents"] = stream
    process = await fake.popen("events", "-f", "-o", "json")
    assert process.stdout is not None
    line = await asyncio.wait_for(process.stdout.readline(), 20)
    assert json.loads(line)["type"] == "node.joined"
    process.send_signal(signal.SIGINT)
    _, err = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130
    assert b"some are missing here" in err


async def test_a_reader_that_goes_away_ends_the_client_quietly(fake: FakeControl) -> None:
    async def endless(request: object) -> AsyncIterator[state_management_pb2.EventBatch]:
        cursor = 0
        while True:
            cursor += 100
            events = [work_pb2.Event(cursor=cursor - i, time=T0, type="t") for i in range(100)]
            yield state_management_pb2.EventBatch(events=events, cursor=cursor)

    fake.answers["WatchEvents"] = endless
    process = await fake.popen("events", "-f", "-o", "json")
    assert process.stdout is not None
    await asyncio.wait_for(process.stdout.readline(), 20)
    process.stdout._transport.close()  # type: ignore[attr-defined]
    assert process.stderr is not None
    err = await asyncio.wait_for(process.stderr.read(), 20)
    assert await asyncio.wait_for(process.wait(), 20) == 141
    assert err == b""


async def test_watching_a_list_prints_what_changes(fake: FakeControl) -> None:
    lists = iter([["game-1"], ["game-1", "game-2"]])
    more = asyncio.Event()

    def nodes(request: object) -> state_management_pb2.ListNodesResponse:
        return state_management_pb2.ListNodesResponse(nodes=[a_node(name) for name in next(lists)])

    async def stream(request: object) -> AsyncIterator[state_management_pb2.EventBatch]:
        await more.wait()
        yield state_management_pb2.EventBatch(events=[work_pb2.Event(cursor=1, type="node.joined")], cursor=1)
        await asyncio.Event().wait()

    fake.answers.update(ListNodes=nodes, WatchEvents=stream)
    process = await fake.popen("node", "ls", "-w", "-o", "jsonl")
    assert process.stdout is not None
    first = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    more.set()
    second = json.loads(await asyncio.wait_for(process.stdout.readline(), 20))
    assert (first["name"], second["name"]) == ("game-1", "game-2")
    process.send_signal(signal.SIGINT)
    await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 130


async def test_a_list_that_is_watched_ends_as_it_would_without(fake: FakeControl) -> None:
    fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse(nodes=[a_node("game-1")])

    async def stream(request: object) -> AsyncIterator[state_management_pb2.EventBatch]:
        for cursor in range(1, 100):
            yield state_management_pb2.EventBatch(cursor=cursor)
            fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse(nodes=[a_node(f"game-{cursor}")])
            await asyncio.sleep(0.1)

    fake.answers["WatchEvents"] = stream
    wrong = await fake.cli("node", "ls", "-w", "--columns", "nonsense")
    assert wrong == await fake.cli("node", "ls", "--columns", "nonsense")
    assert wrong[0] == 2
    process = await fake.popen("node", "ls", "-w", "-o", "jsonl")
    assert process.stdout is not None
    assert process.stderr is not None
    await asyncio.wait_for(process.stdout.readline(), 20)
    process.stdout._transport.close()  # type: ignore[attr-defined] # whoever read it has seen enough
    assert await asyncio.wait_for(process.stderr.read(), 20) == b""
    assert await asyncio.wait_for(process.wait(), 20) == 141


# --- a terminal ------------------------------------------------------------------------------------------------------


async def on_a_terminal(fake: FakeControl, *words: str, size: tuple[int, int] = (24, 80)) -> tuple[int, bytes]:
    """Runs the client with a terminal on stdout and stderr: exit code and what it wrote there."""
    import fcntl
    import struct
    import sys
    import termios

    leader, follower = pty.openpty()
    fcntl.ioctl(follower, termios.TIOCSWINSZ, struct.pack("HHHH", *size, 0, 0))
    base = {
        key: value
        for key, value in os.environ.items()
        if not key.startswith(("GAMENODE_", "NO_COLOR", "COLUMNS", "LINES"))
    }
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "gamenode_console", "--data-dir", str(fake.data_dir), *words,
        env={**base, "HOME": str(fake.data_dir), "TERM": "xterm-256color"},
        stdin=follower, stdout=follower, stderr=follower,
    )  # fmt: skip
    os.close(follower)
    chunks: list[bytes] = []

    def read() -> None:
        while True:
            try:
                data = os.read(leader, 65536)
            except OSError:
                return
            if not data:
                return
            chunks.append(data)

    await asyncio.wait_for(asyncio.to_thread(read), 30)
    os.close(leader)
    return await asyncio.wait_for(process.wait(), 20), b"".join(chunks)


async def test_escapes_in_logs_are_inert_on_a_terminal(fake: FakeControl) -> None:
    fake.answers["GetRun"] = a_run_document()
    fake.answers["TailLogs"] = lambda request: [piece(b"\x1b]0;owned\x07\x9b31m\n"), the_end()]
    code, out = await on_a_terminal(fake, "run", "logs", "runa")
    assert code == 0
    assert b"\x1b]0;" not in out
    assert b"\x07" not in out
    assert "␛]0;owned␇".encode() in out


@pytest.mark.parametrize("size", [(24, 80), (8, 30), (60, 200)])
async def test_watch_on_a_terminal_draws_and_gives_the_terminal_back(fake: FakeControl, size: tuple[int, int]) -> None:
    ended = common_pb2.RUN_STATE_FAILED
    tasks = [a_task(f"n{i:03}", id=f"task{i:08}", position=i) for i in range(100)]
    first = pipeline_management_pb2.RunUpdate(run=a_run(state=RUNNING, total=100), tasks=tasks)

    async def stream(request: object) -> AsyncIterator[pipeline_management_pb2.RunUpdate]:
        yield first
        await asyncio.sleep(0.4)  # long enough for a frame or two
        yield update(ended, ended=True)

    fake.answers["GetRun"] = a_run_document(state=RUNNING)
    fake.answers["WatchRun"] = stream
    fake.answers["TailLogs"] = lambda request: [piece(b"\x1b[2Jhello from a step\n"), the_end()]
    code, out = await on_a_terminal(fake, "run", "watch", "runa", size=size)
    assert code == 1
    assert out.count(b"\x1b[?1049h") == 1
    assert out.count(b"\x1b[?1049l") == 1
    assert out.rindex(b"\x1b[?25h") > out.rindex(b"\x1b[?25l"), "the cursor is back"
    assert b"hello from a step"[: size[1] - 20] in out
    assert b"\x1b[2Jhello" not in out
    assert b"failed" in out[out.index(b"\x1b[?1049l") :]


async def test_tables_are_coloured_on_a_terminal_and_fit_it(fake: FakeControl) -> None:
    fake.answers["ListNodes"] = state_management_pb2.ListNodesResponse(nodes=[a_node(role="x" * 200)])
    code, out = await on_a_terminal(fake, "node", "ls", size=(24, 60))
    assert code == 0
    assert b"\x1b[32m" in out
    import re

    plain = re.sub(rb"\x1b\[[0-9;]*m", b"", out).decode()
    assert all(len(line) <= 60 for line in plain.split("\r\n")), plain
