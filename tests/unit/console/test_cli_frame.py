"""The command tree itself: help, examples, aliases, suggestions, settings, and what needs no server."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from gamenode_console.cli import reference
from gamenode_console.cli.client import Client
from gamenode_console.cli.frame import Command, report
from gamenode_console.cli.root import root
from gamenode_console.machine import default_name
from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_proto.process import places

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _own_home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "GAMENODE_DATA_DIR", "GAMENODE_CONTEXT", "GAMENODE_OUTPUT", "GAMENODE_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(places, "SYSTEM_SOCKET", tmp_path / "no-system.sock")


def run(*words: str, stdin: str = "") -> Result:
    result = CliRunner().invoke(root, list(words), input=stdin)
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    return result


def commands() -> Iterator[tuple[str, click.Command]]:
    def walk(command: click.Command, context: click.Context) -> Iterator[tuple[str, click.Command]]:
        yield context.command_path, command
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                inner = command.get_command(context, name)
                assert inner is not None
                yield from walk(inner, click.Context(inner, parent=context, info_name=name))

    yield from walk(root, click.Context(root, info_name="gamenode"))


@pytest.mark.parametrize(
    ("path", "command"), list(commands()), ids=lambda value: value if isinstance(value, str) else ""
)
def test_every_command_has_help_and_examples_that_are_its_own(path: str, command: click.Command) -> None:
    result = run(*path.split()[1:], "--help")
    assert result.exit_code == 0
    assert command.help
    assert "Traceback" not in result.output
    if isinstance(command, Command):
        assert command.examples, f"{path} has no examples"
        assert any(path in example for example in command.examples)


def test_the_list_of_commands_says_what_their_own_help_says() -> None:
    for name, (_, _, line) in root.lazy.items():
        command = root.get_command(click.Context(root), name)
        assert command is not None
        assert command.name == name
        assert line.endswith(".")


def test_the_reference_is_current() -> None:
    page = ROOT / "docs/reference/cli.md"
    assert page.read_text() == reference.markdown(), (
        "run: python -m gamenode_console.cli.reference > docs/reference/cli.md"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nod"], "Did you mean 'node'?"),
        (["pipeline", "aply"], "Did you mean 'apply'?"),
        (["node", "ls", "--sort"], "No such option"),
        (["node", "ls", "--sort-by"], "requires an argument"),
        (["run", "wait", "x", "--timeout", "soon"], "soon"),
        (["run", "wait", "x", "--timeout", "0s"], "more than 0"),
        (["events", "--since", "yesterday"], "neither a duration"),
        (["events", "--since", "1m", "--until", "2m"], "before"),
        (["pipeline", "run", "x", "-p", "novalue"], "not KEY=VALUE"),
        (["pipeline", "run", "x", "-p", "a=1", "-p", "a=2"], "given twice"),
        (["pipeline", "run", "x", "--timeout", "5s"], "--wait"),
        (["pipeline", "run", "x", "--all", "--node", "n"], "--all"),
        (["pipeline", "run", "./x.yaml", "--version", "2"], "stored"),
        (["pipeline", "apply"], "FILE"),
        (["pipeline", "apply", "-", "-"], "only once"),
        (["node", "label", "n", "a=1", "a-"], "both set and taken away"),
        (["run", "ls", "--state", "odd"], "odd"),
        (["run", "resolve", "r", "--node", "n", "--as", "succeeded", "--reason", " "], "--reason"),
        (["-o", "yaml", "node", "ls"], "--output"),
        (["--data-dir", "/a", "--context", "b", "node", "ls"], "both name a server"),
        (["context", "add", "lab"], "--data-dir"),
        (["completion", "tcsh"], "tcsh"),
    ],
)
def test_wrong_usage_is_exit_2_and_says_what_is_wrong(words: list[str], said: str) -> None:
    result = run(*words)
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert result.stdout == ""


@pytest.mark.parametrize("words", [[], ["node"], ["pipeline"]])
def test_a_group_alone_shows_its_help(words: list[str]) -> None:
    result = run(*words)
    assert result.exit_code == 2
    assert "Commands:" in result.stderr


def test_version_both_ways() -> None:
    result = run("--version")
    assert (result.exit_code, result.stdout.split()[0]) == (0, "gamenode")
    done = subprocess.run(
        [sys.executable, "-m", "gamenode_console", "--version"], capture_output=True, text=True, check=True
    )
    assert done.stdout == result.stdout


def test_version_without_a_server_still_says_ours(tmp_path: Path) -> None:
    result = run("--data-dir", str(tmp_path), "version", "-o", "json")
    assert result.exit_code == 0
    assert json.loads(result.stdout)["server"] is None


def test_version_is_quick() -> None:
    def once() -> float:
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "gamenode_console", "--version"], capture_output=True, check=True)
        return time.perf_counter() - start

    bare = min(_python_start() for _ in range(3))
    assert min(once() for _ in range(5)) - bare < 0.06


def _python_start() -> float:
    start = time.perf_counter()
    subprocess.run([sys.executable, "-c", "pass"], check=True)
    return time.perf_counter() - start


def test_contexts_from_end_to_end(tmp_path: Path) -> None:
    lab = tmp_path / "lab"
    lab.mkdir()
    assert run("context", "ls").stderr.startswith("no contexts")
    assert run("--data-dir", str(lab), "context", "add", "lab").exit_code == 0
    assert (
        run("context", "add", "--data-dir", str(tmp_path / "none"), "other", "--use").stderr.count("does not exist")
        == 1
    )
    listed, here = json.loads(run("context", "ls", "-o", "json").stdout), {"connect": None, "credentials": None}
    assert listed == [
        {"name": "lab", "data_dir": str(lab), **here, "current": False},
        {"name": "other", "data_dir": str(tmp_path / "none"), **here, "current": True},
    ]
    assert run("context", "use", "lab").exit_code == 0
    failed = run("node", "ls")
    assert failed.exit_code == 4
    assert "from context lab" in failed.stderr
    assert run("context", "use", "nope").exit_code == 3
    assert run("context", "delete", "lab").exit_code == 0
    assert run("context", "ls", "-q").stdout == "other\n"


def test_the_config_file_and_its_mistakes(tmp_path: Path) -> None:
    config = tmp_path / "c.yaml"
    config.write_text("client:\n  output: name\n")
    assert run("--config", str(config), "context", "ls").exit_code == 0
    config.write_text("client:\n  outptu: name\n")
    result = run("context", "ls", "--config", str(config))
    assert result.exit_code == 2
    assert "did you mean 'output'" in result.stderr


def test_lint_and_schema_and_explain_need_no_server(tmp_path: Path) -> None:
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text("pipeline: good\nsteps:\n  - id: one\n    run: echo hi\n")
    bad.write_text("pipeline: bad\nstepz: []\n")
    assert run("pipeline", "lint", str(good)).exit_code == 0
    failed = run("pipeline", "lint", str(bad), str(good))
    assert failed.exit_code == 2
    assert f"{bad}:2:1: unknown key 'stepz'; did you mean 'steps'?" in failed.stderr.splitlines()
    problems = json.loads(run("pipeline", "lint", str(bad), "-o", "json").stdout)
    assert {"file": str(bad), "line": 2, "column": 1, "suggestion": "steps"}.items() <= next(
        problem for problem in problems if problem["line"] == 2
    ).items()
    assert run("pipeline", "lint", "-", stdin=good.read_text()).stdout == "good: fine\n"
    assert "properties" in json.loads(run("pipeline", "schema").stdout)
    assert "attempts" in run("explain", "steps.retry").stdout
    nothing = run("explain", "stepz")
    assert (nothing.exit_code, "did you mean 'steps'" in nothing.stderr) == (3, True)


def test_problems_of_files_stand_at_the_start_of_their_lines(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(GameNodeError(Code.INVALID_ARGUMENT, "a.yaml:1:2: one\na.yaml:3:4: two")) == 2
    assert capsys.readouterr().err == "a.yaml:1:2: one\na.yaml:3:4: two\n"


def test_completion_scripts_and_words(monkeypatch: pytest.MonkeyPatch) -> None:
    for shell in ("bash", "zsh", "fish"):
        assert "_GAMENODE_COMPLETE" in run("completion", shell).stdout
    monkeypatch.setenv("_GAMENODE_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", "gamenode pipeline ap")
    monkeypatch.setenv("COMP_CWORD", "2")
    assert CliRunner().invoke(root, []).stdout == "plain,apply\n"
    monkeypatch.setenv("COMP_WORDS", "gamenode node show x")
    monkeypatch.setenv("COMP_CWORD", "3")
    assert CliRunner().invoke(root, []).stdout.strip() == "", "no server, no names, no noise"


def test_down_where_nothing_was_ever_up(tmp_path: Path) -> None:
    result = run("--data-dir", str(tmp_path / "none"), "down")
    assert (result.exit_code, "nothing runs" in result.stderr) == (0, True)


@pytest.mark.parametrize(
    ("host", "name"),
    [("Host.example.org", "host"), ("a_b", "a-b"), ("ä", "this-machine"), ("x" * 99, "x" * 63), ("-", "this-machine")],
)
def test_a_node_name_from_a_host_name(host: str, name: str) -> None:
    assert default_name(host) == name


def test_a_bug_is_said_without_a_traceback(capsys: pytest.CaptureFixture[str]) -> None:
    assert report(ZeroDivisionError("oh \x1b[31mno")) == 1
    err = capsys.readouterr().err
    assert "a bug, ZeroDivisionError: oh ␛[31mno" in err
    assert "Traceback" not in err
    assert report(PermissionError(13, "Permission denied", "/etc/shadow")) == 5
    assert capsys.readouterr().err == "gamenode: /etc/shadow: Permission denied\n"


def test_asking_where_nobody_can_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client({})
    client.confirm("Sure?", yes=True)
    with pytest.raises(GameNodeError, match="--yes") as caught:
        client.confirm("Sure?", yes=False)
    assert caught.value.code is Code.INVALID_ARGUMENT
