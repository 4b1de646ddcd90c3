"""The command line: what is typed is read, completed, or told what is wrong with it."""

from __future__ import annotations

from collections.abc import Iterable

import pytest

from gamenode_console.model.commandline import COMMANDS, goes_on, read
from gamenode_pipelines.errors import GameNodeError

NAMES = {"node": ["eu-1", "eu-10", "us-1"], "pipeline": ["deploy-game-server", "hello"], "run": ["abcd1234"]}


def names(kind: str) -> Iterable[str]:
    return NAMES.get(kind, ())


@pytest.mark.parametrize(
    ("line", "command", "words"),
    [
        ("nodes", "nodes", ()),
        ("NODES state=offline cpu>80", "nodes", ("state=offline", "cpu>80")),
        ("t hello eu-1 eu-10", "trigger", ("hello", "eu-1", "eu-10")),
        ("q", "quit", ()),
        ("label eu-1 'note=two words'", "label", ("eu-1", "note=two words")),
    ],
)
def test_a_line_is_read(line: str, command: str, words: tuple[str, ...]) -> None:
    read_line = read(line)
    assert (read_line.command.name, read_line.words) == (command, words)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("", "type a command"),
        ("nods", "did you mean 'nodes'?"),
        ("cancel", "it needs more: cancel RUN"),
        ("quit now", "it takes nothing more"),
        ("label 'eu", "close the quotes"),
    ],
)
def test_what_is_wrong_with_a_line_is_told(line: str, problem: str) -> None:
    with pytest.raises(GameNodeError, match=problem.replace("?", r"\?")):
        read(line)


@pytest.mark.parametrize(
    ("line", "proposed"),
    [
        ("no", "node"),
        ("node ", ""),
        ("node eu", "node eu-1"),
        ("node eu-1", "node eu-10"),
        ("trigger de", "trigger deploy-game-server"),
        ("trigger hello us", "trigger hello us-1"),
        ("nonsense e", ""),
        ("node zz", ""),
    ],
)
def test_a_line_is_completed_with_the_shortest_name(line: str, proposed: str) -> None:
    assert goes_on(line, names) == proposed


def test_no_two_commands_answer_to_one_word() -> None:
    said = [word for each in COMMANDS for word in (each.name, *each.aliases)]
    assert len(said) == len(set(said))
