"""From the values of a plan to those of an attempt: expressions, types, and what is said of what does not fit."""

from __future__ import annotations

import re
from typing import Any

import pytest

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.kinds import KINDS, Port, check, rendered

SCOPE: dict[str, object] = {
    "params": {
        "port": 27960,
        "room": 512 * 1024**2,
        "wait": 90.0,
        "half": 0.5,
        "dry": True,
        "name": "oa $(reboot) 'x",
        "none": "",
        "template": "${{ params.name }}",
        "args": "+map oa_dm1",
        "lines": "say a\nquit",
    },
    "node": {"name": "n1", "labels": {"region": "eu"}},
}


def run(**with_: Any) -> dict[str, Any]:
    given = {"name": "oa", "image": "oa", **with_}
    return rendered("container.run", KINDS["container.run"].record.normal(given), SCOPE)


def test_a_single_expression_keeps_its_type() -> None:
    values = run(
        resources={"memory": "${{ params.room }}", "cpus": "${{ params.half }}", "pids": "${{ params.port - 1 }}"},
        privileged="${{ params.dry }}",
        stop={"grace": "${{ params.wait }}"},
        ports=["${{ params.port }}:27960/udp", "${{ params.port + 1 }}"],
        env={"PORT": "${{ params.port }}", "WAIT": "${{ params.wait }}", "DRY": "${{ params.dry }}"},
    )
    assert values["resources"] == {"memory": 512 * 1024**2, "cpus": 0.5, "pids": 27959, "ulimits": {}}
    assert (values["privileged"], values["stop"]["grace"]) == (True, 90.0)
    assert values["ports"] == (Port(27960, "udp", 27960), Port(27961))
    assert values["env"] == {"PORT": "27960", "WAIT": "90", "DRY": "true"}


def test_an_expression_in_a_text_is_a_part_of_it() -> None:
    values = run(
        name="oa-${{ params.port }}", stop={"grace": "${{ params.wait }}s"}, labels={"at": "x ${{ node.name }}"}
    )
    assert (values["name"], values["stop"]["grace"], values["labels"]) == ("oa-27960", 90.0, {"at": "x n1"})


def test_a_value_never_makes_more_words_or_expressions_than_it_is() -> None:
    assert run(command="serve --name ${{ params.name }}")["command"] == ("serve", "--name", "oa $(reboot) 'x")
    assert run(command=["echo", "${{ params.template }}"])["command"] == ("echo", "${{ params.name }}")
    assert run(env={"A": "${{ params.template }}"})["env"] == {"A": "${{ params.name }}"}
    assert run(command="${{ params.args }}")["command"] == ("+map", "oa_dm1")


def test_what_gives_nothing_counts_as_left_out_except_as_text() -> None:
    nothing = "${{ params.none }}"
    values = run(
        resources={"memory": nothing}, restart=nothing, pull=nothing, command=nothing, user=nothing, env={"A": nothing}
    )
    assert values["resources"]["memory"] is None
    assert (values["restart"], values["pull"], values["command"], values["user"]) == ("no", "missing", None, "")
    assert values["env"] == {"A": ""}
    assert run(network="${{ node.labels.network }}")["network"] == ""


@pytest.mark.parametrize(
    ("with_", "words"),
    [
        ({"ports": ["80", "${{ params.name }}"]}, 'with.ports[1]: "oa $(reboot) \'x" is not a port'),
        ({"image": "${{ params.none }}"}, "with.image: is empty"),
        ({"resources": {"memory": "${{ params.dry }}"}}, "with.resources.memory: must be a size like 512m, not 'True'"),
        ({"labels": {"a.b": "${{ params.nope }}"}}, "with.labels[\"a.b\"]: expression 'params.nope': there is no"),
        ({"restart": "${{ node.name }}"}, "with.restart: 'n1' is none of no, on-failure"),
        ({"name": "${{ params.name }}", "hostname": "${{ params.name }}"}, "with.hostname:"),
    ],
)
def test_what_does_not_fit_is_named_with_its_path(with_: dict[str, Any], words: str) -> None:
    with pytest.raises(GameNodeError, match=re.escape(words)) as caught:
        run(**with_)
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_no_value_makes_two_commands_of_one() -> None:
    given = {"protocol": "quake3", "port": 1, "password": "x", "commands": ["say ${{ params.lines }}"]}
    with pytest.raises(GameNodeError, match=r"with\.commands\[0\]: .*line break"):
        rendered("game.rcon", given, SCOPE)


