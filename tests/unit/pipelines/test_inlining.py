"""Pipelines in pipelines: what is planned, what is refused, and where that is said."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from gamenode_pipelines.compile import capabilities, compile_plan, inline
from gamenode_pipelines.errors import Code, GameNodeError, InvalidPipeline
from gamenode_pipelines.inlining import Find, Found
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import Argument, Inlined, Plan
from gamenode_pipelines.spec import PipelineSpec

OUTER = """\
pipeline: outer
params: {port: {type: integer, default: 27960}}
env: {TZ: UTC}
steps:
  - {id: first, run: x}
  - id: deploy
    uses: pipeline
    with: {name: inner, params: {port: "${{ params.port }}", mode: ctf}}
    env: {WHO: "${{ node.name }}"}
  - {id: after, run: x}
finally:
  - {id: last, run: x}
"""
INNER = """\
pipeline: inner
params:
  port: {type: integer, min: 1024}
  mode: {type: choice, values: [ffa, ctf], default: ffa}
  wait: {type: duration, default: 5s}
env: {HOME_MAP: dm1}
steps:
  - {id: pull, run: x, on_failure: [{id: cry, run: x}, {id: sob, run: x}]}
  - {id: start, run: "echo ${{ params.port }}"}
finally:
  - {id: tidy, run: x}
  - {id: tell, run: x}
"""


def spec(text: str) -> PipelineSpec:
    return load_pipelines(text, "p.yaml")[0].spec


def shelf(*texts: str) -> Find:
    stored = {found.name: found for found in map(spec, texts)}

    def find(name: str) -> Found:
        if name not in stored:
            raise GameNodeError(Code.NOT_FOUND, f"there is no pipeline {name!r}")
        return Found(stored[name], 3)

    return find


def plan(text: str, *others: str, find: Callable[..., Find] = shelf) -> Plan:
    return compile_plan(spec(text), {}, version=1, find=find(*others))


def refusal(text: str, *others: str) -> str:
    with pytest.raises(GameNodeError) as caught:
        plan(text, *others)
    return caught.value.message


def test_the_steps_of_another_pipeline_take_the_place_of_the_one_that_names_it() -> None:
    made = plan(OUTER, INNER)
    assert [(step.id, step.needs, step.group, step.after_failure) for step in made.steps] == [
        ("first", (), "", ""),
        ("deploy", ("first",), "", ""),
        ("deploy.pull", (), "deploy", ""),
        ("deploy.cry", (), "deploy", "deploy.pull"),
        ("deploy.sob", ("deploy.cry",), "deploy", "deploy.pull"),
        ("deploy.start", ("deploy.pull",), "deploy", ""),
        ("after", ("deploy",), "", ""),
    ]
    assert [(step.id, step.needs, step.group) for step in made.finally_] == [
        ("deploy.tidy", (), ""),
        ("deploy.tell", ("deploy.tidy",), ""),
        ("last", ("deploy.tidy", "deploy.tell"), ""),
    ]


def test_what_it_is_given_is_typed_and_its_version_kept() -> None:
    made = plan(OUTER, INNER)
    assert made.scopes == {
        "deploy": Inlined(
            "inner",
            3,
            (
                Argument("port", "${{ params.port }}", "integer", min=1024),
                Argument("mode", "ctf", "choice", ("ffa", "ctf")),
                Argument("wait", 5.0, "duration"),
            ),
            env={"HOME_MAP": "dm1"},
            given_env={"WHO": "${{ node.name }}"},
        )
    }
    assert made.env == {"TZ": "UTC"}


def naming(name: str, other: str, params: str = "{}") -> str:
    return f"pipeline: {name}\nsteps: [{{id: in, uses: pipeline, with: {{name: {other}, params: {params}}}}}]\n"


def test_pipelines_can_be_deeper() -> None:
    made = plan(naming("a", "b"), naming("b", "c"), "pipeline: c\nsteps: [{id: x, run: x}]\n")
    assert [(step.id, step.group) for step in made.steps] == [("in", ""), ("in.in", "in"), ("in.in.x", "in.in")]


IN = "step in: pipeline 'inner': "


@pytest.mark.parametrize(
    ("text", "others", "said"),
    [
        (naming("a", "nowhere"), [], "step in: there is no pipeline 'nowhere'"),
        (naming("a", "a"), [], "step in: pipelines name each other in a circle: a → a"),
        (naming("a", "b"), [naming("b", "a")], "step in.in: pipelines name each other in a circle: a → b → a"),
        (naming("a", "inner"), [INNER], IN + "parameter 'port' must be given under `with.params` (integer)"),
        (naming("a", "inner", "{port: 80}"), [INNER], IN + "parameter 'port': 80 is less than 1024"),
        (naming("a", "inner", "{port: 2000, mode: fff}"), [INNER], IN + "parameter 'mode': "),
        (naming("a", "inner", "{port: 2000, mod: ffa}"), [INNER], IN + "it has no parameter 'mod'; did you mean"),
    ],
)  # fmt: skip
def test_what_cannot_be_inlined_is_refused_by_name(text: str, others: list[str], said: str) -> None:
    assert refusal(text, *others).startswith(said)


def test_there_is_a_limit_to_depth_and_to_steps() -> None:
    deep = [naming(f"p{number}", f"p{number + 1}") for number in range(12)]
    assert "more than 8 deep" in refusal(deep[0], *deep[1:])
    wide = "pipeline: wide\nsteps:\n" + "".join(f"  - {{id: s{at}, run: x}}\n" for at in range(300))
    twice = "pipeline: t\nsteps:\n" + "".join(
        f"  - {{id: w{at}, uses: pipeline, with: {{name: wide}}}}\n" for at in range(2)
    )
    assert "more than 500 steps" in refusal(twice, wide)
    long = "pipeline: l\nsteps: [{id: " + "a" * 63 + ", run: x}]\n"
    outer = "pipeline: o\nsteps: [{id: " + "b" * 63 + ", uses: pipeline, with: {name: l}}]\n"
    assert "would be too long" in refusal(outer, long)


def test_a_fan_of_pipelines_is_refused_before_it_is_laid_out() -> None:
    fans = [
        f"pipeline: f{depth}\nsteps:\n"
        + "".join(f"  - {{id: s{at}, uses: pipeline, with: {{name: f{depth + 1}}}}}\n" for at in range(40))
        for depth in range(8)
    ]
    assert "more than 500 steps" in refusal(fans[0], *fans[1:], "pipeline: f8\nsteps: [{id: x, run: x}]\n")


def test_all_that_is_wrong_is_told_with_the_place_of_its_step() -> None:
    text = """\
