"""The JSON documents that scripts rely on: their keys, and what is null when."""

from __future__ import annotations

import json

from gamenode_console import words
from gamenode_console.documents import nodes, pipelines, runs, server
from gamenode_proto.v1 import (
    administration_pb2,
    common_pb2,
    nodes_pb2,
    pipeline_management_pb2,
    plan_pb2,
    state_management_pb2,
    work_pb2,
)
from support.control_messages import T0, a_log_status, a_node, a_run, a_run_document, a_step, a_task


def test_a_node_is_as_the_contract_says() -> None:
    assert nodes.node(a_node()) == {
        "id": "game1aaaaaaa",
        "name": "game-1",
        "state": "online",
        "admin_state": "active",
        "drain": None,
        "labels": {"role": "game"},
        "agent_version": "0.1.0",
        "joined_at": "2026-01-02T02:04:05.000Z",
        "connected_since": "2026-01-02T03:03:05.000Z",
        "last_seen": "2026-01-02T03:04:05.000Z",
        "address": "10.0.0.1",
        "addresses": ["10.0.0.1"],
        "hostname": "host",
        "os": "Debian 12",
        "kernel": "6.1",
        "architecture": "x86_64",
        "capabilities": ["cgroup"],
        "engine": None,
        "slots": 8,
        "resources": {"cpus": 4.0, "memory_total": 8 << 30, "disk_total": 100 << 30},
        "clock_skew": 0.25,
        "disks": [{"mount": "/", "used": 10 << 30, "total": 100 << 30}],
        "metrics": {
            "cpu_percent": 12.5,
            "load1": 0.5,
            "memory_used": 2 << 30,
            "memory_percent": 25.0,
            "disk_used": 10 << 30,
            "disk_percent": 10.0,
            "net_rx_bytes_per_s": 1024.0,
            "net_tx_bytes_per_s": 2048.0,
            "processes": 99,
            "containers_running": 0,
            "containers_total": 0,
            "sampled_at": "2026-01-02T03:04:05.000Z",
        },
        "tasks_running": 1,
        "certificate_not_after": "2026-01-03T03:04:05.000Z",
    }


def test_a_node_that_never_came_has_nulls() -> None:
    document = nodes.node(nodes_pb2.Node(id="x", name="y", state=common_pb2.NODE_STATE_NEVER_CONNECTED))
    assert document["state"] == "never_connected"
    assert document["admin_state"] == "active"
    assert [document[key] for key in ("metrics", "last_seen", "connected_since", "address", "agent_version")] == [
        None
    ] * 5


def test_a_run_is_as_the_contract_says() -> None:
    document = runs.run_document(a_run_document())
    assert document == {
        "id": "runaaaaaaaaa",
        "pipeline": "hello",
        "version": 2,
        "state": "succeeded",
        "error": None,
        "params": {"fast": True, "mode": "ffa", "port": 27960, "rate": 0.5},
        "note": "because",
        "target": "all",
        "retry_of": None,
        "created_at": "2026-01-02T03:04:05.000Z",
        "started_at": "2026-01-02T03:04:06.000Z",
        "finished_at": "2026-01-02T03:04:09.000Z",
        "created_by": "root",
        "cancel": None,
        "rollout": {"max_parallel": None, "max_failures": None, "canary": None, "pause": 0.0, "order": "name"},
        "next_at": None,
        "paused": None,
        "group": None,
        "queued": False,
        "approval": None,
        "decisions": [],
        "total": 1,
        "counts": {"succeeded": 1},
        "tasks": [
            {
                "id": "taskaaaaaaaa",
                "node_id": "nodeaaaaaaaa",
                "node": "game-1",
                "state": "succeeded",
                "error": None,
                "fence": 1,
                "created_at": "2026-01-02T03:04:05.000Z",
                "started_at": "2026-01-02T03:04:06.000Z",
                "finished_at": "2026-01-02T03:04:08.000Z",
                "cancel": None,
                "group": None,
                "steps": [
                    {
                        "id": "one",
                        "state": "succeeded",
                        "attempt": 1,
                        "exit_code": 0,
                        "error": None,
                        "outputs": {"answer": "42"},
                        "started_at": "2026-01-02T03:04:06.000Z",
                        "finished_at": "2026-01-02T03:04:08.000Z",
                        "retry_at": None,
                        "final": False,
                        "log": {"lines": 2, "bytes": 12, "complete": True, "sha256": "ab" * 32, "holes": []},
                    }
                ],
            }
        ],
    }
    json.dumps(document)


def test_an_exit_code_of_zero_is_not_null_and_a_missing_one_is() -> None:
    assert runs.step(a_step(exit_code=0))["exit_code"] == 0
    assert runs.step(a_step(exit_code=None))["exit_code"] is None


def test_errors_carry_code_message_and_details() -> None:
    error = common_pb2.Error(code="exit_nonzero", message="exit 3", details={"exit": "3"})
    assert runs.step(a_step(error=error))["error"] == {
        "code": "exit_nonzero",
        "message": "exit 3",
        "details": {"exit": "3"},
    }


