"""What is kept of the containers that nodes tell of."""

from __future__ import annotations

import logging

import pytest

from gamenode_proto.v1.nodes_pb2 import Container, ContainerReport, ContainerUsage
from gamenode_server.containers.inventory import MAX_CONTAINERS, MAX_PORTS, Inventory


def one(id: str, **more: object) -> Container:
    return Container(**{"id": id, "name": f"name-{id}", "state": "running", **more})  # type: ignore[arg-type]


def told(*containers: Container, complete: bool = True, **more: object) -> Inventory:
    inventory = Inventory()
    report = ContainerReport(complete=complete, containers=containers, **more)  # type: ignore[arg-type]
    inventory.take("n", report, 10.0)
    return inventory


def ids(inventory: Inventory, node_id: str = "n") -> list[str]:
    return sorted(container.id for container in inventory.of(node_id))


def test_a_whole_report_replaces_and_a_change_adds_up() -> None:
    inventory = told(one("a"), one("b"))
    inventory.take("n", ContainerReport(containers=[one("c"), one("b", state="exited")], removed=["a", "x"]), 20.0)
    assert ids(inventory) == ["b", "c"]
    assert {container.id: container.state for container in inventory.of("n")} == {"b": "exited", "c": "running"}
    assert inventory.seen_at("n") == 20.0
    inventory.take("n", ContainerReport(complete=True, containers=[one("d")]), 30.0)
    assert ids(inventory) == ["d"]
    inventory.take("n", ContainerReport(complete=True), 40.0)
    assert ids(inventory) == []


def test_nodes_do_not_mix_and_nothing_is_known_of_one_that_never_told() -> None:
    inventory = told(one("a"))
    inventory.take("m", ContainerReport(complete=True, containers=[one("b")]), 5.0)
    assert (ids(inventory), ids(inventory, "m"), ids(inventory, "x")) == (["a"], ["b"], [])
    inventory.confirm("x", 7.0)
    assert inventory.seen_at("x") == 0
    inventory.forget("n")
    assert (ids(inventory), inventory.seen_at("n")) == ([], 0)


def test_figures_go_to_the_container_they_are_of() -> None:
    inventory = told(one("a"), one("b"))
    usage = [ContainerUsage(id="b", sampled_at=1.0, cpu_percent=50.0, memory_used=9), ContainerUsage(id="gone")]
    inventory.take("n", ContainerReport(usage=usage), 11.0)
    a, b = sorted(inventory.of("n"), key=lambda container: container.id)
    assert not a.HasField("usage")
    assert (b.usage.cpu_percent, b.usage.memory_used) == (50.0, 9)


def test_a_change_without_figures_keeps_none_of_the_old_container() -> None:
    inventory = told(one("a", usage=ContainerUsage(id="a", cpu_percent=3.0)))
    inventory.take("n", ContainerReport(containers=[one("a", state="exited")]), 11.0)
    (a,) = inventory.of("n")
    assert not a.HasField("usage")


@pytest.mark.parametrize(
    "odd",
    [
        one(""),
        one("a b"),
        one("x" * 200),
        one("a", name=""),
        one("a", name="../../etc"),
        one("a", name="\x1b[2J"),
        one("a", image="i" * 100_000),
    ],
    ids=["no id", "id of words", "long id", "no name", "path", "escapes", "large"],
)
def test_what_cannot_be_is_left_out_and_logged_once(odd: Container, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        inventory = told(odd, one("good"))
        inventory.take("n", ContainerReport(containers=[odd]), 11.0)
    assert ids(inventory) == ["good"]
    assert len(caplog.records) == 1


@pytest.mark.parametrize("bad", [{"cpu_percent": float("nan")}, {"memory_used": -1}, {"sampled_at": float("inf")}])
def test_figures_that_no_container_can_have_are_left_out(bad: dict[str, float]) -> None:
    usage = ContainerUsage(id="a", **bad)  # type: ignore[arg-type]
    inventory = told(one("a", usage=usage, started_at=float("nan")))
    inventory.take("n", ContainerReport(usage=[usage]), 11.0)
    (a,) = inventory.of("n")
    assert not a.HasField("usage")
    assert a.started_at == 0


def test_what_a_node_tells_is_bounded_and_our_own_come_first(caplog: pytest.LogCaptureFixture) -> None:
    crowd = [one(f"f{number}") for number in range(MAX_CONTAINERS + 50)]
    with caplog.at_level(logging.WARNING):
        inventory = told(*crowd, one("mine", own=True))
        inventory.take("n", ContainerReport(containers=[one("late", own=True), one("later")]), 11.0)
    kept = ids(inventory)
    assert len(kept) == MAX_CONTAINERS
    assert {"mine", "late"} <= set(kept)
    assert "later" not in kept
    assert len(caplog.records) == 1
    (busy,) = told(one("a", ports=[f"{port}:{port}" for port in range(1000)])).of("n")
    assert len(busy.ports) == MAX_PORTS
