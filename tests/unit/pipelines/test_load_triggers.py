"""`on:` in pipeline files, and pipelines that would start each other for ever."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import Pipeline, Step
from gamenode_pipelines.authoring import to_yaml
from gamenode_pipelines.errors import InvalidPipeline
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.schema import explain
from gamenode_pipelines.triggers import EVENTS, Trigger, circle

HEAD = "pipeline: p\nparams: {keep: {type: integer, default: 3}, why: {default: ''}}\n"
STEPS = "steps:\n  - {id: a, run: 'true'}\n"


def triggers(text: str, *, head: str = HEAD) -> list[Trigger]:
    (loaded,) = load_pipelines(head + text + STEPS, "p.yaml")
    assert load_pipelines(to_yaml(loaded.spec), "again.yaml")[0].spec == loaded.spec
    return [each.trigger for each in loaded.spec.on]


def problems(text: str, *, head: str = HEAD) -> list[str]:
    with pytest.raises(InvalidPipeline) as wrong:
        load_pipelines(head + text + STEPS, "p.yaml")
    return [
        f"{each.line}:{each.column}: {each.message}" + (f" ({each.suggestion})" if each.suggestion else "")
        for each in wrong.value.problems
    ]


def test_one_may_stand_alone() -> None:
    assert triggers("on: {event: node.offline}\n") == [Trigger("node.offline", cooldown=60.0)]


def test_several_are_a_list_with_all_that_they_may_say() -> None:
    text = (
        "on:\n"
        "  - {event: instance.gave_up, select: role=game, cooldown: 10m, params: {keep: 5}}\n"
        '  - {event: task.failed, pipeline: deploy, select: "!test", params: {why: "run ${{ event.run }}"}}\n'
    )
    assert triggers(text) == [
        Trigger("instance.gave_up", "role=game", "", {"keep": "5"}, 600.0),
        Trigger("task.failed", "!test", "deploy", {"why": "run ${{ event.run }}"}, 60.0),
    ]


@pytest.mark.parametrize("event", EVENTS)
def test_every_event_can_start_a_pipeline(event: str) -> None:
    whose = ", pipeline: q" if event.startswith(("run.", "task.")) else ""
    head = HEAD + "targets: {select: role=game}\n"
    assert [each.event for each in triggers(f"on: {{event: {event}{whose}}}\n", head=head)] == [event]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("on: node.offline\n", "3:5: `on` must be a list of triggers like [{event: node.offline}], not 'node.offline'"),
        ("on: [node.offline]\n", "3:6: `on` must be a mapping of keys to values, not a value"),
        ("on: {}\n", "3:1: `event` is missing in `on`"),
        ("on: {event: instance.gave_upp}\n", "(instance.gave_up)"),
        ("on: {event: node.offline, cool: 1s}\n", "3:27: unknown key 'cool' in `on` (cooldown)"),
        ("on: {event: node.offline, cooldown: -1s}\n", "3:37: `cooldown` '-1s' is not a duration"),
        ("on: {event: node.offline, select: 'role in'}\n", "3:43: `select` selector 'role in', at character 8"),
        ("on: {event: run.failed, pipeline: NO SUCH}\n", "3:35: `pipeline` 'NO SUCH' cannot be a pipeline's name"),
        ("on: {event: run.failed, pipeline: q, select: a=b}\n", "takes `select` for events of nodes only"),
        ("on: {event: run.failed, pipeline: q}\n", "`run.failed` is about no node: the pipeline needs `targets`"),
        ("on: {event: node.offline, params: {kep: 1}}\n", "'kep': pipeline 'p' has no such parameter"),
        ("on: {event: node.offline, params: {wy: '${{ event.run }}'}}\n", "'wy': there is no such one (why)"),
        ("on: {event: node.offline, params: {keep: lots}}\n", "3:5: parameter 'keep': 'lots' is not a whole number"),
        ("on: {event: node.offline, params: {why: '${{ node.name }}'}}\n", "3:42: there is no 'node' here"),
        ("on: {event: node.offline, params: {why: '${{ event.nod }}'}}\n", "3:42: `event` has no 'nod' (event.node)"),
        ("on: {event: node.offline, params: {why: 'a ${{ event.run + }}'}}\n", "3:44: "),
        ("on: {event: node.offline, params: {why: '${{ event.run'}}\n", "3:42: the ${{ has no }}"),
        ("on: {event: node.offline, params: {why: [1]}}\n", "3:27: `params` has 'why', which must be text, not a list"),
    ],
)
def test_what_is_wrong_is_said_where_it_is(text: str, said: str) -> None:
    found = problems(text)
    assert any(said in each for each in found), found


def test_a_parameter_without_a_default_must_be_given() -> None:
    head = "pipeline: p\nparams: {why: {}}\n"
    (said,) = problems("on: {event: node.offline}\n", head=head)
    assert said == "3:5: parameter 'why': must be given, under `params` of the trigger"
    assert triggers("on: {event: node.offline, params: {why: '${{ event.text }}'}}\n", head=head)


def test_python_writes_the_same() -> None:
    step = Step("a", run="true")
    made = Pipeline("p", on=[{"event": "node.offline", "cooldown": 600}], steps=[step])
    (loaded,) = load_pipelines(made.to_yaml(), "p.yaml")
    assert [each.trigger for each in loaded.spec.on] == [Trigger("node.offline", cooldown=600.0)]


def test_explain_knows_it() -> None:
    assert "cooldown" in explain("on").keys


NAMES = "abcde"
EDGES = st.sets(st.tuples(st.sampled_from(NAMES), st.sampled_from(NAMES)), max_size=12)


@given(EDGES, st.sampled_from(NAMES))
def test_a_circle_is_found_where_there_is_one_and_nowhere_else(edges: set[tuple[str, str]], name: str) -> None:
    """An edge (a, b): a run of a starts b."""
    on = {
        each: [Trigger("run.failed", pipeline=before) for before, after in sorted(edges) if after == each]
        for each in NAMES
    }
    reached, grown = set(), {after for before, after in edges if before == name}
    while grown - reached:
        reached |= grown
        grown = {after for before, after in edges if before in reached}
    way = circle(on, name)
    assert bool(way) == (name in reached)
    if way:
        assert (way[0], way[-1]) == (name, name)
        assert set(pairwise(way)) <= edges


@pytest.mark.parametrize(
    ("trigger", "event", "labels", "takes"),
    [
        (Trigger("node.offline"), "node.offline", None, True),
        (Trigger("node.offline"), "node.offline.more", {}, False),
        (Trigger("node.offline", "role=game"), "node.offline", {"role": "game"}, True),
        (Trigger("node.offline", "role=game"), "node.offline", {"role": "web"}, False),
        (Trigger("node.offline", "!role"), "node.offline", None, False),
        (Trigger("run.failed", pipeline="p"), "run.failed", None, True),
        (Trigger("run.failed", pipeline="q"), "run.failed", None, False),
    ],
)
def test_what_a_trigger_is_about(trigger: Trigger, event: str, labels: dict[str, str] | None, *, takes: bool) -> None:
    assert trigger.takes(event, pipeline="p", labels=labels) is takes
