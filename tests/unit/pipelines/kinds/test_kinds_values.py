"""The values that fields take, each with what is said of one that is not."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gamenode_pipelines.kinds import KINDS, Health, Volume, check
from gamenode_pipelines.kinds.commands import COMMAND
from gamenode_pipelines.kinds.fields import FieldType
from gamenode_pipelines.kinds.stopping import STOP

MIB = 1024**2


def field(path: str) -> FieldType:
    """The type of a field of `container.run`, or of a kind that is named."""
    kind, _, name = path.rpartition("/")
    record = KINDS[kind or "container.run"].record
    *above, last = name.split(".")
    for part in above:
        record = record.fields[part].type  # type: ignore[assignment]
    return record.fields[last].type


@pytest.mark.parametrize(
    ("path", "value", "typed"),
    [
        ("name", "oa-27960", "oa-27960"),
        (
            "image",
            "registry.example.com:5000/games/oa:0.8@sha256:ab",
            "registry.example.com:5000/games/oa:0.8@sha256:ab",
        ),
        ("user", 1000.0, "1000"),
        ("privileged", "true", True),
        ("privileged", False, False),
        ("resources.memory", "512m", 512 * MIB),
        ("resources.memory", 4096, 4096),
        ("resources.cpus", "1.5", 1.5),
        ("resources.cpus", 2, 2.0),
        ("resources.pids", " 200 ", 200),
        ("resources.ulimits", {"nofile": 1024, "core": "0:-1"}, {"nofile": (1024, 1024), "core": (0, -1)}),
        ("stop.grace", "1m30s", 90.0),
        ("stop.grace", 2.5, 2.5),
        ("stop.signal", "sigint", "INT"),
        ("restart", "on-failure:5", "on-failure:5"),
        ("restart", "no", "no"),
        ("volumes", ["/a:/b", "maps:/maps:ro"], (Volume("/a", "/b"), Volume("maps", "/maps", True))),
        ("tmpfs", ["/run", "/tmp:size=1m"], {"/run": "", "/tmp": "size=1m"}),
        ("tmpfs", {"/run": "size=1m"}, {"/run": "size=1m"}),
        ("cap_add", ["net_admin", "CAP_SYS_PTRACE"], ("NET_ADMIN", "SYS_PTRACE")),
        ("devices", ["/dev/dri", "/dev/a:/dev/b:rw"], ("/dev/dri", "/dev/a:/dev/b:rw")),
        ("gpus", 2, "2"),
        ("gpus", "device=GPU-1,GPU-2", "GPU-1,GPU-2"),
        ("command", "a 'b c' \"d\"", ("a", "b c", "d")),
        ("command", ["sleep", 10], ("sleep", "10")),
        ("entrypoint", [], ()),
        ("healthcheck", {"test": "curl x"}, Health(("CMD-SHELL", "curl x"))),
        ("healthcheck", {"test": ["a", 1], "retries": 5}, Health(("CMD", "a", "1"), retries=5)),
        ("healthcheck", {"test": "NONE"}, Health(("NONE",))),
        ("check.http/status", 204, (204,)),
        ("check.http/status", ["200", 204], (200, 204)),
        ("file.write/mode", "644", "0644"),
        ("file.write/mode", "0o755", "0755"),
        ("check.tcp/host", "[::1]", "::1"),
        ("game.rcon/commands", ["say hi"], ("say hi",)),
        ("container.wait/seconds", 30, 30.0),
    ],
)
def test_a_value_is_typed(path: str, value: Any, typed: Any) -> None:
    type = field(path)
    assert type.check(value) == typed
    assert type.check(type.normal(value)) == typed


@pytest.mark.parametrize(
    ("path", "value", "words"),
    [
        ("name", "-a", "cannot be a container's name"),
        ("name", "", "is empty"),
        ("image", "my image", "is not an image"),
        ("privileged", "yes", "must be true or false, not 'yes'"),
        ("resources.memory", "lots", "'lots' is not a size"),
        ("resources.memory", 0, "must be more than 0"),
        ("resources.memory", "", "is not a size"),
        ("resources.cpus", 0, "must be more than 0 and at most 4096 cores"),
        ("resources.cpus", float("nan"), "must be a number of cores"),
        ("resources.pids", 1.5, "must be a whole number"),
        ("resources.pids", True, "must be a whole number"),
        ("resources.ulimits", {"nofiles": 1}, "'nofiles' is none of"),
        ("resources.ulimits", {"nofile": "9:8"}, "the soft limit in '9:8' is above the hard one"),
        ("resources.ulimits", {"nofile": "many"}, "must be a number, or two like 1024:2048"),
        ("stop.grace", "soon", "'soon' is not a duration"),
        ("stop.signal", "a b", "is not a signal"),
        ("restart", "sometimes", "is none of no, on-failure"),
        ("restart", "always:3", "is none of no, on-failure"),
        ("volumes", ["/a"], "has no source"),
        ("volumes", ["a:/b:z"], "'z' in 'a:/b:z' is none of ro and rw"),
        ("volumes", ["./a:/b"], "neither a path from / nor the name of a volume"),
        ("volumes", ["/a/../b:/b"], "has `..` in it"),
        ("volumes", ["/a:/"], "would cover the whole container"),
        ("volumes", ["/a:b"], "the path 'b' must begin with /"),
        ("tmpfs", ["run"], "must begin with /"),
        ("cap_add", ["NET ADMIN"], "is not a capability"),
        ("cap_add", "NET_ADMIN", "must be a list, not 'NET_ADMIN'"),
        ("devices", ["dev/x"], "is not a device"),
        ("devices", ["/dev/x:/dev/x:"], "is not a device"),
        ("command", "a 'b", "cannot be split into words: no closing quotation"),
        ("command", " ", "is empty"),
        ("env", {"A B": 1}, "cannot be the name of an environment variable"),
        ("env", {"GAMENODE_X": 1}, "are the agent's own"),
        ("env", {"A": ["x"]}, "must be text, not a list"),
        ("env", ["A=1"], "must be a mapping of keys to values, not a list"),
        ("labels", {"io.gamenode.task": 1}, "are the agent's own"),
        ("healthcheck", {"test": []}, "is empty"),
        ("healthcheck", {}, "`test` is missing in a health check"),
        ("workdir", "maps", "must begin with /"),
        ("check.http/status", 99, "must be between 100 and 599"),
        ("check.http/status", [], "is empty; name a status"),
        ("check.http/url", "ftp://a", "is not a URL"),
        ("check.http/url", "http://", "is not a URL"),
        ("check.http/url", "http://a:99999/", "is not a URL"),
        ("check.tcp/port", 0, "must be between 1 and 65535"),
        ("check.tcp/host", "a b", "is not a host"),
        ("file.write/mode", 420, "must be permissions like"),
        ("file.write/mode", "0999", "must be permissions like"),
        ("file.write/path", "../x", "has `..` in it"),
        ("container.load/from", "../oa.tar", "the path '../oa.tar' has `..` in it"),
        ("container.load/from", "images/oa.tar", "must be 1 to 128 letters, digits"),
        ("container.wait/pattern", "(", "is not a regular expression"),
        ("container.wait/pattern", "(" * 300, "is not a regular expression"),
        ("container.wait/pattern", r"(a|b)\1", "no back reference"),
        ("container.wait/pattern", r"ready(?!\.)", "no lookaround"),
        ("container.wait/pattern", r"(?<=map )x", "no lookaround"),
        ("container.wait/pattern", "a++b", "with which a search can take for ever"),
        ("container.wait/pattern", "x" * 301, "has 301 characters"),
        ("ports", [{"target": 80, "published": 8080}], "is a mapping; write it like 28000:27960/udp"),
        ("game.query/protocol", "quake", "'quake' is none of"),
        ("game.rcon/commands", ["say a\nquit"], "has a line break or another control character"),
        ("game.rcon/commands", [""], "is empty"),
    ],
)
def test_a_bad_value_is_refused(path: str, value: Any, words: str) -> None:
    type = field(path)
    for read in (type.check, type.normal):
        with pytest.raises(ValueError, match=re.escape(words)):
            read(value)


@pytest.mark.parametrize("pattern", [r"^map \w+$", r"a+\++", r"[(?=]", r"[]+]+", "(?i)ready", "(?P<map>x)", r"x{2,3}?"])
def test_a_pattern_that_only_looks_slow_is_none(pattern: str) -> None:
    assert field("container.wait/pattern").check(pattern) == pattern


def test_a_stop_command_for_the_input_is_a_line_and_one_that_is_run_is_words() -> None:
    assert STOP.check({"command": "say 'bye now'"})["command"] == ("say", "bye now")
    assert STOP.check({"command": "say 'bye now'"})["via"] == "exec"
    assert STOP.check({"command": "say 'bye now'", "via": "stdin"})["command"] == ("say 'bye now'",)
    assert STOP.check({"command": ["save", "quit"], "via": "stdin"})["command"] == ("save", "quit")
    assert STOP.check({})["via"] == ""
    with pytest.raises(ValueError, match="via: needs a `command`"):
        STOP.check({"via": "exec"})
    with pytest.raises(ValueError, match="as a list where `via` is an expression"):
        STOP.normal({"command": "say bye", "via": "${{ params.via }}"})


def test_a_value_does_not_make_two_lines_of_one_that_goes_to_the_input() -> None:
    for command in ("say hello\nquit", ["say hello\rquit"]):
        with pytest.raises(ValueError, match="command: has a line break"):
            STOP.check({"command": command, "via": "stdin"})
    assert STOP.check({"command": ["printf", "a\nb"]})["command"] == ("printf", "a\nb")


@pytest.mark.parametrize(
    "command",
    [
        ["sh", "-c", "echo ${{ params.map }}"],
        "/bin/bash -ec 'echo ${{ params.map }}'",
        ["nice", "python3", "-c", "print(${{ params.port }})"],
    ],
)
def test_no_expression_becomes_a_part_of_a_shells_script(command: Any) -> None:
    for path, value in (("command", command), ("container.exec/command", command), ("stop.command", command)):
        with pytest.raises(ValueError, match="its value would be script"):
            field(path).normal(value)
    if isinstance(command, list):
        with pytest.raises(ValueError, match="its value would be script"):
            field("healthcheck.test").normal(["CMD", *command])


def test_a_script_may_be_one_expression_and_its_arguments_any() -> None:
    for command in (["sh", "-c", "${{ params.script }}"], ["sh", "-c", 'echo "$0"', "map ${{ params.map }}"]):
        assert COMMAND.normal(command) == tuple(command)


def test_a_command_is_split_before_its_expressions_are_known() -> None:
    normal = COMMAND.normal("serve --name '${{ params.a ~ \" ${{\" }} x' ${{ params.b }}")
    assert normal == ("serve", "--name", '${{ params.a ~ " ${{" }} x', "${{ params.b }}")
    assert COMMAND.normal("${{ params.all }}") == "${{ params.all }}"
    with pytest.raises(ValueError, match="no closing quotation"):
        COMMAND.normal("serve '${{ params.b }}")


def test_an_expression_has_no_place_in_a_text_for_a_shell() -> None:
    type = field("healthcheck.test")
    assert type.normal(["curl", "${{ params.url }}"]) == ("CMD", "curl", "${{ params.url }}")
    for test in ("curl ${{ params.url }}", ["CMD-SHELL", "curl ${{ params.url }}"]):
        with pytest.raises(ValueError, match="has an expression in a shell's text"):
            type.normal(test)


def test_keys_take_no_expressions() -> None:
    for path, below in (("env", "${{ params.x }}"), ("labels", "${{ params.x }}"), ("sysctls", "${{ params.x }}")):
        with pytest.raises(ValueError, match="expressions are not allowed in a key"):
            field(path).normal({below: "1"})


def test_every_field_is_there_with_what_stands_for_nothing() -> None:
    values = check("container.run", {"name": "oa", "image": "oa"})
    assert list(values) == list(KINDS["container.run"].fields)
    assert values["pull"] == "missing"
    assert (values["command"], values["ports"], values["env"], values["shm_size"]) == (None, (), {}, None)
    assert values["resources"] == {"cpus": None, "memory": None, "pids": None, "ulimits": {}}
    assert values["stop"] == {"command": None, "via": "", "signal": "", "grace": None}
    assert (values["healthcheck"], values["logging"]) == (None, {"driver": "", "options": {}})
    assert (values["restart"], values["replace"], values["tmpfs"]) == ("no", False, {})
    assert check("check.http", {"url": "http://a"})["status"] == tuple(range(200, 400))
    assert check("game.query", {"protocol": "quake3", "port": 1})["host"] == "127.0.0.1"


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
TYPES: list[Callable[[object], Any]] = [
    read for kind in KINDS.values() for entry in kind.fields.values() for read in (entry.type.check, entry.type.normal)
]


@given(st.sampled_from(TYPES), ANYTHING)
def test_whatever_is_given_it_is_taken_or_refused_in_words(read: Callable[[object], Any], value: object) -> None:
    said = "taken"
    try:
        read(value)
    except ValueError as error:
        said = str(error)
    assert said
