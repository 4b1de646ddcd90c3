"""Pipelines in Python, and any pipeline as YAML that says the same."""

from __future__ import annotations

import subprocess
import sys
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gamenode_pipelines import Param, Pipeline, Step
from gamenode_pipelines.authoring import to_yaml, write
from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.compile_fleet import conduct_of
from gamenode_pipelines.errors import GameNodeError, InvalidPipeline
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import GROUP, RetryOn
from gamenode_pipelines.quantities import format_duration
from gamenode_proto.codec.plan import bundle_bytes, bundle_from_bytes
from support.kind_values import uses


def test_a_pipeline_is_written_in_python() -> None:
    pipeline = Pipeline(
        "hello",
        description="Says hello",
        params={"name": Param(default="world"), "wait": {"type": "duration", "default": timedelta(seconds=90)}},
        targets={"select": "role=game", "count": 2},
        timeout=timedelta(minutes=15),
        steps=[
            Step("greet", run='echo "Hello ${{ params.name }}"\necho done\n', timeout=90, env={"N": 5}),
            Step("list", needs=[], if_="params.name != ''", run=["ls", "-l"], retry={"attempts": 2, "backoff": 0.5}),
        ],
        finally_=[Step("tell", run='echo "${{ task.state }}"', idempotent=True)],
    )
    assert (
        pipeline.to_yaml()
        == """\
pipeline: hello
description: Says hello
params:
  name:
    default: world
  wait:
    type: duration
    default: 1m30s
targets:
  select: role=game
  count: 2
timeout: 15m
steps:
  - id: greet
    run: |
      echo "Hello ${{ params.name }}"
      echo done
    env:
      N: 5
    timeout: 1m30s
  - id: list
    needs: []
    if: params.name != ''
    run:
      - ls
      - -l
    retry:
      attempts: 2
      backoff: 500ms
finally:
  - id: tell
    run: echo "${{ task.state }}"
    idempotent: true
"""
    )
    assert pipeline.load().warnings == ()


def test_a_wrong_pipeline_says_where_in_its_file() -> None:
    with pytest.raises(InvalidPipeline) as caught:
        Pipeline("p", steps=[Step("a", run='echo "${{ params.x }}"')]).to_yaml()
    assert [str(problem) for problem in caught.value.problems] == ["p.yaml:4:16: there is no parameter 'x'"]


def test_the_package_stays_light_until_asked() -> None:
    code = (
        "import sys, gamenode_pipelines as g\n"
        "from gamenode_pipelines import expressions, plan, events, quantities, selectors, placement\n"
        "assert not {'yaml', 'pydantic', 'jinja2'} & set(sys.modules)\n"
        "assert g.Pipeline.__name__ == 'Pipeline'\n"
        "assert 'pydantic' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    import gamenode_pipelines

    with pytest.raises(AttributeError):
        _ = gamenode_pipelines.Nothing


WORDS = st.text("abcdefghij", min_size=1, max_size=8)
#: What a file can hold: no control characters, and no line ends but \\n.
TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Zl", "Zp"], exclude_characters="\ufeff\ufffe\uffff"),
    max_size=20,
).filter(lambda text: "${{" not in text)
TRICKY = st.sampled_from(
    [
        "on",
        "no",
        "5",
        "0.10",
        "1e3",
        "0o17",
        "~",
        "null",
        "true",
        "",
        " a ",
        "a: b",
        "# x",
        "'",
        '"',
        "- x",
        "a\nb",
        "a\n\n b\n",
        "\n",
        "x \ny",
        "%",
        "@",
        "22:22",
        "=",
        "<<",
        "\\",
    ]
)
STRINGS = TEXT | TRICKY
SCRIPTS = STRINGS.filter(lambda text: bool(text.strip()))
DURATIONS = st.integers(1, 2**60).map(lambda nanoseconds: format_duration(nanoseconds / 1e9))
SIZES = st.integers(1, 2**50).map(lambda size: f"{size}b")
ENVS = st.dictionaries(WORDS.map(str.upper), STRINGS, max_size=3)


