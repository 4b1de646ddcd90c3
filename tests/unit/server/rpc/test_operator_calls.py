"""The operators' services over the control socket, against a whole server and scripted agents."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import grpc.aio
import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.events import LogHole, LogSummary, StepEnded, StepLost, StepStarted, TaskAccepted, TaskStarted
from gamenode_proto.v1 import agent_link_pb2, common_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_proto.v1 import state_management_pb2 as state_pb
from gamenode_server.store import queries
from support.scripted_agent import ScriptedAgent, Site, site
from support.waiting import until


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


def source(text: str, file: str = "x.yaml") -> pb.PipelineSource:
    return pb.PipelineSource(file=file, text=text)


GOOD = "pipeline: good\ndescription: fine\nsteps:\n  - {id: a, run: 'true'}\n"


# -- pipelines ---------------------------------------------------------------------------------------------------------


async def test_what_is_applied_again_is_unchanged_and_what_is_changed_gets_a_version(here: Site) -> None:
    async def apply(text: str, *, dry_run: bool = False) -> tuple[int, str]:
        request = pb.ApplyPipelinesRequest(sources=[source(text)], dry_run=dry_run)
        (applied,) = (await here.call(here.pipelines.ApplyPipelines, request)).applied
        return applied.version, applied.result

    assert await apply(GOOD, dry_run=True) == (1, "created")
    assert await apply(GOOD) == (1, "created")
    assert await apply(GOOD) == (1, "unchanged")
    assert await apply(GOOD.replace("fine", "better")) == (2, "updated")
    old = await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good", version=1))
    assert old.pipeline.description == "fine"
    rows = await here.server.core.store.read(queries.list_audit)
    assert sum(row.method == "ApplyPipelines" and row.target == "good" for row in rows) == 4


async def test_every_problem_of_every_text_and_nothing_stored(here: Site) -> None:
    request = pb.ApplyPipelinesRequest(
        sources=[source(GOOD, "a.yaml"), source("pipeline: Bad Name\nstep: []\n", "b.yaml"), source("[", "c.yaml")]
    )
    answer = await here.call(here.pipelines.ApplyPipelines, request)
    assert not answer.applied
    assert {problem.file for problem in answer.problems} == {"b.yaml", "c.yaml"}
    assert all(problem.line for problem in answer.problems)
    with pytest.raises(GameNodeError) as raised:
        await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good"))
    assert raised.value.code is Code.NOT_FOUND


async def test_one_name_twice_in_a_request_is_a_problem(here: Site) -> None:
    request = pb.ApplyPipelinesRequest(sources=[source(GOOD, "a.yaml"), source(GOOD, "b.yaml")])
    answer = await here.call(here.pipelines.ApplyPipelines, request)
    assert [problem.file for problem in answer.problems] == ["b.yaml"]


async def test_a_name_that_is_nearly_right_is_suggested(here: Site) -> None:
    with pytest.raises(GameNodeError, match="did you mean 'demo'"):
        await here.call(here.pipelines.RunPipeline, pb.RunPipelineRequest(name="dem0", all=True))


async def test_the_shipped_pipelines_are_there_and_an_operators_own_stays(here: Site) -> None:
    listed = await here.call(here.pipelines.ListPipelines, pb.ListPipelinesRequest())
    shipped = {item.pipeline.name for item in listed.pipelines if item.pipeline.shipped}
    assert "hello" in shipped
    assert "demo" not in shipped


async def test_parameters_are_described_for_forms(here: Site) -> None:
    answer = await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="demo"))
    (parameter,) = answer.parameters
    assert (parameter.name, parameter.type, parameter.default.text) == ("word", "string", "hi")


async def test_rendering_says_what_would_run_where_and_stores_nothing(here: Site) -> None:
    await here.agent("a", role="game")
    await here.agent("b")
    request = pb.RunPipelineRequest(name="demo", selectors=["role=game"], params={"word": common_pb2.Value(text="x")})
    answer = await here.call(here.pipelines.RenderPipeline, request)
    assert answer.plan.params["word"].text == "x"
    assert [(choice.node, choice.chosen) for choice in answer.nodes] == [("a", True), ("b", False)]
    assert not (await here.call(here.pipelines.ListRuns, pb.ListRunsRequest())).runs


# -- runs --------------------------------------------------------------------------------------------------------------


async def test_the_same_request_id_makes_one_run(here: Site) -> None:
    await here.agent("a")
    first = await here.run(request_id="r1", note="x")
    again = await here.run(request_id="r1", note="x")
    assert again.run.id == first.run.id
    with pytest.raises(GameNodeError) as raised:
        await here.run(request_id="r1", note="y")
    assert raised.value.code is Code.ALREADY_EXISTS
    assert len((await here.call(here.pipelines.ListRuns, pb.ListRunsRequest())).runs) == 1


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({"name": "nothing"}, Code.NOT_FOUND),
        ({"version": 7}, Code.NOT_FOUND),
        ({"params": {"nope": common_pb2.Value(text="x")}}, Code.INVALID_ARGUMENT),
        ({"params": {"word": common_pb2.Value()}}, Code.PROTOCOL_ERROR),
        ({"all": False, "nodes": ["nobody"]}, Code.NOT_FOUND),
        ({"selectors": ["role in ("]}, Code.INVALID_ARGUMENT),
        ({"selectors": ["role=none"]}, Code.NOT_FOUND),
        ({"timeout": -1.0}, Code.INVALID_ARGUMENT),
        ({"note": "x" * 2000}, Code.INVALID_ARGUMENT),
        ({"source": source(GOOD)}, Code.INVALID_ARGUMENT),
        ({"name": "", "source": source(GOOD + "---\n" + GOOD.replace("good", "too"))}, Code.INVALID_ARGUMENT),
    ],
)
async def test_a_run_that_cannot_be_is_refused_with_its_reason(here: Site, fields: dict[str, Any], code: Code) -> None:
    await here.agent("a")
    with pytest.raises(GameNodeError) as raised:
        await here.run(**fields)
    assert raised.value.code is code
    assert not (await here.call(here.pipelines.ListRuns, pb.ListRunsRequest())).runs


async def test_a_file_is_run_without_being_stored(here: Site) -> None:
    await here.agent("a")
    run = await here.run(name="", source=source(GOOD))
    assert (run.run.pipeline, run.run.pipeline_version) == ("good", 0)
    with pytest.raises(GameNodeError):
        await here.call(here.pipelines.GetPipeline, pb.GetPipelineRequest(name="good"))


async def test_a_run_is_found_by_its_prefix(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    await agent.perform()
    await agent.acked(4)
    found = await here.call(here.pipelines.GetRun, pb.GetRunRequest(run=run.run.id[:5]))
    assert found.run.id == run.run.id
    assert found.tasks[0].steps[0].exit_code == 0
    with pytest.raises(GameNodeError) as raised:
        await here.call(here.pipelines.GetRun, pb.GetRunRequest(run="zzzz"))
    assert raised.value.code is Code.NOT_FOUND


async def test_a_task_is_resolved_and_who_said_it_is_written_down(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    assign = await agent.read_until("assign")
    await agent.report(assign.task.id, TaskAccepted(), TaskStarted(), StepStarted("go", 1), StepLost("go", 1, "reboot"))
    await agent.acked(4)
    status = await here.call(here.state.GetStatus, state_pb.GetStatusRequest())
    assert [(item.kind, item.id) for item in status.attention] == [("run", run.run.id)]
    explained = await here.call(here.pipelines.ExplainRun, pb.ExplainRunRequest(run=run.run.id))
    assert "gamenode run resolve" in explained.tasks[0].text
    for bad in (
        {"as": "maybe", "reason": "x"},
        {"as": "failed", "reason": " "},
        {"as": "failed", "reason": "x" * 2000},
    ):
        with pytest.raises(GameNodeError) as raised:
            await here.call(here.pipelines.ResolveTask, pb.ResolveTaskRequest(run=run.run.id, **bad))
        assert raised.value.code is Code.INVALID_ARGUMENT
    request = pb.ResolveTaskRequest(run=run.run.id, node="a", reason="I looked", **{"as": "succeeded"})
    answer = await here.call(here.pipelines.ResolveTask, request)
    assert answer.task.state == common_pb2.TASK_STATE_SUCCEEDED
    rows = await here.server.core.store.read(queries.list_audit)
    assert rows[-1].reason == "I looked"


async def test_explain_says_what_a_run_waits_for(here: Site) -> None:
    await here.agent("a", open=False)
    run = await here.run(all=False, nodes=["a"])
    answer = await here.call(here.pipelines.ExplainRun, pb.ExplainRunRequest(run=run.run.id))
    (line,) = answer.tasks
    assert "as soon as its node is online" in line.text
    assert "never_connected" in line.text


# -- watching ----------------------------------------------------------------------------------------------------------


async def test_a_watch_shows_the_run_from_its_beginning_to_its_end(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    updates: list[pb.RunUpdate] = []

    async def watch() -> None:
        async for update in here.stream(here.pipelines.WatchRun, pb.WatchRunRequest(run=run.run.id)):
            updates.append(update)

    async with asyncio.TaskGroup() as group:
        group.create_task(watch())
        await until(lambda: bool(updates))
        await agent.perform()
    assert len(updates[0].tasks) == 1
    assert updates[-1].ended
    assert updates[-1].run.state == common_pb2.RUN_STATE_SUCCEEDED
    assert not any(update.ended for update in updates[:-1])


async def test_a_watch_of_a_run_that_is_over_ends_at_once(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    await agent.perform()
    await agent.acked(4)
    stream = here.stream(here.pipelines.WatchRun, pb.WatchRunRequest(run=run.run.id))
    assert [update.ended async for update in stream] == [True]


@pytest.mark.parametrize("in_memory", [True, False])
async def test_a_watch_waits_for_the_logs_but_not_for_ever(here: Site, in_memory: bool) -> None:
    agent = await here.agent("a")
    run = await here.run()
    await agent.perform(log=LogSummary(lines=1, bytes=3, sha256="0" * 64))
    await agent.acked(4)
    if not in_memory:  # as after a restart: runs that have ended are read when they are asked for
        here.server.core.store.view.forget_run(run.run.id)
    began = asyncio.get_running_loop().time()
    stream = here.stream(here.pipelines.WatchRun, pb.WatchRunRequest(run=run.run.id))
    updates = [update async for update in stream]
    assert updates[-1].ended
    assert 0.2 < asyncio.get_running_loop().time() - began < 5


async def test_nodes_are_watched_as_they_come_change_and_go(here: Site) -> None:
    await here.agent("a", open=False, role="game")
    stream = here.stream(here.state.WatchNodes, state_pb.WatchNodesRequest(selectors=["role=game"]))
    first = await stream.read()
    assert first.snapshot
    assert [node.name for node in first.nodes] == ["a"]
    await here.call(here.state.LabelNode, state_pb.LabelNodeRequest(node="a", set={"zone": "eu"}))
    assert dict((await stream.read()).nodes[0].labels) == {"role": "game", "zone": "eu"}
    await here.call(here.state.LabelNode, state_pb.LabelNodeRequest(node="a", remove=["role"]))
    assert len((await stream.read()).removed) == 1
    stream.cancel()


async def test_a_node_that_is_removed_is_gone_for_everybody(here: Site) -> None:
    agent = await here.agent("a")
    with pytest.raises(GameNodeError) as raised:
        await here.call(here.state.RemoveNode, state_pb.RemoveNodeRequest(node="a"))
    assert raised.value.code is Code.STATE_CONFLICT
    await here.call(here.state.RevokeNode, state_pb.RevokeNodeRequest(node="a"))
    await here.call(here.state.RemoveNode, state_pb.RemoveNodeRequest(node="a"))
    assert not (await here.call(here.state.ListNodes, state_pb.ListNodesRequest())).nodes
    with pytest.raises(GameNodeError) as raised:
        await agent.open()
    assert raised.value.code is Code.UNAUTHENTICATED


async def test_events_go_on_behind_a_cursor(here: Site) -> None:
    agent = await here.agent("a")
    run = await here.run()
    await agent.perform()
    await agent.acked(4)

    async def events(**fields: Any) -> list[str]:
        found = []
        async for batch in here.stream(here.state.WatchEvents, state_pb.WatchEventsRequest(**fields)):
            found += [event.type for event in batch.events]
        return found

    every = await events(run=run.run.id)
    assert every[0] == "run.created"
    assert every[-1] == "run.succeeded"
    assert await events(run=run.run.id, types=["step"]) == ["step.started", "step.succeeded"]
    assert "node.connected" in await events(node="a")
    stream = here.stream(here.state.WatchEvents, state_pb.WatchEventsRequest(after=-1, follow=True, types=["node"]))
    first = await stream.read()
    assert (list(first.events), first.cursor) == ([], here.server.core.hub.newest)
    await here.call(here.state.LabelNode, state_pb.LabelNodeRequest(node="a", set={"x": "y"}))
    assert [event.type for event in (await stream.read()).events] == ["node.labelled"]
    stream.cancel()
    with pytest.raises(grpc.aio.AioRpcError, match="not a cursor"):
        await events(after=-5)


# -- logs --------------------------------------------------------------------------------------------------------------


def chunk(ref: common_pb2.AttemptRef, offset: int, data: bytes, time: float, stream: int = 1) -> Any:
    record = agent_link_pb2.ChunkRecord(time=time, length=len(data), stream=stream)
    return agent_link_pb2.LogUpload(chunk=agent_link_pb2.LogChunk(ref=ref, offset=offset, data=data, records=[record]))


def end(ref: common_pb2.AttemptRef, data: bytes, holes: tuple[LogHole, ...] = ()) -> Any:
    summary = common_pb2.LogSummary(lines=data.count(b"\n"), bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
    for hole in holes:
        summary.holes.add(offset=hole.offset, length=hole.length, reason=hole.reason)
    return agent_link_pb2.LogUpload(end=agent_link_pb2.LogEnd(ref=ref, summary=summary))


async def begun(here: Site, agent: ScriptedAgent) -> tuple[str, common_pb2.AttemptRef]:
    """A run whose step runs, and the name of its log."""
    run = await here.run(all=False, nodes=[agent.name])
    assign = await agent.read_until("assign")
    await agent.report(assign.task.id, TaskAccepted(), TaskStarted(), StepStarted("go", 1))
    await agent.acked(agent.seq)
    return run.run.id, common_pb2.AttemptRef(task_id=assign.task.id, fence=1, step_id="go", attempt=1)


async def test_a_log_arrives_whole_and_says_so(here: Site) -> None:
    agent = await here.agent("a")
    run_id, ref = await begun(here, agent)
    call = agent.stub.Logs()
    await call.write(chunk(ref, 0, b"one\n", 10.0))
    assert (await call.read()).offset == 4
    await call.write(chunk(ref, 0, b"one\ntwo\n", 11.0))
    assert (await call.read()).offset == 8
    await call.write(chunk(ref, 100, b"late\n", 12.0))
    answer = await call.read()
    assert (answer.rewind, answer.offset) == (True, 8)
    await call.write(end(ref, b"one\ntwo\n"))
    assert (await call.read()).complete
    await call.done_writing()
    read = await here.call(here.state.ReadLog, state_pb.ReadLogRequest(ref=ref, offset=4))
    assert (read.data, read.size, read.complete) == (b"two\n", 8, True)
    log = LogSummary(lines=2, bytes=8, sha256=hashlib.sha256(b"one\ntwo\n").hexdigest())
    await agent.report(ref.task_id, StepEnded("go", 1, exit_code=0, log=log))
    await agent.acked(4)
    document = await here.call(here.pipelines.GetRun, pb.GetRunRequest(run=run_id))
    assert [(status.bytes, status.complete) for status in document.logs] == [(8, True)]


async def test_another_nodes_log_is_refused_and_audited(here: Site) -> None:
    mine, other = await here.agent("a"), await here.agent("b")
    _, ref = await begun(here, mine)
    call = other.stub.Logs()
    for _ in range(2):
        await call.write(chunk(ref, 0, b"lies\n", 1.0))
        assert (await call.read()).refused.code == "permission_denied"
    await call.write(chunk(common_pb2.AttemptRef(task_id="unknown", fence=1, step_id="go", attempt=1), 0, b"x", 1.0))
    assert (await call.read()).refused.code == "not_found"
    call.cancel()
    rows = await here.server.core.store.read(queries.list_audit, user="node:b")
    assert [(row.method, row.outcome) for row in rows] == [("Logs", "permission_denied")]
    assert not (await here.call(here.state.ReadLog, state_pb.ReadLogRequest(ref=ref))).data


@pytest.mark.parametrize("wrong", [{"step_id": "../../x"}, {"step_id": "other"}, {"fence": 0}, {"attempt": -1}])
async def test_a_log_that_is_not_of_its_task_is_refused(here: Site, wrong: dict[str, Any]) -> None:
    agent = await here.agent("a")
    _, ref = await begun(here, agent)
    bad = common_pb2.AttemptRef(task_id=ref.task_id, **{"fence": 1, "step_id": "go", "attempt": 1, **wrong})
    call = agent.stub.Logs()
    await call.write(chunk(bad, 0, b"x", 1.0))
    assert (await call.read()).refused.code == "invalid_argument"
    call.cancel()


async def test_logs_of_several_nodes_are_merged_by_time(here: Site) -> None:
    a, b = await here.agent("a"), await here.agent("b")
    run = await here.run()
    refs = {}
    for agent in (a, b):
        assign = await agent.read_until("assign")
        await agent.report(assign.task.id, TaskAccepted(), TaskStarted(), StepStarted("go", 1))
        await agent.acked(3)
        refs[agent.name] = common_pb2.AttemptRef(task_id=assign.task.id, fence=1, step_id="go", attempt=1)
    for agent, reads in ((a, [(b"a1\n", 1.0), (b"a3\n", 3.0)]), (b, [(b"b2\n", 2.0), (b"b4\n", 4.0)])):
        call, offset = agent.stub.Logs(), 0
        for data, time in reads:
            await call.write(chunk(refs[agent.name], offset, data, time))
            offset += len(data)
        await call.write(end(refs[agent.name], b"".join(data for data, _ in reads), (LogHole(3, 9, "limit"),)))
        while not (await call.read()).complete:
            pass
        call.cancel()

    async def tail(**fields: Any) -> list[str]:
        pieces = here.stream(here.state.TailLogs, state_pb.TailLogsRequest(run=run.run.id, **fields))
        return [
            piece.data.decode() if piece.data else "hole" if piece.HasField("hole") else f"end {piece.node}"
            async for piece in pieces
        ]

    assert await tail(tail=-1) == ["a1\n", "b2\n", "hole", "a3\n", "end a", "hole", "b4\n", "end b"]
    assert await tail(tail=1, node="a") == ["hole", "a3\n", "end a"]
    assert await tail(tail=-1, since=3.5) == ["end a", "hole", "b4\n", "end b"]
    assert await tail(tail=-1, step="other") == []


async def test_a_followed_log_is_told_as_it_grows_until_the_run_is_over(here: Site) -> None:
    agent = await here.agent("a")
    run_id, ref = await begun(here, agent)
    stream = here.stream(here.state.TailLogs, state_pb.TailLogsRequest(run=run_id, follow=True, tail=-1))
    call = agent.stub.Logs()
    await call.write(chunk(ref, 0, b"one\n", 1.0))
    assert (await stream.read()).data == b"one\n"
    await call.write(chunk(ref, 4, b"two\n", 2.0))
    assert (await stream.read()).data == b"two\n"
    log = LogSummary(lines=2, bytes=8, sha256=hashlib.sha256(b"one\ntwo\n").hexdigest())
    await agent.report(ref.task_id, StepEnded("go", 1, exit_code=0, log=log))
    await call.write(end(ref, b"one\ntwo\n"))
    assert (await stream.read()).end.complete
    assert await stream.read() is grpc.aio.EOF
    call.cancel()
