"""Containers as documents, as rows and in words; and the engines they run in."""

from __future__ import annotations

from typing import Any

import pytest

from gamenode_console import checks, columns, container_columns, tables
from gamenode_console.documents import containers, nodes
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.v1 import common_pb2, nodes_pb2, state_management_pb2
from support.control_messages import T0, a_container, a_node, an_engine

OWN = containers.container(a_container())
FOREIGN = containers.container(a_container("db", own=False))


def test_a_container_is_as_scripts_know_it() -> None:
    assert OWN == {
        "node_id": "game1aaaaaaa",
        "node": "game-1",
        "id": "oa27960" + "0" * 57,
        "name": "oa-27960",
        "image": "gn/openarena:0.8.8",
        "state": "running",
        "health": "healthy",
        "exit_code": None,
        "oom_killed": False,
        "own": True,
        "run_id": "runaaaaaaaaa",
        "task_id": "taskaaaaaaaa",
        "step_id": "start",
        "created_at": "2026-01-02T02:04:04.000Z",
        "started_at": "2026-01-02T02:04:05.000Z",
        "finished_at": None,
        "ports": ["27960:27960/udp"],
        "restarts": 2,
        "cpu_percent": 12.4,
        "memory_used": 20 << 20,
        "memory_limit": 512 << 20,
        "pids": 3,
        "seen_at": "2026-01-02T03:04:05.000Z",
    }


def test_what_is_not_known_of_a_container_is_null() -> None:
    bare = containers.container(
        state_management_pb2.NodeContainer(node="n", container=nodes_pb2.Container(id="x", name="y", state="created"))
    )
    unknown = {key for key, value in bare.items() if value is None}
    assert unknown == {
        "health", "exit_code", "run_id", "task_id", "step_id", "created_at", "started_at", "finished_at",
        "cpu_percent", "memory_used", "memory_limit", "pids", "seen_at",
    }  # fmt: skip
    assert (bare["own"], bare["ports"], bare["restarts"]) == (False, [], 0)


@pytest.mark.parametrize(
    ("facts", "shown"),
    [
        ({}, "running (healthy)"),
        ({"health": "unhealthy"}, "running (unhealthy)"),
        ({"health": ""}, "running"),
        ({"state": "exited", "exit_code": 0}, "exited (0)"),
        ({"state": "exited", "exit_code": 137, "oom_killed": True}, "exited (137, oom killed)"),
        ({"state": "created"}, "created"),
    ],
)
def test_a_state_says_how_it_is_or_how_it_ended(facts: dict[str, Any], shown: str) -> None:
    assert container_columns.state(containers.container(a_container(**facts))) == shown


def table(*rows: dict[str, Any], width: int | None = None, wide: bool = False) -> list[str]:
    chosen = tables.choose(container_columns.CONTAINERS, wide=wide)
    return tables.lines(rows, chosen, now=T0 + 65, width=width)


def test_the_table_of_containers() -> None:
    oa = containers.container(a_container("oa", image="oa:1", run_id="k3jd"))
    gone = containers.container(
        a_container("tw", node="game-2", image="tw:1", run_id="7xqa", state="exited", exit_code=1, ports=[], usage=None)
    )
    assert table(oa, FOREIGN, gone) == [
        "NODE    NAME  IMAGE        STATE              OWN  CPU       MEM     UP  PORTS            RESTARTS  RUN",
        "game-1  oa    oa:1         running (healthy)  yes  12%  20M/512M  1h01m  27960:27960/udp         2  k3jd",
        "game-1  db    postgres:16  running            no   12%  20M/512M  1h01m  -                       0  -",
        "game-2  tw    tw:1         exited (1)         yes    -         -      -  -                       2  7xqa",
    ]
    head = table(OWN, wide=True)[0].split()
    assert head[-6:] == ["STEP", "PIDS", "CREATED", "ENDED", "SEEN", "ID"]


def test_a_narrow_terminal_does_without_the_run_before_it_cuts_names_short() -> None:
    head, row = table(OWN, width=80)
    assert head.split() == ["NODE", "NAME", "IMAGE", "STATE", "OWN", "CPU", "MEM", "UP", "PORTS"]
    assert max(len(head), len(row)) <= 80
    assert row.startswith("game-1  oa-27960  gn/open")
    assert "RESTARTS" in table(OWN, width=110)[0]
    assert "RUN" not in table(OWN, width=110)[0]
    assert "RUN" in table(OWN, width=130)[0]