def some(**strategies: st.SearchStrategy[Any]) -> st.SearchStrategy[dict[str, Any]]:
    return st.fixed_dictionaries({}, optional=strategies)


PARAMS = st.one_of(
    some(description=STRINGS, default=STRINGS),
    st.fixed_dictionaries(
        {"type": st.just("integer")}, optional={"default": st.integers(-5, 5), "min": st.just(-5), "max": st.just(5)}
    ),
    st.fixed_dictionaries({"type": st.just("number")}, optional={"default": st.floats(-5, 5), "min": st.just(-5.5)}),
    st.fixed_dictionaries({"type": st.just("boolean")}, optional={"default": st.booleans()}),
    st.fixed_dictionaries({"type": st.just("duration")}, optional={"default": DURATIONS, "min": st.just("1ns")}),
    st.fixed_dictionaries({"type": st.just("size")}, optional={"default": SIZES, "min": st.just(1)}),
    st.lists(STRINGS, min_size=1, max_size=3, unique=True).flatmap(
        lambda values: st.fixed_dictionaries(
            {"type": st.just("choice"), "values": st.just(values)}, optional={"default": st.sampled_from(values)}
        )
    ),
)
BODIES = st.one_of(
    st.fixed_dictionaries({"run": SCRIPTS}, optional={"shell": st.sampled_from(["sh", "bash", "python"])}),
    st.fixed_dictionaries({"run": st.lists(STRINGS, min_size=1, max_size=3)}, optional={"shell": st.just("none")}),
)
SCRIPT_ONLY = some(
    workdir=WORDS,
    user=WORDS,
    limits=some(
        cpus=st.floats(0.01, 64), memory=SIZES, pids=st.integers(1, 100), open_files=st.integers(1, 99), output=SIZES
    ),
)
COMMON = some(
    env=ENVS,
    timeout=DURATIONS,
    retry=some(
        attempts=st.integers(1, 9),
        backoff=DURATIONS,
        on=st.lists(st.sampled_from([str(kind) for kind in RetryOn if kind != "lost"])),
    ),
    stop=some(signal=st.sampled_from(["TERM", "SIGINT", "hup"]), grace=DURATIONS | st.just(0)),
    idempotent=st.booleans(),
    continue_on_error=st.booleans(),
    **{"if": st.sampled_from(["1 == 1", "${{ node.name == 'a' }}", "true"])},
)
SHARES = st.integers(1, 200) | st.integers(1, 100).map(lambda percent: f"{percent}%")
#: How runs move over the fleet, what holds them up, and what starts them.
FLEET = some(
    rollout=some(
        max_parallel=SHARES,
        max_failures=SHARES,
        canary=SHARES,
        pause=DURATIONS | st.just(0),
        order=st.sampled_from(["name", "load", "random"]),
    ),
    concurrency=st.fixed_dictionaries(
        {"group": st.sampled_from(["deploy", "game-${{ node.name }}", "at-${{ run.pipeline }}"])},
        optional={"on_conflict": st.sampled_from(["queue", "reject", "cancel"])},
    ),
    approval=some(by=st.sampled_from(["operator", "admin"]), message=TEXT.filter(lambda text: "${{" not in text)),
    schedule=st.fixed_dictionaries(
        {"cron": st.sampled_from(["0 4 * * *", "*/5 1-3 * 2 mon"])},
        optional={
            "timezone": st.sampled_from(["UTC", "Europe/Berlin"]),
            "catch_up": st.sampled_from(["none", "latest", "all"]),
            "on_overlap": st.sampled_from(["skip", "queue", "cancel"]),
            "enabled": st.booleans(),
        },
    ),
    on=st.lists(
        st.fixed_dictionaries(
            {"event": st.sampled_from(["node.offline", "engine.lost", "instance.gave_up"])},
            optional={"select": st.sampled_from(["a=b", "!c,d in (e,f)"]), "cooldown": DURATIONS | st.just(0)},
        ),
        max_size=2,
    ),
    files=st.lists(WORDS.map(lambda word: f"maps/{word}.txt"), max_size=2, unique=True),
)


