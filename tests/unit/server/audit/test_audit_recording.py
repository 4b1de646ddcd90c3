from __future__ import annotations

import json

import pytest

from gamenode_pipelines.errors import GameNodeError
from gamenode_proto.v1 import (
    administration_pb2,
    common_pb2,
    enrolment_pb2,
    pipeline_management_pb2,
    state_management_pb2,
)
from gamenode_server.audit import recording
from gamenode_server.identity import principals
from gamenode_server.identity.principals import Principal, Role

ALICE = Principal("alice", Role.OPERATOR, "local", source="unix:uid=1000")


def test_a_record_says_who_what_on_what_and_from_where() -> None:
    request = pipeline_management_pb2.RunPipelineRequest(
        name="deploy", params={"port": common_pb2.Value(integer=7)}, nodes=["eu-1"], all=False, note="x" * 300
    )
    record = recording.prepare(ALICE, "/gamenode.v1.PipelineManagement/RunPipeline", request)
    assert (record.principal, record.method, record.outcome) == ("alice", "RunPipeline", "ok")
    assert record.source == "unix:uid=1000"
    assert record.target == "deploy"
    said = json.loads(record.request)
    assert said["params"] == {"port": 7}
    assert said["note"].endswith("(300 characters)")
    revoke = state_management_pb2.RevokeNodeRequest(node="eu-1", reason="stolen")
    record = recording.prepare(ALICE, "/x/RevokeNode", revoke)
    assert (record.target, record.reason) == ("eu-1", "stolen")
    cancel = pipeline_management_pb2.CancelRunsRequest(runs=["a", "b"])
    assert recording.prepare(ALICE, "/x/CancelRuns", cancel).target == "a,b"


def test_a_record_holds_no_secret_and_is_never_long() -> None:
    join = enrolment_pb2.JoinRequest(token_id="t", token_secret=b"hunter2hunter2", csr_pem="-" * 9999)
    text = recording.describe(join)
    assert "hunter2" not in text
    assert "aHVudGVy" not in text
    assert len(text) <= recording.MAX_REQUEST
    many = pipeline_management_pb2.CancelRunsRequest(runs=["r" * 250] * 5000)
    assert len(recording.describe(many)) <= recording.MAX_REQUEST
    assert len(recording.target_of(many)) <= recording.MAX_TEXT
    wide = administration_pb2.CreateJoinTokenRequest(labels={f"k{n}" * 80: "v" * 250 for n in range(500)})
    assert len(recording.describe(wide)) <= recording.MAX_REQUEST
    json.loads(recording.describe(wide))


async def test_the_record_of_a_call_is_taken_by_its_operation() -> None:
    with pytest.raises(GameNodeError, match="no audited call"):
        recording.current()
    with pytest.raises(GameNodeError, match="no call"):
        principals.current()
    prepared = recording.enter(recording.prepare(ALICE, "/x/RevokeNode", None))
    assert not prepared.taken
    record = recording.current(target="eu-1", reason="stolen")
    assert (record.target, record.reason) == ("eu-1", "stolen")
    assert prepared.taken


async def test_what_a_call_learns_of_its_target_is_also_in_the_row_of_its_failure() -> None:
    asked = state_management_pb2.StopContainerRequest(container="oa", reason="full")
    prepared = recording.enter(recording.prepare(ALICE, "/x/StopContainer", asked))
    assert prepared.record.target == "oa"
    known = state_management_pb2.StopContainerRequest(node="eu-1", container="f00d", reason="full")
    record = recording.current(target="eu-1/oa", request=known)
    assert (record.target, record.reason) == ("eu-1/oa", "full")
    assert json.loads(record.request)["node"] == "eu-1"
    assert prepared.record == record
