"""The command line: which commands there are, how a line is read, and how one goes on. Pure.

Names that are completed (nodes, runs, pipelines) come from the caller. The palette offers the same commands.
"""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from gamenode_pipelines.errors import Code, GameNodeError
from gamenode_pipelines.wording import nearest


@dataclass(frozen=True, slots=True)
class Command:
    """One command. `takes` says what each argument is: `node`, `run`, `pipeline`, `theme`, `text`; the last repeats."""

    name: str
    text: str
    takes: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    #: How many arguments it cannot do without.
    needs: int = 0
    #: Shown in the help: `trigger [PIPELINE] [NODE]...`.
    usage: str = ""
    #: It changes something: not in a read-only console.
    changes: bool = False


@dataclass(frozen=True, slots=True)
class Line:
    """A line that was read."""

    command: Command
    words: tuple[str, ...]


COMMANDS: tuple[Command, ...] = (
    Command("fleet", "the fleet at a glance", ("text",), usage="fleet [FILTER]"),
    Command("nodes", "nodes, or those that match", ("text",), ("no",), usage="nodes [FILTER]"),
    Command("node", "one node", ("node",), needs=1, usage="node NODE"),
    Command("pipelines", "pipelines", ("text",), ("pipe",), usage="pipelines [FILTER]"),
    Command("runs", "runs, or those that match", ("text",), usage="runs [FILTER]"),
    Command("run", "one run", ("run",), needs=1, usage="run RUN"),
    Command("logs", "the log of a run, or of NODE/CONTAINER", ("run",), ("log",), needs=1, usage="logs RUN"),
    Command("events", "events, or those that match", ("text",), ("ev",), usage="events [FILTER]"),
    Command(
        "trigger",
        "start a pipeline",
        ("pipeline", "node"),
        ("t", "deploy"),
        usage="trigger [PIPELINE] [NODE]...",
        changes=True,
    ),
    Command("cancel", "cancel runs", ("run",), needs=1, usage="cancel RUN...", changes=True),
    Command("retry", "run again where a run failed", ("run",), needs=1, usage="retry RUN", changes=True),
    Command(
        "resolve",
        "say what became of a task that waits for a person",
        ("run", "node", "outcome", "text"),
        needs=4,
        usage="resolve RUN NODE succeeded|failed|retry REASON...",
        changes=True,
    ),
    Command(
        "pause",
        "let nothing further of a run begin",
        ("run", "text"),
        needs=1,
        usage="pause RUN [REASON]",
        changes=True,
    ),
    Command("resume", "let a paused run go on", ("run",), needs=1, usage="resume RUN", changes=True),
    Command(
        "approve",
        "agree that a run begins, or goes on behind a step",
        ("run", "text", "node"),
        needs=1,
        usage="approve RUN [STEP [NODE]]",
        changes=True,
    ),
    Command(
        "reject",
        "refuse a run (say `run`), or a step that waits",
        ("run", "text"),
        needs=3,
        usage="reject RUN STEP|run REASON",
        changes=True,
    ),
    Command(
        "drain",
        "empty a node; what is left after a while is cancelled",
        ("node", "text"),
        needs=1,
        usage="drain NODE [10m]",
        changes=True,
    ),
    Command("cordon", "no new tasks for nodes", ("node",), needs=1, usage="cordon NODE...", changes=True),
    Command("uncordon", "new tasks for nodes again", ("node",), needs=1, usage="uncordon NODE...", changes=True),
    Command("label", "set or remove labels", ("node", "text"), needs=2, usage="label NODE K=V K-", changes=True),
    Command("enrol", "the line that joins a node", (), ("enroll", "token"), usage="enrol", changes=True),
    Command("export", "write what is shown to a file", ("text",), usage="export [FILE]"),
    Command("theme", "other colours", ("theme",), usage="theme [NAME]"),
    Command("rate", "draw so often a second", ("text",), needs=1, usage="rate HZ"),
    Command("help", "the keys that work here", (), ("h",), usage="help"),
    Command("quit", "leave the console", (), ("q", "exit"), usage="quit"),
)

_BY_WORD: Mapping[str, Command] = {word: each for each in COMMANDS for word in (each.name, *each.aliases)}


def read(line: str) -> Line:
    """A typed line. Raises GameNodeError (invalid_argument) that says what is wrong with it."""
    try:
        words = shlex.split(line)
    except ValueError as error:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"{str(error).lower()}: close the quotes") from error
    if not words:
        raise GameNodeError(Code.INVALID_ARGUMENT, "type a command; tab completes, ? in an empty line has the keys")
    command = _BY_WORD.get(words[0].lower())
    if command is None:
        near = nearest(words[0], _BY_WORD)
        hint = f"; did you mean {near!r}?" if near else ""
        raise GameNodeError(Code.INVALID_ARGUMENT, f"there is no command {words[0]!r}{hint}")
    given = tuple(words[1:])
    if len(given) < command.needs:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"it needs more: {command.usage}")
    if given and not command.takes:
        raise GameNodeError(Code.INVALID_ARGUMENT, f"it takes nothing more: {command.usage}")
    return Line(command, given)


def goes_on(line: str, names: Callable[[str], Iterable[str]]) -> str:
    """The line with its last word completed, as far as it is clear; empty where there is nothing to propose.

    `names(kind)` has what there is of a kind that a command takes.
    """
    if not line or line.endswith(("'", '"')):
        return ""
    head, _, word = line.rpartition(" ")
    if not head:
        found = _first(word.lower(), (each.name for each in COMMANDS))
    else:
        before = head.split()
        command = _BY_WORD.get(before[0].lower())
        if command is None or not command.takes:
            return ""
        kind = command.takes[min(len(before) - 1, len(command.takes) - 1)]
        found = _first(word, names(kind)) if word else ""
    if not found:
        return ""
    return f"{head} {found}" if head else found


def _first(start: str, among: Iterable[str]) -> str:
    return min((each for each in among if each.startswith(start) and each != start), key=_closeness, default="")


def _closeness(name: str) -> tuple[int, str]:
    return len(name), name


def summaries(*, read_only: bool) -> Sequence[tuple[str, str]]:
    """Usage and text of every command that is there, for the palette and the help."""
    return [(each.usage or each.name, each.text) for each in COMMANDS if not (read_only and each.changes)]