pipeline: a
steps:
  - {id: one, uses: pipeline, with: {name: b}}
  - id: two
    run: x
    on_failure: [{id: three, uses: pipeline, with: {name: c}}]
finally: [{id: four, uses: pipeline, with: {name: d}}]
"""
    troubles = inline(spec(text), shelf()).troubles
    assert [(each.path, each.step) for each in troubles] == [
        (("steps", 0), "one"),
        (("steps", 1, "on_failure", 0), "three"),
        (("finally", 0), "four"),
    ]


def test_a_pipeline_that_may_be_skipped_asks_nothing_of_a_node() -> None:
    docker = "pipeline: d\nsteps: [{id: x, uses: container.stop, with: {name: oa}}]\n"
    assert capabilities(plan(naming("a", "d").replace(", params: {}", ""), docker))
    asking = naming("a", "d").replace("id: in,", "id: in, if: 1 == 2,")
    assert not capabilities(plan(asking, docker))


STEP = "pipeline: p\nsteps:\n  - id: a\n    uses: pipeline\n    with: {name: x}\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STEP + "    timeout: 5s\n", "6:14: `timeout` does not go with `uses: pipeline`"),
        (STEP + "    retry: {}\n", "6:5: `retry` does not go with `uses: pipeline`"),
        (STEP + "    stop: {}\n", "6:5: `stop` does not go with `uses: pipeline`"),
        (STEP + "    idempotent: true\n", "6:17: `idempotent` does not go with `uses: pipeline`"),
        (STEP.replace("name: x", "name: X!"), "5:18: `name` 'X!' cannot be a pipeline's name"),
        (STEP.replace("name: x", 'name: "${{ node.name }}"'), "5:18: `name` must be a name without expressions"),
        (STEP.replace("name: x", "name: x, nam: x"), "5:21: unknown field 'nam' of pipeline"),
        (STEP.replace("name: x", "name: x, params: [a]"), "5:21: `params` must be a mapping"),
        (STEP.replace("name: x", 'name: x, params: {a: "${{ steps.b.state }}"}'), "5:34: there is no step 'b'"),
    ],
)
def test_a_wrong_use_of_a_pipeline_is_said_where_it_is(text: str, said: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "f")
    assert str(caught.value.problems[0]).removeprefix("f:")[: len(said)] == said


ANSWER = "pipeline: p\nsteps:\n  - id: a\n    run: x\n    on_failure:\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (ANSWER + "      - {id: b, run: x, needs: [a]}\n", "6:25: the steps of `on_failure` run one after the other"),
        (ANSWER + "      - {id: b, run: x, on_failure: []}\n", "6:25: a step of an `on_failure` has none of its own"),
        (ANSWER + "      - {id: a, run: x}\n", "6:14: the id 'a' is already used in line 3"),
        (ANSWER + "      - {id: b}\n", "6:9: `run` is missing in a step"),
        (ANSWER + "      - {id: b, run: x, rum: y}\n", "6:25: unknown key 'rum' in a step; did you mean 'run'"),
        (ANSWER + "      - {id: b, run: 'echo ${{ steps.z.state }}'}\n", "6:28: there is no step 'z'"),
        (ANSWER + "      - {id: b, run: x}\n  - {id: c, run: x, needs: b}\n", "7:28: 'b' is part of an `on_failure`"),
        (ANSWER + "      x: 1\n", "5:5: `on_failure` must be a list"),
        (
            ANSWER + "      - {id: b, run: x, timeout: 5}\n  - {id: a, run: x}\n",
            "6:34: warning: a duration",
        ),
    ],
)
def test_a_wrong_answer_to_a_failure_is_said_where_it_is(text: str, said: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "f")
    problems = [str(problem).removeprefix("f:") for problem in caught.value.problems]
    assert any(problem.startswith(said) for problem in problems), problems


STOP = "pipeline: p\nsteps:\n  - id: a\n    run: x\n    stop: "


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (STOP + "{command: x, grace: 0s}\n", "5:5: `stop` has a command and no time for it"),
        (STOP + "{command: []}\n", "5:12: `command` is empty"),
        (STOP + "{command: {a: b}}\n", "5:12: `command` must be text"),
        (STOP + "{command: 'x ${{ params.a }}'}\n", "5:24: there is no parameter 'a'"),
        (STOP + "{command: \"x '${{ node.name }}'\"}\n", "5:25: "),
        (
            STOP.replace("run: x", "uses: container.job\n    with: {image: oa}") + "{command: x}\n",
            "6:5: `stop.command` belongs to `run`; write `stop` under `with`",
        ),
    ],
)
def test_a_wrong_stop_command_is_said_where_it_is(text: str, said: str) -> None:
    with pytest.raises(InvalidPipeline) as caught:
        load_pipelines(text, "f")
    problems = [str(problem).removeprefix("f:") for problem in caught.value.problems]
    assert any(problem.startswith(said) for problem in problems), problems


def test_a_stop_command_is_compiled_as_a_script() -> None:
    (step,) = plan(STOP + "{command: 'bye \"${{ node.name }}\"', grace: 5s}\n").steps
    assert step.stop.command is not None
    assert "${{" not in step.stop.command.text
    assert list(step.stop.command.bindings.values()) == ["node.name"]


def test_steps_for_failures_count() -> None:
    many = "".join(f"      - {{id: b{at}, run: x}}\n" for at in range(500))
    with pytest.raises(InvalidPipeline, match="501 steps; at most 500"):
        load_pipelines(ANSWER + many, "f")
    hidden = ", ".join(f"{{id: b{at}, run: x}}" for at in range(500))
    with pytest.raises(InvalidPipeline, match="502 steps; at most 500"):
        load_pipelines(ANSWER + f"      - {{id: c, run: x, on_failure: [{hidden}]}}\n", "f")


def test_answers_to_answers_end_in_an_error_however_deep() -> None:
    deep = "{id: z, run: x}"
    for at in range(25):
        deep = f"{{id: d{at}, run: x, on_failure: [{deep}]}}"
    with pytest.raises(InvalidPipeline, match="has none of its own"):
        load_pipelines(f"pipeline: p\nsteps: [{deep}]\n", "f")
