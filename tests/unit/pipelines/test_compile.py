"""Compiling: a spec and parameters to the plan, and every bad parameter at once."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.compile import capabilities, compile_plan, placement_request
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import (
    DEFAULT_FINALLY_TIMEOUT,
    DEFAULT_TIMEOUT,
    Limits,
    OnLost,
    Plan,
    RetryOn,
    RetryPolicy,
    Scalar,
    Script,
    StepPlan,
    StopPolicy,
)
from gamenode_pipelines.spec import PipelineSpec


def spec(text: str) -> PipelineSpec:
    return load_pipelines(text, "p.yaml")[0].spec


TYPED = spec(
    """\
pipeline: p
params:
  text: {default: x}
  number: {type: number, default: 1.5}
  port: {type: integer, default: 27960, min: 1024, max: 65535}
  on: {type: boolean, default: false}
  mode: {type: choice, values: [ffa, ctf], default: ffa}
  wait: {type: duration, default: 5s, max: 1h}
  room: {type: size, default: 1g}
steps: [{id: a, run: x}]
"""
)


def test_a_plan_has_everything_explicit() -> None:
    text = """\
pipeline: p
env: {TZ: UTC}
steps:
  - id: a
    run: echo "${{ params.m }}" "${{ node.name }}"
  - id: b
    if: ${{ steps.a.outputs.x == 'y' }}
    run: [ls, "${{ params.m }}"]
    limits: {cpus: 0.5, memory: 1m}
    retry: {attempts: 2, on: exit}
    stop: {signal: int, grace: 1s}
    timeout: 5s
    idempotent: true
  - id: c
    needs: []
    if: params.m == 'x'
    shell: python
    run: print(1)
finally:
  - id: d
    run: x
  - id: e
    run: x
params: {m: {default: q}}
on_lost: fail
"""
    assert compile_plan(spec(text), {"m": "z"}, version=7) == Plan(
        pipeline="p",
        version=7,
        params={"m": "z"},
        env={"TZ": "UTC"},
        on_lost=OnLost.FAIL,
        timeout=DEFAULT_TIMEOUT,
        finally_timeout=DEFAULT_FINALLY_TIMEOUT,
        steps=(
            StepPlan(
                id="a",
                script=Script(
                    text='echo "${GAMENODE_EXPR_1}" "${GAMENODE_EXPR_2}"',
                    bindings={"GAMENODE_EXPR_1": "params.m", "GAMENODE_EXPR_2": "node.name"},
                ),
            ),
            StepPlan(
                id="b",
                needs=("a",),
                condition="steps.a.outputs.x == 'y'",
                script=Script(shell="none", argv=("ls", "${{ params.m }}")),
                limits=Limits(cpus=0.5, memory=1024**2),
                retry=RetryPolicy(attempts=2, on=frozenset({RetryOn.EXIT})),
                stop=StopPolicy("INT", 1.0),
                timeout=5.0,
                idempotent=True,
            ),
            StepPlan(id="c", condition="params.m == 'x'", script=Script(shell="python", text="print(1)")),
        ),
        finally_=(
            StepPlan(id="d", script=Script(text="x")),
            StepPlan(id="e", needs=("d",), script=Script(text="x")),
        ),
    )


@pytest.mark.parametrize(
    ("name", "given_value", "value"),
    [
        ("text", "", ""),
        ("text", 5, "5"),
        ("text", True, "true"),
        ("number", "2.5", 2.5),
        ("number", 3, 3.0),
        ("port", "27961", 27961),
        ("port", 27961, 27961),
        ("port", 27961.0, 27961),
        ("on", "true", True),
        ("on", "Yes", True),
        ("on", "0", False),
        ("on", True, True),
        ("mode", "ctf", "ctf"),
        ("wait", "1m", 60.0),
        ("wait", 90, 90.0),
        ("wait", "0.5", 0.5),
        ("room", "512m", 512 * 1024**2),
        ("room", 17, 17),
    ],
)
def test_values_become_their_type(name: str, given_value: Scalar, value: Scalar) -> None:
    result = compile_plan(TYPED, {name: given_value}, version=1).params[name]
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("text", "a\0b", "NUL"),
        ("text", "x" * 70_000, "characters"),
        ("number", "x", "not a number"),
        ("number", "nan", "not a number"),
        ("number", True, "not a number"),
        ("port", "1.5", "not a whole number"),
        ("port", True, "not a whole number"),
        ("port", "9" * 19, "beyond 64 bits"),
        ("port", "80", "80 is less than 1024"),
        ("port", 70000, "70000 is more than 65535"),
        ("on", "maybe", "neither true nor false"),
        ("mode", "fffa", "did you mean 'ffa'?"),
        ("wait", "soon", "not a duration"),
        ("wait", "2h", "2h is more than 1h"),
        ("room", "x", "not a size"),
        ("porrt", 1, "no such parameter; did you mean 'port'?"),
    ],
)
def test_values_that_do_not_fit_are_refused(name: str, value: Scalar, words: str) -> None:
    with pytest.raises(GameNodeError) as caught:
        compile_plan(TYPED, {name: value}, version=1)
    assert caught.value.code is Code.INVALID_ARGUMENT
    assert words in caught.value.details[name]
    assert f"parameter '{name}': " in caught.value.message


def test_every_bad_parameter_is_listed() -> None:
    wanted = spec("pipeline: p\nparams: {a: {}, b: {type: integer}}\nsteps: [{id: x, run: y}]\n")
    with pytest.raises(GameNodeError) as caught:
        compile_plan(wanted, {"b": "x", "c": 1}, version=1)
    assert caught.value.message.splitlines() == [
        "parameter 'c': pipeline 'p' has no such parameter; there are a and b",
        "parameter 'a': must be given: -p a=… (string)",
        "parameter 'b': 'x' is not a whole number",
    ]


@given(st.one_of(st.text(), st.integers(), st.floats(), st.booleans()))
def test_any_value_fits_or_is_refused(value: Scalar) -> None:
    for name in ("text", "number", "port", "on", "mode", "wait", "room"):
        try:
            converted = compile_plan(TYPED, {name: value}, version=1).params[name]
        except GameNodeError as error:
            refused = set(error.details)
        else:
            refused = {name}
            assert compile_plan(TYPED, {name: converted}, version=1).params[name] == converted
        assert refused == {name}


def test_targets_are_narrowed_by_the_command_line() -> None:
    targeted = spec(
        "pipeline: p\ntargets: {select: role=game, count: 2}\n"
        "requires: {cpus: 1, memory: 1m}\nsteps: [{id: x, run: y}]\n"
    )
    request = placement_request(targeted, selectors=["region=eu"], nodes=["n1"])
    assert (request.selectors, request.nodes, request.all, request.count) == (
        ("role=game", "region=eu"),
        ("n1",),
        True,
        2,
    )
    assert (request.requires.cpus, request.requires.memory, request.requires.disk) == (1.0, 1024**2, None)
    assert placement_request(TYPED).all is False
    assert placement_request(TYPED, all=True).all is True
    assert placement_request(spec("pipeline: p\ntargets: {count: all}\nsteps: [{id: x, run: y}]\n")).all is True


KINDS = """\
pipeline: p
params: {image: {default: oa}}
steps:
  - id: pull
    uses: container.pull
    with: {image: "${{ params.image }}"}
    env: {A: b}
    timeout: 1m
  - id: start
    uses: container.run
    with:
      labels: {b: 1, a: 2}
      image: oa
      name: oa
      resources: {pids: 5, memory: 1024m}
      network: host
      command: serve --port ${{ params.port }}
    stop: {signal: INT}
  - id: gpus
    if: ${{ node.labels.gpu }}
    uses: container.job
    with: {image: oa, gpus: all}
  - id: show
    run: docker ps
