"""Expressions: what they see, what they may do, and what they say when they cannot."""

from __future__ import annotations

import contextlib
import subprocess
import sys
import time
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines import expressions
from gamenode_pipelines.expressions import ExpressionError, Known
from gamenode_pipelines.plan import Plan, StepPlan
from gamenode_pipelines.scope import task_scope
from gamenode_pipelines.task_state import NodeFacts
from gamenode_pipelines.tasks import new_task

SCOPE: dict[str, object] = {
    "params": {"port": 27960, "map": "dm1", "rate": 2.5, "whole": 2.0, "on": True, "items": "x"},
    "node": {
        "id": "abc",
        "name": "fra-1",
        "labels": {"region": "eu", "items": "it", "a-b": "dash", "get": "g"},
        "address": "10.0.0.1",
    },
    "run": {"id": "r1", "pipeline": "p", "version": 3},
    "task": {"id": "t1", "state": "running", "fence": 1},
    "steps": {
        "done": {
            "state": "succeeded",
            "outputs": {"map": "q3dm6", "n": "5"},
            "attempt": 1,
            "exit_code": 0,
            "error": "",
        },
        "skipped": {"state": "skipped", "outputs": {}, "attempt": 0, "exit_code": "", "error": ""},
    },
    "env": {"TZ": "UTC"},
}


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("params.port", 27960),
        (" params.port ", 27960),
        ("params.port + 1", 27961),
        ("params.rate * 2", 5.0),
        ("params.map", "dm1"),
        ("params['map']", "dm1"),
        ("params.on", True),
        ("not params.on", False),
        ('node.labels.region == "eu"', True),
        ('node.labels.region in ["eu", "us"]', True),
        ("'m1' in params.map", True),
        ("node.labels.items", "it"),
        ("node.labels.get", "g"),
        ("params.items", "x"),
        ('node.labels["a-b"]', "dash"),
        ("node.labels.absent", ""),
        ('node.labels.absent == ""', True),
        ("node.labels.absent is defined", False),
        ("node.labels.region is defined", True),
        ("node.labels.absent | default('x')", "x"),
        ("steps.skipped.outputs.map", ""),
        ("steps.skipped.outputs.map.upper()", ""),
        ("steps.skipped.outputs.n | int + 1", 1),
        ("steps.done.outputs.n | int + 1", 6),
        ("steps['done'].outputs.map", "q3dm6"),
        ("steps.done.outputs.map.startswith('q3')", True),
        ("params.map | upper | replace('DM', 'x')", "x1"),
        ("params.map ~ params.port ~ params.on ~ params.whole ~ none", "dm127960true2"),
        ("'a,b,c'.split(',')[1]", "b"),
        ("steps.done.outputs.__class__", ""),
        ("'a,b,c'.split(',') | join('-')", "a-b-c"),
        ("'a,b,c'.split(',') | length", 3),
        ("'abc'[0]", "a"),
        ("'abc'[1:]", "bc"),
        ("'abc'[9]", ""),
        ("params.map if params.on else 'none'", "dm1"),
        ("none", None),
        ("'}}'", "}}"),
        ("7 // 2 + 7 % 2", 4),
        ("2 ** 10", 1024),
        ("1.25 | round(1)", 1.2),
        ('["a", 1] | json', '["a", 1]'),
        ("env.TZ", "UTC"),
        ("env.absent", ""),
    ],
)
def test_an_expression_has_its_value(source: str, value: object) -> None:
    result = expressions.evaluate(source, SCOPE)
    assert result == value
    assert type(result) is type(value)


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("params.prot", "did you mean 'params.port'"),
        ("params[params.map]", "no 'params.dm1'"),
        ("node.nme", "did you mean 'node.name'"),
        ("steps.dne.outputs.x", "did you mean 'steps.done'"),
        ("steps.done.output", "did you mean 'steps.done.outputs'"),
        ("prams.port", "there is no 'prams' here"),
        ("node.labels.a-b", 'node.labels["a-b"]'),
        ("instance.name", "not yet"),
        ("params", "is a mapping"),
        ("[1, 2]", "is a list"),
        ("steps.done.outputs.n + 1", "| int"),
        ("steps.done.outputs.n is even", "| int"),
        ("1 / 0", "division by zero"),
        ("1 +", "ends too early"),
        ("1 1", "more than one expression"),
        ("", "empty"),
        ("params.map.format(1)", "no method 'format'"),
        ("params.map | shuffle", "no filter 'shuffle'"),
        ("params.map is lower", "no test 'lower'"),
        ("{'a': 1}", "dict is not allowed"),
        ('"a\\x00b"', "NUL"),
        ("x" * 5000, "characters"),
    ],
)
def test_a_wrong_expression_says_what_is_wrong(source: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        expressions.evaluate(source, SCOPE)
    assert words in caught.value.message


@pytest.mark.parametrize(
    "source",
    [
        "''.__class__",
        "''['__class__']",
        "params.map.__class__.__mro__",
        "params.__init__",
        "params._items",
        "steps.done.outputs.pop('n')",
        "self",
        "self.__dict__",
        "loop",
        "cycler",
        "range(10)",
        "lipsum()",
        "namespace()",
        "dict(a=1)",
        "caller()",
        "params.map.upper",
        "params.map.split.__self__",
        "[].append(1)",
        "params.map | attr('__class__')",
        "params.map.upper(*[1])",
        "{% for x in [1] %}",
        "{# #}",
    ],
)
def test_nothing_else_of_the_process_can_be_reached(source: str) -> None:
    with pytest.raises(ExpressionError):
        expressions.evaluate(source, SCOPE)


@pytest.mark.parametrize(
    "source",
    [
        "'a' * 10 ** 9",
        "10 ** 9 * 'a'",
        "[1] * 10 ** 9",
        "9 ** 9 ** 9",
        "9.9 ** 999999",
        "'%1000000000d' % 1",
        "'%100000000d' is even",
        "'%100000000d' is odd",
        "'a'.ljust(10 ** 9)",
        "'a'.center(10 ** 9)",
        "'{:>1000000000}'.format(1)",
        "5 | round(-999999999)",
        "'" + "a" * 900 + "' | replace('a', '" + "b" * 1000 + "') | replace('b', '" + "c" * 60 + "')",
        "(" * 900 + "1" + ")" * 900,
        "1" + " + 1" * 450,
        "not " * 400 + "1",
        "[" * 900 + "]" * 900,
        "params.map" + "[0]" * 600,
        "'" + "9" * 1900 + "' | int ** 64",
    ],
)
def test_no_expression_takes_long_or_grows_large(source: str) -> None:
    started = time.process_time()
    try:
        result = expressions.evaluate(source, SCOPE)
    except ExpressionError:
        pass
    else:
        assert len(str(result)) < 100
    assert time.process_time() - started < 0.5


def test_a_text_is_rendered() -> None:
    text = "a ${{ params.on }} ${{ params.whole }}${{ '}}' }} ${x} $${{ none }} {{ x }} {% y %} {# z"
    assert expressions.render(text, SCOPE) == "a true 2}} ${x} $ {{ x }} {% y %} {# z"
    assert expressions.render("echo ${#arr[@]}", SCOPE) == "echo ${#arr[@]}"
    with pytest.raises(ExpressionError, match="no }}"):
        expressions.render("a ${{ params.on", SCOPE)


@given(st.text(max_size=200).filter(lambda text: "${{" not in text))
def test_text_without_expressions_stays_as_it_is(text: str) -> None:
    assert expressions.render(text, SCOPE) == text


@pytest.mark.parametrize(
    ("source", "holds"),
    [
        ("", True),
        ("params.on", True),
        ("params.port == 1", False),
        ("node.labels.absent", False),
        ("steps.done.outputs", True),
    ],
)
def test_a_condition_holds_or_not(source: str, holds: bool) -> None:
    assert expressions.is_true(source, SCOPE) is holds


def test_whole_finds_a_single_expression() -> None:
    assert expressions.whole(" ${{ a.b }} ") == "a.b"
    assert expressions.whole("${{ a }} ${{ b }}") is None
    assert expressions.whole("x ${{ a }}") is None
    assert expressions.whole("${{ '}} ${{' }}") == "'}} ${{'"


def test_a_scope_may_lack_env() -> None:
    scope = {key: value for key, value in SCOPE.items() if key != "env"}
    assert expressions.evaluate("params.port + 1", scope) == 27961
    with pytest.raises(ExpressionError):
        expressions.evaluate("env.TZ ~ 'x'", scope)


@given(st.data())
def test_a_plain_path_means_the_same_with_and_without_the_sandbox(data: st.DataObject) -> None:
    names = [
        "params",
        "node",
        "labels",
        "items",
        "steps",
        "done",
        "outputs",
        "map",
        "region",
        "absent",
        "env",
        "TZ",
        "get",
    ]
    path = ".".join(data.draw(st.lists(st.sampled_from(names), min_size=2, max_size=4)))

    def outcome(source: str) -> object:
        try:
            return expressions.evaluate(source, SCOPE)
        except ExpressionError as error:
            return error.problem

    assert outcome(path) == outcome(f"({path})")


KNOWN = Known(params=frozenset({"port"}), steps=frozenset({"build"}), env=frozenset({"TZ"}))


@pytest.mark.parametrize(
    ("source", "message", "suggestion"),
    [
        ("params.prt", "no parameter 'prt'", "params.port"),
        ("1 + params.prt", "no parameter 'prt'", "params.port"),
        ("steps.biuld.outputs.x", "no step 'biuld'", "steps.build"),
        ("steps.build.output", "a step has no 'output'", "steps.build.outputs"),
        ("env.TX", "no environment variable of the pipeline 'TX'", "env.TZ"),
        ("node.nam", "`node` has no 'nam'", "node.name"),
        ("run.number", "`run` has no 'number'; there are", ""),
        ("task.stat == 'x'", "`task` has no 'stat'", "task.state"),
        ("nde.name", "no 'nde'", "node"),
    ],
)
def test_lint_finds_unknown_names(source: str, message: str, suggestion: str) -> None:
    findings = list(expressions.lint(source, KNOWN))
    assert [message in finding.message for finding in findings] == [True]
    assert findings[0].suggestion == suggestion


@pytest.mark.parametrize(
    "source", ["params.port", "node.labels.x", "steps.build.outputs.y ~ env.TZ", "steps[node.name]", "1"]
)
def test_lint_is_content_with_known_names(source: str) -> None:
    assert list(expressions.lint(source, KNOWN)) == []


def test_lint_knows_the_names_that_tasks_have() -> None:
    plan = Plan(pipeline="p", version=1, steps=(StepPlan("build"),), env={"TZ": "UTC"}, params={"port": 1})
    task = new_task(id="t", run_id="r", node=NodeFacts("n", "fra-1"), plan=plan, created_at=0.0)
    scope = task_scope(task, plan)
    assert set(scope) == set(expressions.ROOTS)
    for root in ("node", "run", "task"):
        names = scope[root]
        assert isinstance(names, Mapping)
        assert not [finding for name in names for finding in expressions.lint(f"{root}.{name}", KNOWN)]
        (finding,) = expressions.lint(f"{root}.q_q_q", KNOWN)
        assert all(name in finding.message for name in names)
    steps = scope["steps"]
    assert isinstance(steps, Mapping)
    assert not [finding for name in steps["build"] for finding in expressions.lint(f"steps.build.{name}", KNOWN)]


def test_the_steps_of_an_expression_are_found() -> None:
    assert expressions.steps_of("steps.a.outputs.x ~ steps['b'].state ~ params.c") == {"a", "b"}
    assert expressions.steps_of("((") == frozenset()


@given(st.text(alphabet="paramsnode.[]()'\"+-*/|~ 0123,=<>!{}%#${}\\\n", max_size=60))
def test_any_source_has_a_value_or_an_expression_error(source: str) -> None:
    list(expressions.lint(source, KNOWN))
    with contextlib.suppress(ExpressionError):
        expressions.evaluate(source, SCOPE)


def test_plain_paths_do_without_the_sandbox() -> None:
    code = (
        "import sys; from gamenode_pipelines import expressions as e\n"
        "assert e.render('a ${{ node.name }}', {'node': {'name': 'x'}}) == 'a x'\n"
        "assert not {'jinja2', 'pydantic', 'yaml'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
