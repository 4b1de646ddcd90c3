"""What an agent refuses before it takes a task: kinds it does not know, and what its node cannot do."""

from __future__ import annotations

import pytest

from gamenode_agent.runner.admission import lacking_here
from gamenode_agent.steps import KINDS, unknown_kinds
from gamenode_pipelines import kinds
from gamenode_pipelines.errors import Code
from gamenode_pipelines.plan import Plan, Script, Setting, StepPlan


def container(**more: Setting) -> StepPlan:
    return StepPlan("start", "container.run", with_={"name": "oa", "image": "gn/oa:1", **more})


def plan(*steps: StepPlan) -> Plan:
    return Plan("p", 1, steps)


def test_every_kind_of_the_table_is_known_here() -> None:
    assert set(KINDS) == {"run", *kinds.KINDS} - {"pipeline"}  # the task machine carries that out


def test_a_kind_of_a_newer_server_is_refused_with_the_step() -> None:
    error = unknown_kinds(plan(StepPlan("a", "run", script=Script(text="true")), StepPlan("b", "teleport.player")))
    assert error is not None
    assert error.code is Code.INVALID_ARGUMENT
    assert "'teleport.player' (step 'b')" in error.message


@pytest.mark.parametrize(
    "steps",
    [
        [StepPlan("a", "run", script=Script(text="true"))],
        [StepPlan("a", "check.tcp", with_={"port": 1})],
        [StepPlan("a", "container.pull", with_={"image": "x"}, condition="params.docker")],
    ],
)
def test_what_needs_no_engine_needs_none(steps: list[StepPlan]) -> None:
    assert lacking_here(plan(*steps), frozenset()) is None


def test_a_node_that_does_without_containers_refuses_them() -> None:
    error = lacking_here(plan(container()), frozenset())
    assert error is not None
    assert (error.code, error.details["step"]) == (Code.ENGINE_UNAVAILABLE, "start")


def test_finally_is_looked_at_too() -> None:
    error = lacking_here(Plan("p", 1, (), finally_=(container(),)), frozenset())
    assert error is not None
    assert error.code is Code.ENGINE_UNAVAILABLE


def test_a_limit_that_the_engine_cannot_keep_is_named() -> None:
    limited = plan(container(resources={"memory": "512m"}))
    error = lacking_here(limited, frozenset({"docker"}))
    assert error is not None
    assert error.code is Code.INSUFFICIENT_RESOURCES
    assert "docker.limits.memory" in error.message
    assert lacking_here(limited, frozenset({"docker", "docker.limits.memory"})) is None


def test_an_engine_that_is_away_just_now_is_the_steps_to_wait_for() -> None:
    assert lacking_here(plan(container()), None) is None
