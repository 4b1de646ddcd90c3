"""The gateway over a real Unix socket: logins, errors, and streams that go on after a lost connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gamenode_console import discovery
from gamenode_console.gateway import Gateway, open_gateway
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import (
    administration_pb2,
    artifacts_pb2,
    common_pb2,
    notifiers_pb2,
    pipeline_management_pb2,
    state_management_pb2,
    work_pb2,
)
from support.control_messages import a_node, a_run, a_run_document, a_task
from support.fake_control import FakeControl, fake_control


@pytest.fixture
async def fake(tmp_path: Path) -> AsyncIterator[FakeControl]:
    async with fake_control(tmp_path) as fake:
        yield fake


def target(fake: FakeControl) -> discovery.Target:
    return discovery.find_target(discovery.Place(fake.data_dir, "the test"))


@pytest.fixture
async def gateway(fake: FakeControl) -> AsyncIterator[Gateway]:
    async with open_gateway(target(fake), patience=10.0) as gateway:
        yield gateway


async def test_calls_show_the_token_of_the_login_socket(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["GetNode"] = a_node()
    assert (await gateway.state.get_node("game-1")).name == "game-1"
    assert fake.requests("GetNode")[0].node == "game-1"
    assert fake.logins == 1


async def test_a_new_server_means_a_new_login_without_anybody_noticing(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["RevokeNode"] = a_node()
    fake.token = "token-2"
    await gateway.state.revoke_node("game-1")
    assert fake.logins == 2


async def test_errors_keep_code_message_and_details(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["GetRun"] = GameNodeError(Code.NOT_FOUND, "there is no run 'x'", details={"kind": "run"})
    with pytest.raises(GameNodeError) as caught:
        await gateway.pipelines.get_run("x")
    assert caught.value.code is Code.NOT_FOUND
    assert caught.value.message == "there is no run 'x'"
    assert caught.value.details == {"kind": "run"}


async def test_a_read_survives_a_server_that_restarts(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["GetNode"] = a_node()
    await gateway.state.get_node("game-1")
    await fake.stop()

    async def back() -> None:
        await asyncio.sleep(0.3)
        fake.token = "another"
        await fake.start()

    async with asyncio.TaskGroup() as group:
        group.create_task(back())
        assert (await gateway.state.get_node("game-1")).name == "game-1"


async def test_a_write_that_must_not_happen_twice_is_not_repeated(fake: FakeControl, gateway: Gateway) -> None:
    await fake.stop()
    try:
        with pytest.raises(GameNodeError) as caught:
            await gateway.administration.create_join_token()
        assert caught.value.code is Code.DISCONNECTED
    finally:
        await fake.start()


async def test_no_server_is_said_with_what_to_do(tmp_path: Path) -> None:
    where = discovery.Target(discovery.Place(tmp_path, "--data-dir"), tmp_path / "c.sock")
    with pytest.raises(GameNodeError, match=r"gamenode --data-dir .* up") as caught:
        async with open_gateway(where):
            pass
    assert caught.value.code is Code.DISCONNECTED


async def test_events_go_on_at_the_cursor_after_a_break(fake: FakeControl) -> None:
    heard: list[str] = []

    def batch(*cursors: int) -> state_management_pb2.EventBatch:
        return state_management_pb2.EventBatch(
            events=[work_pb2.Event(cursor=c, type="t") for c in cursors], cursor=cursors[-1]
        )

    async def broken() -> AsyncIterator[state_management_pb2.EventBatch]:
        yield batch(1, 2)
        yield batch(3)
        raise GameNodeError(Code.DISCONNECTED, "the server is stopping")

    async def on(request: state_management_pb2.WatchEventsRequest) -> AsyncIterator[state_management_pb2.EventBatch]:
        yield batch(request.after + 1)
        await asyncio.Event().wait()

    streams = iter([lambda _: broken(), on])
    fake.answers["WatchEvents"] = lambda request: next(streams)(request)
    got: list[int] = []
    async with open_gateway(target(fake), notify=heard.append) as gateway:
        async for update in gateway.state.watch_events(follow=True):
            got += [event.cursor for event in update.events]
            if len(got) == 4:
                break
    assert got == [1, 2, 3, 4]
    assert [request.after for request in fake.requests("WatchEvents")] == [0, 3]
    assert heard[0].startswith("connection lost")
    assert heard[-1] == "connected again"


async def test_a_stream_gives_up_after_its_patience(fake: FakeControl) -> None:
    fake.answers["WatchNodes"] = GameNodeError(Code.DISCONNECTED, "stopping")
    async with open_gateway(target(fake), patience=0.5) as gateway:
        with pytest.raises(GameNodeError) as caught:
            async for _ in gateway.state.watch_nodes():
                pass
    assert caught.value.code is Code.DISCONNECTED


async def test_a_stream_that_is_refused_is_not_repeated(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["WatchRun"] = GameNodeError(Code.NOT_FOUND, "no such run")
    with pytest.raises(GameNodeError) as caught:
        async for _ in gateway.pipelines.watch_run("x"):
            pass
    assert caught.value.code is Code.NOT_FOUND
    assert len(fake.requests("WatchRun")) == 1


async def test_a_watch_that_ends_before_its_run_is_opened_again(fake: FakeControl, gateway: Gateway) -> None:
    running = pipeline_management_pb2.RunUpdate(run=a_run(state=common_pb2.RUN_STATE_RUNNING), tasks=[a_task()])
    ended = pipeline_management_pb2.RunUpdate(run=a_run(), ended=True)
    fake.answers["WatchRun"] = [[running], [running, ended]]
    updates = [update async for update in gateway.pipelines.watch_run("runa")]
    assert [update.ended for update in updates] == [False, False, True]


async def test_the_watch_of_all_runs_begins_anew_after_a_break(fake: FakeControl, gateway: Gateway) -> None:
    async def broken() -> AsyncIterator[pipeline_management_pb2.RunsUpdate]:
        yield pipeline_management_pb2.RunsUpdate(runs=[a_run()], snapshot=True, cursor=1)
        raise GameNodeError(Code.DISCONNECTED, "stopping")

    again = pipeline_management_pb2.RunsUpdate(runs=[a_run()], snapshot=True, cursor=2)
    streams = iter([broken(), [again]])
    fake.answers["WatchRuns"] = lambda request: next(streams)
    cursors: list[int] = []
    async for update in gateway.pipelines.watch_runs(limit=7):
        assert update.snapshot
        cursors.append(update.cursor)
        if len(cursors) == 2:
            break
    assert cursors == [1, 2]
    assert [request.limit for request in fake.requests("WatchRuns")] == [7, 7]


async def test_logs_that_are_sent_again_come_once(fake: FakeControl, gateway: Gateway) -> None:
    ref = common_pb2.AttemptRef(task_id="t", fence=1, step_id="one", attempt=1)

    def piece(offset: int, data: bytes) -> state_management_pb2.LogPiece:
        return state_management_pb2.LogPiece(ref=ref, node="n", offset=offset, data=data)

    end = state_management_pb2.LogPiece(ref=ref, node="n")
    end.end.CopyFrom(state_management_pb2.LogStatusEnd(complete=True, bytes=11, lines=1))

    async def broken() -> AsyncIterator[state_management_pb2.LogPiece]:
        yield piece(0, b"hello ")
        raise GameNodeError(Code.DISCONNECTED, "stopping")

    streams = iter([broken(), [piece(0, b"hello world"), end]])
    fake.answers["TailLogs"] = lambda request: next(streams)
    feed = gateway.state.log_feed("runa", tail=10)
    pieces = [piece async for piece in feed.pieces(follow=True)]
    assert b"".join(piece.data for piece in pieces) == b"hello world"
    assert [request.tail for request in fake.requests("TailLogs")] == [10, -1]
    assert pieces[-1].end.complete


async def test_a_containers_log_that_is_sent_again_comes_once(fake: FakeControl, gateway: Gateway) -> None:
    """Every line once: also two that are alike, of the same moment, and a late one of the other stream."""

    def line(time: float, data: bytes, stream: int = 1) -> state_management_pb2.ContainerLogPiece:
        return state_management_pb2.ContainerLogPiece(time=time, data=data, stream=stream)

    first = [line(10.0, b"long ago\n"), line(20.1, b"a\n"), line(20.1, b"a\n"), line(20.05, b"late\n", 2)]
    more = [*first[1:], line(20.1, b"a\n"), line(20.2, b"b\n")]

    async def broken() -> AsyncIterator[state_management_pb2.ContainerLogPiece]:
        for piece in first:
            yield piece
        raise GameNodeError(Code.DISCONNECTED, "stopping")

    away = GameNodeError(Code.NOT_FOUND, "there is no container: the server does not know of it yet")
    streams = iter([broken(), away, GameNodeError(Code.STATE_CONFLICT, "the node is not connected"), more])
    fake.answers["TailContainerLogs"] = lambda request: next(streams)
    pieces = gateway.containers.logs("oa", follow=True, tail=10)
    assert [(piece.time, piece.data) async for piece in pieces] == [
        *((piece.time, piece.data) for piece in first),
        (20.1, b"a\n"),
        (20.2, b"b\n"),
    ]
    asked = fake.requests("TailContainerLogs")
    assert [request.tail for request in asked] == [10, -1, -1, -1]
    assert asked[0].since == 0.0
    assert 19.0 < asked[-1].since < 20.05


async def test_a_containers_log_that_is_refused_is_not_asked_for_again(fake: FakeControl, gateway: Gateway) -> None:
    fake.answers["TailContainerLogs"] = GameNodeError(Code.NOT_FOUND, "there is no container 'x'")
    with pytest.raises(GameNodeError, match="no container 'x'"):
        await anext(gateway.containers.logs("x", follow=True))
    assert len(fake.requests("TailContainerLogs")) == 1


async def test_leaving_a_stream_ends_its_call(fake: FakeControl, gateway: Gateway) -> None:
    over = asyncio.Event()

    async def endless() -> AsyncIterator[state_management_pb2.NodesUpdate]:
        try:
            yield state_management_pb2.NodesUpdate(nodes=[a_node()], snapshot=True)
            await asyncio.Event().wait()
        finally:
            over.set()

    fake.answers["WatchNodes"] = lambda request: endless()
    watch = gateway.state.watch_nodes()
    async for update in watch:
        assert update.snapshot
        break
    await watch.aclose()  # type: ignore[attr-defined]
    async with asyncio.timeout(5):
        await over.wait()


async def test_a_lost_answer_to_a_run_with_a_request_id_is_asked_for_again(fake: FakeControl, gateway: Gateway) -> None:
    answers = iter([GameNodeError(Code.DISCONNECTED, "stopping"), None])
    document = a_run_document()

    def answer(request: object) -> object:
        return next(answers) or pipeline_management_pb2.RunPipelineResponse(run=document)

    fake.answers["RunPipeline"] = answer
    request = pipeline_management_pb2.RunPipelineRequest(name="hello", request_id="abc")
    assert (await gateway.pipelines.run(request)).run.id == document.run.id
    assert [found.request_id for found in fake.requests("RunPipeline")] == ["abc", "abc"]


async def test_every_call_of_the_three_services_is_there(fake: FakeControl, gateway: Gateway) -> None:
    """A method that is added to the interface needs a call here, and a place in this list."""
    calls = {
        "ApplyPipelines": gateway.pipelines.apply([]),
        "ListPipelines": gateway.pipelines.list(),
        "GetPipeline": gateway.pipelines.get("p"),
        "ListPipelineVersions": gateway.pipelines.versions("p"),
        "RemovePipelines": gateway.pipelines.remove(["p"]),
        "RenderPipeline": gateway.pipelines.render(pipeline_management_pb2.RunPipelineRequest()),
        "RunPipeline": gateway.pipelines.run(pipeline_management_pb2.RunPipelineRequest()),
        "ListRuns": gateway.pipelines.list_runs(),
        "GetRun": gateway.pipelines.get_run("r"),
        "SetRunPaused": gateway.pipelines.pause("r", paused=True),
        "Decide": gateway.pipelines.decide("r", approved=True),
        "CancelRuns": gateway.pipelines.cancel(["r"]),
        "ResolveTask": gateway.pipelines.resolve("r", node="n", outcome="failed", reason="x"),
        "ExplainRun": gateway.pipelines.explain("r"),
        "RetryRun": gateway.pipelines.retry(pipeline_management_pb2.RetryRunRequest()),
        "ListSchedules": gateway.pipelines.schedules(),
        "SetSchedulesPaused": gateway.pipelines.pause_schedules(["p/s"], paused=True),
        "WatchRuns": _first(gateway.pipelines.watch_runs()),
        "WatchRun": _first(gateway.pipelines.watch_run("r")),
        "GetStatus": gateway.state.status(),
        "ListNodes": gateway.state.list_nodes(),
        "GetNode": gateway.state.get_node("n"),
        "GetNodeMetrics": gateway.state.node_metrics("n"),
        "LabelNode": gateway.state.label_node("n", set={}, remove=[]),
        "SetNodeAdminState": gateway.state.set_admin_state(["n"], common_pb2.ADMIN_STATE_ACTIVE),
        "RevokeNode": gateway.state.revoke_node("n"),
        "RemoveNode": gateway.state.remove_node("n"),
        "WatchNodes": _first(gateway.state.watch_nodes()),
        "WatchEvents": _first(gateway.state.watch_events()),
        "TailLogs": _first(gateway.state.log_feed("r").pieces(follow=False)),
        "ReadLog": gateway.state.read_log(common_pb2.AttemptRef(), offset=0, limit=1),
        "ListContainers": gateway.containers.list(),
        "TailContainerLogs": _first(gateway.containers.logs("c")),
        "StopContainer": gateway.containers.stop("c"),
        "RemoveContainer": gateway.containers.remove("c"),
        "WhoAmI": gateway.administration.who_am_i(),
        "CreateJoinToken": gateway.administration.create_join_token(),
        "CreateUser": gateway.administration.create_user(administration_pb2.CreateUserRequest()),
        "ListUsers": gateway.administration.list_users(),
        "RevokeUser": gateway.administration.revoke_user("u"),
        "ListAudit": gateway.administration.list_audit(),
        "VerifyAudit": gateway.administration.verify_audit(),
        "ListNotifiers": gateway.notifiers.list_notifiers(),
        "TestNotifier": gateway.notifiers.test_notifier("n"),
        "ListArtifacts": gateway.artifacts.list_artifacts(),
        "RemoveArtifacts": gateway.artifacts.remove(["a"]),
        "OfferArtifact": gateway.artifacts.put(0, artifacts_pb2.ArtifactOffer()),
        "DownloadArtifact": gateway.artifacts.get("a", lambda artifact: (0, 0)),
    }
    methods = {
        method.name
        for module in (pipeline_management_pb2, state_management_pb2, administration_pb2, notifiers_pb2, artifacts_pb2)
        for service in module.DESCRIPTOR.services_by_name.values()
        for method in service.methods
    }
    assert set(calls) == methods - {"UploadArtifact"}, "what follows an offer"
    for name, call in calls.items():
        with pytest.raises(GameNodeError, match=f"no answer to {name}$"):
            await call


async def _first(messages: AsyncIterator[object]) -> object:
    return await anext(messages)