"""


def test_a_step_of_a_kind_has_its_values_in_one_order_and_no_script() -> None:
    text = KINDS.replace("${{ params.port }}", "${{ node.name }}")
    plan = compile_plan(spec(text), {}, version=1)
    pull, start, gpus, show = plan.steps
    assert (pull.kind, pull.script, pull.env, pull.timeout) == ("container.pull", None, {"A": "b"}, 60.0)
    assert pull.with_ == {"image": "${{ params.image }}"}
    assert list(start.with_) == ["name", "image", "command", "network", "labels", "resources"]
    assert start.with_["command"] == ("serve", "--port", "${{ node.name }}")
    assert list(start.with_["labels"].items()) == [("a", "2"), ("b", "1")]  # type: ignore[union-attr]
    assert start.with_["resources"] == {"memory": "1g", "pids": 5}
    assert start.stop.signal == "INT"
    assert (gpus.kind, gpus.condition, show.kind, show.with_) == ("container.job", "node.labels.gpu", "run", {})
    assert [step.idempotent for step in plan.steps] == [True, True, False, False]


def test_what_a_plan_needs_is_what_its_unconditional_steps_need() -> None:
    text = KINDS.replace("${{ params.port }}", "${{ node.name }}")
    plan = compile_plan(spec(text), {}, version=1)
    needs = frozenset({"docker", "docker.network.host", "docker.limits.memory", "docker.limits.pids"})
    assert capabilities(plan) == needs
    assert placement_request(spec(text), capabilities=capabilities(plan)).capabilities == needs
    assert capabilities(compile_plan(TYPED, {}, version=1)) == frozenset()


def test_what_finally_needs_counts_too() -> None:
    text = "pipeline: p\nsteps: [{id: a, run: x}]\nfinally: [{id: b, uses: container.remove, with: {name: oa}}]\n"
    assert capabilities(compile_plan(spec(text), {}, version=1)) == {"docker"}
