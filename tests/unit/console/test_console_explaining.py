"""What `gamenode explain` says of step kinds and their fields."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from gamenode_console import explaining
from gamenode_console.cli.root import root
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS


@pytest.mark.parametrize("name", list(KINDS))
def test_every_kind_and_every_field_of_it_is_explained(name: str) -> None:
    kind = explaining.explain(f"steps.with.{name}")
    assert kind["description"] == KINDS[name].summary
    assert list(kind["keys"]) == list(KINDS[name].fields)
    assert kind["outputs"] == dict(KINDS[name].outputs or {})
    assert all(kind["keys"].values()), "nothing is left unsaid"
    for field in kind["keys"]:
        found = explaining.explain(f"{name}.{field}")
        assert found["description"]
        assert explaining.explain(f"steps.with.{name}.{field}") == {**found, "path": f"steps.with.{name}.{field}"}
    json.dumps(kind)


def test_a_key_comes_before_a_kind_of_the_same_name() -> None:
    assert explaining.explain("pipeline")["description"] == "Its name."
    assert explaining.explain("pipeline.params")["description"].startswith("Its parameters by name")
    assert "retry" in explaining.explain("steps.on_failure")["keys"]


def test_fields_in_fields_and_what_is_said_of_them() -> None:
    resources = explaining.explain("container.run.resources")
    assert {"cpus", "memory", "pids"} <= set(resources["keys"])
    assert explaining.explain("container.run.resources.memory")["type"] == "size"
    assert explaining.explain("container.run.name")["required"]
    assert explaining.explain("container.run.pull")["default"] == "missing"


@pytest.mark.parametrize("path", ["steps.with", "steps.uses", "finally.with"])
def test_with_has_the_fields_of_every_kind(path: str) -> None:
    assert list(explaining.explain(path)["keys"]) == list(KINDS)


def test_the_first_part_of_a_kind_lists_its_kinds() -> None:
    assert list(explaining.explain("check")["keys"]) == ["check.tcp", "check.http"]


def test_a_field_without_its_kind_is_shown_in_each() -> None:
    keys = explaining.explain("steps.with.resources.pids")["keys"]
    assert {"container.run.resources.pids", "container.job.resources.pids"} == set(keys)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("container.rnu", "did you mean 'container.run'"),
        ("contaner.run", "did you mean the step kind 'container.run'"),
        ("container.run.prots", "container.run has no field 'prots'; did you mean 'ports'"),
        ("container.run.resources.memry", "did you mean 'memory'"),
        ("container.run.name.first", "container.run has no field 'name.first'"),
        ("steps.with.prts", "did you mean 'ports'"),
        ("steps.retyr", "did you mean 'retry'"),
    ],
)
def test_a_wrong_word_names_the_nearest(path: str, said: str) -> None:
    with pytest.raises(GameNodeError) as caught:
        explaining.explain(path)
    assert caught.value.code is Code.NOT_FOUND
    assert said in caught.value.message


def test_a_kind_on_the_screen() -> None:
    shown = CliRunner().invoke(root, ["explain", "game.query"]).stdout
    assert "Is:   step kind, may be run again" in shown
    assert "protocol" in shown
    assert "OUTPUT" in shown
    assert "players" in shown
    assert "OUTPUT" not in CliRunner().invoke(root, ["explain", "steps.retry"]).stdout


def test_kinds_are_completed_without_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("_GAMENODE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gamenode explain container.r")
    monkeypatch.setenv("COMP_CWORD", "2")
    offered = CliRunner().invoke(root, []).stdout.split()
    assert offered == ["plain,container.run", "plain,container.restart", "plain,container.remove"]
