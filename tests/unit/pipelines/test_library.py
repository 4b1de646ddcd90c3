"""The shipped pipelines load without a warning, and do on this machine what they say."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from gamenode_pipelines import expressions
from gamenode_pipelines.compile import compile_plan
from gamenode_pipelines.library import shipped
from gamenode_pipelines.load import load_pipelines
from gamenode_pipelines.plan import Plan, StepPlan

NODE = {"id": "n1", "name": "fra-1", "labels": {}, "address": ""}


def plan(name: str, /, **params: str) -> Plan:
    return compile_plan(load_pipelines(shipped()[name], name)[0].spec, params, version=1)


def run(step: StepPlan, plan: Plan) -> str:
    """What a step prints when it is run as an agent would."""
    scope = {"params": plan.params, "node": NODE, "run": {}, "task": {}, "steps": {}, "env": plan.env}
    assert step.script
    env = {name: expressions.render(value, scope) for name, value in step.env.items()}
    env |= {
        name: expressions.to_text(expressions.evaluate(source, scope)) for name, source in step.script.bindings.items()
    }
    program = {"sh": ["sh", "-e", "-c"], "python": [sys.executable, "-c"]}[step.script.shell]
    path = {"PATH": os.environ["PATH"], "GAMENODE_NODE_NAME": "fra-1"}
    done = subprocess.run([*program, step.script.text], env=path | env, capture_output=True, text=True, check=True)
    assert done.stderr == ""
    return done.stdout


def test_they_are_what_is_promised() -> None:
    assert list(shipped()) == [
        "build-game-image",
        "cleanup",
        "collect-logs",
        "deploy-game-server",
        "drain-node",
        "health",
        "hello",
        "host-report",
        "remove-game-server",
        "run-command",
    ]


@pytest.mark.parametrize("name", list(shipped()))
def test_each_loads_without_a_warning_under_its_name(name: str) -> None:
    (loaded,) = load_pipelines(shipped()[name], name)
    assert (loaded.name, loaded.warnings) == (name, ())
    assert loaded.spec.description


def test_hello_greets_and_names_the_node() -> None:
    hello = plan("hello", name="$(id) ops")
    assert run(hello.steps[0], hello) == "Hello, $(id) ops! This is fra-1.\n"


def test_run_command_runs_the_command_and_only_that() -> None:
    command = plan("run-command", command='echo "it\'s $((6 * 7))" | tr a-z A-Z')
    assert run(command.steps[0], command) == "IT'S 42\n"
    assert not command.steps[0].idempotent


@pytest.mark.parametrize(
    ("step_id", "words"),
    [
        ("system", ["host", "fra-1", "kernel", "booted"]),
        ("cpu_memory", ["cores", "load", "cpu", "memory", "available"]),
        ("disks", ["MOUNT", "/", "%"]),
        ("network", ["INTERFACE", "127.0.0.1"]),
        ("processes", ["processes; the", "PID"]),
    ],
)
def test_host_report_is_readable(step_id: str, words: list[str]) -> None:
    report = plan("host-report", top="3")
    output = run(report.step(step_id), report)
    assert all(word in output for word in words), output
    assert max(map(len, output.splitlines())) < 200


def test_the_page_has_each_with_every_parameter() -> None:
    page = (Path(__file__).parents[3] / "docs" / "library.md").read_text(encoding="utf-8")
    for name, text in shipped().items():
        assert f"`{name}`" in page
        _, _, section = page.partition(f"## `{name}`")
        for parameter in load_pipelines(text, name)[0].spec.parameters if section else ():
            assert f"`{parameter.name}`" in section.partition("\n## ")[0], (name, parameter.name)
