"""Runs that repeat others, over the control socket: what they run, where, once a request id, and when not."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2
from gamenode_proto.v1 import pipeline_management_pb2 as pb
from gamenode_proto.v1 import state_management_pb2 as state_pb
from gamenode_server.store import queries
from support.scripted_agent import PIPELINE, Site, site
from support.waiting import until


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Site]:
    async with site(tmp_path) as made:
        yield made


async def retry(here: Site, run: str, **fields: Any) -> pb.RunDocument:
    return (await here.call(here.pipelines.RetryRun, pb.RetryRunRequest(run=run, **fields))).run  # type: ignore[no-any-return]


async def refused(here: Site, run: str, **fields: Any) -> GameNodeError:
    with pytest.raises(GameNodeError) as raised:
        await retry(here, run, **fields)
    return raised.value


async def ended(here: Site, run_id: str) -> None:
    async def look() -> bool:
        document = await here.call(here.pipelines.GetRun, pb.GetRunRequest(run=run_id))
        return bool(document.run.finished_at)

    await until(look)


def nodes_of(document: pb.RunDocument) -> list[str]:
    return [task.node.name for task in document.tasks]


async def failed_on_b(here: Site, **fields: Any) -> pb.RunDocument:
    """A run on a and b that succeeded on a and failed on b."""
    a, b = await here.agent("a"), await here.agent("b")
    run = await here.run(**fields)
    await a.perform()
    await b.perform(exit_code=3)
    await ended(here, run.run.id)
    return run


async def test_what_failed_runs_again_as_it_was(here: Site) -> None:
    old = await failed_on_b(here, params={"word": common_pb2.Value(text="x")}, timeout=7.0)
    again = await retry(here, old.run.id, failed_only=True, note="once more")
    assert (nodes_of(again), again.run.retry_of, again.run.note) == (["b"], old.run.id, "once more")
    assert (again.run.pipeline_version, again.run.params["word"].text) == (old.run.pipeline_version, "x")
    assert again.run.bundle_digest == old.run.bundle_digest, "to the byte, its timeout too"
    await here.agents[1].perform()
    await ended(here, again.run.id)
    assert (await refused(here, again.run.id, failed_only=True)).code is Code.STATE_CONFLICT
    every = await retry(here, old.run.id)
    assert (nodes_of(every), every.run.target) == (["a", "b"], "all")
    rows = await here.server.core.store.read(queries.list_audit)
    assert [row.outcome for row in rows if row.method == "RetryRun"] == ["ok", "state_conflict", "ok"]
    assert rows[-1].target == old.run.id
    events = (await here.server.core.store.read(queries.list_events)).events
    made = [event.data["retry_of"] for event in events if event.type == "run.created" and event.run_id != old.run.id]
    assert made == [old.run.id, old.run.id]


async def test_the_same_request_id_makes_one_run(here: Site) -> None:
    old = await failed_on_b(here)
    first = await retry(here, old.run.id, request_id="r1")
    assert (await retry(here, old.run.id, request_id="r1")).run.id == first.run.id
    assert (await refused(here, old.run.id, request_id="r1", failed_only=True)).code is Code.ALREADY_EXISTS


async def test_the_version_of_the_run_or_the_newest(here: Site) -> None:
    old = await failed_on_b(here)
    newer = PIPELINE.replace("echo", "printf")
    await here.call(here.pipelines.ApplyPipelines, pb.ApplyPipelinesRequest(sources=[pb.PipelineSource(text=newer)]))
    same = await retry(here, old.run.id)
    assert (same.run.pipeline_version, same.run.bundle_digest) == (1, old.run.bundle_digest)
    latest = await retry(here, old.run.id, latest=True)
    assert (latest.run.pipeline_version, latest.run.bundle_digest != old.run.bundle_digest) == (2, True)


async def test_a_run_of_a_file_is_repeated_by_what_was_kept_of_it(here: Site) -> None:
    old = await failed_on_b(here, name="", source=pb.PipelineSource(file="x.yaml", text=PIPELINE))
    again = await retry(here, old.run.id, failed_only=True)
    assert (again.run.pipeline_version, again.run.bundle_digest) == (0, old.run.bundle_digest)
    error = await refused(here, old.run.id, latest=True)
    assert (error.code, "was started from a file" in error.message) == (Code.INVALID_ARGUMENT, True)


async def test_a_run_that_goes_on_is_not_repeated(here: Site) -> None:
    await here.agent("a")
    run = await here.run()
    error = await refused(here, run.run.id)
    assert (error.code, "only a run that has ended" in error.message) == (Code.STATE_CONFLICT, True)
    assert (await refused(here, "nothing")).code is Code.NOT_FOUND
    assert (await refused(here, run.run.id, note="x" * 2000)).code is Code.INVALID_ARGUMENT


async def test_nodes_that_are_gone_or_cordoned_refuse_it_by_name(here: Site) -> None:
    old = await failed_on_b(here)
    cordon = state_pb.SetNodeAdminStateRequest(nodes=["b"], state=common_pb2.ADMIN_STATE_CORDONED)
    await here.call(here.state.SetNodeAdminState, cordon)
    error = await refused(here, old.run.id, failed_only=True)
    assert (error.code, "gamenode node uncordon b" in error.message) == (Code.STATE_CONFLICT, True)
    await here.call(here.state.RevokeNode, state_pb.RevokeNodeRequest(node="b"))
    await here.call(here.state.RemoveNode, state_pb.RemoveNodeRequest(node="b"))
    error = await refused(here, old.run.id)
    assert (error.code, error.message.endswith("not part of the fleet any more: b")) == (Code.NOT_FOUND, True)


async def test_several_nodes_are_cordoned_at_once_or_none(here: Site) -> None:
    for name in ("a", "b"):
        await here.agent(name)

    async def put(*names: str, state: common_pb2.AdminState.ValueType, reason: str = "") -> list[str]:
        request = state_pb.SetNodeAdminStateRequest(nodes=names, state=state, reason=reason)
        return [node.name for node in (await here.call(here.state.SetNodeAdminState, request)).nodes]

    assert await put("b", "a", "b", state=common_pb2.ADMIN_STATE_CORDONED) == ["b", "a"]
    for names, state, reason, code in (
        (("a", "nobody"), common_pb2.ADMIN_STATE_ACTIVE, "", Code.NOT_FOUND),
        ((), common_pb2.ADMIN_STATE_ACTIVE, "", Code.INVALID_ARGUMENT),
        (("a",), common_pb2.ADMIN_STATE_UNSPECIFIED, "", Code.INVALID_ARGUMENT),
        (("nobody",), common_pb2.ADMIN_STATE_DRAINING, "", Code.NOT_FOUND),
        (("a",), common_pb2.ADMIN_STATE_ACTIVE, "x" * 2000, Code.INVALID_ARGUMENT),
    ):
        with pytest.raises(GameNodeError) as raised:
            await put(*names, state=state, reason=reason)
        assert raised.value.code is code
    listed = (await here.call(here.state.ListNodes, state_pb.ListNodesRequest())).nodes
    assert [node.admin_state for node in listed] == [common_pb2.ADMIN_STATE_CORDONED] * 2
    with pytest.raises(GameNodeError, match="a cordoned; gamenode node uncordon a"):
        await here.run()
    rows = await here.server.core.store.read(queries.list_audit)
    asked = [(row.target, row.outcome) for row in rows if row.method == "SetNodeAdminState"]
    assert (asked[0], len(asked), {outcome for _, outcome in asked[1:]}) == (
        ("b,a", "ok"),
        6,
        {"not_found", "invalid_argument"},
    )