def test_the_log_of_a_step_is_that_of_its_newest_attempt() -> None:
    task = a_task(steps=[a_step(attempt=2)])
    first = a_log_status()
    second = a_log_status()
    second.ref.attempt, second.lines, second.complete = 2, 7, False
    second.holes.add(offset=5, length=9, reason="limit")
    document = runs.run_document(pipeline_management_pb2.RunDocument(run=a_run(), tasks=[task], logs=[first, second]))
    log = document["tasks"][0]["steps"][0]["log"]
    assert (log["lines"], log["complete"]) == (7, False)
    assert log["holes"] == [{"offset": 5, "length": 9, "reason": "limit"}]


def test_a_log_is_complete_without_a_byte_only_where_none_was_written() -> None:
    silent = a_step(log=common_pb2.LogSummary(sha256="e3"))
    assert runs.step(silent)["log"]["complete"]
    late = a_step(log=common_pb2.LogSummary(lines=3, bytes=10, sha256="aa"))
    assert not runs.step(late)["log"]["complete"]
    skipped = a_step(state=common_pb2.STEP_STATE_SKIPPED, attempt=0, exit_code=None)
    assert runs.step(skipped)["log"]["complete"]
    pending = a_step(state=common_pb2.STEP_STATE_PENDING, attempt=0, exit_code=None)
    assert not runs.step(pending)["log"]["complete"]


def test_tasks_come_in_the_order_of_their_positions() -> None:
    message = a_run_document()
    message.tasks[0].position = 5
    message.tasks.append(a_task("game-0", id="taskbbbbbbbb", position=1))
    assert [task["node"] for task in runs.run_document(message)["tasks"]] == ["game-0", "game-1"]


def test_every_state_has_its_word() -> None:
    for enum, word in (
        (common_pb2.RunState, words.run_state),
        (common_pb2.TaskState, words.task_state),
        (common_pb2.StepState, words.step_state),
        (common_pb2.NodeState, words.node_state),
        (common_pb2.AdminState, words.admin_state),
    ):
        for name, number in enum.items():
            if number:
                assert name.endswith(word(number).upper())
    assert words.run_state(99) == "unknown_99"


def test_a_token_has_the_keys_of_the_contract() -> None:
    message = administration_pb2.CreateJoinTokenResponse(
        id="t", token="gn1.x", join_command="gamenode-agent join gn1.x", expires_at=T0, uses=1
    )
    document = nodes.token(message)
    assert {key: document[key] for key in ("id", "token", "join_command", "expires_at", "uses")} == {
        "id": "t",
        "token": "gn1.x",
        "join_command": "gamenode-agent join gn1.x",
        "expires_at": "2026-01-02T03:04:05.000Z",
        "uses": 1,
    }


def test_events_and_audit_records() -> None:
    event = server.event(work_pb2.Event(cursor=7, time=T0, type="run.failed", run_id="r", data={"b": "2", "a": "1"}))
    assert event["cursor"] == "7"
    assert (event["node_id"], event["fence"], list(event["data"])) == (None, None, ["a", "b"])
    record = administration_pb2.AuditRecord(seq=1, time=T0, principal="root", method="M", request='{"a": 1}')
    assert server.audit_record(record)["request"] == {"a": 1}
    assert server.audit_record(administration_pb2.AuditRecord(request="{broken"))["request"] == "{broken"
    verdict = server.audit_verdict(administration_pb2.VerifyAuditResponse(intact=False, records=9, broken_at=4))
    assert (verdict["intact"], verdict["broken_at"]) == (False, 4)


def test_attention_comes_oldest_first() -> None:
    message = state_management_pb2.GetStatusResponse(started_at=T0)
    message.attention.add(since=T0 + 5, text="later")
    message.attention.add(since=T0 + 1, text="earlier")
    assert [item["text"] for item in server.status(message)["attention"]] == ["earlier", "later"]


def test_a_rendered_plan_shows_what_is_set_and_where_it_would_run() -> None:
    plan = plan_pb2.Plan(pipeline="p", version=1, on_lost=plan_pb2.ON_LOST_WAIT)
    plan.steps.add(
        id="one",
        kind="run",
        script=plan_pb2.Script(shell="sh", text="true", bindings=[plan_pb2.Binding(name="A", expression="params.a")]),
        retry=plan_pb2.RetryPolicy(attempts=3, on=["exit"]),
        stop=plan_pb2.StopPolicy(signal="TERM", grace=10),
        limits=plan_pb2.Limits(memory=512),
    )
    getattr(plan, "finally").add(id="two", kind="run")
    response = pipeline_management_pb2.RenderPipelineResponse(plan=plan, bundle_digest="d")
    response.nodes.add(node_id="n", node="game-1", chosen=True, reason="matches")
    document = pipelines.rendered(response)
    step = document["plan"]["steps"][0]
    assert step["script"]["bindings"] == {"A": "params.a"}
    assert (step["limits"], step["retry"]["attempts"], step["stop"]["signal"]) == ({"memory": 512}, 3, "TERM")
    assert document["plan"]["on_lost"] == "wait"
    assert document["plan"]["finally"][0]["retry"] is None
    assert document["nodes"] == [{"node_id": "n", "node": "game-1", "chosen": True, "reason": "matches"}]
