"""What went wrong in a run is said once for all nodes on which it was the same."""

from __future__ import annotations

from gamenode_console.model.failures import failures
from gamenode_proto.v1 import common_pb2, work_pb2


def task(
    name: str, message: str, *, state: str = "FAILED", step: str = "install", code: str = "exit_nonzero"
) -> work_pb2.Task:
    error = common_pb2.Error(code=code, message=message)
    status = work_pb2.StepStatus(
        id=step, state=common_pb2.StepState.Value(f"STEP_STATE_{state}"), attempt=1, error=error
    )
    return work_pb2.Task(
        id=f"t-{name}",
        node=work_pb2.NodeFacts(name=name),
        state=common_pb2.TaskState.Value(f"TASK_STATE_{state}"),
        steps=[status],
    )


def lines(*tasks: work_pb2.Task) -> list[str]:
    return [failure.line for failure in failures(tasks)]


def test_the_same_trouble_is_said_once_and_the_most_frequent_first() -> None:
    assert lines(
        task("a", "exit status 127: curl: not found"),
        task("b", "exit status 1: no space left"),
        task("c", "exit status 127: curl: not found"),
    ) == ["install: exit status 127: curl: not found on a, c", "install: exit status 1: no space left on b"]


def test_figures_and_ids_make_no_difference_and_steps_do() -> None:
    assert lines(
        task("a", "port 27960 is taken by 0123456789abcdef"),
        task("b", "port 27961 is taken by fedcba9876543210"),
        task("c", "port 27960 is taken by 0123456789abcdef", step="check"),
    ) == [
        "install: port 27960 is taken by 0123456789abcdef on a, b",
        "check: port 27960 is taken by 0123456789abcdef on c",
    ]


def test_many_nodes_are_counted() -> None:
    (line,) = lines(*(task(f"n{number}", "broke") for number in range(9)))
    assert line == "install: broke on n0, n1, n2 and 6 more"


def test_a_task_that_failed_without_a_step_says_its_own_error() -> None:
    refused = work_pb2.Task(
        id="t",
        node=work_pb2.NodeFacts(name="a"),
        state=common_pb2.TASK_STATE_FAILED,
        error=common_pb2.Error(code="insufficient_resources", message="2 GB short\nand more"),
    )
    assert lines(refused) == ["2 GB short on a"]


def test_what_goes_on_or_went_well_is_no_failure() -> None:
    assert lines(task("a", "", state="RUNNING"), task("b", "", state="SUCCEEDED")) == []