@pytest.mark.parametrize(
    ("command", "value"),
    [("say ${{ params.x }}", "a; quit"), ("${{ params.x }}", "say a;quit"), ('say "${{ params.x }}"', 'a" quit "')],
)
def test_no_value_adds_a_command_where_a_console_parts_them(command: str, value: str) -> None:
    given = {"protocol": "source", "port": 1, "password": "a;b", "commands": ["status", command]}
    with pytest.raises(GameNodeError, match=r"with\.commands\[1\]: .*params\.x.* could add a command") as caught:
        rendered("game.rcon", given, {"params": {"x": value}})
    assert caught.value.code is Code.INVALID_ARGUMENT


def test_a_value_may_be_a_whole_command_and_what_is_written_may_part_them() -> None:
    given = {"protocol": "source", "port": 1, "password": "x", "commands": ["${{ params.x }}", "a;b ${{ params.y }}"]}
    values = rendered("game.rcon", given, {"params": {"x": 'say "hello there"', "y": 5}})
    assert values["commands"] == ('say "hello there"', "a;b 5")


def test_everything_wrong_is_said_at_once_with_the_nearest_name() -> None:
    with pytest.raises(GameNodeError) as caught:
        check("container.run", {"nam": "x", "image": "", "secrets": {}, "cpus": 1, "resources": {"memry": 1}})
    assert caught.value.message.removeprefix("with.").split("; with.") == [
        "nam: unknown field 'nam' of container.run; did you mean 'name'?",
        "secrets: not yet: `secrets`; mount a file of the node with `volumes`, read-only, meanwhile",
        "cpus: unknown field 'cpus' of container.run; did you mean 'resources.cpus'?",
        "name: `name` is missing in container.run",
        "image: is empty",
        "resources.memry: unknown field 'memry' of `resources`; did you mean 'memory'?",
    ]


def test_an_unknown_kind_is_named() -> None:
    with pytest.raises(GameNodeError, match=r"no step kind 'container\.runn'; did you mean 'container\.run'") as caught:
        check("container.runn", {})
    assert caught.value.code is Code.INVALID_ARGUMENT


@pytest.mark.parametrize(
    ("with_", "words"),
    [
        ({"name": "oa", "for": "log"}, "with.pattern: `pattern` is missing: `for: log` waits for a line"),
        ({"name": "oa", "pattern": "x"}, "with.pattern: belongs to `for: log`"),
    ],
)
def test_a_pattern_is_for_the_log(with_: dict[str, Any], words: str) -> None:
    with pytest.raises(GameNodeError, match=re.escape(words)):
        check("container.wait", with_)
    check("container.wait", {"name": "oa", "for": "log", "pattern": "x"})


@pytest.mark.parametrize(
    ("kind", "with_", "words"),
    [
        ("container.pull", {}, {"docker"}),
        ("container.run", {"gpus": "all"}, {"docker", "docker.gpus"}),
        ("container.run", {"network": "host"}, {"docker", "docker.network.host"}),
        ("container.run", {"network": "${{ params.n }}"}, {"docker"}),
        ("container.run", {"network": "container:oa"}, {"docker"}),
        (
            "container.job",
            {"resources": {"memory": "1g", "cpus": "${{ params.c }}", "pids": 5}},
            {"docker", "docker.limits.memory", "docker.limits.pids"},
        ),
        ("container.stop", {"name": "x"}, {"docker"}),
        ("check.tcp", {"port": 80}, set()),
        ("file.write", {"path": "x"}, set()),
        ("game.query", {"protocol": "quake3", "port": 80}, set()),
    ],
)
def test_what_a_kind_needs_of_a_node(kind: str, with_: dict[str, Any], words: set[str]) -> None:
    assert KINDS[kind].capabilities(with_) == words


def test_what_may_run_twice() -> None:
    assert {name for name, kind in KINDS.items() if not kind.idempotent} == {
        "container.job", "container.exec", "container.restart", "game.rcon", "pipeline",
    }  # fmt: skip
