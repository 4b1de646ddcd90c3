"""What the keys of a step may be together: `run` with what goes with it, or `uses` with what its kind takes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from pydantic import ValidationInfo

from gamenode_pipelines.kinds import KINDS
from gamenode_pipelines.plan import GROUP
from gamenode_pipelines.spec_values import run
from gamenode_pipelines.wording import nearest, shown
from gamenode_pipelines.written import kind_of, text_of

#: Where what belongs to `run` goes in a step that makes a container.
_INSTEAD: Final[Mapping[str, str]] = {
    "shell": "write `command: [sh, -c, …]` under `with`",
    "workdir": "write `workdir` under `with`",
    "user": "write `user` under `with`",
    "limits": "write `resources` under `with`",
}


class StepProblem(ValueError):
    """Something about a step as a whole: the message is a sentence of its own."""

    def __init__(self, message: str, suggestion: str = "") -> None:
        super().__init__(message)
        self.suggestion = suggestion


class NothingToDo(StepProblem):
    """A step without `run` and `uses`."""


def kind(value: object) -> str:
    """The name of a kind of step."""
    name = text_of(value)
    if name not in KINDS:
        raise StepProblem(f"there is no step kind {shown(name)}", nearest(name, KINDS))
    return name


def script(value: object, info: ValidationInfo) -> str | tuple[str, ...] | None:
    """A script, or a command as a list; None where the step `uses` a kind."""
    if "uses" not in info.data:
        return None  # what is wrong there is reported already
    uses = info.data["uses"]
    if value is None and uses:
        return None
    if value is None:
        raise NothingToDo("`run` is missing in a step, like `run: echo hello`; or `uses`, with what is done")
    if uses:
        raise StepProblem("a step has either `run` or `uses`; remove one of them")
    return run(value)


def settings(value: object, info: ValidationInfo) -> dict[str, Any]:
    """What the step's kind is given, as plans have it."""
    if "uses" not in info.data:
        return {}
    uses = info.data["uses"]
    if not uses:
        if value:
            raise StepProblem("`with` belongs to `uses`; a script takes values by `env`")
        return {}
    if not isinstance(value, Mapping):
        raise ValueError(f"must be a mapping of keys to values, not {kind_of(value)}")
    return KINDS[uses].record.normal(value)


def not_with_pipeline(value: object, info: ValidationInfo) -> object:
    """An inlined pipeline has no attempts of its own."""
    if info.data.get("uses") == GROUP:
        name = info.field_name or ""
        raise StepProblem(f"`{name}` does not go with `uses: {GROUP}`; the steps of that pipeline have their own")
    return value


def own_stop(value: Any, info: ValidationInfo) -> Any:
    """A stop command is for a script: what a container does to end is its own."""
    uses = info.data.get("uses")
    if uses and value is not None and value.command is not None:
        instead = "write `stop` under `with`" if "stop" in KINDS[uses].fields else "remove it"
        raise StepProblem(f"`stop.command` belongs to `run`; {instead}")
    return value


def only_with_run(value: object, info: ValidationInfo) -> object:
    """Keys of scripts have no place in a step of a kind."""
    uses = info.data.get("uses")
    if not uses:
        return value
    name = info.field_name or ""
    taken = KINDS[uses].fields
    fits = name in taken or (name == "limits" and "resources" in taken) or (name == "shell" and "command" in taken)
    raise StepProblem(f"`{name}` belongs to `run`; {_INSTEAD[name] if fits else 'remove it'}")