def test_the_newest_and_the_hungriest_sort_first() -> None:
    young = containers.container(a_container("young", started_at=T0 - 60))
    idle = containers.container(a_container("idle", state="exited", usage=None))
    rows = [OWN, idle, young]

    def order(by: str) -> list[str]:
        return [row["name"] for row in tables.sort(rows, container_columns.CONTAINERS, by, now=T0)]

    assert order("up") == ["young", "oa-27960", "idle"]
    assert order("-memory")[-1] == "idle"


def test_a_container_is_coloured_by_how_it_is() -> None:
    chosen = tables.choose(container_columns.CONTAINERS, wide=False, only=["state"])

    def colour(**facts: Any) -> str:
        (line,) = tables.lines(
            [containers.container(a_container(**facts))], chosen, now=T0, headers=False, paint=lambda text, of: of
        )
        return line

    assert colour() == "green"
    assert colour(health="") == "cyan"
    assert colour(health="unhealthy") == "red"
    assert colour(state="exited", exit_code=137, oom_killed=True) == "red"


def test_hostile_names_are_inert() -> None:
    evil = {**OWN, "name": "a\x1b[2J", "image": "b\x07", "state": "run\u202ening", "ports": ["\x9b31m"]}
    (_, row) = table(evil)
    assert "a␛[2J" in row
    assert not set(row) & set("\x1b\x07\x9b\u202e")


def test_a_container_in_a_sentence() -> None:
    assert container_columns.sentence(OWN, T0) == "game-1/oa-27960 (running (healthy), up 1h00m, of run runaaaaaaaaa)"
    assert container_columns.sentence(FOREIGN, T0) == "game-1/db (running, up 1h00m, not ours)"


def test_what_became_of_a_container() -> None:
    failed = GameNodeError(Code.STATE_CONFLICT, "it runs", details={"a": "b"})
    assert containers.outcome(OWN, "stopped")["error"] is None
    assert containers.outcome(OWN, "failed", failed) == {
        "node_id": "game1aaaaaaa", "node": "game-1", "id": OWN["id"], "name": "oa-27960", "result": "failed",
        "error": {"code": "state_conflict", "message": "it runs", "details": {"a": "b"}},
    }  # fmt: skip


# -- nodes and their engines -------------------------------------------------------------------------------------------


def with_engine(name: str = "game-1", *, running: int = 1, total: int = 3, **facts: Any) -> nodes_pb2.Node:
    node = a_node(name)
    node.facts.engine.CopyFrom(an_engine(**facts))
    node.metrics.containers_running, node.metrics.containers_total = running, total
    return node


def test_an_engine_is_a_document_or_null() -> None:
    assert nodes.node(a_node())["engine"] is None
    assert nodes.node(with_engine())["engine"] == {
        "name": "docker",
        "address": "unix:///var/run/docker.sock",
        "available": True,
        "problem": None,
        "version": "20.10.24",
        "api_version": "1.41",
        "storage_driver": "overlay2",
        "cgroup_version": "2",
        "root_dir": "/var/lib/docker",
        "live_restore": True,
        "rootless": False,
        "runtimes": ["runc"],
    }


def test_nodes_say_how_many_containers_run_of_how_many() -> None:
    def cell(node: nodes_pb2.Node) -> str:
        chosen = tables.choose(columns.NODES, wide=False, only=["containers"])
        return tables.lines([nodes.node(node)], chosen, now=T0, headers=False)[0].strip()

    assert cell(with_engine()) == "1/3"
    assert cell(with_engine(running=0, total=0)) == "0/0"
    assert cell(with_engine(available=False)) == "no engine"
    assert cell(a_node()) == "-"
    head = tables.lines([nodes.node(with_engine())], tables.choose(columns.NODES, wide=False), now=T0, width=80)[0]
    assert "CONTAINERS" in head


def test_doctor_says_which_engines_do_not_answer_and_why() -> None:
    away = with_engine("game-2", available=False, problem="permission denied: add the user to the docker group")
    off = with_engine("game-3", available=False)
    off.state = common_pb2.NODE_STATE_OFFLINE
    fleet = [nodes.node(node) for node in (with_engine(), away, off, a_node("game-4"))]
    summary, found = checks.engines(fleet)
    assert (summary.result, summary.text) == ("ok", "1 of 2 answer")
    assert (found.check, found.result) == ("engine of game-2", "warn")
    assert "docker group" in found.text
    assert [check.result for check in checks.engines([])] == ["ok"]