@st.composite
def documents(draw: st.DrawFn) -> dict[str, Any]:
    ids = draw(st.lists(WORDS, min_size=1, max_size=5, unique=True))
    steps = []
    for number, id in enumerate(ids):
        body = {**draw(BODIES), **draw(SCRIPT_ONLY)} if draw(st.booleans()) else draw(uses())
        common = draw(COMMON)
        if body.get("uses") == GROUP:
            common = {key: value for key, value in common.items() if key in ("env", "continue_on_error", "if")}
        step = {"id": id, **body, **common}
        if draw(st.integers(0, 3)) == 0:
            answers = draw(st.lists(BODIES, min_size=1, max_size=2))
            step["on_failure"] = [{"id": f"{id}_{at}", **answer} for at, answer in enumerate(answers)]
        if draw(st.booleans()):
            step["needs"] = draw(st.lists(st.sampled_from(ids[:number]), unique=True)) if number else []
        steps.append(step)
    cut = draw(st.integers(1, len(steps)))
    if cut < len(steps):
        for step in steps[cut:]:
            step.pop("needs", None)
    fleet = draw(FLEET)
    if "schedule" in fleet or "on" in fleet:  # nobody is there then to say on which nodes, or with which values
        fleet |= {"targets": {"select": "a=b"}, "params": {}}
    return {
        "pipeline": draw(WORDS),
        **draw(
            some(
                description=STRINGS,
                params=st.dictionaries(WORDS, PARAMS, max_size=3),
                env=ENVS,
                targets=some(
                    select=st.sampled_from(["a=b", "!c", "x in (y,z),w>5"]), count=st.integers(1, 9) | st.just("all")
                ),
                requires=some(cpus=st.floats(0.01, 64), memory=SIZES, disk=SIZES),
                timeout=DURATIONS,
                on_lost=st.sampled_from(["wait", "fail", "retry"]),
            )
        ),
        **fleet,
        "steps": steps[:cut],
        **({"finally": steps[cut:]} if cut < len(steps) else {}),
    }


@settings(max_examples=150, deadline=None)
@given(documents())
def test_any_spec_survives_yaml_model_and_bundle(document: dict[str, Any]) -> None:
    (first,) = load_pipelines(write(document), "first.yaml")
    text = to_yaml(first.spec)
    (second,) = load_pipelines(text, "second.yaml")
    assert second.spec == first.spec
    assert to_yaml(second.spec) == text
    try:
        plan = compile_plan(first.spec, {}, version=1)
    except GameNodeError:  # a pipeline that it names is not there, or a parameter has no default
        return
    data = bundle_bytes(plan)
    assert bundle_from_bytes(data)[0] == plan == compile_plan(second.spec, {}, version=1)
    assert bundle_bytes(plan) == data
    assert conduct_of(second.spec, plan) == conduct_of(first.spec, plan)


def test_a_step_of_a_kind_is_written_in_python() -> None:
    step = Step(
        "start",
        uses="container.run",
        with_={
            "name": "oa",
            "image": "oa",
            "ports": ["27960:27960/udp"],
            "env": {"GRACE": 5},
            "stop": {"grace": timedelta(seconds=90)},
            "healthcheck": {"test": ["alive"], "interval": 5},
        },
        timeout=60,
    )
    wait = Step("wait", uses="container.wait", with_={"name": "oa", "seconds": 30})
    loaded = Pipeline("p", steps=[step, wait]).load()
    assert loaded.warnings == ()
    start, waits = loaded.spec.steps
    assert start.with_["env"] == {"GRACE": "5"}
    assert (start.with_["stop"], start.with_["healthcheck"]["interval"]) == ({"grace": "1m30s"}, "5s")
    assert waits.with_ == {"name": "oa", "seconds": "30s"}


def test_what_is_wrong_with_a_kind_written_in_python_is_said() -> None:
    with pytest.raises(InvalidPipeline, match=r"unknown field 'nam' of container\.stop; did you mean 'name'"):
        Pipeline("p", steps=[Step("a", uses="container.stop", with_={"nam": "oa"})]).to_yaml()
    with pytest.raises(InvalidPipeline, match="`run` is missing in a step"):
        Pipeline("p", steps=[Step("a")]).to_yaml()
