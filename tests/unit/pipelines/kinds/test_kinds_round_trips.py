"""What steps of kinds are given survives the way from a file over a plan and its bundle to the agent."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines.authoring import write
from gamenode_pipelines.compile import capabilities, compile_plan
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS, rendered
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import GROUP
from gamenode_proto.codec.plan import bundle_bytes, bundle_from_bytes
from support.kind_values import uses

SCOPE: dict[str, object] = {"node": {"name": "n1", "labels": {"a": "1"}}}


@settings(max_examples=200, deadline=None)
@given(uses())
def test_a_value_has_one_form_in_plans(step: dict[str, Any]) -> None:
    record = KINDS[step["uses"]].record
    normal = record.normal(step["with"])
    assert record.normal(normal) == normal
    assert list(normal) == [name for name in record.fields if name in normal]


@settings(max_examples=200, deadline=None)
@given(st.lists(uses(KINDS.keys() - {GROUP}), min_size=1, max_size=3))
def test_a_file_gives_the_same_plan_in_the_agent(steps: list[dict[str, Any]]) -> None:
    document = {"pipeline": "p", "steps": [{"id": f"s{number}", **step} for number, step in enumerate(steps)]}
    (loaded,) = load_pipelines(write(document), "p.yaml")
    plan = compile_plan(loaded.spec, {}, version=1)
    data = bundle_bytes(plan)
    there, _ = bundle_from_bytes(data)
    assert there == plan
    assert bundle_bytes(there) == data
    assert capabilities(there) == capabilities(plan)
    for step in there.steps:
        try:
            values = rendered(step.kind, step.with_, SCOPE)
        except GameNodeError as error:
            assert error.code is Code.INVALID_ARGUMENT  # noqa: PT017 - some expressions do not fit
            assert error.message.startswith("with.")  # noqa: PT017
        else:
            assert list(values) == list(KINDS[step.kind].fields)
